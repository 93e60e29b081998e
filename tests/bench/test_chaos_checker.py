"""The checker of `stocklog bench chaos` finds what was planted, by its name, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from stocklog.bench.chaos import bodies, history
from stocklog.bench.chaos.bodies import Read
from stocklog.bench.chaos.checker import KINDS, check
from stocklog.bench.chaos.history import History, ProducerHistory, ReaderHistory, Run
from stocklog.bench.chaos.reader import checksum
from stocklog.protocol import amqp
from stocklog.protocol.chunk import MessageBlock


def sound_log(producers: int = 3, each: int = 400, seed: int = 1) -> Read:
    """A log in which producers take turns, and the broker's own records take offsets."""
    choose = random.Random(seed)
    left = {slot: list(range(1, each + 1)) for slot in range(producers)}
    rows = []
    while any(left.values()):
        slot = choose.choice([slot for slot, numbers in left.items() if numbers])
        rows += [
            (slot, left[slot].pop(0)) for _ in range(min(choose.randint(1, 30), len(left[slot])))
        ]
    gaps = np.cumsum([1 + (choose.random() < 0.02) for _ in rows]) - 1
    slots, numbers = np.array(rows, np.int64).T
    return Read(gaps.astype(np.int64), slots.copy(), numbers.copy())


def written_by(log: Read) -> list[ProducerHistory]:
    """Producers to whom everything was confirmed."""
    return [
        ProducerHistory(slot, sent=int(last), confirmed=[(1.0, 1, 30), (2.0, 20, int(last))])
        for slot in range(int(log.producers.max()) + 1)
        if (last := log.numbers[log.producers == slot].max(initial=0))
    ]


def pieces(log: Read, choose: random.Random) -> list[tuple[int, int, int]]:
    """How a reader takes it down: runs of offsets, cut anywhere."""
    begins = np.flatnonzero(np.append(True, np.diff(log.offsets) != 1)).tolist()
    cuts = sorted({*begins, *choose.sample(range(len(log.offsets)), 40)})
    parts = [np.arange(a, b) for a, b in zip(cuts, [*cuts[1:], len(log.offsets)], strict=True)]
    return [
        (int(log.offsets[p[0]]), int(log.offsets[p[-1]]), checksum(Read(*(c[p] for c in log))))
        for p in parts
    ]


def reader_of(log: Read, seed: int = 2) -> ReaderHistory:
    run = Run(0, None, -1, 0.0, received=pieces(log, random.Random(seed)))
    run.handled = [(1.0, last) for _, last, _ in run.received]
    return ReaderHistory("r", [run])


def found(
    log: Read, told: Read | None = None, *readers: ReaderHistory, final: bool = True
) -> list[str]:
    anomalies = check(log, written_by(log if told is None else told), readers, is_final=final)
    return sorted({anomaly.kind for anomaly in anomalies})


def without(log: Read, rows: list[int]) -> Read:
    return Read(*(np.delete(column, rows) for column in log))


def changed(log: Read, column: str, row: int, value: int) -> Read:
    columns = log._asdict() | {column: getattr(log, column).copy()}
    columns[column][row] = value
    return Read(**columns)


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_log_and_sound_readers_show_nothing(seed: int) -> None:
    log = sound_log(seed=seed)
    assert found(log, None, reader_of(log, seed)) == []


def test_an_empty_log_with_nothing_sent_shows_nothing() -> None:
    empty = np.zeros(0, np.int64)
    assert check(Read(empty, empty, empty), [ProducerHistory(0)], [], is_final=True) == []


# -- what producers wrote -------------------------------------------------------------------


def test_everything_lost_is_lost() -> None:
    empty = np.zeros(0, np.int64)
    log = sound_log()
    anomalies = check(Read(empty, empty, empty), written_by(log), [], is_final=True)
    assert [(one.kind, one.count) for one in anomalies] == [("lost", 400)] * 3


def test_a_confirmed_number_that_is_missing_is_lost() -> None:
    log = sound_log()
    assert found(without(log, [500]), log) == ["lost"]


def test_a_missing_number_at_the_very_end_is_lost_if_it_was_confirmed() -> None:
    log = sound_log()
    row = int(np.flatnonzero(log.producers == 1)[-1])
    anomalies = check(without(log, [row]), written_by(log), [])
    assert [(one.kind, one.who, one.count) for one in anomalies] == [("lost", "producer 1", 1)]


def test_a_missing_number_at_the_very_end_is_none_if_it_was_not_confirmed() -> None:
    log = sound_log()
    row = int(np.flatnonzero(log.producers == 1)[-1])
    producers = written_by(log)
    producers[1].confirmed = [(1.0, 1, 399)]
    assert check(without(log, [row]), producers, []) == []


def test_a_number_that_was_jumped_over_is_lost_even_unconfirmed() -> None:
    log = sound_log()
    producers = written_by(log)
    for producer in producers:
        producer.confirmed = []
    assert [one.kind for one in check(without(log, [300]), producers, [])] == ["lost"]


def test_a_number_that_is_there_twice_is_a_duplicate_and_nothing_else() -> None:
    log = sound_log()
    offsets = np.append(log.offsets, log.offsets[-1] + 1 + np.arange(3))
    twice = Read(
        offsets,
        np.append(log.producers, log.producers[:3]),
        np.append(log.numbers, log.numbers[:3]),
    )
    anomalies = check(twice, written_by(log), [])
    assert {one.kind for one in anomalies} == {"duplicate"}
    assert sum(one.count for one in anomalies) == 3


def test_a_block_that_is_written_a_second_time_at_other_borders_is_a_duplicate() -> None:
    numbers = np.array([*range(1, 501), *range(301, 601)], np.int64)
    log = Read(np.arange(len(numbers)), np.zeros(len(numbers), np.int64), numbers)
    anomalies = check(log, [ProducerHistory(0, sent=600)], [])
    assert [(one.kind, one.count) for one in anomalies] == [("duplicate", 200)]


def test_two_numbers_that_changed_places_are_out_of_order() -> None:
    log = sound_log()
    first, second = np.flatnonzero(log.producers == 2)[100:102].tolist()
    swapped = changed(log, "numbers", first, int(log.numbers[second]))
    swapped = changed(swapped, "numbers", second, int(log.numbers[first]))
    assert found(swapped, log) == ["out of order"]


def test_a_number_that_was_never_sent_is_a_phantom() -> None:
    log = sound_log()
    producers = written_by(log)
    producers[0].sent -= 1
    producers[0].confirmed = []
    assert {one.kind for one in check(log, producers, [])} == {"phantom"}


@pytest.mark.parametrize("slot", [-1, 77])
def test_a_message_of_nobody_is_a_phantom(slot: int) -> None:
    log = sound_log()
    row = int(np.flatnonzero(log.producers == 1)[-1])
    assert found(changed(log, "producers", row, slot), without(log, [row])) == ["phantom"]


# -- what readers got -----------------------------------------------------------------------


def test_a_piece_that_a_reader_passed_by_is_unseen() -> None:
    log = sound_log()
    reader = reader_of(log)
    del reader.runs[0].received[7]
    assert found(log, None, reader) == ["unseen"]


def test_the_end_of_the_log_is_unseen_only_when_nothing_moves_any_more() -> None:
    log = sound_log()
    reader = reader_of(log)
    del reader.runs[0].received[-1]
    assert found(log, None, reader, final=False) == []
    assert found(log, None, reader, final=True) == ["unseen"]


def test_a_piece_that_a_reader_got_twice_is_a_duplicate() -> None:
    log = sound_log()
    reader = reader_of(log)
    reader.runs[0].received.insert(9, reader.runs[0].received[8])
    assert found(log, None, reader) == ["duplicate"]


def test_a_part_of_a_chunk_that_came_again_after_a_reconnect_is_a_duplicate() -> None:
    log = Read(np.arange(100), np.zeros(100, np.int64), np.arange(1, 101))
    run = Run(0, None, -1, 0.0, received=[part(log, 0, 49), part(log, 40, 99)])
    assert found(log, None, ReaderHistory("r", [run])) == ["duplicate"]


def test_pieces_that_changed_places_are_out_of_order() -> None:
    log = Read(np.arange(100), np.zeros(100, np.int64), np.arange(1, 101))
    got = [part(log, 0, 29), part(log, 60, 99), part(log, 30, 59)]
    assert "out of order" in found(
        log, None, ReaderHistory("r", [Run(0, None, -1, 0.0, received=got)])
    )


def test_content_that_differs_from_the_log_is_a_phantom() -> None:
    log = sound_log()
    reader = reader_of(log)
    first, last, told = reader.runs[0].received[5]
    reader.runs[0].received[5] = (first, last, told ^ 1)
    assert found(log, None, reader) == ["phantom"]


def test_an_offset_that_the_log_does_not_have_is_a_phantom() -> None:
    log = sound_log()
    reader = reader_of(log)
    end = int(log.offsets[-1])
    reader.runs[0].received.append((end + 1, end + 4, 0))
    assert found(log, None, reader) == ["phantom"]


@pytest.mark.parametrize(("wanted", "until"), [(10, 19), (0, 9), (30, 60)])
def test_a_range_must_be_read_exactly(wanted: int, until: int) -> None:
    log = Read(np.arange(100), np.zeros(100, np.int64), np.arange(1, 101))
    right = Run(wanted, until, -1, 0.0, received=[part(log, wanted, until)], ended=True)
    assert found(log, None, ReaderHistory("r", [right])) == []
    short = Run(wanted, until, -1, 0.0, received=[part(log, wanted, until - 1)], ended=True)
    assert found(log, None, ReaderHistory("r", [short])) == ["unseen"]
    long = Run(wanted, until, -1, 0.0, received=[part(log, wanted, until + 1)], ended=True)
    assert found(log, None, ReaderHistory("r", [long])) == ["phantom"]


def test_a_range_that_is_still_being_read_may_be_short() -> None:
    log = Read(np.arange(100), np.zeros(100, np.int64), np.arange(1, 101))
    run = Run(10, 50, -1, 0.0, received=[part(log, 10, 20)])
    assert found(log, None, ReaderHistory("r", [run])) == []


def test_a_stored_offset_in_front_of_what_was_handled_is_ahead() -> None:
    log = Read(np.arange(100), np.zeros(100, np.int64), np.arange(1, 101))
    first = Run(0, None, -1, 0.0, received=[part(log, 0, 49)], handled=[(1.0, 39)])
    second = Run(40, None, 39, 2.0, received=[part(log, 40, 99)], handled=[(3.0, 99)])
    assert found(log, None, ReaderHistory("r", [first, second])) == []
    ahead = Run(50, None, 49, 2.0, received=[part(log, 50, 99)], handled=[(3.0, 99)])
    assert found(log, None, ReaderHistory("r", [first, ahead])) == ["ahead"]


def test_what_is_new_is_checked_like_the_whole() -> None:
    log = sound_log()
    reader = reader_of(log)
    all_of_it = reader.runs[0].received
    reader.runs[0].received = all_of_it[:10]
    assert found(log, None, reader.fresh(), final=False) == []
    reader.runs[0].received = all_of_it[:10] + all_of_it[11:20]
    assert found(log, None, reader.fresh(), final=False) == ["unseen"]
    reader.runs[0].received = all_of_it[:10] + all_of_it[11:20] + all_of_it[18:]
    assert "duplicate" in found(log, None, reader.fresh(), final=False)


def test_every_name_was_planted_here() -> None:
    source = Path(__file__).read_text()
    assert all(f'"{kind}"' in source for kind in KINDS)


def part(log: Read, first: int, last: int) -> tuple[int, int, int]:
    rows = np.arange(first, last + 1)
    return first, last, checksum(Read(*(column[rows] for column in log)))


# -- the messages and the histories -----------------------------------------------------------


def block_of(data: np.ndarray, starts: np.ndarray) -> MessageBlock:
    amqp.write_lengths(data, starts)
    begins = starts[:-1] + 4  # the entry's size is no part of the message
    lengths = np.diff(starts) - 4
    return MessageBlock(
        data, begins, lengths, np.arange(len(begins)) + 5, np.zeros(len(begins), np.int64)
    )


def test_messages_say_who_sent_them_and_which_they_are() -> None:
    block = block_of(*bodies.build(3, 1000, 20, amqp.lead(False)))
    read = bodies.read(block)
    assert read.offsets.tolist() == list(range(5, 25))
    assert read.producers.tolist() == [3] * 20
    assert read.numbers.tolist() == list(range(1000, 1020))


@pytest.mark.parametrize("place", [0, 7, 9, 10, 40, bodies.SIZE - 1])
def test_one_changed_byte_makes_a_message_nobodys(place: int) -> None:
    data, starts = bodies.build(3, 1000, 20, amqp.lead(False))
    block = block_of(data, starts)
    data[int(starts[4]) + len(amqp.lead(False)) + place] ^= 0x10
    assert bodies.read(block).producers.tolist() == [3] * 4 + [-1] + [3] * 15


def test_histories_say_what_was_written_and_leave_out_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "p.history"
    kept = History(path)
    kept.note(history.BEGUN, 0)
    kept.note(history.SENT, 1, 100)
    kept.note(history.CONFIRMED, 1, 60)
    told = ProducerHistory.read(path, 0)
    assert (told.sent, told.confirmed[0][1:]) == (100, (1, 60))
    with path.open("ab") as file:
        file.write(b"C 123.0 61 1")
    told.update()
    assert len(told.confirmed) == 1
    with path.open("ab") as file:
        file.write(b"00\n")
    told.update()
    assert told.confirmed[1][1:] == (61, 100)
    kept.close()


def test_what_was_unconfirmed_at_a_moment_is_of_the_process_of_that_moment() -> None:
    told = ProducerHistory(0)
    told.began = [(0.0, 0), (10.0, 80)]
    told.sends = [(1.0, 50), (2.0, 100), (11.0, 120)]
    told.confirmed = [(1.5, 1, 50), (12.0, 81, 120)]
    assert told.unconfirmed_at(1.2) == 50
    assert told.unconfirmed_at(1.7) == 0
    assert told.unconfirmed_at(5.0) == 50
    assert told.unconfirmed_at(10.5) == 0  # what the dead process had sent is nobody's now
    assert told.unconfirmed_at(11.5) == 40
    assert told.unconfirmed_at(13.0) == 0

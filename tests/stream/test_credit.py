"""Credit: never zero for long, never more bytes than the bound, whatever chunks come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stocklog.stream.credit import CreditPolicy


class Broker:
    """Sends as many chunks as it has credit for; a reader takes them."""

    def __init__(self, policy: CreditPolicy) -> None:
        self.policy = policy
        self.credit = 1  # what Subscribe gave
        self.waiting: list[int] = []

    def deliver(self, sizes: list[int]) -> int:
        """Sends chunks of these sizes as far as credit goes; returns how many."""
        sent = sizes[: self.credit]
        if sent:
            self.credit -= len(sent)
            self.waiting += sent
            self.policy.received(len(sent), sum(sent))
        return len(sent)

    def take(self, count: int) -> None:
        del self.waiting[:count]
        granted = self.policy.grant(len(self.waiting))
        assert 0 <= granted <= 32_767
        self.credit += granted


def settle(broker: Broker, size: int, rounds: int = 200) -> None:
    for _ in range(rounds):
        broker.deliver([size] * 5000)
        broker.take(len(broker.waiting))


def test_chunks_of_one_size_fill_the_bound_and_no_more() -> None:
    for size in (200, 10_000, 1 << 20):
        broker = Broker(CreditPolicy(16 << 20))
        settle(broker, size)
        assert broker.credit * size <= 16 << 20
        assert broker.credit >= min(4096, (16 << 20) // size) // 2


def test_chunks_larger_than_the_bound_still_come_two_at_a_time() -> None:
    broker = Broker(CreditPolicy(1 << 20))
    settle(broker, 50 << 20)
    assert 1 <= broker.credit <= 2


def test_a_reader_that_takes_nothing_stops_the_flow() -> None:
    broker = Broker(CreditPolicy(1 << 20))
    settle(broker, 100_000)
    for _ in range(100):
        broker.deliver([100_000] * 5000)
        broker.take(0)
    assert broker.credit == 0
    assert sum(broker.waiting) <= 1 << 20


def test_growing_chunks_shrink_the_credit_at_once() -> None:
    broker = Broker(CreditPolicy(1 << 20))
    settle(broker, 300)
    assert broker.credit > 1000
    broker.deliver([500_000])
    broker.take(1)
    assert broker.policy.grant(0) == 0  # the small ones were promised before


def test_one_tiny_chunk_does_not_ask_for_thousands_that_may_be_large() -> None:
    # Seen before the fix: 4,096 chunks of 5 MB were asked for after one of 200 bytes.
    broker = Broker(CreditPolicy(16 << 20))
    for _ in range(4):
        broker.deliver([200] * 5000)
        broker.take(len(broker.waiting))
    assert broker.credit <= 16


@given(
    st.integers(1, 1 << 24),
    st.lists(st.tuples(st.integers(48, 1 << 22), st.integers(0, 9)), min_size=1, max_size=60),
)
def test_whoever_takes_everything_is_never_left_without_credit(
    bound: int, steps: list[tuple[int, int]]
) -> None:
    broker = Broker(CreditPolicy(bound))
    for size, left in steps:
        assert broker.deliver([size] * 3) > 0 or broker.waiting
        broker.take(max(0, len(broker.waiting) - left))
        assert broker.credit + len(broker.waiting) > 0
    broker.take(len(broker.waiting))
    assert broker.credit > 0


def test_no_more_chunks_are_asked_for_than_may_be_wanted() -> None:
    policy, got, credit = CreditPolicy(16 << 20, expects=300), 0, 1
    while got < 5_000:
        credit += policy.grant(0, 5_000 - got)
        assert credit > 0, "nothing is on the way, and more is wanted"
        assert got + credit <= 5_000
        count = max(1, credit // 3)
        policy.received(count, count * 300)
        got, credit = got + count, credit - count
    assert policy.grant(0, 0) == 0


def test_what_is_expected_to_be_small_is_asked_for_by_the_thousand_at_once() -> None:
    assert CreditPolicy(1 << 20, expects=300).grant(0) == (1 << 20) // 300 - 1
    assert CreditPolicy(1 << 20).grant(0) == 1

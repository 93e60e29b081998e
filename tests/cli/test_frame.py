"""The frame of the command line: help, typos, exit statuses, errors, start-up."""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from shell import Done

from stocklog import __version__
from stocklog.cli import cli, main
from stocklog.cli.failures import run as run_command
from stocklog.cli.report import counted, no_updates
from stocklog.errors import BrokerNotFoundError, UsageError

Call = Callable[..., Done]


def commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_command_has_help_with_an_example_that_names_it(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    example = shown.partition("Example:")[2]
    assert f"stocklog {' '.join(path)}" in example
    assert main([*path, "-h"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(p, c, id=" ".join(p)) for p, c in commands()]
)
def test_every_option_says_what_it_does(path: tuple[str, ...], command: click.Command) -> None:
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, f"{path}: {param.opts}"


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_example_in_help_uses_options_that_exist(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*path, "--help"])
    shown = capsys.readouterr().out
    described, _, example = shown.partition("Example:")
    known = {*re.findall(r"--[a-z][a-z-]*|(?<=\s)-[a-z]\b", described)}
    if path == ("completion",):
        return  # its examples are lines of a shell's start-up file
    lines = (part for line in example.splitlines() for part in line.split("|"))
    example = "\n".join(line for line in lines if not re.search(r"^ *(jq|tail) ", line))
    used = re.findall(r"(?<=\s)(--?[a-z][a-z-]*)", example)
    if isinstance(dict(commands())[path], click.Group):
        return  # a group's example shows its commands' options
    assert {*used} <= known


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"stocklog {__version__}\n"


def test_help_lists_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    assert [int(n) for n in re.findall(r"^ +(\d+)  +\w", shown, re.M)] == [0, 1, 2, 3, 4, 5, 130]


@pytest.mark.parametrize(
    ("words", "guess"),
    [
        (["prodcue"], "produce"),
        (["stream", "inof", "x"], "info"),
        (["produce", "--cuont", "3"], "--count"),
        (["consume", "--exit-at-edn"], "--exit-at-end"),
    ],
)
def test_a_typo_is_a_usage_error_with_the_nearest_name(
    words: list[str], guess: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("stocklog: error: ")
    assert re.search(rf"did you mean '{guess}'", said, re.I)
    assert "--help`" in said


def test_a_word_that_resembles_nothing_gets_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyzzy"]) == 2
    assert "did you mean" not in capsys.readouterr().err


HEAVY = ("polars", "pyarrow", "numpy", "rich", "msgspec", "psutil", "lz4")


@pytest.mark.parametrize(
    "code",
    [
        "import stocklog",
        "from stocklog.cli import main; main(['--help'])",
        "from stocklog.cli import main; main(['--version'])",
        "from stocklog.cli import main; main(['consume', '--help'])",
        "from stocklog.cli import main; main(['broker', 'up', '--help'])",
        "from stocklog.cli import main; main(['completion', 'zsh'])",
        "from stocklog.cli import main; main(['prodcue'])",
    ],
)
def test_what_needs_no_columns_imports_none(code: str) -> None:
    script = f"{code}\nimport sys\nsys.exit(' '.join(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    loaded = done.stderr.splitlines()[-1] if done.returncode else ""
    assert not {*HEAVY} & {*loaded.split()}, loaded


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("It cannot be", "Do so"), 2, "stocklog: error: It cannot be\n  Do so\n"),
        (BrokerNotFoundError("None"), 1, "stocklog: error: None\n"),
        (OSError(errno.ENOSPC, "No space left", "/x"), 1, "stocklog: error: /x: No space left\n"),
        (KeyboardInterrupt(), 130, "stocklog: interrupted\n"),
        (BrokenPipeError(), 0, ""),
        (
            click.UsageError("Bad option."),
            2,
            "stocklog: error: bad option\n  See `stocklog --help`.\n",
        ),
    ],
)
def test_an_exception_becomes_one_message_and_a_status(
    error: BaseException, status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(raising(error), []) == status
    assert capfd.readouterr().err == said


def test_an_unexpected_exception_is_one_line_and_a_file_to_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert run_command(raising(ValueError("boom")), []) == 1
    said = capsys.readouterr().err
    assert said.startswith("stocklog: error: unexpected ValueError: boom\n")
    assert "Traceback" not in said
    (kept,) = tmp_path.iterdir()
    assert str(kept) in said
    assert "ValueError: boom" in kept.read_text()


@pytest.mark.parametrize("words", [["--debug", "stream", "list"], ["stream", "list"]])
def test_debug_shows_the_traceback(stocklog: Call, words: list[str]) -> None:
    debug = {} if "--debug" in words else {"STOCKLOG_DEBUG": "1"}
    assert "Traceback" in stocklog(*words, **debug).err
    assert "Traceback" not in stocklog("stream", "list").err


def test_a_status_that_a_command_returns_is_the_processs(stocklog: Call, tmp_path: Path) -> None:
    feed = tmp_path / "bad.jsonl"
    feed.write_text('{"sku":1}\n')
    assert stocklog("load", str(feed), "--dry-run").status == 3


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_STOCKLOG_COMPLETE" in script
    assert shell in script or shell == "zsh"


def test_the_completion_script_completes_commands_and_options(stocklog: Call) -> None:
    def complete(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        done = stocklog(_STOCKLOG_COMPLETE="bash_complete", **words)
        return [row.partition(",")[2] for row in done.out.split()]

    assert complete("stocklog prod") == ["produce"]
    assert complete("stocklog stream i") == ["info"]
    assert "--exit-at-end" in complete("stocklog consume --exit")


def test_bash_accepts_the_completion_script(stocklog: Call, tmp_path: Path) -> None:
    script = tmp_path / "complete.bash"
    script.write_text(stocklog("completion", "bash").out)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_a_stdout_that_closes_early_is_no_error(alone: dict[str, str]) -> None:
    line = f"{sys.executable} -m stocklog --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""


NEEDS_A_BROKER = [
    ["load", "FILE"],
    ["stream", "list"],
    ["stream", "info", "x"],
    ["stream", "create", "x"],
    ["stream", "delete", "x", "--yes"],
]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No broker is named, no private one was ever started, and none is on the usual port."""
    monkeypatch.delenv("STOCKLOG_URI", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("stocklog.ledger.connect._STREAM_PORT", 9)
    monkeypatch.setattr("stocklog.ledger.connect._AMQP_PORT", 9)


def with_feed(words: list[str], place: Path) -> list[str]:
    feed = place / "feed.jsonl"
    feed.write_text(json.dumps({"sku": "a"}) + "\n")
    return [str(feed) if word == "FILE" else word for word in words]


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("words", NEEDS_A_BROKER, ids=" ".join)
def test_without_a_broker_the_error_says_how_to_start_one(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(with_feed(words, tmp_path)) == 1
    said = capsys.readouterr().err
    assert "stocklog broker up" in said
    assert "STOCKLOG_URI" in said


ALL_NAME_THE_URI = [["produce"], ["consume"], ["demo"], *NEEDS_A_BROKER]


@pytest.mark.parametrize("words", ALL_NAME_THE_URI, ids=" ".join)
def test_a_named_broker_that_does_not_answer_is_an_error_and_nothing_else_is_tried(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STOCKLOG_URI", "rabbitmq-stream://me:hidden@127.0.0.1:9")
    assert main(with_feed(words, tmp_path)) == 1
    said = capsys.readouterr().err
    assert "127.0.0.1:9" in said
    assert "from STOCKLOG_URI" in said
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("amqp://guest:guest@localhost", "'amqp'"),
        ("rabbitmq-stream://me@localhost", "without a password"),
        ("rabbitmq-stream://me:hidden@localhost:0", "port"),
    ],
)
def test_a_uri_that_cannot_be_meant_is_a_usage_error(
    uri: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["consume", "--uri", uri]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "hidden" not in err


@pytest.mark.parametrize(
    "words",
    [
        ["produce", "--count", "0"],
        ["produce", "--count", "3", "--forever"],
        ["produce", "--rate", "0"],
        ["produce", "--codec", "rar"],
        ["produce", "--profile", "bakery"],
        ["produce", "--start", "yesterday"],
        ["produce", "--start", "2026-01-01T00:00"],
        ["produce", "--sub-batch", "0"],
        ["produce", "--sub-batch", "65536"],
        ["produce", "--sub-batch", "1", "--codec", "lz4"],
        ["produce", "--name", "x" * 256],
        ["produce", "--stream", "amq.x"],
        ["consume", "frist"],
        ["consume", "last:0"],
        ["consume", "2026-11-24T14:05"],
        ["consume", "--count", "0"],
        ["consume", "--format", "xml"],
        ["consume", "--format", "parquet"],
        ["consume", "--output", "/no/such/folder/x"],
        ["consume", "--output", "/"],
        ["consume", "--summary", "/no/such/folder/x"],
        ["load"],
        ["load", "-", "-"],
        ["load", "-", "--codec", "gzip", "--sub-batch", "1"],
        ["load", "-", "--set", "colour=red"],
        ["load", "-", "--map", "sku"],
        ["load", "-", "--timezone", "Mars/Olympus"],
        ["load", "-", "--rejects", "/no/such/folder/x"],
        ["stream", "create", "x", "--max-age", "soon"],
        ["stream", "create", "x", "--max-length-bytes", "much"],
        ["stream", "create", "x", "--replicas", "0"],
        ["stream", "create", "x" * 234],
        ["produce", "--stream", "x" * 234],
        ["load", "-", "--stream", "ñ" * 117],
        ["stream", "info"],
        ["stream", "delete", "x"],
        ["completion", "tcsh"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_before_any_broker_is_asked(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOCKLOG_URI", "rabbitmq-stream://a:b@127.0.0.1:9")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("stocklog: error: ")
    assert "127.0.0.1" not in said


def test_a_name_that_is_too_long_to_be_made_can_still_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOCKLOG_URI", "rabbitmq-stream://a:b@127.0.0.1:9")
    assert main(["stream", "create", "x" * 234]) == 2
    said = capsys.readouterr().err
    assert "234 bytes" in said
    assert "at most 233" in said
    assert "never get a leader" in said
    for words in (["consume", "--stream"], ["stream", "info"], ["stream", "delete", "--yes"]):
        assert main([*words, "x" * 234]) == 1  # as far as the broker, which does not answer
        assert "127.0.0.1:9" in capsys.readouterr().err


def test_a_read_that_cannot_begin_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKLOG_URI", "rabbitmq-stream://a:b@127.0.0.1:9")
    kept = tmp_path / "kept.jsonl"
    kept.write_text("precious\n")
    words = ["consume", "first", "-e", "--format", "jsonl", "--output", str(kept)]
    assert main(words) == 1
    assert kept.read_text() == "precious\n"


def test_one_of_something_is_no_plural() -> None:
    assert [counted(n, "update") for n in (0, 1, 2000)] == [
        "0 updates",
        "1 update",
        "2,000 updates",
    ]
    assert no_updates(1) == "1 message was no update"
    assert no_updates(2) == "2 messages were no updates"

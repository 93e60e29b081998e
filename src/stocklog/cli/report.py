"""What a command says on stderr: notes, warnings, errors, and its summary.

As text for people, or with `--log-format json` as one JSON object a line (see `cli.logs`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stocklog.cli import logs

__all__ = ["Report", "complain", "counted", "figure", "no_updates"]


class Report:
    """The one voice of a command on stderr.

    Args:
        quiet: leave out everything but warnings and errors.
        summary: where to write the summary as JSON, or `None`.
    """

    def __init__(self, *, quiet: bool = False, summary: Path | None = None) -> None:
        self.quiet = quiet
        self._summary = summary

    def note(self, text: str, event: str = "note", facts: Mapping[str, Any] | None = None) -> None:
        """Say something that helps to follow what happens.

        Args:
            text: for people.
            event: which kind of line it is, for programs.
            facts: the same for programs.
        """
        if not self.quiet:
            complain(text, kind=None, event=event, facts=facts)

    def warn(self, text: str, details: str = "") -> None:
        """Say something that the user should not miss, `--quiet` or not."""
        complain(text, details, kind="warning")

    def finish(self, line: str, facts: Mapping[str, Any]) -> None:
        """End the command: one line on stderr, and the summary file if asked for.

        Args:
            line: the summary for people.
            facts: the summary for programs: `updates`, `seconds`, `rate`, and more.
        """
        self.note(line, "summary", facts)
        if self._summary is not None:
            text = json.dumps(dict(facts), ensure_ascii=False, indent=2, default=str)
            self._summary.write_text(text + "\n", encoding="utf-8")


def complain(
    text: str,
    remedy: str = "",
    *,
    kind: str | None = "error",
    event: str = "",
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write one message of stocklog to stderr.

    A stderr that is closed or full is no reason to fail: the message is dropped.

    Args:
        text: what happened.
        remedy: what to do about it, on a line of its own.
        kind: `error`, `warning`, or `None` for a plain note.
        event: which kind of line it is, for programs; `kind` or `note` if left out.
        facts: more for programs; people read them in the text.
    """
    if logs.speaks_json():
        more = {**(facts or {}), **({"remedy": remedy} if remedy else {})}
        logs.write(kind or "info", event or kind or "note", text, more)
        return
    lines = [f"stocklog: {kind}: {text}" if kind else f"stocklog: {text}"]
    if remedy:
        lines += [f"  {line}" for line in remedy.splitlines()]
    logs.to_stderr("\n".join(lines))


def figure(number: float) -> str:
    """A count or rate for people: thousands apart, no false digits."""
    return f"{number:,.0f}"


def counted(number: int, noun: str) -> str:
    """A number with its noun, which gets an `s` unless it is one: `2,000 updates`."""
    return f"{figure(number)} {noun}" + ("" if number == 1 else "s")


def no_updates(number: int) -> str:
    """How a summary says that so many messages are none."""
    return (
        "1 message was no update" if number == 1 else f"{figure(number)} messages were no updates"
    )

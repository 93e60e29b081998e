"""What a command says on stderr: notes, warnings, errors, and its summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Report", "complain", "figure"]


class Report:
    """The one voice of a command on stderr.

    Args:
        quiet: leave out everything but warnings and errors.
        summary: where to write the summary as JSON, or `None`.
    """

    def __init__(self, *, quiet: bool = False, summary: Path | None = None) -> None:
        self.quiet = quiet
        self._summary = summary

    def note(self, text: str) -> None:
        """Say something that helps to follow what happens."""
        if not self.quiet:
            complain(text, kind=None)

    def warn(self, text: str, details: str = "") -> None:
        """Say something that the user should not miss, `--quiet` or not."""
        complain(text, details, kind="warning")

    def finish(self, line: str, facts: Mapping[str, Any]) -> None:
        """End the command: one line on stderr, and the summary file if asked for.

        Args:
            line: the summary for people.
            facts: the summary for programs: `updates`, `seconds`, `rate`, and more.
        """
        self.note(line)
        if self._summary is not None:
            text = json.dumps(dict(facts), ensure_ascii=False, indent=2, default=str)
            self._summary.write_text(text + "\n", encoding="utf-8")


def complain(text: str, remedy: str = "", *, kind: str | None = "error") -> None:
    """Write one message of stocklog to stderr.

    A stderr that is closed or full is no reason to fail: the message is dropped.

    Args:
        text: what happened.
        remedy: what to do about it, on a line of its own.
        kind: `error`, `warning`, or `None` for a plain note.
    """
    lines = [f"stocklog: {kind}: {text}" if kind else f"stocklog: {text}"]
    if remedy:
        lines += [f"  {line}" for line in remedy.splitlines()]
    try:
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def figure(number: float) -> str:
    """A count or rate for people: thousands apart, no false digits."""
    return f"{number:,.0f}"

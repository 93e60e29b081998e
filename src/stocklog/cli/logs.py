"""`--log-format json`: everything on stderr as one JSON object a line.

Every line has `time` (UTC), `level` (`info`, `warning`, `error`), `event` and `message`; what else
it has depends on the event. The library says what it has to say through the standard `logging`,
under `stocklog.*`, with its facts as attributes of the record; here they become members.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["FORMATS", "JsonLines", "choose", "speaks_json", "to_stderr", "write"]

FORMATS = ("text", "json")

_OWN_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""What every record has; anything else is a fact that the caller added."""


class JsonLines(logging.Handler):
    """Writes the library's records as JSON, a line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a failure to do so is no reason to fail."""
        facts = {k: v for k, v in vars(record).items() if k not in _OWN_ATTRIBUTES}
        event = str(facts.pop("event", "log"))
        if record.exc_info and record.exc_info[1]:
            facts["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        level = record.levelname.lower()
        moment = datetime.fromtimestamp(record.created, UTC)
        write(level, event, record.getMessage(), {"logger": record.name, **facts}, moment)


_handler: JsonLines | None = None


def choose(form: str) -> None:
    """Begin to write to stderr in a format; the command line's `run` ends it with `text`.

    Args:
        form: one of `FORMATS`.
    """
    global _handler
    library = logging.getLogger("stocklog")
    if _handler is not None:
        library.removeHandler(_handler)
        _handler = None
    if form == "json":
        _handler = JsonLines()
        library.addHandler(_handler)


def speaks_json() -> bool:
    """Whether stderr gets JSON now."""
    return _handler is not None


def write(
    level: str,
    event: str,
    text: str,
    facts: Mapping[str, Any],
    moment: datetime | None = None,
) -> None:
    """Write one line of JSON to stderr.

    Args:
        level: `info`, `warning`, `error`.
        event: which kind of line it is.
        text: the message for people.
        facts: more members; one that is named like those that every line has gets a `_` behind.
        moment: when it happened; now if left out.
    """
    when = (moment or datetime.now(UTC)).isoformat(timespec="milliseconds")
    line = {"time": when.replace("+00:00", "Z"), "level": level, "event": event, "message": text}
    line |= {f"{name}_" if name in line else name: value for name, value in facts.items()}
    to_stderr(json.dumps(line, ensure_ascii=False, default=str))


def to_stderr(text: str) -> None:
    """Write text and a line end. A stderr that is closed or full is no reason to fail."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass

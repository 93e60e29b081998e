"""Sizes as people write them: `20GB`, `500 MB`, `1048576`."""

from __future__ import annotations

import re

import click

__all__ = ["SIZE", "Size", "in_words"]

_FORM = re.compile(r"([0-9]+)\s*([kKMGT]?)(i?)[bB]?")
_POWERS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


class Size(click.ParamType[int]):
    """A number of bytes; k, M, G, T are powers of 1000, Ki, Mi, Gi, Ti of 1024."""

    name = "SIZE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The number of bytes; a usage error if it is no size."""
        if isinstance(value, int):
            return value
        found = _FORM.fullmatch(str(value).strip())
        if found is None or (found[3] and not found[2]):
            self.fail(f"{value!r} is no size; write it as 20GB, 500MB or 1048576", param, ctx)
        size: int = int(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2]]
        if size < 1:
            self.fail("it must be at least 1 byte", param, ctx)
        return size


SIZE = Size()


def in_words(size: int | None) -> str | None:
    """A number of bytes for people; `None` stays `None`."""
    if size is None:
        return None
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}".replace(".0 ", " ") if unit != "B" else f"{size} B"

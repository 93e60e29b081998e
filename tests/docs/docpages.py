"""The documents as the tests see them: pages, their fenced blocks, what is to be done with each.

A block is run as it stands, in a new terminal at the root of the tree. An HTML comment right above
its fence, which no reader sees, says what is out of the ordinary:

    <!-- test: status 3 -->             it ends with this exit status instead of 0
    <!-- test: stays open, "TEXT" -->   it goes on until Ctrl-C: once it has said TEXT the page
                                        goes on; at the page's end it is interrupted (status 130)
    <!-- test: not run, REASON -->      it cannot be run here
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

# README.md and its like are run in a tree that nobody has touched. The other pages say at their
# head that .venv is activated, and share one tree in which it is.
FRESH = ("README.md", "python/producer/README.md", "python/consumer/README.md")
TRANSLATED = ("README.es.md", "python/producer/README.es.md", "python/consumer/README.es.md")
SHELL = ("sh", "console")
SHOWN = ("text", "json", "mermaid", "csv", "toml", "yaml")

_FENCE = re.compile(
    r"(?:^<!-- test: (?P<directive>[^\n]+?) -->\n\n?)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_STAYS_OPEN = re.compile(r'stays open, "(?P<text>.+)"')
_STATUS = re.compile(r"status (?P<status>\d+)")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: path of its page from the root.
        line: line number of its first line of code.
        language: what stands behind the opening fence.
        code: its text.
        status: the exit status that it must have.
        until: what it says when it has got going, for a block that stays open; else empty.
        not_run: why it is not run; empty if it is.
    """

    page: str
    line: int
    language: str
    code: str
    status: int = 0
    until: str = ""
    not_run: str = ""

    @property
    def commands(self) -> list[str]:
        """What is typed, line by line: no comments, no prompts, no output."""
        lines = self.code.splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith(("$ ", "> "))]
        lines = [re.sub(r"(^|\s)#.*$", "", line).rstrip() for line in lines]
        return [line for line in lines if line.strip()]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every document, as a path from the root."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("python/*/*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = text_of(page)
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        options = _options(match["directive"] or "", f"{page}:{line}")
        found.append(Block(page, line, match["language"], match["code"], **options))
    assert len(found) * 2 == len(re.findall(r"^ *```", text, re.MULTILINE)), (
        f"{page}: a fence is odd"
    )
    return found


def _options(directive: str, where: str) -> dict:
    if not directive:
        return {}
    if match := _STAYS_OPEN.fullmatch(directive):
        return {"until": match["text"], "status": 130}
    if match := _STATUS.fullmatch(directive):
        return {"status": int(match["status"])}
    if directive.startswith("not run, "):
        return {"not_run": directive.removeprefix("not run, ")}
    raise AssertionError(f"{where}: the test cannot read '{directive}'")


def runnable(page: str) -> list[Block]:
    """The blocks that are commands or programs and are run."""
    return [b for b in blocks(page) if b.language in (*SHELL, "python") and not b.not_run]

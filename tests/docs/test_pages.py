"""What the documents say is there: commands, links, files, fields, errors, modules."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from docpages import FRESH, ROOT, SHELL, SHOWN, TRANSLATED, Block, blocks, pages, text_of

import stocklog
from stocklog.cli import cli
from stocklog.inventory.update import REASONS, REQUIRED, TYPES, UPDATE_SCHEMA

# What each of these pages must let its reader do. Who takes a command away must do so here too,
# and in the translation.
COMMANDS = {
    "README.md": [
        "./run",
        "./test",
        "cd python/producer && uv venv && source .venv/bin/activate && uv sync"
        " && python producer.py",
        "cd python/consumer && uv venv && source .venv/bin/activate && uv sync"
        " && python consumer.py first",
        "cd python/consumer && source .venv/bin/activate && python consumer.py last",
        "cd python/consumer && source .venv/bin/activate && python consumer.py",
        "cd python/producer && source .venv/bin/activate && python producer.py",
        "source .venv/bin/activate",
        "stocklog load docs/examples/stock.csv --rejects rejected.jsonl",
        "source .venv/bin/activate",
        "stocklog load docs/examples/ventas.csv --encoding latin-1 --decimal-comma"
        " --timezone Europe/Madrid --map 'sku=Artículo' --map location_id=Tienda"
        " --map 'quantity=-Unidades' --map \"occurred_at=STRPTIME(Fecha, '%d/%m/%Y %H:%M')\""
        " --set type=adjustment --set reason=sale --set source=file:ventas.csv",
        "stocklog consume last:3 --exit-at-end",
        "stocklog consume first --exit-at-end --format parquet --output updates.parquet",
        "source .venv/bin/activate",
        "stocklog load docs/examples/offline-till.csv",
        "stocklog project --exit-at-end",
        "stocklog stock --sku COFFEE-250 --at 2026-11-24T13:25Z",
        "stocklog why COFFEE-250@shop-12",
        "source .venv/bin/activate",
        "stocklog broker down",
    ],
    "python/producer/README.md": [
        "cd python/producer && uv venv && source .venv/bin/activate && uv sync"
        " && python producer.py",
        "cd python/producer && source .venv/bin/activate && python producer.py",
    ],
    "python/consumer/README.md": [
        "cd python/consumer && uv venv && source .venv/bin/activate && uv sync"
        " && python consumer.py first",
        "cd python/consumer && source .venv/bin/activate && python consumer.py last",
        "cd python/consumer && source .venv/bin/activate && python consumer.py next",
    ],
}
# Why a block may not be run; anything else is run.
NOT_RUN = {
    "there is no such broker here",
    "it changes the machine's own RabbitMQ",
    "it needs a Docker engine",
    "it deletes the user's private broker",
    "./test is run by the README's test",
    "it runs these tests",
    "it rewrites files of this tree",
}
# Python's own and other projects' pages; the tests reach no network, so these are only listed.
OUTSIDE = {"https://www.rabbitmq.com/docs/streams"}


def typed(page: str) -> list[str]:
    """The commands of a page, a continued line joined."""
    lines = [line for b in blocks(page) if b.language in SHELL for line in b.commands]
    return re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).split("\n") if lines else []


@pytest.mark.parametrize("page", COMMANDS)
def test_no_command_has_been_taken_out_of_a_readme(page: str) -> None:
    assert typed(page) == COMMANDS[page]


@pytest.mark.parametrize(("page", "translation"), list(zip(FRESH, TRANSLATED, strict=True)))
def test_a_translation_has_the_same_blocks_and_links(page: str, translation: str) -> None:
    def told(name: str) -> list[tuple[str, str, int, str]]:
        return [(b.language, b.code, b.status, b.until) for b in blocks(name)]

    def linked(name: str) -> set[str]:
        return set(_links(text_of(name))) - {"README.md", "README.es.md"}

    assert told(page) == told(translation)
    assert linked(page) == linked(translation)
    assert text_of(page).count("\n## ") == text_of(translation).count("\n## ")


@pytest.mark.parametrize("block", [b for p in pages() for b in blocks(p)], ids=str)
def test_every_block_is_run_or_says_why_not_or_is_only_shown(block: Block) -> None:
    if block.not_run:
        assert block.language in SHELL
        assert block.not_run in NOT_RUN
    else:
        assert block.language in (*SHELL, "python", *SHOWN)


def _links(text: str) -> list[str]:
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", without_code)


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_somewhere(page: str) -> None:
    for link in _links(text_of(page)):
        if link.startswith(("http://", "https://")):
            assert link in OUTSIDE, f"{page}: {link} is not known: list it if it is right"
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in _anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"


@pytest.mark.parametrize("page", pages())
def test_every_file_that_is_named_is_there(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    for name in re.findall(r"`((?:docs|scripts|tests|python|src)/[\w./-]+)`", prose):
        assert (ROOT / name).exists(), f"{page}: {name}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), ["README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        for link in _links(text_of(page)):
            path = ((ROOT / page).parent / link.partition("#")[0]).resolve()
            if path.suffix == ".md" and path.is_relative_to(ROOT):
                name = str(path.relative_to(ROOT))
                if name not in reached:
                    left.append(name)
    assert set(pages()) - reached <= {p for p in pages() if p.startswith("python/")}


def _all_commands() -> set[str]:
    found = set()

    def walk(command: click.Command, context: click.Context, words: str) -> None:
        found.add(words)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child, click.Context(child, context, info_name=name), f"{words} {name}")

    walk(cli, click.Context(cli, info_name="stocklog"), "stocklog")
    return found


@pytest.mark.parametrize("page", pages())
def test_prose_names_only_commands_and_options_that_exist(page: str) -> None:
    known = _all_commands()
    options = set(re.findall(r"--[a-z][a-z-]+", text_of("docs/cli.md")))
    of_others = {"--editable", "--extra", "--name", "--durations"}
    for text in re.findall(r"`([^`\n]+)`", text_of(page)):
        if match := re.match(r"stocklog((?: [a-z]+)+)", text):
            words = match[1].split()
            heads = {"stocklog " + " ".join(words[:n]) for n in range(1, len(words) + 1)}
            assert heads & known, f"{page}: {text}"
        for option in re.findall(r"(?<!\w)--[a-z][a-z-]+", text):
            assert option in options | of_others, f"{page}: {text}"


def test_the_record_page_has_every_field_in_order_with_its_type_and_duty() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+)[^|]* \| (\w+) \| (.*) \|$", text_of("docs/record.md"), re.M
    )
    assert [name for name, *_ in rows] == [name for name in UPDATE_SCHEMA if name != "extra"]
    words = {"String": "text", "Int64": "int64", "Datetime": "time"}
    for name, type_, duty, rule in rows:
        assert type_ == words[str(UPDATE_SCHEMA[name]).split("(")[0]], name
        assert (duty == "yes") == (name in REQUIRED), name
        if name in {"type", "reason"}:
            assert tuple(re.findall(r"`(\w+)`", rule)) == (TYPES if name == "type" else REASONS)


def test_the_python_page_names_every_error() -> None:
    named = set(re.findall(r"^\| `(\w+Error)` \|", text_of("docs/python.md"), re.M))
    errors = {name for name in stocklog.__all__ if name.endswith("Error")}
    assert named == errors - {"StocklogError"}


def test_the_exit_statuses_are_those_of_the_command_line() -> None:
    from stocklog.cli import failures

    listed = {int(n) for n in re.findall(r"^\| (\d+) \|", text_of("docs/troubleshooting.md"), re.M)}
    names = ("DONE", "FAILED", "USAGE", "REJECTS", "GAP", "VERIFY", "INTERRUPTED")
    assert listed == {getattr(failures, name) for name in names}


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["bench"],
        *project["dependency-groups"]["dev"],
    ]
    text = text_of("docs/DEPENDENCIES.md")
    listed = {
        name.strip()
        for row in re.findall(r"^\| ([\w., -]+) \|", text, re.M)
        for name in row.split(",")
    }
    assert {re.split(r"[<>=;\[ ]", one)[0] for one in wanted} <= listed


@pytest.mark.parametrize("script", ["cli_reference.py", "file_map.py"])
def test_what_scripts_write_is_not_stale(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_file_map_names_every_module() -> None:
    text = text_of("docs/internals.md")
    for path in (ROOT / "src/stocklog").rglob("*.py"):
        section = text.partition(f"### src/{path.parent.relative_to(ROOT / 'src')}\n")[2]
        assert f"| `{path.name}` |" in section.partition("\n### ")[0], path


def test_the_changelog_has_something_to_come() -> None:
    assert Path(ROOT, "CHANGELOG.md").read_text().startswith("# Changelog\n\n## ")

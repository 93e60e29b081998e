"""`stocklog broker`: the private RabbitMQ node."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stocklog.cli.report import complain
from stocklog.cli.sizes import in_words
from stocklog.cli.tables import print_facts, print_table

if TYPE_CHECKING:
    from stocklog.broker import Status

__all__ = ["broker"]

_EPILOG = """\b
Example:
  stocklog broker up
  stocklog broker status
  stocklog broker down
"""


_folder_option = click.option(
    "--dir",
    "place",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Its private folder.  [default: broker/ under stocklog's state directory]",
)
_quiet_option = click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr.")


@click.group(epilog=_EPILOG)
def broker() -> None:
    """A private RabbitMQ node: start it, look at it, stop it.

    A real RabbitMQ in a private folder, on 127.0.0.1 and free ports, with a random
    password. It needs neither root nor Docker nor systemd.
    """


@broker.command(
    epilog="""\b
Example:
  stocklog broker up
  stocklog broker up --nodes 3 --dir /tmp/three
"""
)
@_folder_option
@click.option(
    "--nodes",
    metavar="N",
    type=click.IntRange(1, 9),
    help="Nodes of the cluster, all on this machine.  [default: as before, or 1]",
)
@click.option(
    "--rabbitmq-root",
    metavar="TREE",
    type=click.Path(path_type=Path),
    help="Take RabbitMQ out of a tree that debootstrap laid; root only.",
)
@_quiet_option
def up(*, place: Path | None, nodes: int | None, rabbitmq_root: Path | None, quiet: bool) -> None:
    """Start the node, unless it runs; it outlives this command.

    A node that was killed or whose start was cut off is mended. Its data are kept from one
    start to the next.
    """
    from stocklog.broker import start

    say = _silent if quiet else _say
    info = start(place, nodes, rabbitmq_root, on_progress=say)
    what = "is up" if info.started else "was up already"
    say(f"RabbitMQ {info.version} {what}: {info.masked_uri} (pid {_numbers(info.nodes)})")
    say(f"`stocklog broker down{_same_folder(place)}` ends it")


@broker.command(
    epilog="""\b
Example:
  stocklog broker status
  export STOCKLOG_URI=$(stocklog broker status --json | jq -r .uri)
"""
)
@_folder_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with the password.")
def status(*, place: Path | None, as_json: bool) -> int:
    """Show where the node is and what it takes; exit status 1 if none runs."""
    from stocklog.broker import status as look

    found = look(place)
    if as_json:
        sys.stdout.write(json.dumps(_facts(found), ensure_ascii=False) + "\n")
    elif found.info is None:
        happened = {"stale": "was killed or lost its machine"}.get(found.state, "does not run")
        complain(
            f"the broker in {found.dir} {happened}",
            f"Start it with `stocklog broker up{_same_folder(place)}`.",
            kind=None,
        )
    else:
        _print(found)
    return 0 if found.info is not None else 1


@broker.command(
    epilog="""\b
Example:
  stocklog broker down
  stocklog broker down --delete --yes
"""
)
@_folder_option
@click.option("--delete", is_flag=True, help="Delete its data, settings and logs too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before deleting.")
@_quiet_option
def down(*, place: Path | None, delete: bool, yes: bool, quiet: bool) -> None:
    """Stop the node and everything that belongs to it; its data stay.

    With --delete the data go too, and the folder if nothing else is in it.
    """
    from stocklog.broker import default_dir, stop

    where = place or default_dir()
    if delete and not yes:
        _ask(where)
    say = _silent if quiet else _say
    ran = stop(place, delete=delete, on_progress=say)
    ended = f"the broker in {where} is down" if ran else f"no broker ran in {where}"
    say(ended + (", and nothing of it is kept" if delete else ""))


def _ask(where: Path) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("--delete asks, and nobody can answer here: give --yes too")
    click.confirm(f"Delete all data of the broker in {where}?", abort=True, err=True)


def _say(text: str) -> None:
    complain(text, kind=None)


def _silent(_: str) -> None:
    pass


def _same_folder(place: Path | None) -> str:
    return f" --dir {shlex.quote(str(place))}" if place else ""


def _numbers(nodes: Any) -> str:
    return ", ".join(str(node.pid) for node in nodes)


def _facts(found: Status) -> dict[str, Any]:
    """What `--json` prints; what is not known while nothing runs is left out."""
    facts: dict[str, Any] = {"state": found.state, "dir": str(found.dir)}
    if (info := found.info) is not None:
        facts |= {
            "uri": info.uri,
            "amqp_port": info.amqp_port,
            "stream_port": info.stream_port,
            "version": info.version,
            "pid": info.pid,
            "memory": found.memory,
            "nodes": [
                {
                    "name": node.name,
                    "running": node.running,
                    "pid": node.pid,
                    "amqp_port": node.amqp_port,
                    "stream_port": node.stream_port,
                }
                for node in info.nodes
            ],
        }
    return facts | {"size_on_disk": found.size_on_disk}


def _print(found: Status) -> None:
    info = found.info
    assert info is not None
    facts = {
        "state": found.state,
        "uri": info.masked_uri,
        "version": info.version,
        "pid": str(info.pid),
        "amqp_port": str(info.amqp_port),
        "dir": str(found.dir),
        "size_on_disk": in_words(found.size_on_disk),
        "memory": in_words(found.memory),
    }
    print_facts(facts, "text")
    if len(info.nodes) > 1:
        sys.stdout.write("\n")
        rows = [
            {
                "node": node.name,
                "state": "running" if node.running else "gone",
                "pid": str(node.pid),
                "amqp_port": str(node.amqp_port),
                "stream_port": str(node.stream_port),
            }
            for node in info.nodes
        ]
        print_table(rows, list(rows[0]), "text")

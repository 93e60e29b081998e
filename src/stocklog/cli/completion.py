"""`stocklog completion`: the script that teaches a shell to complete."""

from __future__ import annotations

import sys

import click

from stocklog.cli.failures import COMPLETE_VARIABLE, PROGRAM
from stocklog.cli.options import example

__all__ = ["completion"]


@click.command(
    epilog=example(
        'eval "$(stocklog completion bash)"              # in ~/.bashrc',
        'eval "$(stocklog completion zsh)"               # in ~/.zshrc',
        "stocklog completion fish > ~/.config/fish/completions/stocklog.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    from stocklog.cli.app import cli

    maker = get_completion_class(shell)
    if maker is None:  # click would have to drop a shell for this
        raise click.UsageError(f"this version of click cannot complete in {shell}")
    sys.stdout.write(maker(cli, {}, PROGRAM, COMPLETE_VARIABLE).source() + "\n")

"""`landscape completion`: what a shell needs to complete commands and options by the tab key."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .command import subcommand

_SHELLS = ("bash", "zsh", "fish")


@subcommand(
    epilog='Example: eval "$(landscape completion bash)" in ~/.bashrc; '
    "landscape completion fish > ~/.config/fish/completions/landscape.fish",
    help="Print a script for SHELL (bash, zsh or fish) by which the tab key completes commands and options.",
)
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print the script."""
    from .main import cli

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(cli, {}, "landscape", "_LANDSCAPE_COMPLETE").source())

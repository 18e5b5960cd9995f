"""`landscape problems`: what is built in."""

from __future__ import annotations

import click

from .command import subcommand
from .shared import json_option, print_json


@subcommand(
    epilog="Example: landscape problems digits-mlp", help="List the built-in problems, or the options of one."
)
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Print the registry."""
    from landscape import problems

    if name is not None:
        problems.get(name)
    described = [entry for entry in problems.describe() if name in (None, entry["name"])]
    if as_json:
        print_json(described)
        return
    for entry in described:
        click.echo(f"{entry['name']:<24} {entry['summary']}")
        if name is None:
            continue
        for option in entry["options"]:
            choices = f" ({' | '.join(map(str, option['choices']))})" if option.get("choices") else ""
            click.echo(f"  --set {option['name']}={option['default']}".ljust(34) + f" {option['help']}{choices}")

"""`landscape problems`: what is built in."""

from __future__ import annotations

import click

from .command import subcommand
from .shared import json_option, print_json


@subcommand(
    epilog="Example: landscape problems digits-mlp",
    help="List the built-in problems, or the options of one. Models of libraries are problems too: "
    "torchvision:NAME, timm:NAME, hf:FOLDER.",
)
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Print the registry."""
    from landscape import problems

    described = problems.describe() if name is None else [problems.get(name).describe()]
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

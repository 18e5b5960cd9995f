"""`landscape demo`: the tour in under a minute."""

from __future__ import annotations

import click

from .command import option, subcommand
from .progress import progress_bar
from .shared import json_option, print_json


@subcommand(
    epilog="Example: landscape demo -o tour",
    help="Train digits-mlp with SGD, record it, draw its landscape, and say where the pictures are.",
)
@option(former=("--directory",))(
    "-o", "--output", default=".", metavar="DIR", help="Holds checkpoints/ and figures/demo/. [default: .]"
)
@json_option
def command(output: str, as_json: bool) -> None:
    """Run the demonstration."""
    from landscape.demo import run_demo

    with progress_bar("demo", "step") as update:
        document = run_demo(output, progress=update)
    if as_json:
        print_json(document)
        return
    click.echo(f"trajectory  {document['trajectory']}")
    for name, path in document["pictures"].items():
        click.echo(f"{name:<11} {path}")
    click.echo("")
    for line in document["lines"]:
        click.echo(line)

"""`landscape init`: files to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from landscape import LandscapeError

from .command import Command
from .shared import json_option, print_json


@click.group(epilog="Example: landscape init problem my_problem.py")
def command() -> None:
    """Write a commented file to begin with."""


@command.command(cls=Command, epilog="Example: landscape init problem my_problem.py && python my_problem.py")
@click.argument("file")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@json_option
def problem(file: str, overwrite: bool, as_json: bool) -> None:
    """A problem of your own: model, data and loss in FILE.py."""
    from landscape.problems.start import template
    from landscape.storage import atomic_path, require_writable

    require_writable(file, [".py"])
    if Path(file).exists() and not overwrite:
        raise LandscapeError("the file exists", where=file, mend="pass --overwrite or another name")
    with atomic_path(file) as draft:
        draft.write_text(template(Path(file).name), encoding="utf-8")
    if as_json:
        print_json({"problem": f"{file}:make"})
        return
    click.echo(f"{file}: a problem that runs; make it yours")
    click.echo(f"  python {file}")
    click.echo(f"  landscape plot run.h5 --problem {file}:make --kind surface -o surface.png")

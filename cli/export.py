"""`landscape export`: snapshots as state dicts, surfaces as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .command import subcommand
from .shared import json_option, print_json

# Promised for pictures in other programs, and not there yet.
_LATER = (".vtk", ".vti", ".vts", ".html")


@subcommand(
    epilog="Example: landscape export run.h5 -o last.safetensors --at last",
    help="Write a snapshot of a trajectory FILE as a state dict (.safetensors, .pt, .pth), or a surface FILE as "
    "arrays (.npz) or as a table with one row per point (.csv).",
)
@click.argument("file")
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="The file to write; its ending says the format."
)
@click.option("--at", metavar="STEP", help="Which snapshot: a step, first or last. [default: last]")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
@json_option
def command(file: str, output: str, at: str | None, overwrite: bool, as_json: bool) -> None:
    """Export and say what was written."""
    from landscape.storage import kind_of

    if Path(output).suffix.lower() in _LATER:
        mend = "write .npz or .csv of a surface, .safetensors or .pt of a trajectory"
        raise LandscapeError(f"{Path(output).suffix} cannot be written yet", where=output, mend=mend)
    if kind_of(file) == "landscape/surface":
        if at is not None:
            raise LandscapeError("a surface has no steps to choose from", where="--at", mend="leave it out")
        document = _surface(file, output, overwrite)
        said = f"{document['points']:,} points, columns {', '.join(document['columns'])}"
    else:
        document = _snapshot(file, output, "last" if at is None else at, overwrite)
        said = f"step {document['step']}, {document['tensors']} tensors, {document['parameters']:,} parameters"
    if as_json:
        print_json({"output": output, **document})
    else:
        click.echo(f"{output}: {said}")


def _surface(file: str, output: str, overwrite: bool) -> dict[str, Any]:
    from landscape.surface.store import read_surface
    from landscape.surface.table import TABLE_SUFFIXES, export_surface

    _require(output, TABLE_SUFFIXES, "a surface")
    return dict(export_surface(read_surface(file), output, overwrite=overwrite))


def _snapshot(file: str, output: str, at: str, overwrite: bool) -> dict[str, Any]:
    from landscape.trajectory import export_snapshot, open_trajectory

    _require(output, (".safetensors", ".pt", ".pth"), "a trajectory")
    run = open_trajectory(file)
    return dict(export_snapshot(run, run.index_of(at), output, overwrite=overwrite))


def _require(output: str, suffixes: tuple[str, ...], what: str) -> None:
    suffix = Path(output).suffix
    if suffix.lower() not in suffixes:
        raise LandscapeError(
            f"{what} is not written so", where=output, got=suffix or "no ending", expected=" or ".join(suffixes)
        )

"""`landscape export`: snapshots as state dicts, surfaces for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.exports.formats import FORMATS, ExportOptions, export_surface

from .command import subcommand
from .declared import given_in, options_in, refuse, taken
from .shared import json_option, say


@subcommand(
    epilog="Example: landscape export run.h5 -o last.safetensors --at last",
    help="Write a surface FILE for other programs, or a snapshot of a trajectory FILE as a state dict "
    "(.safetensors, .pt, .pth).",
    topics={"Endings for a surface": [(ending, one.name) for ending, one in FORMATS.items()]},
)
@click.argument("file")
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="The file to write; its ending says the format."
)
@click.option("--at", metavar="STEP", help="Which snapshot: a step, first or last. [default: last]")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
@options_in({"Heights": ExportOptions})
@json_option
def command(file: str, output: str, at: str | None, overwrite: bool, as_json: bool, **given: Any) -> None:
    """Export and say what was written."""
    from landscape.storage import kind_of

    options = given_in(given)
    if kind_of(file) == "landscape/surface":
        if at is not None:
            raise LandscapeError("a surface has no steps to choose from", where="--at", mend="leave it out")
        document = _surface(file, output, overwrite, options)
        said = _words(document)
    else:
        refuse(options, "a snapshot", {})
        document = _snapshot(file, output, "last" if at is None else at, overwrite)
        said = [f"step {document['step']}, {document['tensors']} tensors, {document['parameters']:,} parameters"]
    say({"output": output, **document}, [f"{output}: {said[0]}", *(f"  {line}" for line in said[1:])], as_json)


def _surface(file: str, output: str, overwrite: bool, options: dict[str, Any]) -> dict[str, Any]:
    from landscape.surface.store import read_surface

    _require(output, tuple(FORMATS), "a surface")
    taken(ExportOptions, dict(options))
    return export_surface(read_surface(file), output, overwrite=overwrite, **options)


def _words(document: dict[str, Any]) -> list[str]:
    columns = f", columns {', '.join(document['columns'])}" if "columns" in document else ""
    said = [f"{document['points']:,} points{columns}"]
    if "height" in document:
        missing = f", {document['missing']:,} points have none and are left out" if document["missing"] else ""
        said.append(f"{document['height']}{missing}")
    if "millimetres" in document:
        said.append(" x ".join(f"{length:.4g}" for length in document["millimetres"]) + " mm, closed below")
    if document.get("cells_left_out"):
        said.append(f"{document['cells_left_out']} cells left out that met others in a corner only")
    return said


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

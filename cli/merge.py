"""`landscape merge`: the parts of a slice that were computed apart, joined to one file."""

from __future__ import annotations

import os

import click

from landscape import LandscapeError

from .command import subcommand
from .shared import json_option, say


@subcommand(
    epilog="Example: landscape merge part0.h5 part1.h5 part2.h5 -o s.h5",
    help="Join the PARTs of a slice, which `landscape plot --shard I/N --save PART` computed, to one file: that "
    "which a single command would have written. Parts of other slices and missing points are refused.",
)
@click.argument("parts", nargs=-1, required=True, metavar="PART...")
@click.option("-o", "--output", required=True, metavar="S.h5", help="The file to write.")
@click.option("--overwrite", is_flag=True, help="Replace S.h5 if it is there.")
@json_option
def command(parts: tuple[str, ...], output: str, overwrite: bool, as_json: bool) -> None:
    """Join, and say what was joined."""
    from landscape.files.result import load
    from landscape.storage import require_writable
    from landscape.surface.shards import merge
    from landscape.surface.store import SURFACE

    require_writable(output, [".h5", ".hdf5"])
    if os.path.lexists(output) and not overwrite:
        raise LandscapeError("the file exists", where=output, mend="pass --overwrite to replace it")
    surface = merge(parts, output)
    document = {"output": output, "parts": list(parts), "points": int(surface.values.size)}
    lines = [
        f"{output}: {document['points']:,} points of {len(parts)} parts",
        f"  draw it with: landscape plot {output}",
    ]
    if not load(SURFACE, output).complete:
        lines[1] = (
            f"  its paths or gradients are missing: landscape plot --save {output} without --shard adds them"
        )
    say(document, lines, as_json)

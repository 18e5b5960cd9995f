"""`landscape explore`: a page in which a small network is evaluated in the browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from .command import subcommand
from .shared import device_option, json_option, objective_options, say, told_in


@subcommand(
    epilog="Example: landscape explore run.h5 -o explore.html",
    help="Write a page on a snapshot of a trajectory FILE that evaluates the network in the browser: the plane "
    "can be turned, zoomed and drawn anew. For networks of up to 50,000 parameters; no server, no network.",
)
@click.argument("file")
@click.option("-o", "--output", metavar="PAGE.html", help="The page. [default: FILE with -explore.html]")
@click.option("--at", metavar="STEP", default="last", help="The snapshot: a step, first or last. [default: last]")
@click.option(
    "--examples",
    type=click.IntRange(2),
    metavar="N",
    help="Training examples. [default: what takes some ten seconds]",
)
@device_option
@objective_options
@json_option
def command(
    file: str, output: str | None, at: str, examples: int | None, device: str, as_json: bool, **given: Any
) -> None:
    """Write the page, and say where it is."""
    from landscape.explorer import explorer_of
    from landscape.plots.objectives import objective_of
    from landscape.storage import atomic_path, require_writable
    from landscape.trajectory import open_trajectory

    path = Path(output or f"{Path(file).stem}-explore.html")
    require_writable(path, [".html"])
    began = time.monotonic()
    run = open_trajectory(file)
    snapshot = run[run.index_of(at)]
    text = explorer_of(objective_of(run, **told_in(given), device=device), snapshot, examples=examples)
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")
    size = len(text.encode())
    document = {"page": str(path), "step": int(snapshot.step), "bytes": size, "seconds": time.monotonic() - began}
    say(document, [f"{path}: step {snapshot.step} of {run.problem}, {size / 1e6:.2f} MB"], as_json)

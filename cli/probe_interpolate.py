"""`landscape probe interpolate`: the line between two snapshots, or the barriers of many."""

from __future__ import annotations

from typing import Any

import click

from landscape.plots import interpolate

from .command import subcommand
from .declared import options_in
from .probe_options import probed, problem_options, put, require_outputs, source_from, stem_of, table_option
from .shared import kept_until_done, say

_HELP = (
    "Loss and error along (1 - t) A + t B. The barrier is max L(t) over t in [0, 1], minus (L(0) + L(1)) / 2 "
    "(Ainsworth et al. 2023). SNAPSHOTS are FILE, FILE:STEP, FILE:BRANCH or FILE:BRANCH:STEP; the objective is "
    "that of the first."
)


@subcommand(
    help=_HELP,
    epilog="Example: landscape probe interpolate a.h5 b.h5:800 --bn all --extend 0.5 -o line.png --json",
)
@click.argument("snapshots", nargs=-1, required=True)
@click.option("-o", "--output", metavar="PICTURE", help="png, pdf or svg. [default: no picture]")
@table_option
@options_in(
    {"Options": interpolate.options},
    skip=["at"],
    spellings={"matrix": ("--barriers",)},
    former={"matrix": ("--matrix",)},
)
@problem_options
def command(
    snapshots: tuple[str, ...], output: str | None, table: str | None, as_json: bool, **given: Any
) -> None:
    """Interpolate, and say how high the barrier is."""
    require_outputs(output, table)
    source = source_from(snapshots, given)
    with kept_until_done(stem_of(source, "interpolate")) as (store,):
        shown = probed(interpolate, source, given, store)
        put(interpolate, shown, output, table, {} if shown.options.matrix else {"snapshots": list(snapshots)})
    named = {} if shown.options.matrix else {"snapshots": list(snapshots)}
    document = {**named, **interpolate.report(shown), "picture": output, "table": table}
    say(document, interpolate.say(shown, document), as_json)

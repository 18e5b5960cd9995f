"""`landscape probe connect`: a low-loss curve between two snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.plots import Shown, connect
from landscape.plots.lines import ConnectOptions, Joined, LowCurve
from landscape.training.settings import Settings

from .command import option, subcommand
from .declared import options_in, taken
from .probe_options import problem_options, put, require_outputs, source_from, stem_of, table_option
from .progress import progress_bar
from .shared import kept_until_done, say


@subcommand(
    help="Train a curve between two snapshots along which the training loss stays low (Garipov et al. 2018), and "
    "say its barrier beside that of the straight line. A and B are FILE, FILE:STEP, FILE:BRANCH or "
    "FILE:BRANCH:STEP.",
    epilog="Example: landscape probe connect a.h5 b.h5 -o curve.h5 --picture curve.png --plane-points 31",
)
@click.argument("a")
@click.argument("b")
@click.option("-o", "--output", metavar="CURVE.h5", help="A trajectory of points along the curve. [default: none]")
@click.option("--overwrite", is_flag=True, help="Replace CURVE.h5 if it is there.")
@click.option("--picture", metavar="PICTURE", help="Loss and error along curve and line. [default: none]")
@option(former=("--plane",))(
    "--plane-points",
    "plane",
    type=int,
    metavar="N",
    help="Draw the plane through both ends and the bend too, N x N points, beside CURVE.h5. [default: not]",
)
@table_option
@options_in({"Options": connect.options}, skip=["at"], former={"curve": ("--kind",)})
@problem_options
def command(
    a: str,
    b: str,
    output: str | None,
    overwrite: bool,
    picture: str | None,
    plane: int | None,
    table: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Connect, and say how low the curve stays."""
    from landscape import LandscapeError
    from landscape.objective.batchnorm import has_statistics
    from landscape.plots.probe_values import connect_snapshots
    from landscape.storage import require_writable

    require_outputs(picture, table)
    if output is not None:
        require_writable(output, [".h5", ".hdf5"])
    elif plane is not None:
        raise LandscapeError(
            "the plane is drawn beside the curve's file", where="--plane-points", mend="give -o CURVE.h5"
        )
    source = source_from([a, b], given)
    objective, options = source.objective(), taken(ConnectOptions, given)
    with kept_until_done(stem_of(source, "connect")) as (store,):
        with progress_bar("connect", "step") as update:
            found = connect_snapshots(
                objective,
                (a, b),
                save=output,
                parts=store,
                overwrite=overwrite,
                plane=plane,
                align=options.align,
                by=options.align_by,
                settings=Settings.of(options),
                progress=update,
                at_work=update.at_work,
                kind=options.curve,
                bends=options.bends,
                points=options.points,
                bn=options.bn,
            )
        joined = Joined(
            LowCurve.of(found.connection, found.gains), dict(objective.units), has_statistics(objective.model)
        )
        shown = Shown({"": joined}, options)
        put(connect, shown, picture, table)
        drawn = [*([picture] if picture is not None else []), *_plane(found, output)]
    document = {**connect.report(shown), "trajectory": output, "drawn": drawn, "table": table}
    written = [path for path in (output, *drawn, table) if path is not None]
    say(document, [*connect.say(shown, {}), *(f"  written  {path}" for path in written)], as_json)


def _plane(found: Any, output: str | None) -> list[str]:
    """Write the plane through the ends and the bend beside the file of the curve, where it is wanted."""
    if found.surface is None or output is None:
        return []
    from landscape import render
    from landscape.surface import save_surface

    beside = Path(output).with_suffix("")
    kept, shown = f"{beside}-plane.h5", f"{beside}-plane.png"
    save_surface(found.surface, kept)
    render.save(render.picture(found.surface), shown)
    return [kept, shown]

"""`landscape probe connect`: a low-loss curve between two snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .probing import (
    number,
    objective_from,
    problem_options,
    put_picture,
    require_outputs,
    settings_from,
    stem_of,
    table_option,
    training_options,
)
from .shared import kept_until_done, model_lines, progress_bar, say

_DEFAULTS = {
    "epochs": "60",
    "lr": "0.1",
    "batch_size": "128",
    "momentum": "0.9",
    "schedule": "linear",
    "warmup_epochs": "0",
}


@click.command(
    help="Train a curve between two snapshots along which the training loss stays low (Garipov et al. 2018), and "
    "say its barrier beside that of the straight line. A and B are FILE, FILE:STEP, FILE:BRANCH or "
    "FILE:BRANCH:STEP.",
    epilog="Example: landscape probe connect a.h5 b.h5 -o curve.h5 --picture curve.png --plane 31",
)
@click.argument("a")
@click.argument("b")
@click.option("-o", "--output", metavar="CURVE.h5", help="A trajectory of points along the curve. [default: none]")
@click.option("--overwrite", is_flag=True, help="Replace CURVE.h5 if it is there.")
@click.option("--picture", metavar="PICTURE", help="Loss and error along curve and line. [default: none]")
@click.option(
    "--plane",
    type=int,
    metavar="N",
    help="Draw the plane through both ends and the bend too, N x N points, beside CURVE.h5. [default: not]",
)
@table_option
@click.option("--kind", default="bezier", help="bezier or chain (polygonal). [default: bezier]")
@click.option("--bends", type=int, default=1, help="Control points between the ends. [default: 1]")
@click.option("--points", type=int, default=51, help="Points measured along the curve. [default: 51]")
@click.option("--bn", help="frozen, interpolate or recalibrate. [default: recalibrate if there is BatchNorm]")
@click.option("--seed", type=int, default=0, help="Draws batches and places on the curve. [default: 0]")
@training_options("of the curve", _DEFAULTS)
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
    from landscape.pipeline.addresses import run_at
    from landscape.pipeline.probing import connect_snapshots
    from landscape.storage import require_writable

    require_outputs(picture, table)
    if output is not None:
        require_writable(output, [".h5", ".hdf5"])
    elif plane is not None:
        raise LandscapeError(
            "the plane is drawn beside the curve's file", where="--plane", mend="give -o CURVE.h5"
        )
    objective = objective_from(run_at(a)[0], given)
    seed = given.pop("seed")
    settings = settings_from(given, epochs=60, lr=0.1, schedule="linear", seed=seed)
    with kept_until_done(stem_of((a, b), "connect")) as (store,):
        with progress_bar("connect", "step") as update:
            found = connect_snapshots(
                objective,
                (a, b),
                save=output,
                parts=store,
                overwrite=overwrite,
                plane=plane,
                settings=settings,
                progress=update,
                **{name: value for name, value in given.items() if value is not None},
            )
        drawn = _draw(found, output, picture)
        _write_table(found.connection, table)
    document = _document(found.connection, output, drawn, table)
    say(document, _words(document, objective), as_json)


def _draw(found: Any, output: str | None, picture: str | None) -> list[str]:
    drawn = []
    if picture is not None:
        from landscape import render

        put_picture(render.interpolation([found.connection.line, found.connection.curve]), picture)
        drawn.append(picture)
    if found.surface is not None and output is not None:
        from landscape import render
        from landscape.surface import save_surface

        beside = Path(output).with_suffix("")
        kept, shown = f"{beside}-plane.h5", f"{beside}-plane.png"
        save_surface(found.surface, kept)
        put_picture(render.picture(found.surface), shown)
        drawn += [kept, shown]
    return drawn


def _write_table(connection: Any, table: str | None) -> None:
    if table is not None:
        from landscape.probes.table import interpolation_columns, save_table

        save_table(interpolation_columns([connection.line, connection.curve]), table, dict(connection.curve.meta))


def _document(connection: Any, output: str | None, drawn: list[str], table: str | None) -> dict[str, Any]:
    return {
        "barrier": connection.barrier,
        "straight_barrier": connection.straight_barrier,
        "barriers": connection.curve.barriers,
        "straight_barriers": connection.line.barriers,
        "kind": connection.path.kind,
        "bends": len(connection.path.bends),
        "bn": connection.curve.bn,
        **{key: connection.curve.meta[key] for key in ("buffers", "notes") if key in connection.curve.meta},
        "length": connection.length,
        "distance": connection.line.distance,
        "t": connection.curve.t.tolist(),
        "values": {name: values.tolist() for name, values in connection.curve.fields.items()},
        "trajectory": output,
        "drawn": drawn,
        "table": table,
    }


def _words(document: dict[str, Any], objective: Any) -> list[str]:
    unit = objective.units.get("loss", "")
    said = [
        f"{document['kind']} with {document['bends']} bend{'s' * (document['bends'] != 1)}: length "
        f"{document['length']:.4g}, straight {document['distance']:.4g}",
        f"  barrier  {number(document['barrier'], unit)} along the curve, "
        f"{number(document['straight_barrier'], unit)} along the straight line",
    ]
    written = [
        path for path in (document["trajectory"], *document["drawn"], document["table"]) if path is not None
    ]
    said += model_lines(document)
    return said + [f"  written  {path}" for path in written]

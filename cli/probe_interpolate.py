"""`landscape probe interpolate`: the line between two snapshots, or the barriers of many."""

from __future__ import annotations

from typing import Any

import click

from landscape import LandscapeError

from .probing import number, objective_from, problem_options, put_picture, require_outputs, stem_of, table_option
from .shared import kept_until_done, model_lines, progress_bar, say

_HELP = (
    "Loss and error along (1 - t) A + t B. The barrier is max L(t) over t in [0, 1], minus (L(0) + L(1)) / 2 "
    "(Ainsworth et al. 2023). SNAPSHOTS are FILE, FILE:STEP, FILE:BRANCH or FILE:BRANCH:STEP; the objective is "
    "that of the first."
)


@click.command(
    help=_HELP,
    epilog="Example: landscape probe interpolate a.h5 b.h5:800 --bn all --extend 0.5 -o line.png --json",
)
@click.argument("snapshots", nargs=-1, required=True)
@click.option("-o", "--output", metavar="PICTURE", help="png, pdf or svg. [default: no picture]")
@table_option
@click.option("--points", type=int, help="Points from A to B, both counted. [default: 51; of a matrix 25]")
@click.option("--extend", type=float, help="Go on at both ends, in units of the distance. [default: 0]")
@click.option(
    "--bn",
    help="Statistics of batch normalisation: interpolate, frozen (those of A), recalibrate at every point, or all "
    "three in one picture. [default: interpolate]",
)
@click.option("--align", is_flag=True, help="Permute and rescale B to be near A first: barrier before and after.")
@click.option("--matrix", is_flag=True, help="The barriers between each two of several snapshots.")
@click.option("--split", help="train or test. [default: both]")
@problem_options
def command(
    snapshots: tuple[str, ...], output: str | None, table: str | None, as_json: bool, **given: Any
) -> None:
    """Interpolate, and say how high the barrier is."""
    from landscape.pipeline.addresses import run_at

    matrix = given.pop("matrix")
    _check(snapshots, matrix, given)
    require_outputs(output, table)
    objective = objective_from(run_at(snapshots[0])[0], given)
    split = given.pop("split")
    ways = {name: value for name, value in given.items() if value is not None}
    ways |= {} if split is None else {"splits": (split,)}
    make = _matrix if matrix else _line
    with kept_until_done(stem_of(snapshots, "barriers" if matrix else "interpolate")) as (store,):
        document, lines = make(objective, snapshots, ways | {"save": store}, output, table)
    say(document, lines, as_json)


def _check(snapshots: tuple[str, ...], matrix: bool, given: dict[str, Any]) -> None:
    if not matrix and len(snapshots) != 2:
        mend = "pass --matrix for the barriers of several" if len(snapshots) > 2 else "name a second snapshot"
        raise LandscapeError("a line goes through two snapshots", got=len(snapshots), mend=mend)
    wrong = [name for name in ("align", "extend") if matrix and given[name]]
    if wrong:
        raise LandscapeError("not of a matrix", where=f"--{wrong[0]}", mend="leave it out")
    if matrix:
        given.pop("align")
        given.pop("extend")


def _line(
    objective: Any, snapshots: tuple[str, ...], ways: dict[str, Any], output: str | None, table: str | None
) -> tuple[dict[str, Any], list[str]]:
    from landscape.pipeline.probing import interpolate_snapshots
    from landscape.probes.table import interpolation_columns, save_table

    with progress_bar("interpolate", "point") as update:
        curves = interpolate_snapshots(objective, snapshots, progress=update, **ways)
    if output is not None:
        from landscape import render

        put_picture(render.interpolation(curves), output)
    if table is not None:
        save_table(interpolation_columns(curves), table, {**curves[0].meta, "snapshots": list(snapshots)})
    told = [
        {
            "path": curve.path,
            "bn": curve.bn,
            "barrier": curve.barrier,
            "barriers": curve.barriers,
            "distance": curve.distance,
            "ends": {name: [_at(curve, name, 0.0), _at(curve, name, 1.0)] for name in curve.fields},
            **({"buffers": curve.meta["buffers"]} if "buffers" in curve.meta else {}),
        }
        for curve in curves
    ]
    document = {
        "snapshots": list(snapshots),
        "barrier": told[-1]["barrier"],
        "definition": "max over t in [0, 1] of L(t), minus (L(0) + L(1)) / 2",
        "lines": told,
        "t": curves[0].t.tolist(),
        "values": [{name: values.tolist() for name, values in curve.fields.items()} for curve in curves],
        "picture": output,
        "table": table,
        **{key: curves[0].meta[key] for key in ("notes",) if key in curves[0].meta},
    }
    return document, _line_words(objective, curves, output, table)


def _at(curve: Any, name: str, t: float) -> float:
    return float(curve[name][curve.t == t][0])


def _line_words(objective: Any, curves: list[Any], output: str | None, table: str | None) -> list[str]:
    a, b = curves[0].labels
    said = [f"{a} to {b}: distance {curves[0].distance:.4g}, {len(curves[0].t)} points"]
    for curve in curves:
        name = f"barrier, {curve.path}, statistics {curve.bn}d" if len(curves) > 1 else "barrier"
        barriers = ", ".join(f"{field} {_amount(field, curve, objective)}" for field in curve.fields)
        said.append(f"  {name.replace('frozend', 'frozen')}: {barriers}")
    said += model_lines(curves[0].meta)
    said += _hint(objective, curves)
    return said + [f"  written  {path}" for path in (output, table) if path is not None]


def _hint(objective: Any, curves: list[Any]) -> list[str]:
    """Where alignment seems to make it worse because statistics were not taken where the weights are."""
    from landscape.objective.batchnorm import has_statistics

    found = {(curve.path, curve.bn): curve.barrier for curve in curves}
    higher = [bn for path, bn in found if path == "aligned line" and found[path, bn] > found["line", bn]]
    if not higher or "recalibrate" in {curve.bn for curve in curves} or not has_statistics(objective.model):
        return []
    why = "between two models activations vary less than statistics of the ends say (Jordan et al. 2023)"
    return [f"  hint     {why}; compare with --bn recalibrate"]


def _amount(field: str, curve: Any, objective: Any) -> str:
    metric = field.partition("_")[2]
    height = curve.barrier_of(field)
    return number(100 * height, "%") if metric == "error" else number(height, objective.units.get(metric, ""))


def _matrix(
    objective: Any, snapshots: tuple[str, ...], ways: dict[str, Any], output: str | None, table: str | None
) -> tuple[dict[str, Any], list[str]]:
    from landscape.pipeline.probing import barriers_between
    from landscape.probes.table import barrier_columns, save_table

    with progress_bar("barriers", "line") as update:
        found = barriers_between(objective, snapshots, progress=update, **ways)
    if output is not None:
        from landscape import render

        put_picture(render.barriers(found), output)
    if table is not None:
        save_table(barrier_columns(found), table, dict(found.meta))
    document = {
        "names": list(found.names),
        "bn": found.bn,
        "points": found.points,
        "barriers": {name: values.tolist() for name, values in found.fields.items()},
        "distance": found.distance.tolist(),
        "picture": output,
        "table": table,
    }
    field = next(iter(found.fields))
    width = max(map(len, found.names))
    said = [f"barriers of the {field.replace('_', ' ')}, {found.points} points on each line"]
    for name, row in zip(found.names, found[field], strict=True):
        said.append(f"  {name:<{width}} " + " ".join(f"{value:>9.3g}" for value in row))
    return document, said + [f"  written  {path}" for path in (output, table) if path is not None]

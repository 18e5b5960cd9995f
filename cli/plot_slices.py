"""Slices as `landscape plot` draws them: curves, surfaces, and trajectories in their plane."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .coordinates import coordinates
from .findings import finding_lines, findings
from .plotting import Asked, option, together
from .shared import Interrupted, preview_line, progress_bar

# What is done before the line that announces it is read.
_SHORT_SECONDS = 2.0
_FOR_TRAJECTORIES = (
    *("at", "plane", "points", "radius", "normalize", "one_d", "seed"),
    *("bn", "dtype", "engine", "tune", "memory", "device", "save_surface", "repeats", "subset", "preview"),
    *("x_range", "y_range", "x_values", "y_values", "parameters"),
)
# What tells the objective or the picture, not the slice.
_NOT_OF_SLICES = ("problem", "settings", "data", "other_data", "metric", "split", "view")

_option = option("Slices")
options = together(
    [
        _option("--at", metavar="STEP", help="The snapshot at the centre: a step, or last. [default: last]"),
        _option("--plane", help="random, pca, or snapshots:STEP,STEP[,STEP]. [default: random]"),
        _option("--points", metavar="N|NXxNY", help="Points along each axis, as 41 or 41x21. [default: 51]"),
        _option(
            "--radius",
            type=float,
            help="Half the width, in units of the directions; paths: times what fits. [default: 1]",
        ),
        _option("--x-range", metavar="LOW:HIGH", help="Of the first axis, instead of the radius."),
        _option("--y-range", metavar="LOW:HIGH", help="Of the second axis, instead of the radius."),
        _option("--x-values", metavar="A,B,...", help="All coordinates of the first axis, increasing."),
        _option("--y-values", metavar="A,B,...", help="All coordinates of the second axis, increasing."),
        _option("--repeats", type=int, metavar="K", help="K random lines or planes: median, band, statistics."),
        _option("--subset", type=int, metavar="N", help="N examples of each split; the error it costs is said."),
        _option("--normalize", help="filter, layer, weight or none. [default: filter]"),
        _option("--one-d", help="Biases and gains: ignore (they stay) or norm. [default: ignore]"),
        _option("--seed", type=int, help="Draws random directions. [default: 0]"),
        _option(
            "--parameters", metavar="GLOBS", help="Which parameters move, e.g. 'lora_*,!*.bias'. [default: all]"
        ),
        _option("--metric", help="loss, error, penalty or total. [default: loss]"),
        _option("--split", help="train or test. [default: train; a curve shows both]"),
        _option(
            "--bn",
            help="Normalisation statistics: frozen, recalibrate[:EXAMPLES] at every point, or interpolate between "
            "snapshots. [default: frozen]",
        ),
        _option("--view", help="Of a surface: contour, 3d or both. [default: contour]"),
        _option("--save-surface", metavar="S.h5", help="Keep the values; resumes if S.h5 holds a part of them."),
    ]
)
_evaluation = option("Evaluation")
evaluation_options = together(
    [
        _evaluation("--dtype", help="float32, float64 or bfloat16. [default: the model's own]"),
        _evaluation("--device", help="auto, cpu, cuda or mps. [default: auto]"),
        _evaluation("--engine", help="auto, sequential or batched. [default: auto]"),
        _evaluation(
            "--tune",
            metavar="K=V,...",
            help="Settings that auto shall not choose, such as batch_size=64,streams=2.",
        ),
        _evaluation(
            "--memory",
            metavar="SIZE",
            help="What evaluation may take, such as 4GB. [default: a quarter of what is free]",
        ),
        _evaluation(
            "--preview",
            type=float,
            metavar="TOL",
            help="Interpolate what needs no computing for a relative error of the loss below TOL, e.g. 0.01, and "
            "say so.",
        ),
    ]
)


def plot(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """Draw a slice, evaluated or stored.

    Returns:
        What is to be printed: as a JSON document, and as lines.
    """
    from landscape.errors import did_you_mean
    from landscape.render.pictures import VIEWS
    from landscape.storage import kind_of

    view, metric, split = (asked.options.get(name) for name in ("view", "metric", "split"))
    if view not in (None, *VIEWS):
        raise LandscapeError(f"unknown view '{view}'", mend=did_you_mean(str(view), VIEWS))
    if view not in (None, "contour") and asked.kind == "curve":
        raise LandscapeError("a curve has one view only", where="--view", got=view, mend="leave it out")
    began = time.monotonic()
    wanted = {name: value for name, value in asked.options.items() if name not in _NOT_OF_SLICES}
    if kind_of(asked.file) == "landscape/surface":
        surface = _stored(asked.file, wanted)
    else:
        surface = _evaluated(asked.file, {**wanted, "kind": asked.kind}, metric, split, asked.told)
    _draw(surface, asked.picture, metric, split, view)
    document = describe(surface) | {
        "picture": str(asked.picture),
        "surface": asked.options.get("save_surface"),
        "seconds": time.monotonic() - began,
    }
    return document, report(document)


def _stored(file: str, wanted: dict[str, Any]) -> Any:
    from landscape.surface.store import read_surface

    refused = [f"--{name.replace('_', '-')}" for name in _FOR_TRAJECTORIES if name in wanted]
    if refused:
        raise LandscapeError(
            f"{', '.join(refused)} cannot change a stored surface", where=file, mend="give the trajectory instead"
        )
    surface = read_surface(file)
    if wanted.get("kind") not in (None, surface.meta.get("kind")):
        raise LandscapeError(
            f"the file holds a {surface.meta.get('kind')}", where=file, got=f"--kind {wanted['kind']}"
        )
    return surface


def _evaluated(
    file: str, wanted: dict[str, Any], metric: str | None, split: str | None, told: dict[str, Any]
) -> Any:
    from landscape.pipeline import Slice, objective_of, slice_of
    from landscape.storage import require_writable
    from landscape.trajectory import open_trajectory

    save = wanted.pop("save_surface", None)
    device = wanted.pop("device", "auto")
    wanted = coordinates(wanted)
    slice_wanted = Slice(**wanted, splits=(split,) if split else ())
    if save is not None:
        require_writable(save, [".h5", ".hdf5"])
    run = open_trajectory(file)
    if len(run) == 0:
        raise LandscapeError("the trajectory holds no snapshot yet", where=file, mend="train longer")
    run.index_of(slice_wanted.at)
    objective = objective_of(run, **told, device=device)
    extra = (metric,) if metric in ("penalty", "total") else ()
    measured = tuple(name for name in ("loss", "error") if name in objective.metrics) + extra
    objective.require((split,) if split else (), (metric,) if metric else ())
    slice_wanted = Slice(**wanted, splits=slice_wanted.splits, metrics=measured)
    try:
        with progress_bar(f"{slice_wanted.kind} of {run.problem}", "point") as update:
            return slice_of(run, objective, slice_wanted, save=save, progress=update, notify=_announce)
    except KeyboardInterrupt:
        kept = (
            f"the points computed are kept in {save}; run the same command to go on"
            if save
            else "nothing was kept"
        )
        raise Interrupted(kept) from None


def _announce(plan: Any) -> None:
    """The choice and the estimate, before the work starts; short work needs no announcement."""
    if plan.seconds >= _SHORT_SECONDS:
        click.echo(plan.describe(), err=True)


def _draw(surface: Any, picture: Path, metric: str | None, split: str | None, view: str | None) -> None:
    from landscape import render

    field = None
    if metric or split:
        first_split, first_metric = next(iter(surface.fields)).split("_", 1)
        field = f"{split or first_split}_{metric or first_metric}"
        _ = surface[field]
    render.save(render.picture(surface, field=field, view=view or "contour"), picture)


def describe(surface: Any) -> dict[str, Any]:
    """The numbers that a reader of the picture wants, as plain values."""
    import numpy as np

    from landscape import render
    from landscape.surface.summary import summarise

    meta = dict(surface.meta)
    done = np.ones(surface.values.shape, bool) if surface.done is None else surface.done
    document: dict[str, Any] = {
        "kind": meta.get("kind"),
        "problem": meta.get("problem"),
        "step": meta.get("step"),
        "shape": list(surface.values.shape),
        "points": int(done.size),
        "computed": int(done.sum() if surface.computed is None else surface.computed.sum()),
        "preview": meta.get("preview"),
        "plane": meta.get("plane", {}),
        "bn": meta.get("bn"),
        "dtype": meta.get("dtype"),
        "dtype_error": meta.get("dtype_error"),
        "engine": meta.get("engine"),
        "center": _center(surface),
        "fields": {name: summarise(values, done) for name, values in surface.fields.items()},
        **findings(surface),
    }
    if surface.path is not None:
        gap = np.abs(surface.path.loss - surface.path.plane_loss)
        document["path"] = {
            "snapshots": len(surface.path.step),
            "max_off_plane": float(surface.path.off_plane.max()),
            "median_loss_difference": float(np.median(gap)),
            "motion_held": meta["plane"]["motion_held"],
            "verdict": render.verdict(surface.path, meta),
        }
    return document


def _center(surface: Any) -> dict[str, float] | None:
    """The values where all coordinates are 0, if the grid has that point."""
    one = surface if surface.repeat is None else surface.at(repeat=surface.repeat[0])
    axes = list(one.axes.values())
    places = [abs(axis).argmin() for axis in axes]
    if any(axis[place] != 0 for axis, place in zip(axes, places, strict=True)):
        return None
    return {name: float(values[tuple(places)]) for name, values in one.fields.items()}


def report(document: dict[str, Any]) -> list[str]:
    """The same in a few lines for a person."""
    one_plane = document["shape"][1:] if "repeats" in document else document["shape"]
    shape = " x ".join(map(str, reversed(one_plane)))
    lines = [
        f"{document['picture']}: {document['kind']} of {document['problem']} at step {document['step']}, {shape}"
    ]
    lines.append(f"  computed in {document['seconds']:.1f} s, {document['plane'].get('kind')} plane")
    if document["preview"]:
        lines.append(f"  {preview_line(document['preview'])}")
    if document["center"]:
        lines.append("  centre  " + "  ".join(f"{name} {value:.6g}" for name, value in document["center"].items()))
    for name, numbers in document["fields"].items():
        if numbers["min"] is not None:
            lines.append(f"  {name:<12} from {numbers['min']:.4g} to {numbers['max']:.4g}")
        if numbers["nan"] or numbers["inf"]:
            lines.append(
                f"  {name:<12} {numbers['nan']} points are NaN, {numbers['inf']} infinite; drawn as masked"
            )
    if document["dtype_error"]:
        error = document["dtype_error"]
        lines.append(
            f"  {document['dtype']} is within {error['largest_relative']:.1e} of float64 (relative, at "
            f"{error['points']} points on {error['examples']} examples)"
        )
    lines += finding_lines(document)
    lines += _moved(document["plane"])
    if "path" in document:
        lines.append(f"  {document['path']['verdict']}")
    return lines


def _moved(plane: dict[str, Any]) -> list[str]:
    """What the directions move, and what stays."""
    told, drawn = plane.get("tensors"), plane.get("report")
    if told is None:
        return []
    filters = f", {drawn['filters']} filters, {drawn['zero_filters']} of norm 0" if drawn else ""
    stays = {"frozen": "frozen", "still": "biases and gains" if drawn else "still", "buffers": "buffers"}
    kept = ", ".join(f"{told[group]['count']} {word}" for group, word in stays.items() if told[group]["count"])
    tied = f"; {told['tied']['count']} tied names move along" if told["tied"]["count"] else ""
    chosen = f", chosen by {', '.join(plane['parameters'])}" if "parameters" in plane else ""
    moving = told["moving"]
    return [
        f"  moved {moving['count']} tensors ({moving['numbers']:,} numbers{filters}){chosen}"
        f"{f', kept {kept}' if kept else ''}{tied}"
    ]

"""Slices as `landscape plot` draws them: curves, surfaces, and trajectories in their plane."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape import LandscapeError

from .plotting import Asked, option
from .shared import together
from .slice_evaluation import evaluated
from .slice_report import describe_all, report

_FOR_TRAJECTORIES = (
    *("at", "plane", "points", "radius", "normalize", "one_d", "seed"),
    *("bn", "dtype", "engine", "tune", "memory", "device", "save_surface", "repeats", "subset", "preview"),
    *("x_range", "y_range", "x_values", "y_values", "parameters"),
    *("center", "directions", "common_plane", "nearest", "gradient_field"),
)
# What tells the objective or the picture, not the slice.
_NOT_OF_SLICES = ("problem", "settings", "data", "other_data", "metric", "split", "view")
_OF_OTHER_KINDS = ("components",)

_option = option("Slices")
options = together(
    [
        _option("--at", metavar="STEP", help="The snapshot at the centre: a step, or last. [default: last]"),
        _option(
            "--plane",
            metavar="WHAT",
            help="random; pca; snapshots:A,B[,C], each a STEP or FILE:STEP; runs (through the FILES); "
            "hessian[:largest|smallest|both], eigenvectors; gradient-update; of a curve gradient or update. "
            "[default: random]",
        ),
        _option("--directions", metavar="FILE", help="Directions x, y: a surface, .npz or .safetensors."),
        _option("--common-plane", is_flag=True, help="One plane for the trajectories of all FILES (joint PCA)."),
        _option("--nearest", metavar="STEP", help="Beside a trajectory, its plane moved to this snapshot."),
        _option("--gradient-field", is_flag=True, help="Arrows: negative gradients projected into the plane."),
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
        _option(
            "--metric",
            help="loss, error, penalty, total or hessian-ratio (smallest / largest eigenvalue). [default: loss]",
        ),
        _option("--split", help="train or test. [default: train; a curve shows both]"),
        _option(
            "--bn",
            help="Normalisation statistics: frozen, recalibrate[:EXAMPLES] at every point, or interpolate between "
            "snapshots. [default: frozen]",
        ),
        _option("--view", help="Of a surface: contour, levels (lines only), 3d or both. [default: contour]"),
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
    """Draw slices, evaluated or stored.

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
    asked.refuse(*_OF_OTHER_KINDS)
    began = time.monotonic()
    wanted = {name: value for name, value in asked.options.items() if name not in _NOT_OF_SLICES}
    # A flag that was not given is no option.
    wanted = {name: value for name, value in wanted.items() if value is not False}
    metric = metric.replace("-", "_") if metric else None
    if kind_of(asked.files[0]) == "landscape/surface":
        surfaces = {"": _stored(asked.file, wanted)}
    else:
        surfaces = evaluated(asked, wanted, metric, split)
    _draw(surfaces, asked.picture, metric, split, view)
    document = describe_all(surfaces) | {
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


def _draw(
    surfaces: Mapping[str, Any], picture: Path, metric: str | None, split: str | None, view: str | None
) -> None:
    from landscape import render

    first, field = next(iter(surfaces.values())), None
    if metric or split:
        first_split, first_metric = next(iter(first.fields)).split("_", 1)
        field = f"{split or first_split}_{metric or first_metric}"
        for surface in surfaces.values():
            _ = surface[field]
    if len(surfaces) == 1:
        figure = render.picture(first, field=field, view=view or "contour")
    else:
        figure = render.compose([render.Panel(surfaces, title="", field=field, view=view or "contour")])
    render.save(figure, picture)

"""Evaluate an objective on a grid over a plane: resumable, row after row."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import HasWeights, digest
from landscape.projection import Plane, Projected
from landscape.storage import require_writable
from landscape.surface.engine import Engine, make_engine
from landscape.surface.preview import preview as make_preview
from landscape.surface.preview import require_tolerance
from landscape.surface.store import PartialSurface
from landscape.surface.values import Grid, Path, Surface

Progress = Callable[[int, int], None]

# A file of directions larger than this many numbers is not worth its disk: the seed draws them again.
_LARGEST_STORED_DIRECTION = 2**20


class Walk(Protocol):
    """The snapshots of a trajectory, in order, with their steps."""

    @property
    def steps(self) -> Any: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[HasWeights]: ...


def evaluate(
    objective: Objective,
    plane: Plane,
    grid: Grid,
    *,
    metrics: Sequence[str] | str | None = None,
    splits: Sequence[str] | str = ("train",),
    save: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    dtype: torch.dtype | None = None,
    path: tuple[Walk, Projected] | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    preview: float | None = None,
) -> Surface:
    """The slice of an objective over a plane (or line).

    At coordinates (0, 0) the weights are those of the origin, bit for bit. Every point is computed afresh
    from the origin.

    Args:
        objective: What to evaluate.
        plane: Where.
        grid: At which coordinates; of a square grid a line takes one side.
        metrics: What to measure; None is the loss, and the error where there is one.
        splits: On which data.
        save: A file to write, row after row. If it holds a part of the same slice, only missing points are
            computed, and it ends bit for bit as if it had never been interrupted.
        engine: ``"auto"`` or ``"sequential"``.
        dtype: ``torch.float64``, ``torch.float32`` ...; None is the model's own.
        path: A trajectory and its projection into the plane, to go with the slice: its own losses and
            those at its projections are measured on the first split.
        provenance: More to say about the slice, as plain JSON values.
        progress: Called with (points done, points in all).
        preview: The relative error of the first split's loss up to which points may be interpolated instead of
            computed, between 0 and 1; None computes all. `Surface.computed` says which are, `meta["preview"]`
            how well points that were kept aside were foretold. All are computed where that does not pay.

    Returns:
        The slice.

    Raises:
        LandscapeError: If grid and plane differ in dimension, a metric or split does not exist, or the
            file holds another slice.
    """
    splits = (splits,) if isinstance(splits, str) else tuple(splits)
    metrics = (metrics,) if isinstance(metrics, str) else metrics
    chosen = tuple(metrics or (metric for metric in objective.metrics if metric in ("loss", "error")))
    if not splits:
        raise LandscapeError("at least one split is needed", mend="choose from " + ", ".join(objective.splits))
    objective.require(splits, chosen)
    if save is not None:
        require_writable(save)
    if preview is not None:
        require_tolerance(preview)
    if plane.dims == 1 and grid.y is not None and np.array_equal(grid.x, grid.y):
        grid = Grid(grid.x)
    if len(grid.shape) != plane.dims:
        raise LandscapeError("grid and plane differ in dimension", got=len(grid.shape), expected=plane.dims)
    worker = make_engine(engine, objective, plane, splits, chosen, dtype)
    names = [f"{split}_{metric}" for split in splits for metric in chosen]
    identity = _identity(objective, plane, splits, worker, dtype, path)
    identity |= {} if preview is None else {"preview": float(preview)}
    meta = _meta(objective, plane, splits, chosen, dtype, path) | dict(provenance or {})
    partial = PartialSurface.open(save, grid, names, identity, meta, _stored_directions(plane))
    if partial.finished is not None:
        return partial.finished
    if preview is None:
        _fill(partial, worker, grid, progress)
    else:
        _foretell(partial, worker, grid, preview, plane, progress)
    walked = None if path is None else _walk(objective, plane, *path, splits[0])
    return partial.finish(walked)


def _fill(partial: PartialSurface, worker: Engine, grid: Grid, progress: Progress | None) -> None:
    rows = 1 if grid.y is None else len(grid.y)
    total = rows * len(grid.x)
    finished = int(partial.done.sum())
    for row in range(rows):
        missing = [column for column in range(len(grid.x)) if not partial.done.reshape(rows, -1)[row, column]]
        points = [
            (float(grid.x[c]),) if grid.y is None else (float(grid.x[c]), float(grid.y[row])) for c in missing
        ]
        try:
            for column, estimates in zip(missing, worker.evaluate(points), strict=True):
                partial.put(row, column, estimates)
                finished += 1
                if progress is not None:
                    progress(finished, total)
        finally:
            partial.flush(row)


def _foretell(
    partial: PartialSurface,
    worker: Engine,
    grid: Grid,
    tolerance: float,
    plane: Plane,
    progress: Progress | None,
) -> None:
    """Compute what a preview asks for, but for what the file holds already, and interpolate the rest."""

    def compute(points: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        missing = np.sort(points[~partial.done.ravel()[points]])
        _compute(partial, worker, grid, missing, progress)
        return {name: values.ravel()[points] for name, values in partial.surface.fields.items()}

    names = list(partial.surface.fields)
    judge = next((name for name in names if name.endswith("_loss")), names[0])
    marks = [tuple(mark[axis] for axis in "xy"[: plane.dims]) for mark in plane.meta.get("marks", ())]
    made = make_preview(grid, compute, tolerance, judge=judge, places=[(0.0,) * plane.dims, *marks])
    partial.fill(made.fields, made.computed, made.report)
    if progress is not None:
        progress(partial.done.size, partial.done.size)


def _compute(
    partial: PartialSurface,
    worker: Engine,
    grid: Grid,
    missing: NDArray[np.int64],
    progress: Progress | None,
) -> None:
    """Evaluate points by their flat indices, which rise, so that the file takes them row by row."""
    rows, columns = np.divmod(missing, len(grid.x))
    points = [
        (float(grid.x[c]),) if grid.y is None else (float(grid.x[c]), float(grid.y[r]))
        for r, c in zip(rows, columns, strict=True)
    ]
    row = -1
    try:
        for next_row, column, estimates in zip(rows, columns, worker.evaluate(points), strict=True):
            if row not in (-1, next_row):
                partial.flush(row)
            row = int(next_row)
            partial.put(row, int(column), estimates)
            if progress is not None:
                progress(int(partial.done.sum()), partial.done.size)
    finally:
        if row != -1:
            partial.flush(row)


def _walk(objective: Objective, plane: Plane, run: Walk, projected: Projected, split: str) -> Path:
    evaluator = objective.evaluator()
    key = f"{split}_loss"
    real, inside = [], []
    for snapshot, coordinates in zip(run, projected.coordinates, strict=True):
        real.append(objective.value(snapshot, split))
        evaluator.load(plane.point(*coordinates.tolist()))
        inside.append(evaluator.measure([split], ["loss"])[key].mean)
    return Path(
        step=np.asarray(run.steps, dtype=np.int64),
        x=projected.coordinates[:, 0],
        y=projected.coordinates[:, 1],
        off_plane=projected.off_plane,
        loss=np.array(real),
        plane_loss=np.array(inside),
    )


def _identity(
    objective: Objective,
    plane: Plane,
    splits: Sequence[str],
    worker: Engine,
    dtype: torch.dtype | None,
    path: tuple[Walk, Projected] | None,
) -> dict[str, Any]:
    """Everything that decides the numbers: a file with another identity is another slice."""
    made = {key: plane.meta[key] for key in ("kind", "normalize", "one_d", "seed") if key in plane.meta}
    return {
        **objective.fingerprint(plane.origin),
        **{f"plane {key}" if key == "kind" else key: value for key, value in made.items()},
        "weights": digest(plane.origin),
        "directions": " ".join(digest(direction) for direction in plane.directions),
        **{f"{split} data": objective.data_digest(split) for split in splits},
        "weight_decay": objective.weight_decay,
        "dtype": _dtype_name(plane, dtype),
        "engine": worker.name,
        "batch_size": worker.batch_size,
        "bn": plane.meta.get("bn", "frozen"),
        "torch": importlib.metadata.version("torch"),
        "path": None if path is None else hashlib.sha256(path[1].coordinates.tobytes()).hexdigest(),
    }


def _dtype_name(plane: Plane, dtype: torch.dtype | None) -> str:
    kinds = {str(plane.origin[info.name].dtype) for info in plane.layout.moving()}
    return str(dtype or next(iter(sorted(kinds)), "")).removeprefix("torch.")


def _meta(
    objective: Objective,
    plane: Plane,
    splits: Sequence[str],
    metrics: Sequence[str],
    dtype: torch.dtype | None,
    path: tuple[Walk, Projected] | None,
) -> dict[str, Any]:
    about = {key: value for key, value in plane.meta.items() if key not in ("axes", "equal_aspect", "bn")}
    if path is not None:
        about["motion_held"] = path[1].motion_held
    return {
        "kind": "curve" if plane.dims == 1 else "surface" if path is None else "trajectory",
        "problem": objective.problem,
        "problem_args": objective.problem_args,
        "splits": list(splits),
        "metrics": list(metrics),
        "units": {metric: objective.units[metric] for metric in metrics},
        "weight_decay": objective.weight_decay,
        "plane": about,
        "axes": plane.meta["axes"],
        "equal_aspect": plane.meta["equal_aspect"],
        **({"bn": plane.meta.get("bn", "frozen")} if _has_statistics(plane) else {}),
        "dtype": _dtype_name(plane, dtype),
        "examples": {split: objective.data[split].count for split in splits},
    }


def _has_statistics(plane: Plane) -> bool:
    """Whether buffers of real numbers (normalisation statistics) take part in the forward pass."""
    return any(info.floating for info in plane.layout.stored("buffer"))


def _stored_directions(plane: Plane) -> dict[str, dict[str, Any]]:
    """The directions as arrays under x, y, ...; none where they are large and their seed draws them again."""
    size = sum(tensor.numel() for direction in plane.directions for tensor in direction.values())
    if plane.kind == "random" and size > _LARGEST_STORED_DIRECTION:
        return {}
    axes = itertools.chain("xyz", (f"d{i}" for i in itertools.count(4)))
    return {
        axis: {name: tensor.detach().cpu().float().numpy() for name, tensor in direction.items()}
        if not _is_double(direction)
        else {name: tensor.detach().cpu().numpy() for name, tensor in direction.items()}
        for axis, direction in zip(axes, plane.directions, strict=False)
    }


def _is_double(direction: Mapping[str, torch.Tensor]) -> bool:
    return any(tensor.dtype == torch.float64 for tensor in direction.values())

"""Evaluate an objective on a grid over a plane: resumable, row after row."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import HasWeights, digest
from landscape.projection import Plane, Projected, Repeats
from landscape.storage import require_writable
from landscape.surface.axes import REPEAT, axis_names
from landscape.surface.engine import Engine, make_engine
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
    plane: Plane | Repeats,
    grid: Grid,
    *,
    metrics: Sequence[str] | str | None = None,
    splits: Sequence[str] | str = ("train",),
    subset: int | None = None,
    save: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    dtype: torch.dtype | None = None,
    path: tuple[Walk, Projected] | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Surface:
    """The slice of an objective over a plane (or line).

    At coordinates (0, 0) the weights are those of the origin, bit for bit. Every point is computed afresh
    from the origin.

    Args:
        objective: What to evaluate.
        plane: Where; of `Repeats` every plane, side by side along a leading axis.
        grid: At which coordinates; of a square grid a line takes one side.
        metrics: What to measure; None is the loss, and the error where there is one.
        splits: On which data.
        subset: So many examples of each split instead of all, the same at all points: those that
            `Objective.subset` draws with seed 0.
        save: A file to write, row after row. If it holds a part of the same slice, only missing points are
            computed, and it ends bit for bit as if it had never been interrupted.
        engine: ``"auto"`` or ``"sequential"``.
        dtype: ``torch.float64``, ``torch.float32`` ...; None is the model's own.
        path: A trajectory and its projection into the plane, to go with the slice: its own losses and
            those at its projections are measured on the first split.
        provenance: More to say about the slice, as plain JSON values.
        progress: Called with (points done, points in all).

    Returns:
        The slice.

    Raises:
        LandscapeError: If grid and plane differ in dimension, a metric or split does not exist, a split has
            fewer examples than the subset, or the file holds another slice.
    """
    splits = (splits,) if isinstance(splits, str) else tuple(splits)
    metrics = (metrics,) if isinstance(metrics, str) else metrics
    chosen = tuple(metrics or (metric for metric in objective.metrics if metric in ("loss", "error")))
    if not splits:
        raise LandscapeError("at least one split is needed", mend="choose from " + ", ".join(objective.splits))
    objective.require(splits, chosen)
    if save is not None:
        require_writable(save)
    if subset is not None:
        objective = objective.subset(subset, splits=splits)
    grid = _grid_of(plane, grid, path is not None)
    first = plane[0] if isinstance(plane, Repeats) else plane
    worker = make_engine(engine, objective, first, splits, chosen, dtype)
    names = [f"{split}_{metric}" for split in splits for metric in chosen]
    identity = _identity(objective, first, splits, worker, dtype, path)
    meta = _meta(objective, first, splits, chosen, dtype, path) | dict(provenance or {})
    directions = _stored_directions(first)
    if isinstance(plane, Repeats):
        drawn, directions = _directions_of(plane)
        identity |= {"directions": drawn, "repeats": len(plane)}
        meta |= _repeated_meta(meta, plane)
    partial = PartialSurface.open(save, grid, names, identity, meta, directions)
    if partial.finished is not None:
        return partial.finished

    def engine_of(index: int) -> Engine:
        if index == 0 or not isinstance(plane, Repeats):
            return worker
        return make_engine(engine, objective, plane[index], splits, chosen, dtype)

    _fill(partial, engine_of, grid, progress)
    walked = None if path is None else _walk(objective, first, *path, splits[0])
    return partial.finish(walked)


def _grid_of(plane: Plane | Repeats, grid: Grid, has_path: bool) -> Grid:
    """The grid in the dimension of the plane, with an axis for repeats."""
    if plane.dims == 1 and grid.dims == 2 and np.array_equal(grid.x, grid.y):  # type: ignore[arg-type]
        grid = Grid(grid.x)
    if grid.dims != plane.dims:
        raise LandscapeError("grid and plane differ in dimension", got=grid.dims, expected=plane.dims)
    if not isinstance(plane, Repeats):
        return grid
    if has_path:
        raise LandscapeError("a path lies in one plane", where="path", got=f"{len(plane)} planes")
    return grid.repeated(plane.seeds)


def _fill(
    partial: PartialSurface, engine_of: Callable[[int], Engine], grid: Grid, progress: Progress | None
) -> None:
    """Compute what is missing, row after row; the engine of a plane is made when a row of it needs one."""
    missing = ~partial.done.reshape(-1, len(grid.x))
    finished, total = int(partial.done.sum()), partial.done.size
    planes = 1 if grid.repeat is None else len(grid.repeat)
    for plane, rows in enumerate(np.split(np.arange(len(missing)), planes)):
        if not missing[rows].any():
            continue
        worker = engine_of(plane)
        for row in rows.tolist():
            columns = np.flatnonzero(missing[row]).tolist()
            points = _points(grid, row - int(rows[0]), columns)
            try:
                for column, estimates in zip(columns, worker.evaluate(points), strict=True):
                    partial.put(row, column, estimates)
                    finished += 1
                    if progress is not None:
                        progress(finished, total)
            finally:
                partial.flush(row)


def _points(grid: Grid, row: int, columns: Sequence[int]) -> list[tuple[float, ...]]:
    """The coordinates (x, y, z, ...) of some columns of a row, which is counted within its plane."""
    outer = [axis for name, axis in grid.axes.items() if name not in ("x", REPEAT)]
    place = np.unravel_index(row, [len(axis) for axis in outer])
    rest = [float(axis[i]) for axis, i in zip(outer, place, strict=True)][::-1]
    return [(float(grid.x[column]), *rest) for column in columns]


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
        "examples": objective.examples(splits),
    }


def _has_statistics(plane: Plane) -> bool:
    """Whether buffers of real numbers (normalisation statistics) take part in the forward pass."""
    return any(info.floating for info in plane.layout.stored("buffer"))


def _stored_directions(plane: Plane) -> dict[str, dict[str, Any]]:
    """The directions as arrays under x, y, ...; none where they are large and their seed draws them again."""
    if plane.kind == "random" and _size(plane) > _LARGEST_STORED_DIRECTION:
        return {}
    names = axis_names(plane.dims)
    return {axis: _arrays(direction) for axis, direction in zip(names, plane.directions, strict=True)}


def _directions_of(planes: Repeats) -> tuple[str, dict[str, dict[str, Any]]]:
    """The digest of the directions of all repeats, and the directions under repeat0/x, ... if they are small."""
    said = hashlib.sha256()
    stored: dict[str, dict[str, Any]] = {}
    for index, plane in enumerate(planes):
        said.update(" ".join(digest(direction) for direction in plane.directions).encode())
        if _size(plane) * len(planes) <= _LARGEST_STORED_DIRECTION:
            stored |= {f"repeat{index}/{axis}": own for axis, own in _stored_directions(plane).items()}
    return said.hexdigest(), stored


def _repeated_meta(meta: Mapping[str, Any], planes: Repeats) -> dict[str, Any]:
    """What is said of the first plane, as it holds for all."""
    about = {key: value for key, value in meta["plane"].items() if key != "cosine"}
    axes = [dict(own) for own in meta["axes"]]
    if planes.dims == 1:
        axes[0]["label"] = "random direction"
    return {"plane": {**about, "repeats": len(planes)}, "axes": axes}


def _size(plane: Plane) -> int:
    return sum(tensor.numel() for direction in plane.directions for tensor in direction.values())


def _arrays(direction: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    double = any(tensor.dtype == torch.float64 for tensor in direction.values())
    return {
        name: (tensor.detach().cpu() if double else tensor.detach().cpu().float()).numpy()
        for name, tensor in direction.items()
    }

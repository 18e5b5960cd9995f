"""From trajectories to the slice that a picture shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landscape import projection
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.pipeline.slices import RECALIBRATE, THROUGH_RUNS, Slice
from landscape.projection import Plane, Projected, Repeats
from landscape.surface import Grid, Surface, evaluate, grid
from landscape.surface.evaluation import Progress
from landscape.surface.plan import Plan
from landscape.trajectory import Snapshot, Trajectory

# Room around a path or around snapshots, as a share of their extent on either side.
_MARGIN = 0.25
# Li et al. 2018 draw interpolations on [-0.5, 1.5].
_INTERPOLATION_MARGIN = 0.5


def slice_of(
    run: Trajectory,
    objective: Objective,
    wanted: Slice,
    *,
    save: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    notify: Callable[[Plan], None] | None = None,
) -> Surface:
    """Evaluate a slice of a trajectory's landscape.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: What to draw.
        save: A surface file to write and to resume from.
        progress: Called with (points done, points in all).
        notify: Called with the plan of the evaluation, before it starts.

    Returns:
        The slice, ready to be rendered.

    Raises:
        LandscapeError: If a step does not exist, or the trajectory does not span the plane.
    """
    if wanted.plane == THROUGH_RUNS:
        raise LandscapeError(
            "a plane through runs needs several of them", where=run.path, mend="draw it by a recipe"
        )
    if wanted.parameters is not None:
        run = run.select(wanted.parameters)
    index = run.index_of(wanted.snapshots[0] if wanted.snapshots else wanted.at)
    snapshot, walk = run[index], run[: index + 1]
    plane = _plane(run, walk, wanted)
    projected = None
    if isinstance(plane, Plane) and plane.kind == "pca":
        projected = projection.project_path(plane, walk)
    return evaluate(
        objective,
        plane,
        _grid(plane, projected, wanted),
        path=(walk, projected) if projected is not None and wanted.kind == "trajectory" else None,
        provenance=_provenance(run, snapshot),
        save=save,
        progress=progress,
        notify=notify,
        **_ways(objective, wanted),
    )


def slice_through(
    runs: Mapping[str, Trajectory],
    objective: Objective,
    wanted: Slice,
    *,
    save: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    notify: Callable[[Plan], None] | None = None,
) -> Surface:
    """Evaluate the line through one snapshot each of two runs, or the plane through three.

    Args:
        runs: Name -> trajectory of the same model; the first is at the origin, the second at (1, 0).
        objective: The objective of the first.
        wanted: What to draw; its plane is ``"runs"``.
        save: A surface file to write and to resume from.
        progress: Called with (points done, points in all).
        notify: Called with the plan of the evaluation, before it starts.

    Returns:
        The slice, whose marks bear the names of the runs.

    Raises:
        LandscapeError: If these are not as many runs as needed, a step does not exist, or the models differ.
    """
    needed = 2 if wanted.kind == "curve" else 3
    if len(runs) != needed:
        raise LandscapeError(f"a {wanted.kind} goes through {needed} runs", got=len(runs))
    if wanted.parameters is not None:
        runs = {name: run.select(wanted.parameters) for name, run in runs.items()}
    chosen = [run[run.index_of(wanted.at)] for run in runs.values()]
    plane = _plane_through(chosen, list(runs), wanted)
    first = next(iter(runs.values()))
    return evaluate(
        objective,
        plane,
        _grid(plane, None, wanted),
        provenance=_provenance(first, chosen[0]),
        save=save,
        progress=progress,
        notify=notify,
        **_ways(objective, wanted),
    )


def _ways(objective: Objective, wanted: Slice) -> dict[str, Any]:
    """What is measured at every point, and how."""
    return {
        "metrics": tuple(wanted.metrics) or None,
        "splits": tuple(wanted.splits) or (objective.splits if wanted.kind == "curve" else ("train",)),
        "engine": wanted.engine,
        "tune": wanted.tune,
        "memory": wanted.memory,
        "bn": wanted.bn if wanted.bn.startswith(RECALIBRATE) else None,
        "dtype": getattr(torch, wanted.dtype) if wanted.dtype else None,
        "subset": wanted.subset,
        "preview": wanted.preview,
    }


def _plane(run: Trajectory, walk: Trajectory, wanted: Slice) -> Plane | Repeats:
    if wanted.snapshots:
        chosen = [run[run.index_of(step)] for step in wanted.snapshots]
        return _plane_through(chosen, [f"step {snapshot.step}" for snapshot in chosen], wanted)
    if wanted.kind == "trajectory" or wanted.plane == "pca":
        return projection.pca_plane(walk)
    options: dict[str, Any] = {"normalize": wanted.normalize, "seed": wanted.seed, "one_d": wanted.one_d}
    if wanted.repeats is not None:
        return Repeats(walk[-1], wanted.repeats, dims=1 if wanted.kind == "curve" else 2, **options)
    make = projection.random_line if wanted.kind == "curve" else projection.random_plane
    return make(walk[-1], **options)


def _plane_through(chosen: Sequence[Snapshot], names: Sequence[str], wanted: Slice) -> Plane:
    through = projection.line_through if len(chosen) == 2 else projection.plane_through
    plane = through(*chosen, buffers="frozen" if wanted.bn.startswith(RECALIBRATE) else wanted.bn)
    for mark, name in zip(plane.meta["marks"], names, strict=True):
        mark["label"] = name
    first, second = plane.meta["axes"][0], plane.meta["axes"][-1]
    first["label"] = f"from {names[0]} to {names[1]}"
    if len(chosen) == 2:
        first["unit"] = "their distance"
    if len(chosen) == 3:
        second["label"] = f"orthogonal, towards {names[2]}"
    return plane


def _grid(plane: Plane | Repeats, projected: Projected | None, wanted: Slice) -> Grid:
    if projected is not None:
        return _grid_around(projected.coordinates, wanted)
    marks = plane.meta.get("marks") if isinstance(plane, Plane) else None
    if marks is None:
        return grid(wanted.points, wanted.radius, x=wanted.x, y=wanted.y, dims=plane.dims)
    if plane.dims == 1:
        half = wanted.radius * (0.5 + _INTERPOLATION_MARGIN)
        return grid(wanted.points, x=(0.5 - half, 0.5 + half) if wanted.x is None else wanted.x, dims=1)
    return _grid_around(np.array([[mark["x"], mark["y"]] for mark in marks]), wanted)


def _grid_around(places: NDArray[np.float64], wanted: Slice) -> Grid:
    """Square in weight space, so that distances on paper are distances between weights."""
    low, high = places.min(axis=0), places.max(axis=0)
    half = wanted.radius * float((high - low).max()) * (0.5 + _MARGIN)
    x, y = ((float(middle - half), float(middle + half)) for middle in (low + high) / 2)
    return grid(
        wanted.points, x=x if wanted.x is None else wanted.x, y=y if wanted.y is None else wanted.y, dims=2
    )


def _provenance(run: Trajectory, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "seed": run.seed,
        "step": int(snapshot.step),
        "epoch": float(snapshot.epoch),
        "optimizer": run.training.get("optimizer", ""),
        "finished": bool(run.finished),
    }

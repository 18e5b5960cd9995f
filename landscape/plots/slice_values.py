"""From trajectories to the slice that a picture shows."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from landscape import projection
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.plots.planes import as_kept, plane_in_place, plane_of, plane_through, snapshot_of
from landscape.plots.slice_grids import grid_around, grid_of
from landscape.plots.slice_options import COMMON, HESSIAN_RATIO, THROUGH_RUNS, Slice
from landscape.plots.source import Source
from landscape.plots.sources import require_one_model
from landscape.projection import Plane, Projected, Repeats
from landscape.surface import Grid, Surface, evaluate
from landscape.surface.evaluation import Progress
from landscape.surface.hessian_map import hessian_map
from landscape.surface.plan import Plan
from landscape.trajectory import Snapshot, Trajectory
from landscape.vocabulary import RECALIBRATE


def slices_of(source: Source, wanted: Slice) -> dict[str, Surface]:
    """Evaluate the slices of some runs.

    Args:
        source: The runs; several of a plane through runs or a common plane.
        wanted: What is drawn.

    Returns:
        Name -> slice: one of a run, with its plane moved to a snapshot beside it where that is asked for; one
        through several runs; of a common plane one with all paths where the runs share their objective, else one
        for each.

    Raises:
        LandscapeError: If a run has no snapshot, or a slice cannot be placed.
    """
    if source.in_place is not None:
        return {source.in_place.problem: _slice_in_place(source, source.in_place, wanted)}
    for run in source.runs.values():
        if len(run) == 0:
            raise LandscapeError("the trajectory holds no snapshot yet", where=run.path, mend="train longer")
    if wanted.plane in (COMMON, THROUGH_RUNS):
        require_one_model(source.runs)
    if wanted.plane == COMMON:
        return _common(source, wanted)
    if wanted.plane == THROUGH_RUNS:
        objective = _objective(source, source.names[0], wanted)
        how = _how(source, wanted, _together(source))
        return {_together(source): slice_through(source.runs, objective, _measured(wanted, objective), **how)}
    return _single(source, wanted)


def _slice_in_place(source: Source, objective: Objective, wanted: Slice) -> Surface:
    """The slice of a checkpoint, in the memory of its model."""
    plane, wanted = plane_in_place(objective, wanted), _measured(wanted, objective)
    how = _how(source, wanted, objective.problem) | _ways(objective, wanted)
    return evaluate(objective, plane, grid_of(plane, None, wanted), **how)


def _single(source: Source, wanted: Slice) -> dict[str, Surface]:
    run, name = source.only(f"a {wanted.kind}"), source.names[0]
    if not wanted.snapshots:
        run.index_of(wanted.at)
    objective = _objective(source, name, wanted)
    if wanted.metric == HESSIAN_RATIO:
        return {name: hessian_slice_of(run, objective, wanted, save=source.place(name), progress=source.progress)}
    wanted = _measured(wanted, objective)
    if wanted.nearest is None:
        return {name: slice_of(run, objective, wanted, **_how(source, wanted, name))}
    step = run[run.index_of(wanted.nearest)].step
    own = f"plane through step {run[run.index_of(wanted.at)].step}"
    moved = f"moved to step {step}"
    return {
        own: slice_of(run, objective, replace(wanted, nearest=None), **_how(source, wanted, own)),
        moved: slice_of(
            run, objective, replace(wanted, nearest=step), **_how(source, wanted, moved, f"-step{step}")
        ),
    }


def _common(source: Source, wanted: Slice) -> dict[str, Surface]:
    objectives = {name: _objective(source, name, wanted) for name in source.runs}
    first = next(iter(objectives.values()))
    wanted = _measured(wanted, first)
    if len({_function(source, own, wanted) for own in objectives.values()}) == 1:
        name = _together(source)
        return {name: slice_common(source.runs, first, wanted, **_how(source, wanted, name))}
    return {
        name: slice_common(source.runs, own, wanted, only=name, **_how(source, wanted, name, f"-{name}"))
        for name, own in objectives.items()
    }


def _together(source: Source) -> str:
    return " \u2013 ".join(source.names)


def _how(source: Source, wanted: Slice, name: str, ending: str = "") -> dict[str, Any]:
    return {
        "save": source.place(name, ending),
        "progress": source.progress,
        "early": functools.partial(source.early, name) if wanted.fast else None,
        "notify": source.announce,
    }


def _objective(source: Source, name: str, wanted: Slice) -> Objective:
    """The objective of a run, which has what is to be drawn."""
    objective = source.objective(name)
    objective.require(wanted.splits, () if wanted.metric in (None, HESSIAN_RATIO) else (wanted.metric,))
    return objective


def _measured(wanted: Slice, objective: Objective) -> Slice:
    return wanted.measured(objective.metrics)


def _function(source: Source, objective: Objective, wanted: Slice) -> tuple[Any, ...]:
    """Return what objectives of the same landscape share: model, loss, data, and the penalty if drawn."""
    told = objective.fingerprint(source.first[-1])
    decay = objective.weight_decay if wanted.metric in ("penalty", "total") else 0.0
    digests = [objective.data_digest(split) for split in objective.splits]
    return (told["model"], told["loss"], told["loss at the origin"], *digests, decay)


def slice_of(
    run: Trajectory,
    objective: Objective,
    wanted: Slice,
    *,
    save: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    early: Callable[[Surface], None] | None = None,
    notify: Callable[[Plan], None] | None = None,
) -> Surface:
    """Evaluate a slice of a trajectory's landscape.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: What to draw.
        save: A surface file to write and to resume from.
        progress: Called with (points done, points in all).
        early: As for `evaluate`.
        notify: Called with the plan of the evaluation, before it starts.

    Returns:
        The slice, ready to be rendered.

    Raises:
        LandscapeError: If a step does not exist, or the trajectory does not span the plane.
    """
    place = _placed(run, objective, as_kept(wanted, save))
    path = None
    if place.projected is not None and wanted.kind == "trajectory":
        path = (place.walk, place.projected)
    return evaluate(
        objective,
        place.plane,
        place.grid,
        path=path,
        provenance=place.provenance,
        save=save,
        progress=progress,
        early=early,
        notify=notify,
        **_ways(objective, wanted),
    )


def hessian_slice_of(
    run: Trajectory,
    objective: Objective,
    wanted: Slice,
    *,
    save: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Surface:
    """The ends of the Hessian's spectrum over a slice of a trajectory's landscape; see `hessian_map`.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: Where; its engine, metrics and statistics do not count.
        save: A surface file to write and to resume from.
        progress: Called with (points done, points in all).

    Returns:
        The slice, ready to be rendered.

    Raises:
        LandscapeError: If it is a trajectory or repeats that are wanted, or the slice cannot be placed.
    """
    if wanted.kind == "trajectory" or wanted.repeats is not None:
        raise LandscapeError(
            "the Hessian is mapped over a surface or along a curve",
            got=f"{wanted.repeats} repeats" if wanted.repeats else f"a {wanted.kind}",
        )
    if wanted.subset is not None:
        objective = objective.subset(wanted.subset, splits=wanted.splits or ("train",))
    place = _placed(run, objective, as_kept(wanted, save))
    if isinstance(place.plane, Repeats):
        raise LandscapeError("the Hessian is mapped over one plane", got="repeats")
    return hessian_map(
        objective,
        place.plane,
        place.grid,
        split=next(iter(wanted.splits), "train"),
        parameters=wanted.parameters,
        dtype=getattr(torch, wanted.dtype) if wanted.dtype else None,
        provenance=place.provenance,
        save=save,
        progress=progress,
    )


@dataclass(frozen=True)
class _Placed:
    """Where a slice of one trajectory lies."""

    walk: Trajectory
    plane: Plane | Repeats
    projected: Projected | None
    grid: Grid
    provenance: Mapping[str, Any]


def _placed(run: Trajectory, objective: Objective, wanted: Slice) -> _Placed:
    if wanted.plane in (THROUGH_RUNS, COMMON):
        what = "a plane through runs" if wanted.plane == THROUGH_RUNS else "a common plane"
        raise LandscapeError(f"{what} needs several of them", where=run.path, mend="give more files")
    if wanted.parameters is not None:
        run = run.select(wanted.parameters)
    if wanted.snapshots:
        # They need not be of this run.
        index, (snapshot, _) = len(run) - 1, snapshot_of(run, wanted.snapshots[0])
    else:
        index = run.index_of(wanted.at)
        snapshot = run[index]
    walk = run[: index + 1]
    plane = plane_of(run, walk, objective, wanted)
    projected = None
    if isinstance(plane, Plane) and plane.kind == "pca":
        if wanted.nearest is not None:
            plane = _moved(plane, run[run.index_of(wanted.nearest)])
        projected = projection.project_path(plane, walk)
    grid_of_it = grid_of(plane, None if projected is None else projected.coordinates, wanted)
    return _Placed(walk, plane, projected, grid_of_it, _provenance(run, snapshot))


def _moved(plane: Plane, snapshot: Snapshot) -> Plane:
    """The plane through a snapshot, which is marked in it."""
    moved, (x, y) = projection.parallel_plane(plane, snapshot)
    moved.meta["moved_to"] = {"step": int(snapshot.step), "x": x, "y": y}
    return moved


def slice_through(
    runs: Mapping[str, Trajectory],
    objective: Objective,
    wanted: Slice,
    *,
    save: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    early: Callable[[Surface], None] | None = None,
    notify: Callable[[Plan], None] | None = None,
) -> Surface:
    """Evaluate the line through one snapshot each of two runs, or the plane through three.

    Args:
        runs: Name -> trajectory of the same model; the first is at the origin, the second at (1, 0).
        objective: The objective of the first.
        wanted: What to draw; its plane is ``"runs"``.
        save: A surface file to write and to resume from.
        progress: Called with (points done, points in all).
        early: As for `evaluate`.
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
    plane = plane_through(chosen, list(runs), wanted)
    told = [_provenance(run, snapshot) for run, snapshot in zip(runs.values(), chosen, strict=True)]
    # What differs from run to run is not said of the slice.
    same = {key for key, value in told[0].items() if all(one[key] == value for one in told)}
    return evaluate(
        objective,
        plane,
        grid_of(plane, None, wanted),
        provenance={key: value for key, value in told[0].items() if key in {"run_id", "finished"} | same},
        save=save,
        progress=progress,
        early=early,
        notify=notify,
        **_ways(objective, wanted),
    )


def slice_common(
    runs: Mapping[str, Trajectory],
    objective: Objective,
    wanted: Slice,
    *,
    only: str | None = None,
    save: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    early: Callable[[Surface], None] | None = None,
    notify: Callable[[Plan], None] | None = None,
) -> Surface:
    """Evaluate the plane of largest motion of several runs together, with their paths in it.

    Args:
        runs: Name -> trajectory of the same model. The plane goes through the last snapshot of the first.
        objective: What is drawn; the losses of all paths are its.
        wanted: What to draw; its plane is ``"common"``.
        only: The run whose path goes with the slice, where each run has an objective of its own; None is all.
        save: A surface file to write and to resume from.
        progress: Called with (points done, points in all).
        early: As for `evaluate`.
        notify: Called with the plan of the evaluation, before it starts.

    Returns:
        The slice; plane and grid are the same whatever `only` is.

    Raises:
        LandscapeError: If there are not two runs at least, a step does not exist, or the models differ.
    """
    if len(runs) < 2:
        raise LandscapeError("a common plane is of two runs or more", got=len(runs))
    if wanted.parameters is not None:
        runs = {name: run.select(wanted.parameters) for name, run in runs.items()}
    walks = {name: run[: run.index_of(wanted.at) + 1] for name, run in runs.items()}
    plane = projection.pca_plane(list(walks.values()), center=wanted.center)
    projected = {name: projection.project_path(plane, walk) for name, walk in walks.items()}
    places = np.concatenate([own.coordinates for own in projected.values()])
    drawn = list(walks) if only is None else [only]
    first = next(iter(walks.values()))
    provenance = _provenance(first, first[-1]) if only is None else _provenance(walks[only], walks[only][-1])
    if only is None:
        # What differs from run to run is not said of the slice.
        provenance = {key: provenance[key] for key in ("run_id", "finished")}
    return evaluate(
        objective,
        plane,
        grid_around(places, wanted),
        paths={name: (walks[name], projected[name]) for name in drawn},
        provenance=provenance | {"runs": list(runs), "seeds": {name: run.seed for name, run in runs.items()}},
        save=save,
        progress=progress,
        early=early,
        notify=notify,
        **_ways(objective, wanted),
    )


def _ways(objective: Objective, wanted: Slice) -> dict[str, Any]:
    """Return what is measured at every point, and how."""
    return {
        "metrics": tuple(wanted.metrics) or None,
        "splits": tuple(wanted.splits) or (objective.splits if wanted.kind == "curve" else ("train",)),
        "engine": wanted.engine,
        "tune": wanted.tune,
        "memory": wanted.memory,
        "workers": wanted.workers,
        "shard": wanted.shard,
        "bn": wanted.bn if wanted.bn.startswith(RECALIBRATE) else None,
        "dtype": getattr(torch, wanted.dtype) if wanted.dtype else None,
        "subset": wanted.subset,
        "preview": wanted.preview,
        "gradient": wanted.gradient,
    }


def _provenance(run: Trajectory, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "seed": run.seed,
        "step": int(snapshot.step),
        "epoch": float(snapshot.epoch),
        "optimizer": run.training.get("optimizer", ""),
        "finished": bool(run.finished),
    }

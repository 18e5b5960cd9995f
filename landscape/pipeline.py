"""The one place where the stages meet: from a trajectory to the slice that a picture shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landscape import problems, projection
from landscape.errors import LandscapeError, did_you_mean
from landscape.objective import Objective
from landscape.projection import Plane, Projected, Repeats
from landscape.surface import Grid, Surface, evaluate, grid
from landscape.surface.axes import Coordinates
from landscape.surface.engine import ENGINES, parse_settings
from landscape.surface.evaluation import Progress
from landscape.surface.memory import parse_memory
from landscape.surface.plan import Plan
from landscape.surface.preview import require_tolerance
from landscape.trajectory import Snapshot, Trajectory

KINDS = ("curve", "surface", "trajectory")
_DTYPES = ("float32", "float64", "bfloat16")

_RECALIBRATE = "recalibrate"
# The plane that goes through runs instead of through snapshots of one.
THROUGH_RUNS = "runs"

# Room around a path or around snapshots, as a share of their extent on either side.
_MARGIN = 0.25
# Li et al. 2018 draw interpolations on [-0.5, 1.5].
_INTERPOLATION_MARGIN = 0.5


def objective_of(
    run: Trajectory,
    *,
    problem: str | None = None,
    settings: Mapping[str, Any] | None = None,
    data: str | os.PathLike[str] | None = None,
    other_data: bool = False,
    device: str = "cpu",
) -> Objective:
    """Rebuild the objective of a trajectory: from what its file says if its problem is built in.

    A file never brings code to run: a problem of the user's own must be named by whoever opens the file.

    Args:
        run: The trajectory.
        problem: A built-in problem or ``path/file.py:function``; None is the one that the file names.
        settings: Options of the problem that differ from those stored in the file.
        data: The folder of the data, for problems that need one.
        other_data: Go on if the data are not those of the training.
        device: Where to compute, as in `Objective`.

    Returns:
        The objective, with the penalty of the training.

    Raises:
        LandscapeError: If the problem is not built in and none is given, its model has other tensors than the
            run, the data are missing, or are other data.
    """
    name = problem or run.problem
    if problem is None and run.problem not in problems.names():
        told = f"the problem '{run.problem}' is not built in" if run.problem else "the file names no problem"
        raise LandscapeError(
            f"{told}, and a file never brings code to run",
            where=run.path,
            mend="pass --problem FILE.py:function (landscape init problem FILE.py writes one to begin with), or "
            "build the Objective in Python and call landscape.evaluate",
        )
    # Options that were stored for another problem mean nothing to this one.
    same = problems.short_name(name) == run.problem
    options = {**(run.problem_args if same else {}), **(settings or {})}
    objective = problems.build(name, options, seed=run.seed or 0, data=data, device=device)
    _require_same_tensors(run, objective, name)
    trained_on = run.training.get("data")
    if trained_on is not None and trained_on != objective.data_digest("train") and not other_data:
        raise LandscapeError(
            "the training data are not those of the run",
            where=run.path,
            got=objective.data_digest("train")[:12],
            expected=trained_on[:12],
            mend="pass the same data with --data, or --other-data to draw on these",
        )
    return objective.penalised(run.training.get("weight_decay", objective.weight_decay))


def _require_same_tensors(run: Trajectory, objective: Objective, problem: str) -> None:
    ours = {info.name: info.shape for info in objective.layout}
    theirs = {info.name: info.shape for info in run.layout}
    differing = [name for name in (*theirs, *ours) if ours.get(name) != theirs.get(name)]
    if differing:
        name = differing[0]
        raise LandscapeError(
            f"tensor '{name}' is not the same in the run and in the model of {problem}",
            where=run.path,
            got=theirs.get(name, "none in the run"),
            expected=ours.get(name, "none in the model"),
            mend="give the options it was trained with by --set NAME=VALUE",
        )


@dataclass(frozen=True)
class Slice:
    """What is to be drawn.

    Attributes:
        kind: ``"curve"``, ``"surface"`` or ``"trajectory"``.
        at: The step at the centre, or ``"last"``; a trajectory is drawn up to it, runs are joined at it.
        plane: ``"random"``, ``"pca"``, or ``"snapshots:A,B[,C]"``: two steps for a curve, three for a surface.
            ``"runs"`` goes through snapshots of as many runs instead; see `slice_through`.
        points: Points along each axis; of a surface also (nx, ny).
        x: Of the first axis instead of the radius: a tuple (low, high), or all coordinates as a list.
        y: Of the second axis, likewise.
        radius: Half the width, in units of the directions; on planes through a path or through snapshots, a
            multiple of what shows them with a margin.
        normalize: ``"filter"``, ``"layer"``, ``"weight"`` or ``"none"``.
        one_d: ``"ignore"`` or ``"norm"``, for parameters of at most one dimension.
        seed: Draws random directions.
        bn: ``"frozen"``; ``"interpolate"``, for planes through snapshots; ``"recalibrate"`` or
            ``"recalibrate:EXAMPLES"``.
        splits: ``"train"``, ``"test"`` or both; empty is both for a curve and train otherwise.
        metrics: What to measure; empty is the loss, and the error where there is one.
        dtype: ``"float32"``, ``"float64"``, ``"bfloat16"``; None is the model's own.
        engine: ``"auto"`` or an engine's name.
        tune: What is not to be chosen by timing, such as ``"batch_size=64,rewrite=no"``.
        memory: What evaluation may take, such as ``"4GB"``; None is a quarter of what is free.
        repeats: So many random lines or planes of the seeds seed, seed + 1, ... side by side; None is one.
        subset: So many examples of each split instead of all; see `Objective.subset`.
        preview: The relative error up to which points may be interpolated; None computes all.
        parameters: Globs that choose which parameters move, such as ``"lora_*"``; None is all that are trained.
    """

    kind: str = "surface"
    at: int | str = "last"
    plane: str | None = None
    points: int | tuple[int, int] = 51
    radius: float = 1.0
    normalize: str = "filter"
    one_d: str = "ignore"
    seed: int = 0
    bn: str = "frozen"
    splits: Sequence[str] = field(default_factory=tuple)
    metrics: Sequence[str] = field(default_factory=tuple)
    dtype: str | None = None
    engine: str = "auto"
    tune: str | None = None
    memory: str | None = None
    x: Coordinates | None = None
    y: Coordinates | None = None
    repeats: int | None = None
    subset: int | None = None
    preview: float | None = None
    parameters: str | None = None

    def __post_init__(self) -> None:
        choices = {
            "kind": KINDS,
            "normalize": projection.NORMALIZATIONS,
            "one_d": projection.ONE_D_POLICIES,
            "dtype": (*_DTYPES, None),
            "engine": ENGINES,
        }
        faults = [
            f"unknown {name} '{getattr(self, name)}', {did_you_mean(getattr(self, name), filter(None, known))}"
            for name, known in choices.items()
            if getattr(self, name) not in known
        ]
        policies = (*projection.BUFFER_POLICIES, _RECALIBRATE)
        if self.bn.partition(":")[0] not in policies or self.bn.startswith(tuple(f"{p}:" for p in policies[:-1])):
            faults.append(f"unknown bn '{self.bn}', {did_you_mean(self.bn, policies)}")
        faults += self._faults_of_the_plane() + self._faults_of_the_axes()
        if self.seed < 0:
            faults.append(f"the seed must not be negative, got {self.seed}")
        if faults:
            raise LandscapeError("; ".join(faults))
        if self.repeats is not None:
            projection.require_repeats(self.repeats)
        dims = 1 if self.kind == "curve" else 2
        grid(self.points, self.radius, x=self.x, y=self.y if dims > 1 else None, dims=dims)
        parse_settings(self.tune)
        if self.memory is not None:
            parse_memory(self.memory)
        if self.preview is not None:
            require_tolerance(self.preview)

    def _faults_of_the_plane(self) -> list[str]:
        if self.plane is not None and self.plane not in ("random", "pca", THROUGH_RUNS) and not self.snapshots:
            return [f"unknown plane '{self.plane}', choose from random, pca, snapshots:STEP,STEP[,STEP]"]
        if self.kind == "trajectory" and self.plane not in (None, "pca"):
            return [f"a trajectory is drawn in its PCA plane, got plane {self.plane}"]
        if self.kind == "curve" and self.plane == "pca":
            return ["a curve is drawn along a line: plane random or snapshots:STEP,STEP"]
        needed = 2 if self.kind == "curve" else 3
        if self.snapshots and len(self.snapshots) != needed:
            return [f"a {self.kind} goes through {needed} snapshots, got {len(self.snapshots)}"]
        return []

    def _faults_of_the_axes(self) -> list[str]:
        faults = []
        if self.kind == "curve" and not isinstance(self.points, int):
            faults.append(f"a curve has one axis, got {'x'.join(map(str, self.points))} points")
        if self.kind == "curve" and self.y is not None:
            faults.append("a curve has one axis, got coordinates of y")
        if self.repeats is not None and (self.kind == "trajectory" or self.plane not in (None, "random")):
            faults.append("repeats are of random lines or planes, leave the others out")
        return faults

    @property
    def snapshots(self) -> list[str]:
        """The steps that the plane goes through, if it goes through snapshots."""
        if self.plane is None or not self.plane.startswith("snapshots:"):
            return []
        return [step.strip() for step in self.plane.removeprefix("snapshots:").split(",")]


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
        "bn": wanted.bn if wanted.bn.startswith(_RECALIBRATE) else None,
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
    plane = through(*chosen, buffers="frozen" if wanted.bn.startswith(_RECALIBRATE) else wanted.bn)
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

"""Evaluate an objective on a grid over a plane: resumable, row after row."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from landscape.errors import LandscapeError
from landscape.executor import several
from landscape.forms import bytes_in
from landscape.objective import Objective
from landscape.objective.batchnorm import examples_of
from landscape.objective.loan import is_spread
from landscape.params import HasWeights, Tensors, resolve
from landscape.projection import Plane, Projected, Repeats
from landscape.storage import require_writable
from landscape.surface.accuracy import affordable, dtype_error, require_fast
from landscape.surface.buffers import about_buffers, recomputed, require_line, require_still
from landscape.surface.chunks import Evaluation, Spread
from landscape.surface.coarse import coarse, coarse_slice
from landscape.surface.engine import Choice, build, choice_from, parse_settings, plain_choice, require_engine
from landscape.surface.fill_grid import Centre, Filler, fill, foretell, grid_points
from landscape.surface.in_place import require_alone, require_drawn
from landscape.surface.plan import Plan
from landscape.surface.provenance import (
    directions_of,
    dtype_name,
    identity_of,
    meta_of,
    repeated_meta,
    stored_directions,
)
from landscape.surface.shards import SHARD
from landscape.surface.slopes import ARROWS, gradient_field
from landscape.surface.store import PartialSurface, read_identity
from landscape.surface.task import Task
from landscape.surface.tune import require_tolerance
from landscape.surface.tuner import Tuner
from landscape.values.surface import Grid, Path, Surface
from landscape.vocabulary import IN_PLACE

Progress = Callable[[int, int], None]

# Runs of this length can spare the passes in float64 that tell the error of their type.
_LONG_SECONDS = 20.0


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
    tune: str | Mapping[str, Any] | None = None,
    memory: int | str | None = None,
    workers: int = 1,
    shard: tuple[int, int] | None = None,
    dtype: torch.dtype | None = None,
    bn: str | None = None,
    path: tuple[Walk, Projected] | None = None,
    paths: Mapping[str, tuple[Walk, Projected]] | None = None,
    gradient: bool | int = False,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    preview: float | None = None,
    early: Callable[[Surface], None] | None = None,
    notify: Callable[[Plan], None] | None = None,
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
        engine: ``"auto"``, ``"sequential"`` or ``"batched"``, see `tuner`; of an objective in place
            ``"in-place"`` alone.
        tune: What is not to be chosen by timing, such as ``{"batch_size": 64, "streams": 2}`` or
            ``"batch_size=64,rewrite=no"``.
        memory: Bytes that evaluation may take beside model and data, or a size like ``"4GB"``; None is a
            quarter of what is free.
        workers: So many processes share the points, the cores and the memory; 1 is this process alone. The
            bits depend on the engine and its settings, not on how many there are.
        shard: ``(i, n)`` computes only part i of n of the points into `save`, and nothing that goes with the
            slice; `merge` joins the parts. The engine is then one that nothing is timed for, unless it is given,
            so that all parts have the same.
        dtype: ``torch.float64``, ``torch.float32``, ``torch.bfloat16``; None is the model's own.
        bn: ``"recalibrate"`` or ``"recalibrate:N"`` estimates the statistics of batch normalisation anew at
            every point, from the first N (512) examples of the first split; None leaves them as the plane
            has them.
        path: A trajectory and its projection into the plane, to go with the slice: its own losses and
            those at its projections are measured on the first split.
        paths: Several of them by name, instead of one.
        gradient: Take gradients of the first split's loss along the plane, to be drawn as arrows (see
            `gradient_field`): True, or how many along each axis at most. They are computed when all else is.
        provenance: More to say about the slice, as plain JSON values.
        progress: Called with (points done, points in all).
        preview: The relative error of the first split's loss up to which points may be interpolated instead of
            computed, between 0 and 1; None computes all. `Surface.computed` says which are, `meta["preview"]`
            how well points that were kept aside were foretold. All are computed where that does not pay.
        early: Called once with a coarse slice of at most a tenth of the points, spread over the grid, which are
            computed first; `meta["coarse"]` says how many of how many they are. The engine is one of single
            points, whose bits do not depend on the order. It is not called for a grid of fewer than 16 points
            along an axis (50 of a line), of which a tenth shows nothing.
        notify: Called with the plan, before the work starts.

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
    elif shard is not None:
        raise LandscapeError("a part needs a file", where="shard", mend="name it with save")
    settings = parse_settings(tune)
    require_engine(engine)
    spread = objective.in_place and is_spread(objective.model)
    # Processes that share a model make their passes alike, and only one of them has the file.
    held = None if spread else _held_choice(save, engine, settings)
    if objective.in_place or engine == IN_PLACE:
        require_alone(engine, workers, settings)
        held = held or plain_choice(objective, IN_PLACE).forced(settings)
    if preview is not None:
        require_tolerance(preview)
        engine = _engine_of_scattered(plane, grid, engine, "preview", "a preview")
    if early is not None:
        engine = _engine_of_scattered(plane, grid, engine, "fast", "a coarse picture")
    arrows = _arrows(plane, gradient, dtype, bn)
    if subset is not None:
        objective = objective.subset(subset, splits=splits)
    walks = dict(paths or ({} if path is None else {"": path}))
    grid = _grid_of(plane, grid, bool(walks))
    first = plane[0] if isinstance(plane, Repeats) else plane
    require_fast(dtype, dtype_name(first, None), objective.device)
    recalibrate = examples_of(bn, objective.data[splits[0]].count)
    task = Task(objective, splits, chosen, dtype, recalibrate, *recomputed(objective, first, recalibrate))
    require_line(objective, first, recalibrate)
    if objective.in_place or engine == IN_PLACE:
        require_drawn(task, first)
    if arrows:
        require_still(objective, first, "its gradients")
    limit = None if memory is None else bytes_in(memory)
    points = grid_points(grid) * (1 if grid.repeat is None else len(grid.repeat))
    if shard is not None and held is None:
        held = plain_choice(objective, "sequential" if engine == "auto" else engine).forced(settings)
    if workers > 1 and held is None:
        # Each has its share of the threads, which the bits depend on: it is part of the choice.
        settings = {"threads": max(1, torch.get_num_threads() // workers), **settings, "streams": 1}
    tuner = Tuner(task, first, points, memory=limit, settings=settings, workers=workers)
    made = None if held else tuner.choose(engine)
    choice = held or made.plan.choice  # type: ignore[union-attr]
    projected = {name: own for name, (_, own) in walks.items()}
    identity = identity_of(task, first, choice, projected) | ({"gradient": arrows} if arrows else {})
    identity |= {"buffers": "recomputed"} if task.derived else {}
    meta = meta_of(task, first, projected) | about_buffers(task, first) | dict(provenance or {})
    meta["engine"] = choice.to_json()
    meta |= {} if shard is None else {SHARD: list(shard)}
    if made is not None and (dtype is not None or _can_spare(made.plan, task)):
        meta["dtype_error"] = dtype_error(choice, task, first, points, made.plan.seconds)
    directions = stored_directions(first)
    if isinstance(plane, Repeats):
        drawn, directions = directions_of(plane)
        identity |= {"directions": drawn, "repeats": len(plane)}
        meta |= repeated_meta(meta, plane)
    identity |= {} if preview is None else {"preview": float(preview)}
    opened = PartialSurface.open_together if spread else PartialSurface.open
    partial = opened(save, grid, task.fields, identity, meta, directions)
    if partial.finished is not None:
        return partial.finished
    worker, plan = made or tuner.adopt(choice)
    if notify is not None:
        left = math.ceil((~partial.done).sum() / (1 if shard is None else shard[1]))
        notify(replace(plan, points=left, at_most=preview is not None))

    own = not task.recalibrate and dtype_name(first, dtype) == dtype_name(first, None)
    centre = Centre(task, first) if own else None
    work = Evaluation(task, plane, plan.choice)
    with several(work, workers, plan.choice.tuning.threads or torch.get_num_threads()) as shared:

        def engine_of(index: int) -> Filler:
            if shared is not None:
                return Spread.of(work, shared, index, worker, plan)
            return worker if index == 0 else build(plan.choice, task, plane[index])  # type: ignore[index]

        first_places = None if early is None else coarse(grid)
        if early is not None and first_places is not None:
            fill(partial, engine_of, grid, centre, progress, places=first_places)
            paths_so_far = {name: _unknown(*walk) for name, walk in walks.items()}
            so_far = replace(partial.surface, path=paths_so_far.pop("", None), paths=paths_so_far)
            early(coarse_slice(so_far, first_places))
        if preview is None:
            fill(partial, engine_of, grid, centre, progress, shard)
        else:
            foretell(partial, engine_of(0), grid, preview, first, centre, progress)
    if shard is not None:
        return partial.surface
    walked = {name: _walk(task, first, *walk) for name, walk in walks.items()}
    along = gradient_field(objective, first, grid, split=splits[0], arrows=arrows, dtype=dtype) if arrows else None
    return partial.finish(walked.pop("", None), walked, along)


def _arrows(plane: Plane | Repeats, gradient: bool | int, dtype: torch.dtype | None, bn: str | None) -> int:
    """Return the largest number of gradients along each axis; 0 is none."""
    arrows = ARROWS if gradient is True else int(gradient)
    if arrows < 0:
        raise LandscapeError("must not be negative", where="gradient", got=arrows)
    if arrows and (isinstance(plane, Repeats) or plane.dims != 2):
        raise LandscapeError("gradients are drawn on one plane", where="gradient", got="a line or several planes")
    if arrows and (dtype == torch.bfloat16 or bn is not None):
        raise LandscapeError(
            "gradients are of the loss in float32 or float64, with the statistics held",
            where="gradient",
            mend="leave --bn recalibrate and --dtype bfloat16 out",
        )
    return arrows


def _can_spare(plan: Plan, task: Task) -> bool:
    """Return whether a run is long enough, and its points short enough, to tell the error of its type unasked."""
    return plan.seconds > _LONG_SECONDS and affordable(task, plan.points, plan.seconds) >= 2


def _engine_of_scattered(plane: Plane | Repeats, grid: Grid, engine: str, option: str, what: str) -> str:
    """The engine for scattered points: one that works on chunks would compute their mates as well."""
    if isinstance(plane, Repeats) or grid.dims > 2:
        raise LandscapeError(
            f"{what} is of one line or plane",
            where=option,
            got=f"{len(plane)} of them" if isinstance(plane, Repeats) else f"{grid.dims} axes",
        )
    if engine == "batched":
        raise LandscapeError(f"{what} computes scattered points", where=option, mend="use --engine sequential")
    return "sequential" if engine == "auto" else engine


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


def _held_choice(save: str | os.PathLike[str] | None, engine: str, settings: Mapping[str, Any]) -> Choice | None:
    """The choice that a file was begun with, unless another is asked for: resumed, a slice keeps its bits."""
    if save is None or not os.path.lexists(save):
        return None
    try:
        held = choice_from(read_identity(save))
    except (KeyError, TypeError, ValueError):
        return None
    asked = held.forced(settings)
    return asked if engine in ("auto", held.engine) and asked.to_json() == held.to_json() else None


def _walk(task: Task, plane: Plane, run: Walk, projected: Projected) -> Path:
    """A path with its losses under the policy of the map, so that they agree where it lies in the plane."""
    split = task.splits[0]
    evaluator = task.objective.evaluator()

    def loss_at(weights: Tensors, recompute: bool = False) -> float:
        evaluator.load(weights)
        if task.recalibrate:
            evaluator.recalibrate(split, task.recalibrate)
        elif recompute:
            evaluator.recompute()
        return evaluator.measure([split], ["loss"])[f"{split}_loss"].mean

    real, inside = [], []
    for snapshot, coordinates in zip(run, projected.coordinates, strict=True):
        own = task.objective.value(snapshot, split) if not task.recalibrate else loss_at(resolve(snapshot)[1])
        real.append(own)
        place = coordinates.tolist()
        inside.append(loss_at(plane.point(*place), task.recomputes(place)))
    return replace(_unknown(run, projected), loss=np.array(real), plane_loss=np.array(inside))


def _unknown(run: Walk, projected: Projected) -> Path:
    """A path whose losses are not computed."""
    none = np.full(len(run), np.nan)
    return Path(
        step=np.asarray(run.steps, dtype=np.int64),
        x=projected.coordinates[:, 0],
        y=projected.coordinates[:, 1],
        off_plane=projected.off_plane,
        loss=none,
        plane_loss=none,
        motion_held=projected.motion_held,
    )

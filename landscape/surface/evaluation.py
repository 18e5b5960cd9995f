"""Evaluate an objective on a grid over a plane: resumable, row after row."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.objective import Estimate, Objective
from landscape.params import HasWeights, digest
from landscape.projection import Plane, Projected
from landscape.storage import require_writable
from landscape.surface.accuracy import dtype_error
from landscape.surface.engine import Choice, Engine, choice_from, parse_settings, require_engine
from landscape.surface.memory import parse_memory
from landscape.surface.store import PartialSurface, read_identity
from landscape.surface.tuner import Plan, Tuner
from landscape.surface.values import Grid, Path, Surface

Progress = Callable[[int, int], None]

# A file of directions larger than this many numbers is not worth its disk: the seed draws them again.
_LARGEST_STORED_DIRECTION = 2**20
# Examples that statistics are estimated from: their error is then a 20th of the scatter between examples.
_RECALIBRATED_FROM = 512
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
    plane: Plane,
    grid: Grid,
    *,
    metrics: Sequence[str] | str | None = None,
    splits: Sequence[str] | str = ("train",),
    save: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    tune: str | Mapping[str, Any] | None = None,
    memory: int | str | None = None,
    dtype: torch.dtype | None = None,
    bn: str | None = None,
    path: tuple[Walk, Projected] | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    notify: Callable[[Plan], None] | None = None,
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
        engine: ``"auto"``, ``"sequential"`` or ``"batched"``; see `tuner`.
        tune: What is not to be chosen by timing, such as ``{"batch_size": 64, "streams": 2}`` or
            ``"batch_size=64,rewrite=no"``.
        memory: Bytes that evaluation may take beside model and data, or a size like ``"4GB"``; None is a
            quarter of what is free.
        dtype: ``torch.float64``, ``torch.float32``, ``torch.bfloat16``; None is the model's own.
        bn: ``"recalibrate"`` or ``"recalibrate:N"`` estimates the statistics of batch normalisation anew at
            every point, from the first N (512) examples of the first split; None leaves them as the plane
            has them.
        path: A trajectory and its projection into the plane, to go with the slice: its own losses and
            those at its projections are measured on the first split.
        provenance: More to say about the slice, as plain JSON values.
        progress: Called with (points done, points in all).
        notify: Called with the plan, before the work starts.

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
    if plane.dims == 1 and grid.y is not None and np.array_equal(grid.x, grid.y):
        grid = Grid(grid.x)
    if len(grid.shape) != plane.dims:
        raise LandscapeError("grid and plane differ in dimension", got=len(grid.shape), expected=plane.dims)
    recalibrate = _recalibration(bn, objective, splits)
    require_engine(engine)
    names = [f"{split}_{metric}" for split in splits for metric in chosen]
    settings = parse_settings(tune)
    limit = None if memory is None else parse_memory(memory)
    points = grid_points(grid)
    tuner = Tuner(
        objective, plane, splits, chosen, dtype, points, memory=limit, recalibrate=recalibrate, settings=settings
    )
    held = _held_choice(save, engine, settings)
    made = None if held else tuner.choose(engine)
    choice = held or made.plan.choice  # type: ignore[union-attr]
    identity = _identity(objective, plane, splits, choice, dtype, path, recalibrate)
    meta = _meta(objective, plane, splits, chosen, dtype, path, recalibrate) | dict(provenance or {})
    meta["engine"] = choice.to_json()
    if made is not None and (dtype is not None or made.plan.seconds > _LONG_SECONDS):
        meta["dtype_error"] = dtype_error(choice, objective, plane, splits[:1], dtype, points, recalibrate)
    partial = PartialSurface.open(save, grid, names, identity, meta, _stored_directions(plane))
    if partial.finished is not None:
        return partial.finished
    worker, plan = made or tuner.adopt(choice)
    if notify is not None:
        notify(replace(plan, points=int((~partial.done).sum())))
    _fill(partial, worker, grid, _Centre(objective, plane, splits, chosen, dtype, recalibrate), progress)
    walked = None if path is None else _walk(objective, plane, *path, splits[0])
    return partial.finish(walked)


def _recalibration(bn: str | None, objective: Objective, splits: Sequence[str]) -> int:
    """How many examples statistics are estimated from; 0 is not at all."""
    if bn is None:
        return 0
    word, _, number = bn.partition(":")
    available = objective.data[splits[0]].count
    if word != "recalibrate" or (number and not number.isdecimal()):
        raise LandscapeError("unknown policy", where="bn", got=bn, expected="recalibrate or recalibrate:EXAMPLES")
    examples = int(number) if number else min(_RECALIBRATED_FROM, available)
    if not 2 <= examples <= available:
        raise LandscapeError(
            "statistics need at least 2 examples, and no more than there are",
            where="bn",
            got=examples,
            expected=f"2 to {available}",
        )
    return examples


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


def grid_points(grid: Grid) -> list[tuple[float, ...]]:
    """All points of a grid, row after row."""
    axes = [grid.x] if grid.y is None else [grid.y, grid.x]
    return [tuple(map(float, reversed(point))) for point in itertools.product(*axes)]


class _Centre:
    """The origin of a plane: there the slice is what the unchanged model gives, bit for bit.

    Rewritten passes agree with it to rounding only.
    """

    def __init__(
        self,
        objective: Objective,
        plane: Plane,
        splits: Sequence[str],
        metrics: Sequence[str],
        dtype: torch.dtype | None,
        recalibrate: int,
    ) -> None:
        self._own = not recalibrate and _dtype_name(plane, dtype) == _dtype_name(plane, None)
        self._measure = lambda: objective.estimates(plane.origin, splits, metrics)

    def is_at(self, point: Sequence[float]) -> bool:
        """Whether a point is the origin, and its values are those of the model itself."""
        return self._own and not any(point)

    def estimates(self) -> dict[str, Estimate]:
        """The values there."""
        return self._measure()


def _fill(partial: PartialSurface, worker: Engine, grid: Grid, centre: _Centre, progress: Progress | None) -> None:
    """Compute what is missing; a row is written when its last point is there."""
    columns, points = len(grid.x), grid_points(grid)
    places = _whole_chunks(~partial.done.ravel(), [centre.is_at(point) for point in points], worker.chunk)
    finished = int(partial.done.sum())
    computed = worker.evaluate([points[place] for place in places if not centre.is_at(points[place])])
    row = 0
    try:
        for place in places:
            if place // columns != row:
                partial.flush(row)
                row = place // columns
            there = centre.is_at(points[place])
            finished += not partial.done.flat[place]
            partial.put(row, place % columns, centre.estimates() if there else next(computed))
            if progress is not None:
                progress(finished, partial.done.size)
    finally:
        computed.close()
        partial.flush(row)


def _whole_chunks(missing: NDArray[np.bool_], apart: Sequence[bool], chunk: int) -> list[int]:
    """The places to compute, in order: what is missing, and what shares a chunk with it.

    The last bits of a point may depend on its neighbours in a chunk, so a chunk always has the same ones.

    Args:
        missing: Shape (points,).
        apart: Which places belong to no chunk.
        chunk: Places per chunk.
    """
    chunked = [place for place in range(len(missing)) if not apart[place]]
    places = [place for place in range(len(missing)) if apart[place] and missing[place]]
    for start in range(0, len(chunked), chunk):
        together = chunked[start : start + chunk]
        places += together if missing[together].any() else []
    return sorted(places)


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
    choice: Choice,
    dtype: torch.dtype | None,
    path: tuple[Walk, Projected] | None,
    recalibrate: int,
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
        **choice.to_json(),
        "device": objective.device.type,
        "bn": _bn(plane, recalibrate),
        "torch": importlib.metadata.version("torch"),
        "path": None if path is None else hashlib.sha256(path[1].coordinates.tobytes()).hexdigest(),
    }


def _bn(plane: Plane, recalibrate: int) -> str:
    return f"recalibrate:{recalibrate}" if recalibrate else str(plane.meta.get("bn", "frozen"))


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
    recalibrate: int,
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
        **({"bn": _bn(plane, recalibrate)} if _has_statistics(plane) else {}),
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

"""The engine of inference memory: the model itself, whose tensors are moved only while they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.objective import Evaluator, Tuning
from landscape.objective.displacement import Displacement, readers_of
from landscape.params import real_view
from landscape.projection import DrawnPlane, Plane
from landscape.projection.block_direction import BlockDirection
from landscape.surface.sequential import Point, Sequential, together
from landscape.surface.streams import undisturbed
from landscape.surface.task import Task
from landscape.vocabulary import IN_PLACE
from landscape.wrappers import reshard

# Numbers that tell what drawing takes.
_TIMED = 2**20


@dataclass(frozen=True)
class Moved:
    """The weights at a point of a plane, drawn span by span.

    Attributes:
        directions: Of the plane.
        point: One coordinate per direction.
    """

    directions: Sequence[BlockDirection]
    point: Sequence[float]

    def write(self, name: str, held: Tensor, before: Tensor) -> None:
        """Write origin + sum of coordinate * direction, rounded once, as `Mover` does for whole models."""
        origin = real_view(before).flatten()
        numbers = real_view(held)
        flat = numbers.view(-1) if numbers.is_contiguous() else torch.empty_like(origin)
        shares = [direction.tensors[name] for direction in self.directions]
        first = shares[0].start
        for start, stop in shares[0].spans(len(origin)):
            own = origin[start - first : stop - first]
            # Half-precision weights are rounded once, from sums in single precision.
            moved = own.to(max(own.dtype, torch.float32, key=lambda kind: kind.itemsize), copy=True)
            for coordinate, share in zip(self.point, shares, strict=True):
                moved.add_(share.part(start, stop, own).to(moved.dtype), alpha=coordinate)
            flat[start - first : stop - first] = moved
        if not numbers.is_contiguous():
            numbers.copy_(flat.view(numbers.shape))


class InPlace(Sequential):
    """One point after the other in the memory of the model: nothing is copied but the tensors being read.

    Args:
        task: What to measure; its objective is in place.
        plane: Of random directions by block through the weights of the model.
        tuning: How the passes are made.

    Raises:
        LandscapeError: If something else is asked for.
    """

    name = "in-place"

    def __init__(self, task: Task, plane: Plane, *, tuning: Tuning | None = None) -> None:
        self.streams = 1
        self._task, self._plane = task, require_drawn(task, plane)
        self._workers = [task.objective.evaluator(None, tuning)]
        worker = self._workers[0]
        self.chunk = together(worker, 1)
        worker.load(plane.origin)
        moving = {name for direction in self._plane.directions for name in direction.moving()}
        tensors = {name: worker.storage[name] for name in moving}
        began = undisturbed()
        # The first micro-batch of every split tells where parameters are read.
        readers = readers_of(worker.model, tensors, lambda: worker.run(task.splits, ("loss",), 1))
        self._seconds = (undisturbed() - began) / len(task.splits)
        self.displacement = Displacement(tensors, readers)

    @property
    def mover(self) -> None:
        """None: nothing is stored."""
        return

    @contextmanager
    def _at(self, worker: Evaluator, point: Point) -> Iterator[None]:
        # What was gathered in an earlier pass is of other weights.
        reshard(worker.model)
        try:
            with self.displacement.at(Moved(self._plane.directions, point)):
                yield
        finally:
            reshard(worker.model)

    def try_out(self, points: Sequence[Point], batches: int | None = None) -> list[float]:
        """The seconds per point, from those of the first pass and of drawing one part of a direction."""
        worker, drawn = self._workers[0], [own for one in self._plane.directions for own in one.tensors.values()]
        largest = max(drawn, key=lambda own: own.info.numbers)
        began, count = undisturbed(), min(largest.info.numbers, _TIMED)
        largest.numbers.read(0, count)
        moving = (undisturbed() - began) / count * sum(own.info.numbers for own in drawn)
        passes = sum(-(-worker.data(split).count // worker.batch_size) for split in self._task.splits)
        return [passes * (self._seconds + moving)]


def require_alone(engine: str, workers: int, settings: Mapping[str, Any]) -> None:
    """Check that one process evaluates an objective in place, by the engine for it, and its model as it is.

    Raises:
        LandscapeError: Otherwise.
    """
    if engine not in ("auto", IN_PLACE):
        raise LandscapeError(
            "this engine works on copies, and the objective is in place",
            where="engine",
            got=engine,
            mend="leave it out, or make the objective without in_place",
        )
    other = next((name for name in ("rewrite", "compiled") if settings.get(name)), None)
    if other is not None:
        raise LandscapeError("in place, the model is called as it is", where="tune", got=f"{other}=yes")
    if workers > 1:
        raise LandscapeError(
            "each worker would hold a copy of the model, and the objective is in place",
            where="workers",
            got=workers,
            mend="leave it out, or take --shard on several machines",
        )


def require_drawn(task: Task, plane: Plane) -> DrawnPlane:
    """The plane, after checking that it can be evaluated in the memory of the model.

    Raises:
        LandscapeError: Otherwise.
    """
    if not task.objective.in_place:
        raise LandscapeError(
            "only an objective that is in place has no copy of its model",
            where="engine",
            mend="make it with Objective(..., in_place=True), or plot with --checkpoint",
        )
    if not isinstance(plane, DrawnPlane):
        raise LandscapeError(
            "an objective in place is drawn along random directions that are not stored",
            mend="make the plane by landscape.projection.drawn_plane(model)",
        )
    refused = [name for name in task.metrics if name in ("penalty", "total")]
    if refused:
        raise LandscapeError("in place, weights are not moved all at once", where=f"metric {refused[0]}")
    if task.recalibrate or task.dtype is not None:
        what = "bn" if task.recalibrate else "dtype"
        raise LandscapeError("in place, the model stays as it is", where=what, mend="leave it out")
    return plane

"""Engines: from coordinates in a plane to means over the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from landscape.errors import LandscapeError, did_you_mean
from landscape.objective import Estimate, Objective
from landscape.projection import Plane

ENGINES = ("auto", "sequential")


class Engine(Protocol):
    """Evaluates points of one plane.

    ``name`` and ``batch_size`` belong to the provenance: another engine or micro-batch rounds differently.
    """

    name: str
    batch_size: int

    def evaluate(self, points: Sequence[tuple[float, ...]]) -> Iterator[dict[str, Estimate]]:
        """The estimates at each point, in order: ``"<split>_<metric>"`` -> estimate."""


class Sequential:
    """One point after the other: the weights are computed afresh from the origin, then all data pass once.

    Args:
        objective: What to evaluate.
        plane: Where.
        splits: Names of splits.
        metrics: Names of metrics.
        dtype: The type of real numbers; None is the model's own.
    """

    name = "sequential"

    def __init__(
        self,
        objective: Objective,
        plane: Plane,
        splits: Sequence[str],
        metrics: Sequence[str],
        dtype: torch.dtype | None = None,
    ) -> None:
        self._evaluator = objective.evaluator(dtype)
        self._evaluator.load(plane.origin)
        self.batch_size = self._evaluator.batch_size
        self._splits, self._metrics = splits, metrics
        self._origin = {dtype: flat.clone() for dtype, flat in self._evaluator.flat.items()}
        self._directions = [self._evaluator.pack(direction) for direction in plane.directions]
        parameters = {info.name for info in plane.layout.stored("parameter")}
        self._moving_buffers = {
            name: (
                self._evaluator.storage[name].clone(),
                [direction.get(name) for direction in plane.directions],
            )
            for name in plane.origin
            if name not in parameters and any(name in direction for direction in plane.directions)
        }

    def evaluate(self, points: Sequence[tuple[float, ...]]) -> Iterator[dict[str, Estimate]]:
        """The estimates at each point, in order."""
        for point in points:
            self._move_to(point)
            yield self._evaluator.measure(self._splits, self._metrics)

    def _move_to(self, point: Sequence[float]) -> None:
        with torch.inference_mode():
            for dtype, flat in self._evaluator.flat.items():
                flat.copy_(self._origin[dtype])
                for coordinate, direction in zip(point, self._directions, strict=True):
                    flat.add_(direction[dtype], alpha=coordinate)
            for name, (origin, steps) in self._moving_buffers.items():
                held = self._evaluator.storage[name].copy_(origin)
                for coordinate, step in zip(point, steps, strict=True):
                    if step is not None:
                        held.add_(step.to(held), alpha=coordinate)


def make_engine(
    name: str,
    objective: Objective,
    plane: Plane,
    splits: Sequence[str],
    metrics: Sequence[str],
    dtype: torch.dtype | None = None,
) -> Engine:
    """The engine of a name; ``"auto"`` chooses.

    Raises:
        LandscapeError: If there is none of that name.
    """
    if name not in ENGINES:
        raise LandscapeError(f"unknown engine '{name}'", where="engine", mend=did_you_mean(name, ENGINES))
    return Sequential(objective, plane, splits, metrics, dtype)

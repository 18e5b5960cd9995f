"""Weights to a point of a plane: afresh from the origin, in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.objective import Evaluator
from landscape.projection import Plane

Flat = dict[torch.dtype, Tensor]


class Mover:
    """The origin and directions of a plane as vectors that fit the flat weights of an evaluator.

    Several evaluators of one objective, device and type may share a mover: it is only read.

    Args:
        plane: The plane.
        evaluator: One of the evaluators, holding the origin.
        reset: Buffers that are put back to those of the origin at every point, moved or not.
    """

    def __init__(self, plane: Plane, evaluator: Evaluator, reset: Sequence[str] = ()) -> None:
        # Half-precision weights are rounded once, from sums in single precision.
        self.origin: Flat = evaluator.pack(plane.origin, torch.float32)
        self.directions: list[Flat] = [evaluator.pack(direction, torch.float32) for direction in plane.directions]
        parameters = {info.name for info in plane.layout.stored("parameter")}
        self.buffers: dict[str, tuple[Tensor, list[Tensor | None]]] = {
            name: (
                evaluator.storage[name].clone(),
                [_like(direction.get(name), evaluator.storage[name]) for direction in plane.directions],
            )
            for name in plane.origin
            if name not in parameters
            and (name in reset or any(name in direction for direction in plane.directions))
        }

    def move(self, evaluator: Evaluator, point: Sequence[float]) -> None:
        """Put the weights of a point into an evaluator.

        Args:
            evaluator: Its other buffers must be those of the origin.
            point: One coordinate per direction.
        """
        with torch.inference_mode():
            for dtype, flat in evaluator.flat.items():
                held = flat if self.origin[dtype].dtype == dtype else torch.empty_like(self.origin[dtype])
                held.copy_(self.origin[dtype])
                for coordinate, direction in zip(point, self.directions, strict=True):
                    held.add_(direction[dtype], alpha=coordinate)
                if held is not flat:
                    flat.copy_(held)
            for name, (origin, steps) in self.buffers.items():
                buffer = evaluator.storage[name].copy_(origin)
                for coordinate, step in zip(point, steps, strict=True):
                    if step is not None:
                        buffer.add_(step, alpha=coordinate)
            evaluator.moved()


def _like(step: Tensor | None, buffer: Tensor) -> Tensor | None:
    return None if step is None else step.to(buffer)

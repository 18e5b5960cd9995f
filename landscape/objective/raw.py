"""Results of a pass over the data before they are averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from landscape.objective.means import Estimate


@dataclass(frozen=True)
class Raw:
    """The results of one point over one split before they are averaged; nothing has waited for the device.

    Attributes:
        loss: Shape (examples,), or (micro-batches,) where the loss cannot be taken apart.
        error: Shape (examples,), or None.
        penalty: 0-dimensional, or None.
        sizes: Examples in each micro-batch.
        weights: Shape (examples,), what each share of the loss counts, where the loss says so itself.
    """

    loss: Tensor
    error: Tensor | None
    penalty: Tensor | None
    sizes: Sequence[int]
    weights: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Those there are."""
        return [tensor for tensor in (self.loss, self.error, self.penalty, self.weights) if tensor is not None]

    def from_host(self, parts: Iterator[Tensor]) -> Raw:
        """The same with other tensors, taken in the order of `tensors`."""
        loss = next(parts)
        error = None if self.error is None else next(parts)
        penalty = None if self.penalty is None else next(parts)
        return Raw(loss, error, penalty, self.sizes, None if self.weights is None else next(parts))


RawPoint: TypeAlias = dict[str, Raw]
Score: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None]


def on_host(points: Sequence[RawPoint]) -> list[RawPoint]:
    """The results of several points on the host, by one transfer."""
    tensors = [tensor for point in points for results in point.values() for tensor in results.tensors()]
    whole = torch.cat([tensor.reshape(-1).to(tensors[0].dtype) for tensor in tensors]).cpu()
    parts = iter(whole.split([tensor.numel() for tensor in tensors]))
    return [{split: results.from_host(parts) for split, results in point.items()} for point in points]


def join(parts: Sequence[Tensor | None], axis: int = 0) -> Tensor | None:
    """The parts of all micro-batches as one; None where there are none."""
    present = [part for part in parts if part is not None]
    return torch.cat(present, axis) if present else None


def pick(metric: str, measured: Mapping[str, Estimate], penalty: float) -> Estimate:
    """A metric from those measured and the penalty."""
    if metric == "penalty":
        return Estimate(penalty, 0.0)
    if metric == "total":
        return Estimate(measured["loss"].mean + penalty, measured["loss"].standard_error)
    return measured[metric]

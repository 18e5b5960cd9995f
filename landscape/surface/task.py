"""Settings of the measurement at every point of a slice: one value from the command down to the engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from landscape.objective import Objective

# Rounding of coordinates on an axis.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Task:
    """Settings of the measurement at every point, wherever the points are.

    Attributes:
        objective: What is evaluated.
        splits: Names of splits.
        metrics: Names of metrics.
        dtype: The type of real numbers; None is the model's own.
        recalibrate: Examples of the first split from which the running statistics of normalisation are estimated
            anew at every point; 0 leaves them.
        derived: Buffers that follow from the weights and are recomputed at every point but `own`.
        own: The points that are networks with buffers of their own.
    """

    objective: Objective
    splits: tuple[str, ...]
    metrics: tuple[str, ...]
    dtype: torch.dtype | None = None
    recalibrate: int = 0
    derived: tuple[str, ...] = ()
    own: tuple[tuple[float, ...], ...] = ()

    def recomputes(self, point: Sequence[float]) -> bool:
        """Return whether buffers are recomputed at a point."""
        return bool(self.derived) and not any(np.allclose(point, own, rtol=0.0, atol=_SAME) for own in self.own)

    @property
    def fields(self) -> list[str]:
        """The names of the values at a point, such as ``train_loss``."""
        return [f"{split}_{metric}" for split in self.splits for metric in self.metrics]

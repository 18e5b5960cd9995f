"""What is measured at every point of a slice: one value from the command down to the engines."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from landscape.objective import Objective


@dataclass(frozen=True, eq=False)
class Task:
    """What is measured at every point, wherever the points are.

    Attributes:
        objective: What is evaluated.
        splits: Names of splits.
        metrics: Names of metrics.
        dtype: The type of real numbers; None is the model's own.
        recalibrate: Examples of the first split from which the statistics of batch normalisation are estimated
            anew at every point; 0 leaves them.
    """

    objective: Objective
    splits: tuple[str, ...]
    metrics: tuple[str, ...]
    dtype: torch.dtype | None = None
    recalibrate: int = 0

    @property
    def fields(self) -> list[str]:
        """The names of the values at a point, such as ``train_loss``."""
        return [f"{split}_{metric}" for split in self.splits for metric in self.metrics]

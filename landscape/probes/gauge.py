"""Measuring an objective at many weights, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from landscape.errors import LandscapeError, did_you_mean
from landscape.objective import Objective

BN = ("frozen", "interpolate", "recalibrate")
"""Policies for the statistics of normalisation layers between two models."""

# Examples that statistics are estimated from: their error is then a 20th of the scatter between examples.
_EXAMPLES = 512


class Gauge:
    """Means of an objective at whatever weights, on one private copy of its model.

    Args:
        objective: What is measured.
        splits: On which data; None is all.
        metrics: What; None is the loss, and the error where there is one.
        recalibrate: Estimate the statistics of batch normalisation anew at every point, from the first 512
            examples of the training data.

    Raises:
        LandscapeError: If a split or metric does not exist.
    """

    def __init__(
        self,
        objective: Objective,
        splits: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
        *,
        recalibrate: bool = False,
    ) -> None:
        self.splits = tuple(splits or objective.splits)
        self.metrics = tuple(metrics or (name for name in objective.metrics if name in ("loss", "error")))
        objective.require(self.splits, self.metrics)
        self._evaluator = objective.evaluator()
        self._split = next(iter(objective.data))
        self._examples = min(_EXAMPLES, objective.data[self._split].count) if recalibrate else 0

    @property
    def fields(self) -> list[str]:
        """The names of what is measured, such as ``train_loss``."""
        return [f"{split}_{metric}" for split in self.splits for metric in self.metrics]

    def at(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """The means at some weights.

        Args:
            weights: Name -> tensor; buffers that are missing are those of the objective's model.

        Returns:
            ``"<split>_<metric>"`` -> mean per example.
        """
        self._evaluator.load(weights)
        if self._examples:
            self._evaluator.recalibrate(self._split, self._examples)
        measured = self._evaluator.measure(self.splits, self.metrics)
        return {name: measured[name].mean for name in self.fields}

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The buffers at the weights measured last, copied."""
        return {
            info.name: self._evaluator.storage[info.name].clone()
            for info in self._evaluator.layout.stored("buffer")
        }


def has_statistics(model: nn.Module) -> bool:
    """Whether a model holds running statistics of batch normalisation."""
    layers = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return any(layer.track_running_stats for layer in layers)


def require_bn(bn: str) -> str:
    """Check a policy.

    Raises:
        LandscapeError: If there is none of this name.
    """
    if bn not in BN:
        raise LandscapeError(f"unknown policy '{bn}'", where="bn", mend=did_you_mean(bn, BN))
    return bn


def about(objective: Objective) -> dict[str, Any]:
    """What is said of an objective beside what was found, as plain values."""
    return {
        "problem": objective.problem,
        "units": objective.units,
        "examples": objective.examples(objective.splits),
    }

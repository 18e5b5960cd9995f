"""Measuring an objective at many weights, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from landscape.objective import Objective
from landscape.objective.batchnorm import EXAMPLES, has_statistics, statistics_of
from landscape.objective.continuity import require_no_effect
from landscape.params import Tensors


class Gauge:
    """Means of an objective at whatever weights, on one private copy of its model.

    Args:
        objective: What is measured.
        splits: On which data; None is all.
        metrics: What; None is the loss, and the error where there is one.
        recalibrate: Estimate the running statistics of normalisation afresh at every point, from the first 512
            examples of the training data.
        between: The weights are those between networks: buffers that follow from the weights (the vectors of
            spectral normalisation) are recomputed wherever `at` is not told that they are a network's own.

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
        between: bool = False,
    ) -> None:
        self._made = (objective, splits, metrics, recalibrate, between)
        self.splits = tuple(splits or objective.splits)
        self.metrics = tuple(metrics or (name for name in objective.metrics if name in ("loss", "error")))
        objective.require(self.splits, self.metrics)
        self._evaluator = objective.evaluator()
        self._split = next(iter(objective.data))
        self._examples = min(EXAMPLES, objective.data[self._split].count) if recalibrate else 0
        self.derived = self._evaluator.derived.names if between else ()
        self.estimated = self._evaluator.running.names if recalibrate else ()

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process it has a copy of the model of its own.
        objective, splits, metrics, recalibrate, between = self._made
        return partial(Gauge, recalibrate=recalibrate, between=between), (objective, splits, metrics)

    @property
    def fields(self) -> list[str]:
        """The names of what is measured, such as ``train_loss``."""
        return [f"{split}_{metric}" for split in self.splits for metric in self.metrics]

    def at(self, weights: Mapping[str, Tensor], *, own: bool = False) -> dict[str, float]:
        """The means at some weights.

        Args:
            weights: Name -> tensor; buffers that are missing are those of the objective's model.
            own: Whether they are a network's own, with the buffers that it has.

        Returns:
            ``"<split>_<metric>"`` -> mean per example.
        """
        self._evaluator.load(weights)
        if self.derived and not own:
            self._evaluator.recompute()
        if self._examples:
            self._evaluator.recalibrate(self._split, self._examples)
        measured = self._evaluator.measure(self.splits, self.metrics)
        return {name: measured[name].mean for name in self.fields}

    def require_continuous(self, start: Tensors, end: Tensors, names: Sequence[str]) -> None:
        """Check that buffers of whole numbers, which cannot be mixed, do not differ to any effect.

        Args:
            start: The weights at one end.
            end: Those at the other.
            names: Of the buffers that differ.

        Raises:
            LandscapeError: If an output changes with one of them.
        """
        if names:
            self._evaluator.load(start)
            require_no_effect(self._evaluator, {name: end[name] for name in names})

    @property
    def statistics(self) -> list[str]:
        """The names of the running statistics of normalisation."""
        return statistics_of(self._evaluator.model)

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The buffers at the weights measured last, copied."""
        return {
            info.name: self._evaluator.storage[info.name].clone()
            for info in self._evaluator.layout.stored("buffer")
        }


def about(objective: Objective) -> dict[str, Any]:
    """Describe an objective beside what was found, as plain values."""
    return {
        "problem": objective.problem,
        "units": objective.units,
        "examples": objective.examples(objective.splits),
        "statistics": has_statistics(objective.model),
        **({"notes": list(objective.notes)} if objective.notes else {}),
    }


def kept_buffers(objective: Objective) -> dict[str, Any]:
    """Around one network buffers that follow from the weights are kept, as derivatives there keep them."""
    return {"buffers": {"kept": list(objective.derived)}} if objective.derived else {}

"""The line along a recorded update: the loss of every example at w + t D."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.measures.context import MeasureContext
from landscape.measures.registry import Found
from landscape.objective import Estimate
from landscape.optimizers import Step


class NoStepError(LandscapeError):
    """Nothing was recorded after these weights, or what was is of no use; the message says which."""


def step_of(context: MeasureContext) -> Step:
    """The optimizer step recorded after the weights.

    Raises:
        NoStepError: If none is, as after the last snapshot of a run.
        LandscapeError: If the weights are no snapshot of a run with steps.
    """
    if context.step is None:
        raise LandscapeError(
            "these weights come without a recorded update",
            mend="give a snapshot of a run of landscape train --record update,preconditioner,lr",
        )
    found = context.shared("step", context.step)
    if found is None:
        raise NoStepError("no update follows this snapshot in the file")
    return found


def update_of(context: MeasureContext) -> dict[str, Tensor]:
    """The update of the parameters that count, zero where the optimizer moves none.

    Raises:
        NoStepError: If there is no step, or it is not finite, or zero.
        LandscapeError: If the run has steps but no updates.
    """
    step = step_of(context)
    if not step.update:
        raise LandscapeError(
            "the run has no recorded updates, only settings", mend="use landscape train --record update"
        )
    found = {}
    for info in context.weights.layout.moving():
        held = context.weights.weights[info.name]
        moved = step.update.get(info.name)
        found[info.name] = torch.zeros_like(held) if moved is None else moved.to(held.device)
    if not all(bool(one.isfinite().all()) for one in found.values()):
        raise NoStepError(f"the recorded update of step {step.step} is not finite")
    if not any(bool(one.any()) for one in found.values()):
        rate = " as its learning rate is 0" if step.lr == 0 else ""
        raise NoStepError(f"the recorded update of step {step.step} is zero{rate}")
    return found


def undefined(error: NoStepError) -> Found:
    """A measure where there is no step to take it of."""
    return Found(math.nan, details={"note": str(error)})


class StepLine:
    """Losses along the update that follows some weights, in float64 where the device knows it.

    Args:
        context: Where; with a recorded step.

    Attributes:
        passes: Forward passes over the data so far.
    """

    def __init__(self, context: MeasureContext) -> None:
        self._update = update_of(context)
        device = context.objective.device
        widest = torch.float32 if device.type == "mps" else torch.float64
        self._dtype = context.dtype or widest
        self._passes = context.passes("step", self._dtype)
        self._weights, self._split = context.weights, context.split
        self._found: dict[float, Tensor] = {}
        self.passes = 0

    def change(self, at: float) -> Estimate:
        """L(w + at D) - L(w), with its standard error over examples."""
        return self.combined({at: 1.0, 0.0: -1.0})

    def combined(self, factors: Mapping[float, float]) -> Estimate:
        """A sum of losses along the line times factors, with its standard error over examples.

        Args:
            factors: Place on the line -> factor.
        """
        shares = torch.stack([factor * self._losses(at).double() for at, factor in factors.items()]).sum(dim=0)
        evaluator = self._passes.evaluator
        raw = replace(self._raw, loss=shares)
        return evaluator.estimates({self._split: raw}, ["loss"])[f"{self._split}_loss"]

    def _losses(self, at: float) -> Tensor:
        if at not in self._found:
            own = self._weights
            moved = {
                name: held.to(self._dtype) + at * self._update[name].to(self._dtype)
                for name, held in ((name, own.weights[name]) for name in self._update)
            }
            self._passes.evaluator.load({**own.weights, **own.buffers, **moved})
            with self._passes.kernels():
                self._raw = self._passes.evaluator.run([self._split], ["loss"])[self._split]
            self._found[at] = self._raw.loss.cpu()
            self.passes += 1
        return self._found[at]


def line_of(context: MeasureContext) -> StepLine:
    """The line along the recorded update; measures of one call share its losses."""
    return context.shared("step line", lambda: StepLine(context))


def error_of(found: Estimate) -> float | None:
    """The standard error of an estimate; None where there is none."""
    return float(found.standard_error) if math.isfinite(found.standard_error) else None

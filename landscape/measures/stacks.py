"""Losses and gradients of a small model at several weights at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from landscape.curvature.passes import Batch, Passes
from landscape.objective.tree import forward

# Of numbers times examples: of larger ones the work is that of the weights one by one, and not of calls.
_SMALL = 10**6
# Of the largest element: of rounding in float32, of both orders of summation.
_SAME = 1e-4


class Stack:
    """A model mapped over its weights by `torch.func.vmap`, as long as that gives what single passes give.

    Args:
        passes: Model, loss and selected parameters.
        examples: How many there are.
    """

    def __init__(self, passes: Passes, examples: int) -> None:
        self._passes = passes
        self._serves = not passes.evaluator.takes_model and passes.vectors.size * examples <= _SMALL
        self._tried = False

    def slopes(
        self, points: Tensor, batches: Callable[[], Iterable[Batch]], alone: Callable[[int], tuple[float, Tensor]]
    ) -> list[tuple[float, Tensor]]:
        """The mean loss and its gradient at each of some weights.

        Args:
            points: Shape (K, P), the weights.
            batches: The micro-batches, in order.
            alone: What single passes give, by the number of the point.
        """
        if self._serves and len(points) > 1:
            found = self._attempt(points, batches)
            if found is not None:
                return found if self._tried else self._compared(found, alone)
        return [alone(at) for at in range(len(points))]

    def _attempt(
        self, points: Tensor, batches: Callable[[], Iterable[Batch]]
    ) -> list[tuple[float, Tensor]] | None:
        try:
            with self._passes.kernels():
                return self._mapped(points, batches())
        except (RuntimeError, ValueError, TypeError):
            # Numbers that decide, kernels without a rule for it: such a model is taken at one point after another.
            self._serves = False
            return None

    def _mapped(self, points: Tensor, batches: Iterable[Batch]) -> list[tuple[float, Tensor]]:
        vectors, held = self._passes.vectors, self._passes.variables
        # Each loss depends on its own weights alone: the gradient of their sum is that of each.
        weights = [
            part.to(own.dtype).requires_grad_() for part, own in zip(vectors.cut(points), held, strict=True)
        ]
        losses, total, count = points.new_zeros(len(points)), torch.zeros_like(points), 0.0
        for batch in batches:
            counts: list[float] = []

            def summed(*parts: Tensor, batch: Batch = batch, counts: list[float] = counts) -> Tensor:
                loss = self._passes.scored(self._output(parts, batch), batch.targets, batch)
                counts.append(loss.count)
                return loss.shares.sum(dtype=points.dtype)

            shares = torch.vmap(summed)(*weights)
            total += vectors.join(torch.autograd.grad(shares.sum(), weights, allow_unused=True), total)
            losses, count = losses + shares.detach(), count + counts[0]
        return list(zip((losses / count).tolist(), total / count, strict=True))

    def _output(self, parts: Sequence[Tensor], batch: Batch) -> Any:
        model, moving = self._passes.evaluator.model, dict(zip(self._passes.vectors.names, parts, strict=True))
        return forward(lambda *a, **k: functional_call(model, moving, a, k), batch.inputs)

    def _compared(
        self, found: list[tuple[float, Tensor]], alone: Callable[[int], tuple[float, Tensor]]
    ) -> list[tuple[float, Tensor]]:
        """The slopes, or what single passes give if that is something else; once, at weights that differ."""
        self._tried = len({loss for loss, _ in found}) == len(found)
        single = [alone(at) for at in range(len(found))]
        for (loss, slope), (own, exact) in zip(found, single, strict=True):
            far = (slope - exact).abs().max() > _SAME * exact.abs().max()
            if bool(far) or abs(loss - own) > _SAME * abs(own):
                self._serves = False
                return single
        return found

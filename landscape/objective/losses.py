"""Losses and errors per example, from a loss in the manner of torch.nn.functional."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError

# A weighted or masked mean differs from the mean of its parts by far more than rounding does.
_SAME_MEAN = 1e-4


def per_example(loss: Callable[..., Tensor], output: Any, target: Any) -> Callable[[Any, Any], Tensor] | None:
    """A function that gives one loss per example, if the loss can be taken apart.

    Args:
        loss: A function with a `reduction` argument, or a module with a `reduction` attribute.
        output: The model's output on a micro-batch, to try it on.
        target: The targets of that micro-batch.

    Returns:
        A function (output, target) -> shape (examples,), averaged over all further axes; None if the
        loss has no `reduction`, or its mean over the micro-batch is not the mean of its parts
        (class weights, ignored targets).
    """
    apart = _unreduced(loss)
    if apart is None:
        return None

    def one_per_example(output: Any, target: Any) -> Tensor:
        losses = apart(output, target)
        return losses.flatten(1).mean(1) if losses.ndim > 1 else losses

    parts = apart(output, target)
    if parts.ndim == 0:
        return None
    mean = float(loss(output, target))
    ours = float(one_per_example(output, target).mean())
    agrees = abs(mean - ours) <= _SAME_MEAN * max(abs(mean), abs(ours))
    return one_per_example if agrees or mean != mean else None


def _unreduced(loss: Callable[..., Tensor]) -> Callable[..., Tensor] | None:
    if isinstance(loss, nn.Module):
        if getattr(loss, "reduction", None) != "mean":
            return None
        apart = copy.deepcopy(loss)
        apart.reduction = "none"  # type: ignore[assignment]
        return apart
    try:
        accepts = "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return None
    return (lambda output, target: loss(output, target, reduction="none")) if accepts else None


def batch_mean(loss: Callable[..., Tensor], output: Any, target: Any) -> Tensor:
    """The loss of a micro-batch as one number.

    Raises:
        LandscapeError: If the loss does not give one number.
    """
    value = loss(output, target)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise LandscapeError(
            "the loss must give one number per batch, its mean over examples",
            got=tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__,
        )
    return value.reshape(())


def wrong(output: Tensor, target: Tensor) -> Tensor:
    """The share of wrong classes per example.

    Args:
        output: Shape (examples, classes, ...), scores.
        target: Shape (examples, ...), class numbers.

    Returns:
        Shape (examples,), 0 or 1; where an example has several targets, their mean. NaN scores are wrong.
    """
    missed = output.argmax(dim=1) != target
    missed |= output.isnan().any(dim=1)
    return missed.to(torch.float32).flatten(1).mean(1) if missed.ndim > 1 else missed.to(torch.float32)

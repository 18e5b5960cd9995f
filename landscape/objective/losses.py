"""Losses and errors per example, from a loss in the manner of torch.nn.functional."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import LandscapeError

# Per example: what is summed, and the weight it is divided by in the end; None is 1 each.
Shares: TypeAlias = tuple[Tensor, Tensor | None]

# A mean that is weighted in a way unknown to us differs from ours by far more than rounding does.
_SAME_MEAN = 1e-4
# The default of torch.nn.functional.cross_entropy and nll_loss.
_IGNORED = -100


def take_apart(loss: Callable[..., Tensor], output: Any, target: Any) -> Callable[[Any, Any], Shares] | None:
    """A function that gives the share of every example in a loss, if the loss can be taken apart.

    The mean of a loss with class weights or ignored targets is a sum of shares divided by a sum of weights,
    so it is the same whatever the micro-batches.

    Args:
        loss: A function with a `reduction` argument, or a module with a `reduction` attribute.
        output: The model's output on a micro-batch, to try it on.
        target: The targets of that micro-batch.

    Returns:
        A function (output, target) -> shares and weights, shape (examples,) each; None if the loss has no
        `reduction`, or its mean over the micro-batch is none that is known here.
    """
    apart = _unreduced(loss)
    if apart is None:
        return None
    class_weights, ignored = _weighting(loss)

    def shares(output: Any, target: Any) -> Shares:
        losses = apart(output, target)
        counted = _weights_of(target, class_weights, ignored)
        if counted is None:
            return _per_example(losses), None
        return losses.flatten(1).sum(1) if losses.ndim > 1 else losses, counted

    if apart(output, target).ndim == 0:
        return None
    mean = float(loss(output, target))
    numerators, weights = shares(output, target)
    ours = float(numerators.sum() / (len(numerators) if weights is None else weights.sum()))
    agrees = abs(mean - ours) <= _SAME_MEAN * max(abs(mean), abs(ours))
    return shares if agrees or mean != mean else None


def _per_example(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1) if values.ndim > 1 else values


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


def _weighting(loss: Callable[..., Tensor]) -> tuple[Tensor | None, int | None]:
    """The class weights and the ignored class of torch's losses over classes; (None, None) for other losses."""
    if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss):
        return loss.weight, loss.ignore_index
    given = loss.keywords if isinstance(loss, functools.partial) else {}
    function = loss.func if isinstance(loss, functools.partial) else loss
    if function in (functional.cross_entropy, functional.nll_loss):
        return given.get("weight"), given.get("ignore_index", _IGNORED)
    return None, None


def _weights_of(target: Any, class_weights: Tensor | None, ignored: int | None) -> Tensor | None:
    """The weight of each example's targets; None where each counts 1."""
    if not isinstance(target, Tensor) or target.is_floating_point():
        return None
    kept = None if ignored is None else target != ignored
    if class_weights is None and (kept is None or bool(kept.all())):
        return None
    weights = torch.ones_like(target, dtype=torch.float64)
    if class_weights is not None:
        weights = class_weights.to(target.device)[target.clamp(0, len(class_weights) - 1)].double()
    if kept is not None:
        weights = weights * kept
    return weights.flatten(1).sum(1) if weights.ndim > 1 else weights


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


def classifies(output: Any, target: Any) -> bool:
    """Whether the output scores classes (examples, classes, ...) and the targets are class numbers."""
    return (
        isinstance(output, Tensor)
        and isinstance(target, Tensor)
        and target.dtype in (torch.int64, torch.int32, torch.uint8)
        and output.ndim >= 2
        and output.shape[1] >= 2
        and output.shape[:1] + output.shape[2:] == target.shape
    )


def wrong(loss: Callable[..., Tensor], output: Tensor, target: Tensor) -> Shares:
    """The wrong classes of each example, without those that the loss ignores.

    Args:
        loss: Says which class is ignored.
        output: Shape (examples, classes, ...), scores.
        target: Shape (examples, ...), class numbers.

    Returns:
        Shares and weights, shape (examples,) each. Scores that are not numbers are wrong.
    """
    missed = (output.argmax(dim=1) != target) | output.isnan().any(dim=1)
    counted = _weights_of(target, None, _weighting(loss)[1])
    if counted is None:
        return _per_example(missed.to(torch.float32)), None
    kept = missed & (target != _weighting(loss)[1])
    return kept.flatten(1).sum(1) if kept.ndim > 1 else kept.to(torch.float32), counted

"""Losses and errors per example, from whatever loss there is.

A loss has two arguments: (output, target), or (model, batch) if its first one is called ``model``. It gives one
number, the mean over the examples of a batch; or one per example, shape (examples,); or a pair of such, sums and
the numbers they count (of tokens, say): then the mean is that of the things counted.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import LandscapeError
from landscape.objective.language import next_token_loss

# The default of torch.nn.functional.cross_entropy and nll_loss.
_IGNORED = -100
# What the first argument of a loss is called if it is the model.
_MODEL_NAMES = ("model", "module", "network", "net")


@dataclass(frozen=True)
class PerExample:
    """A metric taken apart into examples: its mean is the sum of shares divided by the sum of weights.

    Attributes:
        shares: The two arguments of the loss for a micro-batch -> shape (examples,).
        weights: Shape (examples of the split,), float64; None where each counts 1.
        counted: Whether `shares` gives a pair instead, shares and weights, shape (examples,) each.
    """

    shares: Callable[[Any, Any], Any]
    weights: Tensor | None
    counted: bool = False

    def score(self, first: Any, second: Any) -> tuple[Tensor, Tensor | None]:
        """Shares, and weights if they come with them, of a micro-batch: shape (examples,) each."""
        given = self.shares(first, second)
        return given if self.counted else (given, None)


def takes_model(loss: Callable[..., Any]) -> bool:
    """Return whether a loss wants (model, batch): its first argument is called so."""
    function = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
    return len(names) >= 2 and names[0] in _MODEL_NAMES


def take_apart(
    loss: Callable[..., Any], given: Any, output: Any, target: Any, targets: Any, examples: int | None
) -> PerExample | None:
    """A loss taken apart into examples, if it may be.

    The mean of a loss with class weights or ignored targets is a sum of shares divided by a sum of weights,
    so it is the same whatever the micro-batches. Whether that is the loss's own mean is not tried here.

    Args:
        loss: A function with a `reduction` argument, a module with a `reduction` attribute, or any that gives
            one number per example by itself.
        given: What it gives for a micro-batch.
        output: The model's output on that micro-batch; or the model.
        target: The targets of that micro-batch; or the batch.
        targets: All targets of the split.
        examples: How many the micro-batch has; None where only the loss tells.

    Returns:
        The shares and weights; None if the loss gives means only.

    Raises:
        LandscapeError: If the loss gives something else.
    """
    if not is_number(given):
        return _given_apart(loss, given, examples)
    apart = None if takes_model(loss) else _unreduced(loss)
    if apart is None or apart(output, target).ndim == 0:
        return None
    weights = _weights_of(targets, *_weighting(loss))
    summed = weights is not None

    def shares(output: Any, target: Any) -> Tensor:
        rows = _classes_last(loss, output, target)
        if rows is None:
            return _per_example(apart(output, target), summed)
        return _per_example(apart(*rows).reshape(len(output), -1), summed)

    return PerExample(shares, weights)


def is_known(loss: Callable[..., Any]) -> bool:
    """Return whether a loss is one of torch's own, whose reductions are what they say."""
    function = loss.func if isinstance(loss, functools.partial) else loss
    kind = type(loss) if isinstance(loss, nn.Module) else function
    return getattr(kind, "__module__", "") in (functional.__name__, nn.modules.loss.__name__)


def is_number(given: Any) -> bool:
    """Return whether a loss gave one number for a batch."""
    return isinstance(given, Tensor) and given.ndim == 0


def _given_apart(loss: Callable[..., Any], given: Any, examples: int | None) -> PerExample | None:
    """Return what a loss gives by itself: a number in a shape of its own, one per example, or sums and counts."""
    parts = given if isinstance(given, tuple | list) else (given,)
    lengths = {part.shape for part in parts if isinstance(part, Tensor) and part.ndim == 1}
    alike = len(lengths) == 1 and all(isinstance(part, Tensor) and part.ndim == 1 for part in parts)
    if alike and (lengths == {(examples,)} or (examples is None and (len(parts) == 2 or lengths != {(1,)}))):
        if len(parts) == 2:
            return PerExample(lambda a, b: _pair_of(loss(a, b)), None, counted=True)
        if len(parts) == 1:
            return PerExample(loss, None)
    require_number(given)
    return None


def _pair_of(given: Any) -> tuple[Tensor, Tensor]:
    sums, counts = given
    return sums, counts.double()


def _per_example(values: Tensor, summed: bool) -> Tensor:
    """Values per element, shape (examples, ...), as one number per example."""
    if values.ndim == 1:
        return values
    rows = values.flatten(1)
    return rows.sum(1) if summed else rows.mean(1)


def _classes_last(loss: Callable[..., Tensor], output: Any, target: Any) -> tuple[Tensor, Tensor] | None:
    """Scores (examples, classes, k) that lie in memory as (examples, k, classes), as a matrix of rows.

    The softmax of a strided axis takes six times as long on a CPU; the numbers are the same.
    """
    if not _is_cross_entropy(loss) or not classifies(output, target) or output.ndim == 2:
        return None
    rows = output.movedim(1, -1)
    return (rows.flatten(0, -2), target.flatten()) if rows.is_contiguous() else None


def _is_cross_entropy(loss: Callable[..., Tensor]) -> bool:
    if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss):
        return True
    function = loss.func if isinstance(loss, functools.partial) else loss
    return function in (functional.cross_entropy, functional.nll_loss)


def _unreduced(loss: Callable[..., Tensor]) -> Callable[..., Tensor] | None:
    if isinstance(loss, nn.Module):
        if getattr(loss, "reduction", None) != "mean":
            return None
        # Whatever it holds, a part of the model say, is shared.
        apart = copy.copy(loss)
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
    if _is_cross_entropy(loss):
        return given.get("weight"), given.get("ignore_index", _IGNORED)
    return None, None


def _weights_of(target: Any, class_weights: Tensor | None, ignored: int | None) -> Tensor | None:
    """The weight of each example's targets; None where each counts 1."""
    if isinstance(target, list) and target and all(isinstance(part, Tensor) for part in target):
        each = [_weights_of(part, class_weights, ignored) for part in target]
        if all(part is None for part in each):
            return None
        filled = [
            torch.ones(len(t), dtype=torch.float64) if w is None else w for w, t in zip(each, target, strict=True)
        ]
        return torch.cat(filled)
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


def batch_mean(loss: Callable[..., Any], output: Any, target: Any) -> Tensor:
    """The loss of a micro-batch as one number.

    Raises:
        LandscapeError: If the loss does not give one number.
    """
    return require_number(loss(output, target))


def require_number(value: Any) -> Tensor:
    """The one number that a loss gave.

    Raises:
        LandscapeError: If it gave something else.
    """
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise LandscapeError(
            "the loss must give the mean of a batch, one number per example, or sums and counts per example",
            got=f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__,
        )
    return value.reshape(())


def mean_of(loss: Callable[..., Any], output: Any, target: Any) -> Tensor:
    """The mean over a batch, whatever the loss gives, to be differentiated."""
    given = loss(output, target)
    if isinstance(given, tuple | list) and len(given) == 2:
        return given[0].sum() / given[1].sum()
    return given if is_number(given) or not isinstance(given, Tensor) else given.mean()


def classifies(output: Any, target: Any) -> bool:
    """Return whether the output scores classes (examples, classes, ...) and the targets are class numbers."""
    return (
        isinstance(output, Tensor)
        and isinstance(target, Tensor)
        and target.dtype in (torch.int64, torch.int32, torch.uint8)
        and output.ndim >= 2
        and output.shape[1] >= 2
        and output.shape[:1] + output.shape[2:] == target.shape
    )


def wrong(loss: Callable[..., Tensor], targets: Tensor) -> PerExample:
    """The wrong classes of each example, without those that the loss ignores.

    Args:
        loss: Says which class is ignored.
        targets: Shape (examples, ...), all class numbers of the split.

    Returns:
        Shares of scores (examples, classes, ...), and weights. Scores that are not numbers are wrong; of
        equal scores the first class counts.
    """
    ignored = _weighting(loss)[1]
    weights = _weights_of(targets, None, ignored)

    def shares(output: Tensor, target: Tensor) -> Tensor:
        # A maximum over a row with a NaN is NaN.
        best, guess = output.max(dim=1)
        missed = (guess != target) | best.isnan()
        if weights is not None:
            missed &= target != ignored
        return _per_example(missed.to(torch.float32), weights is not None)

    return PerExample(shares, weights)


def unit_of(loss: Callable[..., Any]) -> str:
    """The unit of a loss: nats of an entropy, otherwise none is known."""
    is_entropy = loss in (nn.functional.cross_entropy, nn.functional.nll_loss, next_token_loss) or isinstance(
        loss, nn.CrossEntropyLoss | nn.NLLLoss
    )
    return "nats" if is_entropy else ""

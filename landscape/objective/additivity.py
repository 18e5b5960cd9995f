"""Is the loss of a batch the mean of the losses of its examples? Tried before it is taken apart, or cut anew."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.objective import losses
from landscape.objective.data import Split
from landscape.objective.evaluator import Evaluator
from landscape.objective.tree import Tree, leaves, tree_map

# A sum of rounded numbers, relative to the largest of them (see `scale`): thousands of units in the last place of
# float64, hundreds of float32. What couples examples by less than that cannot be told from rounding.
_ROUNDING = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 0.05, torch.float16: 0.01}
# A loss below that has lost digits already: it is the difference of larger numbers.
_LEAST = {torch.float64: 1e-3}
# Outputs of so many numbers are scored at once, and so many times.
_NUMBERS = 2**22
_ROUNDS = 64


class Verdict(IntEnum):
    """How the loss of a batch comes about, from the freest to the most bound.

    Attributes:
        APART: It is the mean of its examples' losses, each of which can be had.
        MEAN: It is that mean, but only means can be had.
        COUPLED: It depends on which examples are together.
        SUM: It is the sum over the batch.
    """

    APART = 0
    MEAN = 1
    COUPLED = 2
    SUM = 3


def verdict_of(evaluator: Evaluator, batch: Split, kind: torch.dtype) -> Verdict:
    """Compare the loss of a batch with those of its halves, at the weights that the evaluator holds.

    Args:
        evaluator: Measures.
        batch: Two examples or more that can be cut.
        kind: The shortest type of numbers that is computed in, which says what rounding is.

    Returns:
        The verdict; where the loss is not finite nothing speaks against the freest.
    """
    places = torch.arange(batch.count)
    halves = [places[0::2], places[1::2]]
    try:
        parts = [batch.take(half) for half in halves]
        with torch.random.fork_rng(devices=[]):
            found = [_Lossed(evaluator, part) for part in (batch, *parts)]
    except LandscapeError:
        raise
    except Exception:  # noqa: BLE001 - it worked on the whole batch, so the user's code cannot be cut
        return Verdict.COUPLED
    whole, *rest = found
    scale = _scale(whole.values, kind)
    if all(one.apart for one in found) and all(one.honoured(kind) for one in found):
        alike = all(
            _close(a[half], b, scale, kind)
            for half, one in zip(halves, rest, strict=True)
            for a, b in zip(whole.columns, one.columns, strict=True)
        )
        return Verdict.APART if alike else Verdict.COUPLED
    means = [one.mean for one in rest if one.mean is not None]
    if whole.mean is None or len(means) != len(halves):
        return Verdict.COUPLED
    parts_mean = torch.stack([len(half) * mean for half, mean in zip(halves, means, strict=True)]).sum()
    if _close(whole.mean, parts_mean / batch.count, scale, kind):
        return Verdict.MEAN
    return Verdict.SUM if _close(whole.mean, torch.stack(means).sum(), scale, kind) else Verdict.COUPLED


def coupling(evaluator: Evaluator, batch: Split, kind: torch.dtype) -> LandscapeError:
    """The reason why batches are needed of a size that nobody stated."""
    half = torch.arange(0, batch.count, 2)
    with torch.random.fork_rng(devices=[]):
        whole, part = (leaves(evaluator.output(one)) for one in (batch, batch.take(half)))
    pairs = [(a[half], b) for a, b in zip(whole, part, strict=True) if a.ndim and len(a) == batch.count]
    coupled = not evaluator.takes_model and not all(
        _close(a.double(), b.double(), _scale(a.double(), kind), kind) for a, b in pairs
    )
    if coupled:
        return LandscapeError(
            "an example's output depends on the other examples in its micro-batch",
            mend="give normalisation layers running statistics (track_running_stats=True), or pass the batch_size "
            "that it is meant for",
        )
    return LandscapeError(
        "the loss of a batch is not the mean of the losses of its examples",
        where="loss",
        mend="let it give one number per example, or sums and counts per example, that do not depend on the other "
        "examples, or pass the batch_size that it is meant for",
    )


class _Lossed:
    """The loss of one batch: its own number, and what it is taken apart into."""

    def __init__(self, evaluator: Evaluator, batch: Split) -> None:
        given = evaluator.loss_of(batch)
        number = isinstance(given, Tensor) and given.numel() == 1 and (given.ndim == 0 or batch.count != 1)
        self.mean: Tensor | None = given.detach().double().reshape(()) if number else None
        (values, error, weights), self.apart = evaluator.apart(batch)
        columns = [values, *(part for part in (error, weights) if part is not None)]
        self.columns = [part.detach().double() for part in columns]
        self.values = self.columns[0]
        self._weights = None if weights is None else weights.detach().double()

    def honoured(self, kind: torch.dtype) -> bool:
        """Whether the loss's own mean is that of what it was taken apart into."""
        if self.mean is None:
            return True
        count = self._weights.sum() if self._weights is not None else float(len(self.values))
        return _close(self.values.sum() / count, self.mean, _scale(self.values, kind), kind)


def _scale(values: Tensor, kind: torch.dtype) -> float:
    finite = values[values.isfinite()].abs()
    return max(float(finite.max()) if len(finite) else 0.0, _LEAST.get(kind, 1.0))


def _close(a: Tensor, b: Tensor, scale: float, kind: torch.dtype) -> bool:
    """Return whether numbers agree up to rounding; those that are not finite do if they are the same."""
    if a.shape != b.shape:
        return False
    unlike = (a - b).abs() > _ROUNDING[kind] * scale
    finite = a.isfinite() & b.isfinite()
    same = (a == b) | (a.isnan() & b.isnan())
    return not bool((torch.where(finite, unlike, ~same)).any())


def holds_for_all_targets(loss: Callable[..., Any], outputs: Tree, targets: Tree) -> bool:
    """Return whether a loss of (output, target) is a mean over examples whatever the targets of the data.

    Outputs of a few examples are given in turn to all targets, which costs no pass of the model.

    Args:
        loss: The user's, which gives a number.
        outputs: A tree of tensors for a few examples.
        targets: All targets of a split.
    """
    tensors = [*leaves(outputs), *leaves(targets)]
    count = len(leaves(targets)[0])
    few = len(leaves(outputs)[0])
    numbers = sum(tensor[0].numel() for tensor in tensors)
    size = max(2, min(4096, _NUMBERS // max(1, numbers), count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    kind = next(tensor.dtype for tensor in leaves(outputs) if tensor.is_floating_point())
    for start in range(0, min(count, size * _ROUNDS), size):
        index = order[start : start + size]
        if len(index) < 2:
            continue
        halves = (slice(0, None, 2), slice(1, None, 2))
        whole, one, other = (_number(loss, outputs, targets, index[cut], few) for cut in (slice(None), *halves))
        first = len(index[halves[0]])
        total = (first * one + (len(index) - first) * other) / len(index)
        if not _close(whole, total, _scale(torch.stack([whole, one, other]), kind), kind):
            return False
    return True


def _number(loss: Callable[..., Any], outputs: Tree, targets: Tree, index: Tensor, few: int) -> Tensor:
    """The loss of some targets with outputs that take turns."""

    def turn(tensor: Tensor) -> Tensor:
        return tensor[(index % few).to(tensor.device)]

    def choose(tensor: Tensor) -> Tensor:
        return tensor[index.to(tensor.device)]

    return losses.mean_of(loss, tree_map(turn, outputs), tree_map(choose, targets)).detach().double().reshape(())

"""Is the loss of a batch the mean of the losses of its examples? Tried before it is taken apart, or cut anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.objective import losses
from landscape.objective.data import Split
from landscape.objective.evaluator import Evaluator
from landscape.objective.tree import Tree, leaves, tree_map
from landscape.objective.trial import Trial
from landscape.params import wide

# What couples examples by less than that, relative to the largest of the numbers, cannot be told from rounding:
# thousands of units in the last place of float64, hundreds of float32.
_ROUNDING = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 0.05, torch.float16: 0.01}
# A loss below that has lost digits already: it is the difference of larger numbers.
_LEAST = {torch.float64: 1e-3}
# What differs by less than that share is taken for equal without a closer look: tens of units in the last place.
_CLEAR = {torch.float64: 1e-12, torch.float32: 2e-6}
# Outputs of so many numbers are scored at once, and so many times.
_NUMBERS = 2**22
_ROUNDS = 64


class Verdict(IntEnum):
    """Ways in which the loss of a batch comes about, from the freest to the most bound.

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


@dataclass(frozen=True)
class Rounding:
    """Which differences count.

    Attributes:
        share: Relative to the largest of the numbers.
        least: What the largest is taken to be at least.
    """

    share: float
    least: float

    @classmethod
    def of(cls, kind: torch.dtype) -> Rounding:
        """The rounding of a type of numbers."""
        return cls(_ROUNDING[kind], _LEAST.get(kind, 1.0))

    @classmethod
    def clear(cls, kind: torch.dtype) -> Rounding:
        """Less than the rounding of a type of numbers: whatever agrees so well agrees."""
        return cls(_CLEAR.get(kind, 0.0), 0.0)

    def equal(self, a: Tensor, b: Tensor, like: Tensor) -> bool:
        """Return whether numbers agree; those that are not finite do if they are the same.

        Args:
            a: Some numbers.
            b: Others, of the same shape.
            like: Numbers of their size.
        """
        if a.shape != b.shape:
            return False
        sizes = like[like.isfinite()].abs()
        scale = max(float(sizes.max()) if len(sizes) else 0.0, self.least)
        unlike = (a - b).abs() > self.share * scale
        finite = a.isfinite() & b.isfinite()
        same = (a == b) | (a.isnan() & b.isnan())
        return not bool(torch.where(finite, unlike, ~same).any())


def verdict_of(evaluator: Evaluator, batch: Split, rounding: Rounding) -> Verdict:
    """Compare the loss of a batch with those of its halves, at the weights that the evaluator holds.

    Args:
        evaluator: Measures.
        batch: Two examples or more that can be cut.
        rounding: Which differences count.

    Returns:
        The verdict.
    """
    places = torch.arange(batch.count)
    halves = [places[0::2], places[1::2]]
    try:
        parts = [batch.take(half) for half in halves]
        with torch.random.fork_rng(devices=[]):
            pairs = zip(parts, halves, strict=True)
            found = [_Lossed(evaluator, batch), *(_Lossed(evaluator, part, batch, half) for part, half in pairs)]
    except LandscapeError:
        raise
    except Exception:  # noqa: BLE001 - it worked on the whole batch, so the user's code cannot be cut
        return Verdict.COUPLED
    whole, *rest = found
    if all(one.apart and one.honoured(rounding) for one in found):
        alike = all(
            rounding.equal(a[half], b, a)
            for half, one in zip(halves, rest, strict=True)
            for a, b in zip(whole.columns, one.columns, strict=True)
        )
        return Verdict.APART if alike else Verdict.COUPLED
    means = [one.mean for one in rest if one.mean is not None]
    if whole.mean is None or len(means) != len(halves):
        return Verdict.COUPLED
    mean = torch.stack([len(half) * own for half, own in zip(halves, means, strict=True)]).sum() / batch.count
    if rounding.equal(whole.mean, mean, torch.stack(means)):
        return Verdict.MEAN
    summed = torch.stack(means).sum()
    return Verdict.SUM if rounding.equal(whole.mean, summed, summed[None]) else Verdict.COUPLED


def coupling(evaluator: Evaluator, batch: Split, rounding: Rounding) -> LandscapeError:
    """The reason why batches are needed of a size that nobody stated."""
    half = torch.arange(0, batch.count, 2)
    with torch.random.fork_rng(devices=[]):
        whole, part = (leaves(Trial.of(evaluator, one).output) for one in (batch, batch.take(half)))
    pairs = [(a[half], b) for a, b in zip(whole, part, strict=True) if a.ndim and len(a) == batch.count]
    if not all(rounding.equal(wide(a), wide(b), wide(a)) for a, b in pairs):
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

    def __init__(
        self, evaluator: Evaluator, batch: Split, whole: Split | None = None, index: Tensor | None = None
    ) -> None:
        passed = Trial.of(evaluator, batch, whole, index)
        given, self.apart = passed.loss, passed.apart
        number = isinstance(given, Tensor) and given.numel() == 1 and (given.ndim == 0 or batch.count != 1)
        self.mean: Tensor | None = given.detach().double().reshape(()) if number else None
        self.columns = [part.detach().double() for part in passed.score if part is not None]
        weights = passed.score[2]
        self._count = float(len(self.columns[0])) if weights is None else weights.double().sum()

    def honoured(self, rounding: Rounding) -> bool:
        """Return whether the loss's own mean is that of what it was taken apart into."""
        if self.mean is None:
            return True
        values = self.columns[0]
        return rounding.equal(values.sum() / self._count, self.mean, values)


def holds_for_all_targets(loss: Callable[..., Any], outputs: Tree, targets: Tree, rounding: Rounding) -> bool:
    """Return whether a loss of (output, target) is a mean over examples whatever the targets of the data.

    Outputs of a few examples are given in turn to all targets, which costs no pass of the model.

    Args:
        loss: The user's, which gives a number.
        outputs: A tree of tensors for a few examples.
        targets: All targets of a split.
        rounding: Which differences count.
    """
    tensors = [*leaves(outputs), *leaves(targets)]
    count = len(leaves(targets)[0])
    few = len(leaves(outputs)[0])
    numbers = sum(tensor[0].numel() for tensor in tensors)
    size = max(2, min(4096, _NUMBERS // max(1, numbers), count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    for start in range(0, min(count, size * _ROUNDS), size):
        index = order[start : start + size]
        if len(index) < 2:
            continue
        halves = (slice(0, None, 2), slice(1, None, 2))
        whole, one, other = (_number(loss, outputs, targets, index[cut], few) for cut in (slice(None), *halves))
        first = len(index[halves[0]])
        total = (first * one + (len(index) - first) * other) / len(index)
        if not rounding.equal(whole, total, torch.stack([one, other])):
            return False
    return True


def _number(loss: Callable[..., Any], outputs: Tree, targets: Tree, index: Tensor, few: int) -> Tensor:
    """The loss of some targets with outputs that take turns."""

    def turn(tensor: Tensor) -> Tensor:
        return tensor[(index % few).to(tensor.device)]

    like = next(tensor for tensor in leaves(outputs) if tensor.is_floating_point())

    def choose(tensor: Tensor) -> Tensor:
        return tensor[index].to(like.device, like.dtype if tensor.is_floating_point() else None)

    return losses.mean_of(loss, tree_map(turn, outputs), tree_map(choose, targets)).detach().double().reshape(())

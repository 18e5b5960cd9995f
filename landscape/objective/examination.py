"""Try a model, a loss and data before they are trusted, on examples from all over the data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from landscape.errors import LandscapeError, from_user_code
from landscape.objective.additivity import Rounding, Verdict, coupling, holds_for_all_targets, verdict_of
from landscape.objective.data import Source, Split
from landscape.objective.determinism import require_deterministic, require_own_tensors, writes_into
from landscape.objective.dispatch import DispatchMode
from landscape.objective.evaluator import Evaluator
from landscape.objective.findings import Findings, Gradients
from landscape.objective.footprint import bytes_per_example
from landscape.objective.losses import is_known
from landscape.objective.tree import leaves
from landscape.objective.trial import Trial
from landscape.objective.witnesses import Witnesses
from landscape.params import Tensors, from_real, is_number, wide

# What memory an example takes is seen from two and three.
_FEW = 3
# Examples on which a loss is tried; one of which only means of batches are known needs more to tell.
_WITNESSES = 8
_OF_MEANS = 64
# What a pass over all of them may take.
_BYTES = 2**28
# A copy in float64 of more numbers than that takes more memory and time than a trial is worth.
_NUMBERS = 2**25
# By what share of their root mean square weights are moved: what is zero at first (the last gain of a block, say)
# hides what depends on it.
_MOVED = 0.1


@dataclass(frozen=True)
class Case:
    """An objective that is to be examined.

    Attributes:
        make: (splits, dtype, micro-batch) -> an evaluator of them.
        model: The user's.
        loss: The user's.
        data: Name -> all examples.
        batch_size: What the user asked for, or None.
        stated: Name -> the size of batches that the user asked for or whose loader makes, or None.
        in_place: Whether evaluators are of the user's model itself: it is not moved, nor copied in more digits.
    """

    make: Callable[[Mapping[str, Source], torch.dtype | None, int], Evaluator]
    model: nn.Module
    loss: Callable[..., Any]
    data: Mapping[str, Source]
    batch_size: int | None
    stated: Mapping[str, int | None]
    in_place: bool = False

    def witnesses(self, most: int) -> dict[str, Split]:
        """Examples of each split to try, no more than the user's batches have, but two."""
        limit = most if self.batch_size is None else max(2, min(most, self.batch_size))
        return {name: some.batch(limit) for name, some in self._witnesses.items()}

    @functools.cached_property
    def _witnesses(self) -> dict[str, Witnesses]:
        return {name: Witnesses(data) for name, data in self.data.items()}

    def evaluator(self, splits: Mapping[str, Split], dtype: torch.dtype | None = None) -> Evaluator:
        """An evaluator of some batches."""
        return self.make(splits, dtype, max(split.count for split in splits.values()))


def examine(case: Case) -> tuple[Findings, int | None]:
    """Find out how passes over the data have to be made.

    Args:
        case: The objective.

    Returns:
        What was found, and the memory that an example takes (None where batches are not cut anew).

    Raises:
        LandscapeError: With the reason, if the model or the loss raises, is not deterministic, changes a buffer,
            reads tensors that do not move with the weights, or gives the sum over a batch.
    """
    evaluator, findings = _passing(case)
    findings = replace(findings, copies=_any(writes_into, evaluator))
    evaluator.heed(findings)
    for batch in _batches(evaluator) if not case.in_place else ():
        require_own_tensors(evaluator, batch, case.model)
    if not evaluator.cuts:
        for batch in _batches(evaluator):
            require_deterministic(evaluator, batch)
        return findings, None
    example_bytes = bytes_per_example(evaluator, ["loss"])
    for batch in _batches(case.evaluator(case.witnesses(_affordable(example_bytes, _WITNESSES)))):
        require_deterministic(evaluator, batch)
    verdict = _verdict(case, findings, example_bytes)
    if verdict is Verdict.SUM:
        raise LandscapeError(
            "the loss gives the sum over a batch, not the mean",
            where="loss",
            mend="divide it by the number of examples (reduction='mean'), or let it give one number per example",
        )
    return replace(findings, apart=verdict is Verdict.APART, coupled=verdict is Verdict.COUPLED), example_bytes


def _batches(evaluator: Evaluator) -> list[Split]:
    """The batch of each split."""
    return [next(evaluator.data(name).batches(evaluator.batch_size)) for name in evaluator.splits]


def _any(question: Callable[[Evaluator, Split], bool], evaluator: Evaluator) -> bool:
    return any(question(evaluator, batch) for batch in _batches(evaluator))


def _affordable(example_bytes: int, most: int) -> int:
    return max(2, min(most, _BYTES // example_bytes))


def _passing(case: Case) -> tuple[Evaluator, Findings]:
    """An evaluator of a few examples that passes, and what it has to heed for that.

    Raises:
        LandscapeError: If none does.
    """
    few = case.evaluator(case.witnesses(_FEW))
    error = _with_gradients(few)
    if error is None:
        return few, few.findings
    sizes = {name: size for name, size in case.stated.items() if size is not None}
    if sizes.keys() == case.data.keys():
        # Batches of the user's size may pass where others do not.
        whole = case.evaluator({name: case.data[name].first(size) for name, size in sizes.items()})
        again = _with_gradients(whole)
        if again is None:
            whole.heed(replace(whole.findings, coupled=True))
            return whole, whole.findings
        error = again
    raise from_user_code(error, mend=_remedy(error, bool(sizes))) from error


def _remedy(error: Exception, sized: bool) -> str | None:
    if isinstance(error, TypeError):
        return "if the model does not take all of a batch, give a loss of (model, batch), which calls it itself"
    if sized:
        return None
    return "tried on few examples: if it needs batches of one size, pass batch_size or a DataLoader"


def _with_gradients(evaluator: Evaluator) -> Exception | None:
    """Heed the least gradients with which a pass over every split succeeds; else what is raised without any."""
    first: Exception | None = None
    # Weights that move while a pass goes on cannot be differentiated through.
    for gradients in Gradients if not evaluator.in_place else (Gradients.NONE,):
        evaluator.heed(replace(evaluator.findings, gradients=gradients, copies=True))
        try:
            with torch.random.fork_rng(devices=[]):
                for batch in _batches(evaluator):
                    evaluator.loss_of(batch)
        except LandscapeError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises is reported as theirs
            first = first or error
        else:
            return None
    return first


def _verdict(case: Case, findings: Findings, example_bytes: int) -> Verdict:
    """Judge how the loss of a batch comes about, by all splits and at the weights given and moved."""
    found = _judged(case, findings, _affordable(example_bytes, _WITNESSES))
    if found is Verdict.MEAN:
        # Nothing but the weights of classes or the numbers of tokens may tell: so meet them all.
        found = _judged(case, findings, _affordable(example_bytes, _OF_MEANS))
    return found


def _judged(case: Case, findings: Findings, most: int) -> Verdict:
    splits = case.witnesses(most)
    evaluator = case.evaluator(splits)
    evaluator.heed(findings)
    kinds = [held.dtype for held in evaluator.storage.values() if held.is_floating_point()]
    shortest = min(kinds, key=lambda kind: kind.itemsize, default=torch.float32)
    own = _worst(case, evaluator, Rounding.clear(shortest))
    # Where rounding may have decided, more digits do.
    return own if own < Verdict.COUPLED else _worst(case, *_precise(case, findings, splits))


def _worst(case: Case, evaluator: Evaluator, rounding: Rounding) -> Verdict:
    worst = Verdict.APART
    for weights in (None,) if case.in_place else (None, _moved(evaluator)):
        if weights is not None:
            evaluator.load(weights)
        for name, batch in zip(evaluator.splits, _batches(evaluator), strict=True):
            if batch.count >= 2 and batch.cuts:
                worst = max(worst, verdict_of(evaluator, batch, rounding))
                if worst < Verdict.COUPLED and not _holds(case, evaluator, name, batch, rounding):
                    worst = Verdict.COUPLED
    return worst


def _holds(case: Case, evaluator: Evaluator, name: str, batch: Split, rounding: Rounding) -> bool:
    """Return whether what holds for some targets holds for all, as far as that can be told without the model."""
    if is_known(case.loss) or evaluator.takes_model or not case.data[name].cuts:
        return True
    with torch.random.fork_rng(devices=[]), evaluator.passing():
        passed = Trial.of(evaluator, batch)
        by_example = all(tensor.ndim and len(tensor) == batch.count for tensor in leaves(passed.output))
        if not by_example or not isinstance(passed.loss, Tensor) or passed.loss.ndim:
            return True
        return holds_for_all_targets(evaluator.loss, passed.output, case.data[name].targets, rounding)


def _precise(case: Case, findings: Findings, splits: Mapping[str, Split]) -> tuple[Evaluator, Rounding]:
    """An evaluator in float64 where that can be, and the rounding of the shortest type that it computes in."""
    numbers = sum(parameter.numel() for parameter in case.model.parameters())
    for dtype in (torch.float64, None) if numbers <= _NUMBERS and not case.in_place else (None,):
        try:
            evaluator = case.evaluator(splits, dtype)
            evaluator.heed(findings)
            watch = _Shortest()
            with torch.random.fork_rng(devices=[]), watch:
                for batch in _batches(evaluator):
                    evaluator.loss_of(batch)
        except (RuntimeError, TypeError, LandscapeError):
            # Models that force a type inside, or devices without float64.
            if dtype is None:
                raise
            continue
        return evaluator, Rounding.of(watch.kind)
    raise LandscapeError("the model cannot be evaluated")


def no_unit(case: Case, findings: Findings) -> LandscapeError:
    """The reason why batches are needed of a size that nobody stated."""
    evaluator, rounding = _precise(case, findings, case.witnesses(_WITNESSES))
    return coupling(evaluator, _batches(evaluator)[0], rounding)


class _Shortest(DispatchMode):
    """Notes the shortest type of real numbers that operations give."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = torch.float64

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.itemsize < self.kind.itemsize:
                self.kind = leaf.dtype
        return result


def _moved(evaluator: Evaluator) -> Tensors:
    """Weights a little away from those that the evaluator holds."""
    generator = torch.Generator().manual_seed(0)
    moved = {}
    for name, held in evaluator.storage.items():
        moved[name] = held.detach().clone()
        if is_number(held) and held.numel() and evaluator.layout[name].kind == "parameter":
            numbers = wide(moved[name])
            noise = torch.randn(numbers.shape, generator=generator).to(numbers)
            size = float(numbers.square().mean().sqrt())
            moved[name] = from_real(numbers + _MOVED * (size or 1.0) * noise, held)
    return moved

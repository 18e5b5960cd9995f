"""Weights brought near to others along their orbit: units matched, bases and streams turned in alternation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.params import Tensors, cast
from landscape.symmetry.activations import activations, matched
from landscape.symmetry.continuous import Rotation
from landscape.symmetry.elements import Element, Exchange, Generator, is_within
from landscape.symmetry.representative import procrustes_element, representative_element
from landscape.symmetry.same_function import Runner
from landscape.symmetry.unit_matches import matching_element

# Of matching and turning in alternation: a copy needs one, other networks hardly gain by more.
_ROUNDS = 3


def aligning_element(
    generators: Sequence[Generator],
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    seed: int = 0,
    runner: Runner | None = None,
) -> Element:
    """The element that brings b near to a.

    Where a stream may be rotated, the search begins twice: with both streams in their principal axes, and with
    both as they are. The nearer of the two ends counts.

    Args:
        generators: Those of a model.
        a: The weights to come near to, buffers included.
        b: The weights that move.
        seed: Draws the order in which groups of units are matched.
        runner: Runs the model on data: units are matched by their activations there, those that are not seen by
            their weights. None matches all by weights.
    """
    ours, theirs = ({name: cast(tensor, torch.float64) for name, tensor in one.items()} for one in (a, b))
    rotates = any(isinstance(one, Rotation) for one in generators)
    found = [
        _aligning(generators, ours, theirs, seed, rotate, runner)
        for rotate in ((True, False) if rotates else (False,))
    ]
    return min(found, key=lambda element: _apart(ours, element.apply(theirs)))


def _aligning(
    generators: Sequence[Generator], ours: Tensors, theirs: Tensors, seed: int, rotate: bool, runner: Runner | None
) -> Element:
    # Whole groups are compared before what lies within them is matched.
    exchanges = [one for one in generators if isinstance(one, Exchange)]
    within = [one for one in exchanges if any(is_within(one, other) for other in exchanges)]
    first, second = (
        representative_element(generators, state, rotate=rotate, order=within) for state in (ours, theirs)
    )
    aim, here = first.apply(ours), second.apply(theirs)
    by_weights: Sequence[Generator] = generators
    if runner is not None:
        step = matched(generators, *(activations(generators, runner, state) for state in (aim, here)))
        here, second = step.apply(here), second.then(step)
        known = {one.name for one, _ in step.factors}
        by_weights = [one for one in generators if not isinstance(one, Exchange) or one.name not in known]
    for _ in range(_ROUNDS):
        step = matching_element(by_weights, aim, here, seed)
        here = step.apply(here)
        turned = procrustes_element(generators, aim, here)
        here = turned.apply(here)
        second = second.then(step).then(turned)
        if not step.factors or not turned.factors:
            break
    return second.then(first.inverse())


def aligned_to_mean(
    several: Sequence[Tensors], align: Callable[[Tensors, Tensors, int], Tensors], seed: int, sweeps: int
) -> list[Tensors]:
    """Sets of weights, each aligned to the mean of the others in turn; see `Symmetries.align_all`.

    Raises:
        LandscapeError: If there are fewer than two.
    """
    if len(several) < 2:
        raise LandscapeError("aligning takes at least two sets of weights", got=len(several))
    found = [several[0], *(align(several[0], one, seed) for one in several[1:])]
    spread = _spread(found)
    for _ in range(sweeps if len(found) > 2 else 0):
        moved = list(found)
        for place in range(1, len(moved)):
            others = [one for other, one in enumerate(moved) if other != place]
            moved[place] = align(_mean(others), moved[place], seed)
        if not (nearer := _spread(moved)) < spread:
            break
        found, spread = moved, nearer
    return found


def _mean(several: Sequence[Mapping[str, Tensor]]) -> Tensors:
    return {
        name: torch.stack([one[name].double() for one in several]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in several[0].items()
    }


def _spread(several: Sequence[Mapping[str, Tensor]]) -> float:
    mean = _mean([{name: cast(tensor, torch.float64) for name, tensor in one.items()} for one in several])
    return sum(_apart(mean, one) for one in several)


def _apart(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return sum(
        float((tensor - b[name]).abs().square().sum())
        for name, tensor in a.items()
        if tensor.is_floating_point() or tensor.is_complex()
    )

"""Weight matching: the permutation that brings one set of weights nearest to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from landscape.params import Tensors, cast
from landscape.symmetry.axes import leading
from landscape.symmetry.columns import Columns
from landscape.symmetry.elements import Element, Exchange, Generator

# Coordinate descent ends by itself; each sweep raises the similarity, and there are finitely many permutations.
_SWEEPS = 100


def matching_element(generators: Sequence[Generator], a: Tensors, b: Tensors, seed: int = 0) -> Element:
    """Permutations of b's units that make the inner product <a, b> large.

    Coordinate descent over the groups of units: with all others held, the best permutation of one group is a
    linear assignment. It begins with one sweep in the order of the forward pass that compares only what
    comes into the
    units, so that a permuted copy is recovered exactly.

    Args:
        generators: Those of a model; only permutations count.
        a: The weights to come near to.
        b: The weights to be permuted.
        seed: Draws the order of the sweeps.

    Source:
        Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", section 3.2.
    """
    groups = [generator for generator in generators if isinstance(generator, Exchange)]
    ours = {name: cast(tensor, torch.float64) for name, tensor in a.items()}
    theirs = {name: cast(tensor, torch.float64) for name, tensor in b.items()}
    element = Element()
    for group in groups:
        element = _improved(element, group, group.columns[:1], ours, theirs)
    source = torch.Generator().manual_seed(seed)
    for _ in range(_SWEEPS):
        before = len(element.factors)
        for place in torch.randperm(len(groups), generator=source).tolist():
            element = _improved(element, groups[place], groups[place].columns, ours, theirs)
        if len(element.factors) == before:
            break
    return element


def _improved(
    element: Element, group: Exchange, columns: Sequence[Columns], ours: Mapping[str, Tensor], theirs: Tensors
) -> Element:
    similarity = sum(
        (_similarity(one, ours[one.tensor], theirs[one.tensor]) for one in columns),
        torch.zeros(group.units, group.units, dtype=torch.float64),
    )
    chosen = torch.from_numpy(linear_sum_assignment(similarity.numpy(), maximize=True)[1])
    here = torch.arange(group.units)
    gain = float((similarity[here, chosen] - similarity[here, here]).sum())
    # Ties are left as they are: going round among them would never end.
    if gain <= torch.finfo(torch.float64).eps * float(similarity.abs().sum()):
        return element
    group.act(theirs, chosen)
    return element.then(Element(((group, chosen),)))


def _similarity(one: Columns, ours: Tensor, theirs: Tensor) -> Tensor:
    """Inner products of our slices with theirs: shape (units, units)."""
    a, b = (leading(tensor, one.dim)[one.places].reshape(len(one.places), -1) for tensor in (ours, theirs))
    return a @ b.T

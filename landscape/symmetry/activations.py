"""Activations of the units that symmetries move, read off while a model runs, and what they match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from landscape.objective.dispatch import DispatchMode
from landscape.symmetry.axes import Dim
from landscape.symmetry.columns import Columns
from landscape.symmetry.elements import Element, Exchange, Generator
from landscape.symmetry.same_function import Runner

_ATEN = torch.ops.aten
# Position of (input, weight) among the arguments of the products in which units are coordinates.
_PRODUCTS = {_ATEN.mm.default: (0, 1), _ATEN.addmm.default: (1, 2), _ATEN.convolution.default: (0, 1)}

# Name of a weight and its dimension of outputs -> shape (outputs, numbers).
Seen: TypeAlias = "Mapping[tuple[str, Dim], Tensor]"


class _Reader(DispatchMode):
    """Keeps what products with parameters give out, by the place along the dimension of outputs.

    Args:
        state: Name -> parameter, as the model runs with it.
        wanted: Names of those to follow.
    """

    def __init__(self, state: Mapping[str, Tensor], wanted: set[str]) -> None:
        super().__init__()
        self._names = {
            state[name].untyped_storage().data_ptr(): name for name in wanted if state[name].is_contiguous()
        }
        self._shapes = {name: state[name].shape for name in wanted}
        self.found: dict[tuple[str, int], dict[int, list[Tensor]]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _PRODUCTS:
            weight = args[_PRODUCTS[func][1]]
            name = self._names.get(weight.untyped_storage().data_ptr())
            if name is not None:
                self._keep(name, weight, out, func is _ATEN.convolution.default)
        return out

    def _keep(self, name: str, weight: Tensor, out: Tensor, convolved: bool) -> None:
        row = int(torch.tensor(self._shapes[name][1:]).prod())
        whole = weight.shape == self._shapes[name] and weight.stride() == (row, 1)
        if convolved or (weight.stride() == (1, row) and weight.storage_offset() % row == 0):
            # Of a matrix the transposed view is multiplied; a part of its rows begins at an offset.
            dim, start = 0, int(weight.storage_offset()) // row
        elif whole:
            dim, start = 1, 0
        else:
            return
        values = out.movedim(1, -1).reshape(-1, out.shape[1]) if convolved else out
        for place, column in enumerate(values.T, start):
            self.found.setdefault((name, dim), {}).setdefault(place, []).append(column)


def activations(generators: Sequence[Generator], runner: Runner, state: Mapping[str, Tensor]) -> Seen:
    """Outputs of products with weights on the example input, of the weights whose outputs are units.

    Args:
        generators: Those of a model.
        runner: Runs it, on the data to match on.
        state: Name -> tensor, buffers included, float64.

    Returns:
        Name and dimension of a weight -> shape (outputs, numbers), of those that are seen.
    """
    wanted = {column.tensor for one in generators if isinstance(one, Exchange) for column in one.columns}
    own = {name: tensor.clone() for name, tensor in state.items()}
    reader = _Reader(own, wanted)
    with torch.no_grad(), reader:
        runner.outputs(own)
    return {
        (name, dim): torch.stack([torch.cat(parts[place]) for place in sorted(parts)])
        for (name, dim), parts in reader.found.items()
        if len(parts) == state[name].shape[dim]
    }


def _units(one: Columns, seen: Seen) -> Tensor | None:
    """Activations of units: shape (units, numbers); None where they are not seen."""
    if (one.tensor, one.dim) not in seen:
        return None
    return seen[one.tensor, one.dim][one.places].reshape(len(one.places), -1)


def matched(generators: Sequence[Generator], ours: Seen, theirs: Seen) -> Element:
    """The permutations after which activations of units correlate most.

    Each group of units is one linear assignment: whatever the order of other groups is, activations of these are
    the same.

    Args:
        generators: Those of a model.
        ours: Activations to come near to, of `activations`.
        theirs: Activations of the weights that move.

    Returns:
        Permutations, of the groups whose activations are seen.

    Source:
        Li et al. 2015, "Convergent learning"; Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", section 3.1.
    """
    factors: list[tuple[Generator, Tensor]] = []
    for one in generators:
        if not isinstance(one, Exchange):
            continue
        pairs = [(_units(column, ours), _units(column, theirs)) for column in one.columns]
        products = [
            (_standardised(a) @ _standardised(b).T) / a.shape[1]
            for a, b in pairs
            if a is not None and b is not None
        ]
        if products:
            similarity = sum(products[1:], products[0])
            chosen = linear_sum_assignment(similarity.numpy(), maximize=True)[1]
            factors.append((one, torch.from_numpy(chosen)))
    return Element(tuple(factors))


def _standardised(values: Tensor) -> Tensor:
    centred = values - values.mean(1, keepdim=True)
    spread = centred.square().mean(1, keepdim=True).sqrt()
    return torch.where(spread > 0, centred / spread.clamp(min=1e-300), torch.zeros_like(centred))

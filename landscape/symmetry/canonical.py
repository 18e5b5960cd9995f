"""Distinguished points of an orbit: equal layer norms, and units whose incoming weights have norm 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.params import Tensors, cast
from landscape.symmetry.axes import Dim, leading
from landscape.symmetry.balance import balance
from landscape.symmetry.elements import Element, Flipping, Generator, Scaling
from landscape.symmetry.factors import plain_slices


def incoming_norms(generator: Scaling, state: Mapping[str, Tensor]) -> Tensor:
    """The norm of what comes into each unit: shape (units,), float64."""
    name, dim = generator.incoming
    tensor = leading(state[name].double(), dim)
    squares = tensor.reshape(len(tensor), -1).square().sum(1)
    total = torch.zeros(generator.units, dtype=torch.float64)
    for one in generator.slices:
        if (one.tensor, one.dim) == (name, dim):
            # Keys lie beside the queries in one matrix, and take the inverse of their factors.
            made = one.powers == 1
            total = total.index_add(0, one.units[made], squares[one.places[made]])
    return total.sqrt()


def unit_norm_element(generators: Sequence[Generator], state: Tensors) -> Element:
    """The element that gives the incoming weights of every unit norm 1 and pushes the scale forward.

    One generator after the other in the order of the forward pass, so that what comes in is final when it is
    measured. Where several layers add to the same units, as along a residual stream, the first one counts. A unit
    without incoming weight keeps its scale. Unchanged by any rescaling of the weights before.

    Source:
        Pittorino et al. 2022, "Deep Networks on Toroids".
    """
    factors: list[tuple[Generator, Tensor]] = []
    state = {name: cast(tensor, torch.float64) for name, tensor in state.items()}
    for generator in generators:
        if isinstance(generator, Scaling):
            norms = incoming_norms(generator, state)
            value = torch.where(norms > 0, 1 / norms, torch.ones_like(norms))
            generator.act(state, value)
            factors.append((generator, value))
    return Element(tuple(factors))


def sign_element(generators: Sequence[Generator], state: Tensors) -> Element:
    """The element that settles the sign of every unit that may be flipped.

    Gains of batch normalisation are made 0 or more, as they begin and mostly stay in training: of two trained
    networks matched units then have gains of one sign, and half way between them none vanishes. What is free after
    that is settled by the cubes of the incoming weights, which get a sum of 0 or more: behind layer normalisation
    the weights themselves may have the sum 0. Families overlap, as where a stream and the filters that write it
    may both be flipped; each slice settles one combination of units, and leaves those settled before as they are.
    """
    state = {name: cast(tensor, torch.float64) for name, tensor in state.items()}
    flippings = [one for one in generators if isinstance(one, Flipping)]
    starts = np.cumsum([0, *(one.units for one in flippings)]).tolist()
    entering: dict[tuple[str, Dim], list[tuple[int, int]]] = {}
    for one, start in zip(flippings, starts, strict=False):
        for part in one.slices:
            odd = part.powers % 2 == 1
            entries = zip(part.places[odd].tolist(), (part.units[odd] + start).tolist(), strict=True)
            entering.setdefault((part.tensor, part.dim), []).extend(entries)
    gains = ((norm.gain, 0) for one in generators if isinstance(one, Scaling) for norm in one.norms if norm.gain)
    settling, total = _Settling(), torch.ones(starts[-1], dtype=torch.float64)
    for key in dict.fromkeys([*gains, *(one.incoming for one in flippings)]):
        flips = _settled(settling, entering.get(key, ()), leading(state[key[0]], key[1]))
        signs = torch.ones_like(total).index_fill_(0, torch.tensor(sorted(flips), dtype=torch.int64), -1.0)
        for one, own in zip(flippings, signs.split([one.units for one in flippings]), strict=True):
            if bool((own < 0).any()):
                one.act(state, own)
        total *= signs
    return Element(tuple(zip(flippings, total.split([one.units for one in flippings]), strict=True)))


def _settled(settling: _Settling, entries: Sequence[tuple[int, int]], along: Tensor) -> set[int]:
    """Settle the slices of a tensor, along its first dimension, and return the units to be flipped."""
    units_at: dict[int, set[int]] = {}
    for place, unit in entries:
        units_at.setdefault(place, set()).symmetric_difference_update({unit})
    cubes = along.reshape(len(along), -1).pow(3).sum(1).tolist()
    sums: dict[frozenset[int], float] = {}
    for place, units in sorted(units_at.items()):
        alike = frozenset(units)
        sums[alike] = sums.get(alike, 0.0) + cubes[place]
    flips: set[int] = set()
    for alike, value in sums.items():
        if value:
            negative = (value < 0) != (len(alike & flips) % 2 == 1)
            flips ^= settling.settle(alike, negative)
    return flips


class _Settling:
    """Flips of units of which some are settled: which others a settled unit follows."""

    def __init__(self) -> None:
        self._followed: dict[int, set[int]] = {}
        self._followers: dict[int, set[int]] = {}

    def settle(self, units: Iterable[int], negative: bool) -> set[int]:
        """Settle the product of the signs of some units; return those to be flipped where it is negative."""
        free: set[int] = set()
        for unit in units:
            free ^= self._followed.get(unit, {unit})
        if not free:
            return set()
        pivot = min(free)
        together = {pivot} | self._followers.pop(pivot, set())
        free.discard(pivot)
        for unit in together:
            own = self._followed[unit] = (self._followed.get(unit, {pivot}) ^ free) - {pivot}
            for other in free:
                followers = self._followers.setdefault(other, set())
                (followers.add if other in own else followers.discard)(unit)
        return together if negative else set()


def balance_element(generators: Sequence[Scaling], state: Tensors) -> Element:
    """One factor per generator, such that the sum of squared norms of all weights is least.

    sum_k N_k exp(2 <c_k, mu>) is convex in the logarithms mu of the factors; N_k is the squared norm of a part of
    a weight and c_k how often each factor enters it. In a chain of layers without biases all norms become equal.
    Biases follow and do not count.

    Raises:
        LandscapeError: If there is no least sum, because a factor enters weights with one sign only.
    """
    generators = [generator for generator in generators if float(incoming_norms(generator, state).max()) > 0]
    if not generators:
        return Element()
    coefficients, norms = _norm_terms(generators, state)
    # A weight is multiplied where its curvature is divided, so the exponents change sign.
    found = balance(-coefficients, norms)
    if not found.attained:
        raise LandscapeError(
            "the weights cannot be balanced: no rescaling makes the sum of their squared norms least",
            where=", ".join(generators[place].name for place in found.unattained),
            mend="look for layers whose outgoing weights are all 0",
        )
    return Element(
        tuple(
            (generator, torch.full((generator.units,), float(np.exp(value)), dtype=torch.float64))
            for generator, value in zip(generators, found.mu, strict=True)
        )
    )


def _norm_terms(
    generators: Sequence[Scaling], state: Mapping[str, Tensor]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shapes (parts, generators), (parts,): how often each factor enters a part of a weight, its squared norm."""
    incoming = {generator.incoming[0] for generator in generators}
    tensors = {one.tensor for generator in generators for one in generator.slices}
    buffers = {norm.variance for generator in generators for norm in generator.norms}
    buffers |= {norm.mean for generator in generators for norm in generator.norms}
    coefficients, norms = [], []
    generators, flat = plain_slices(generators, {name: tensor.shape for name, tensor in state.items()})
    for name in sorted(tensors - buffers):
        tensor = state[name].double()
        if tensor.ndim < 2 and name not in incoming:
            continue
        parts, squares = _parts(name, tensor.reshape(-1) if name in flat else tensor, generators)
        coefficients.append(parts)
        norms.append(squares)
    stacked, sums = np.concatenate(coefficients), np.concatenate(norms)
    counted = sums > 0
    return stacked[counted], sums[counted]


def _parts(
    name: str, tensor: Tensor, generators: Sequence[Scaling]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A weight cut where factors enter differently: how often each enters a part, and its squared norm."""
    squares = tensor.square()
    parts = np.zeros((1,) * tensor.ndim + (len(generators),))
    for dim, length in enumerate(tensor.shape):
        powers = torch.zeros(length, len(generators), dtype=torch.float64)
        for column, generator in enumerate(generators):
            for one in generator.slices:
                if (one.tensor, one.dim) == (name, dim):
                    powers[:, column] = powers[:, column].index_add(0, one.places, one.powers.double())
        different, place = torch.unique(powers, dim=0, return_inverse=True)
        shape = [len(different) if axis == dim else size for axis, size in enumerate(squares.shape)]
        squares = torch.zeros(shape, dtype=torch.float64).index_add(dim, place, squares)
        beside = [1] * tensor.ndim + [len(generators)]
        beside[dim] = len(different)
        parts = parts + different.numpy().reshape(beside)
    whole = np.broadcast_to(parts, (*squares.shape, len(generators)))
    return whole.reshape(-1, len(generators)), squares.numpy().reshape(-1)

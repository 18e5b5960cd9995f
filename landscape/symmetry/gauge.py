"""The gauge of batch normalisation: scales that stored variances fix, and what remains free beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import spsolve
from torch import Tensor

from landscape.symmetry.elements import Element, Scaling, Slices
from landscape.symmetry.labels import Norm

# How often the factor of each unit, by its number among the units of all rescalings, enters something.
Powers: TypeAlias = "dict[int, Fraction]"


class Gauge:
    """Coordinates of the rescalings of a network with batch normalisation.

    The logarithms mu of all factors split into those that a condition on variances fixes, and the directions along
    which no variance moves. Each condition is solved for its newest factor, which the others then no longer need.

    Args:
        scalings: All rescalings of a model.
        weights: Name -> tensor, buffers included. Only which variances are 0 matters: of such a channel the gain
            makes up for every factor.

    Attributes:
        exponents: The rescalings, with what gains of channels of variance 0 take.
        basis: Shape (units, directions): what a step along each direction adds to mu.
        units: The number of the unit that each direction is named after.
    """

    def __init__(self, scalings: Sequence[Scaling], weights: Mapping[str, Tensor]) -> None:
        self._scalings, self._weights = scalings, weights
        self.exponents = [_with_gains(one, weights) for one in scalings]
        self._norms = {norm.variance: norm for one in scalings for norm in one.norms}
        # The channels whose variances take the same factors, for each pivot.
        self._conditions: dict[int, tuple[Powers, list[tuple[str, int]]]] = {}
        solved: dict[int, Powers] = {}
        for powers, channels in self._variances():
            left = _substituted(powers, solved)
            if left:
                pivot = max(left)
                own = left.pop(pivot)
                solution = {unit: -power / own for unit, power in left.items()}
                for unit in [unit for unit, other in solved.items() if pivot in other]:
                    solved[unit] = _substituted(solved[unit], {pivot: solution})
                solved[pivot] = solution
                self._conditions[pivot] = (powers, channels)
        total = sum(one.units for one in scalings)
        self.units = [unit for unit in range(total) if unit not in solved]
        self.basis = _basis(solved, self.units, total)

    def _variances(self) -> Iterator[tuple[Powers, list[tuple[str, int]]]]:
        """The different factors that variances take, and which take them."""
        entries: dict[tuple[str, int], Powers] = {}
        start = 0
        for scaling in self._scalings:
            for one in scaling.slices:
                if one.tensor in self._norms:
                    moving = ~_dead(one, self._norms[one.tensor], self._weights)
                    rows = zip(
                        *(part[moving].tolist() for part in (one.places, one.units, one.powers)), strict=True
                    )
                    for place, unit, power in rows:
                        own = entries.setdefault((one.tensor, place), {})
                        own[start + unit] = own.get(start + unit, Fraction(0)) + power
            start += scaling.units
        alike: dict[frozenset[tuple[int, Fraction]], list[tuple[str, int]]] = {}
        for channel, powers in entries.items():
            alike.setdefault(frozenset((unit, power) for unit, power in powers.items() if power), []).append(
                channel
            )
        yield from ((dict(powers), channels) for powers, channels in alike.items())

    def element(self) -> Element:
        """The element after which every variance of batch normalisation, with its eps, is 1.

        Where several normalisations share all their scales, it is the mean of their variances.
        """
        if not self._conditions:
            return Element()
        pivots = list(self._conditions)
        place = {pivot: number for number, pivot in enumerate(pivots)}
        matrix = sparse.lil_matrix((len(pivots), len(pivots)))
        wanted = np.empty(len(pivots))
        for row, (powers, channels) in enumerate(self._conditions.values()):
            for unit, power in powers.items():
                if unit in place:
                    matrix[row, place[unit]] = float(power)
            wanted[row] = _logarithm(channels, self._norms, self._weights)
        mu = np.zeros(self.basis.shape[0])
        mu[pivots] = spsolve(matrix.tocsc(), wanted)
        return Element(tuple(factors_at(self._scalings, mu, only_norms=True)))


def _dead(one: Slices, norm: Norm, weights: Mapping[str, Tensor]) -> Tensor:
    """Which places of variances are 0, where a gain makes up for eps."""
    return (weights[one.tensor][one.places] <= 0) & (norm.gain is not None)


def _with_gains(scaling: Scaling, weights: Mapping[str, Tensor]) -> Scaling:
    """A rescaling with the exponents of gains behind variances of 0, which divide by what the filters take."""
    norms = {norm.variance: norm for norm in scaling.norms}
    added = []
    for one in scaling.slices:
        gain = norms[one.tensor].gain if one.tensor in norms else None
        if gain is not None and bool((dead := _dead(one, norms[one.tensor], weights)).any()):
            powers = -one.powers[dead].div(2, rounding_mode="trunc")
            added.append(Slices(gain, one.dim, one.places[dead], one.units[dead], powers))
    return replace(scaling, slices=(*scaling.slices, *added)) if added else scaling


def _logarithm(
    channels: Sequence[tuple[str, int]], norms: Mapping[str, Norm], weights: Mapping[str, Tensor]
) -> float:
    """Of the factor with c^2 v + eps = 1, or with c^2 (v + eps) = 1 where no gain makes up for eps."""
    total = rest = 0.0
    for name, place in channels:
        norm = norms[name]
        kept = norm.eps if norm.gain is not None else 0.0
        total += float(weights[name][place]) + (norm.eps - kept)
        rest += 1 - kept
    return float(np.log(rest / total)) if total > 0 else 0.0


def _substituted(powers: Mapping[int, Fraction], solved: Mapping[int, Powers]) -> Powers:
    """Powers in terms of what is not solved for."""
    total: Powers = {}
    for unit, power in powers.items():
        for other, factor in solved.get(unit, {unit: Fraction(1)}).items():
            total[other] = total.get(other, Fraction(0)) + power * factor
    return {unit: power for unit, power in total.items() if power}


def _basis(solved: Mapping[int, Powers], units: Sequence[int], total: int) -> sparse.csr_matrix:
    column = {unit: number for number, unit in enumerate(units)}
    entries = [(unit, number, 1.0) for unit, number in column.items()]
    entries += [
        (pivot, column[unit], float(power)) for pivot, own in solved.items() for unit, power in own.items()
    ]
    rows, columns, values = zip(*entries, strict=True) if entries else ((), (), ())
    return sparse.csr_matrix((values, (rows, columns)), shape=(total, len(units)))


def factors_at(
    scalings: Sequence[Scaling], mu: NDArray[np.float64], *, only_norms: bool = False
) -> Iterator[tuple[Scaling, Tensor]]:
    """Rescalings with the factors exp(mu) of their units.

    Args:
        scalings: The rescalings.
        mu: Shape (units of all of them,).
        only_norms: Leave those out that move no variance.
    """
    start = 0
    for one in scalings:
        if one.norms or not only_norms:
            yield one, torch.from_numpy(np.exp(mu[start : start + one.units]))
        start += one.units

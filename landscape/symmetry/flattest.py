"""The flattest point of an orbit: the smallest Gauss-Newton trace that rescalings reach, and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.curvature import Kinks, gauss_newton_draws, kinks
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import Tensors
from landscape.symmetry.balance import Balanced, balance
from landscape.symmetry.elements import Element, Scaling
from landscape.symmetry.factors import factors_of
from landscape.symmetry.gauge import Gauge, factors_at
from landscape.values.result import Result

if TYPE_CHECKING:
    from landscape.symmetry.symmetries import Symmetries

Array: TypeAlias = NDArray[np.float64]
Progress: TypeAlias = Callable[[int, int], None]

GAUGE = "running_var + eps = 1"


@dataclass(frozen=True, eq=False)
class Flattest(Result):
    """The flattest point of the orbit of some weights under rescalings.

    Attributes:
        value: The smallest trace of the Gauss-Newton matrix; at interpolation that of the Hessian too.
        standard_error: Of the value, where the diagonal was sampled; otherwise None. A minimum follows noise, so a
            sampled value is too small rather than too large.
        trace: The trace at the weights, after the gauge where there is batch normalisation.
        element: From the weights to the flattest point, the gauge first.
        gauge: What fixes the scale of filters in front of batch normalisation; an empty text where there is none.
        dead: Names of units without curvature, left alone.
        unattained: Names of units that have a part which falls towards 0 for ever: the value is an infimum.
        balanced: The report of the convex problem.
        note: What makes the value doubtful, such as data on kinks of the network; otherwise an empty text.
    """

    value: float
    standard_error: float | None
    trace: float
    element: Element
    gauge: str
    dead: tuple[str, ...]
    unattained: tuple[str, ...]
    balanced: Balanced
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain values."""
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "trace": self.trace,
            "gauge": self.gauge,
            "dead": list(self.dead),
            "unattained": list(self.unattained),
            "relative_gradient": self.balanced.gradient,
            "iterations": self.balanced.iterations,
            **({"note": self.note} if self.note else {}),
        }


def flattest(
    symmetries: Symmetries,
    objective: Objective,
    weights: Tensors,
    *,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    seed: int = 0,
    samples: int | None = None,
    dtype: torch.dtype | None = torch.float64,
    draws: Sequence[Mapping[str, Tensor]] | None = None,
    met: Kinks | None = None,
    progress: Progress | None = None,
) -> Flattest:
    """Minimise the Gauss-Newton trace over all rescalings of some weights.

    A rescaling multiplies parameter e by exp(<a_e, mu>), and the trace is sum_e G_e exp(-2 <a_e, mu>), convex in
    mu (see `balance`). Filters in front of batch normalisation are free: their part of the trace falls towards 0
    as they grow. Their scale is fixed first by the gauge running_var + eps = 1, and the minimum is over all
    rescalings that move no variance, so that the value is the same from everywhere on the orbit.

    Args:
        symmetries: Those of the objective's model.
        objective: The objective.
        weights: Name -> tensor, buffers included.
        split: Which data.
        parameters: Globs that choose whose curvature counts; see `Layout.select`.
        seed: Draws the signs of a sampled diagonal. Equal seeds give equal signs everywhere on the orbit, so that
            a sampled value is as invariant as an exact one.
        samples: Pairs of draws of signs; None decides between exact and sampled.
        dtype: The type of real numbers of the passes; None is the model's own.
        draws: Diagonals at the weights, where they are known; see `gauss_newton_draws`.
        met: The data on kinks of the network, where they are known.
        progress: Called with (done, in all).

    Returns:
        The flattest point.

    Raises:
        LandscapeError: If the model has no rescaling, output and loss cannot be told apart, or the curvature is
            not finite.

    Source:
        Vardhan, Taheri & Mazumdar 2026 for two layers; Dinh et al. 2017, section 5.1, for what batch normalisation
        leaves free.
    """
    scalings = symmetries.scalings
    if not scalings:
        reasons = "; ".join(map(str, symmetries.blocked[:3])) or "it has no hidden units"
        raise LandscapeError("this model has no rescaling symmetry", got=reasons)
    coordinates = Gauge(scalings, weights)
    gauge = coordinates.element()
    start = gauge.apply({name: _widened(tensor) for name, tensor in weights.items()})
    if draws is None:
        draws = gauss_newton_draws(
            objective, start, split, parameters, samples, seed, dtype=dtype, progress=progress
        )
    else:
        # The gauge multiplies weights, and so divides their derivatives.
        factors = factors_of(gauge, weights) or {}
        draws = [{name: values / factors[name].to(values) ** 2 for name, values in draw.items()} for draw in draws]
    exponents, masses = exponents_and_masses(coordinates.exponents, draws)
    found = balance(sparse.csr_matrix(exponents @ coordinates.basis), masses.mean(axis=0))
    each = masses @ found.shares
    units = [f"{one.name}[{unit}]" for one in scalings for unit in range(one.units)]
    names = [units[unit] for unit in coordinates.units]
    return Flattest(
        value=found.value,
        standard_error=float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else None,
        trace=found.before,
        element=gauge.then(Element(tuple(factors_at(scalings, coordinates.basis @ found.mu)))),
        gauge=GAUGE if gauge.factors else "",
        dead=tuple(names[place] for place in found.free),
        unattained=tuple(names[place] for place in found.unattained),
        balanced=found,
        note=(met or kinks(objective, weights, split, parameters)).note,
    )


def _widened(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def exponents_and_masses(
    scalings: Sequence[Scaling], draws: Sequence[Mapping[str, Tensor]]
) -> tuple[sparse.csr_matrix, Array]:
    """The convex problem: exponents of shape (E, M), and masses of shape (draws, E).

    Elements of a tensor that no scale tells apart make one row.
    """
    starts = np.cumsum([0, *(one.units for one in scalings)])
    # The exponents of an element are the sum of those of the slices that it lies in, one along each dimension.
    slices = [sparse.csr_matrix((0, int(starts[-1])))]
    elements: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    chosen: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    masses: list[Array] = []
    before = count = 0
    for name in draws[0]:
        values = np.stack([draw[name].cpu().numpy() for draw in draws])
        for dim in range(values.ndim - 1):
            different, places = _distinct(_along(name, dim, values.shape[dim + 1], scalings, starts))
            values = _summed(values, dim + 1, places, different.shape[0])
            slices.append(different)
        shape = values.shape[1:]
        for dim, length in enumerate(shape):
            places = np.arange(length).reshape([-1 if dim == other else 1 for other in range(len(shape))])
            chosen.append(before + np.broadcast_to(places, shape).ravel())
            elements.append(count + np.arange(math.prod(shape)))
            before += length
        count += math.prod(shape)
        masses.append(values.reshape(len(values), -1))
    rows = np.concatenate(elements)
    select = sparse.csr_matrix((np.ones(len(rows)), (rows, np.concatenate(chosen))), shape=(count, before))
    exponents = sparse.csr_matrix(select @ sparse.vstack(slices, format="csr"))
    exponents.eliminate_zeros()
    exponents.sort_indices()
    return exponents, np.concatenate(masses, axis=1)


def _along(name: str, dim: int, length: int, scalings: Sequence[Scaling], starts: Array) -> sparse.csr_matrix:
    """Return the power of each scale in each slice of a tensor along a dimension: shape (length, M)."""
    rows, columns, powers = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
    for scaling, start in zip(scalings, starts[:-1], strict=True):
        for one in scaling.slices:
            if (one.tensor, one.dim) == (name, dim):
                rows.append(one.places.numpy())
                columns.append(one.units.numpy() + int(start))
                powers.append(one.powers.numpy().astype(float))
    cut = (np.concatenate(powers), (np.concatenate(rows), np.concatenate(columns)))
    whole = sparse.csr_matrix(cut, shape=(length, int(starts[-1])))
    whole.eliminate_zeros()
    whole.sort_indices()
    return whole


def _distinct(rows: sparse.csr_matrix) -> tuple[sparse.csr_matrix, NDArray[np.int64]]:
    """The different rows of a matrix, and which of them each row is."""
    known: dict[bytes, int] = {}
    firsts: list[int] = []
    places = np.empty(rows.shape[0], np.int64)
    for place in range(rows.shape[0]):
        part = slice(rows.indptr[place], rows.indptr[place + 1])
        key = rows.indices[part].tobytes() + rows.data[part].tobytes()
        if key not in known:
            known[key] = len(firsts)
            firsts.append(place)
        places[place] = known[key]
    return rows[firsts], places


def _summed(values: Array, axis: int, places: NDArray[np.int64], count: int) -> Array:
    """Slices along an axis summed by the place that each goes to."""
    if count == values.shape[axis]:
        # Each is the first of its kind, and has its own place.
        return values
    moved = np.moveaxis(values, axis, 0)
    total = np.zeros((count, *moved.shape[1:]))
    np.add.at(total, places, moved)
    return np.moveaxis(total, 0, axis)

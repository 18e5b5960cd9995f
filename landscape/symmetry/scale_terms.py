"""The convex problem of a flattest point: what each scale does to which part of the curvature."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from torch import Tensor

from landscape.symmetry.elements import Scaling
from landscape.symmetry.factors import plain_slices

Array: TypeAlias = NDArray[np.float64]


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
    scalings, flat = plain_slices(scalings, {name: tensor.shape for name, tensor in draws[0].items()})
    for name in draws[0]:
        values = np.stack([draw[name].cpu().numpy() for draw in draws])
        values = values.reshape(len(values), -1) if name in flat else values
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

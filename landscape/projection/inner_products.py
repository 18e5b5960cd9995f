"""Inner products of snapshots, summed up over columns, and the squared distances that follow. No torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.projection.krylov import row_blocks

Array = NDArray[np.float64]


@dataclass
class Sums:
    """Inner products of snapshots x relative to a reference r, summed up so far.

    Of many snapshots those below the diagonal may be left out.
    """

    gram: Array
    along: Array
    square: float = 0.0

    @classmethod
    def none(cls, count: int) -> Sums:
        """Begin with zeros, of so many snapshots."""
        return cls(np.zeros((count, count)), np.zeros(count))

    def add(self, gram: Array, along: Array, square: float) -> None:
        """Add the sums of other columns."""
        self.gram += gram
        self.along += along
        self.square += square

    def add_values(self, values: Array, reference: Array) -> None:
        """Add the products of some columns of x - r, with those of r."""
        for rows in row_blocks(len(values)):
            self.gram[rows, rows.start :] += values[rows] @ values[rows.start :].T
        self.along += values @ reference
        self.square += float(reference @ reference)

    @functools.cached_property
    def own(self) -> Array:
        """Shape (T,), |x - r|^2."""
        return np.diag(self.gram).copy()

    def squared(self) -> Array:
        """|a - b|^2 = |a - r|^2 + |b - r|^2 - 2 (a - r).(b - r), in the memory of the products."""
        found, own = self.gram, self.own
        for rows in row_blocks(len(found)):
            after = found[rows, rows.start :]
            np.maximum(own[rows, None] + own[rows.start :] - 2 * after, 0.0, out=after)
            found[rows.start :, rows] = after.T
        np.fill_diagonal(found, 0.0)
        return found

    def excess(self) -> Array:
        """|x|^2 - |r|^2 = |x - r|^2 + 2 r.(x - r)."""
        found: Array = self.own + 2 * self.along
        return found

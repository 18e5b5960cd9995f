"""Curvature by block as values to be drawn: NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.values.result import Tabular

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Blocks(Tabular):
    """A curvature matrix block by block.

    Attributes:
        names: Of the blocks, n of them.
        sizes: Shape (n,), numbers in each.
        norms: Shape (n, n), |H_ij|_F.
        norm_errors: Shape (n, n), standard errors.
        traces: Shape (n,), tr H_ii.
        trace_errors: Shape (n,), standard errors.
        tops: Shape (n,), largest eigenvalue of H_ii; NaN where it was not sought or did not converge.
        bottoms: Shape (n,), the smallest.
        grid: Shape (points,), eigenvalues; none where spectra were not taken.
        densities: Shape (n, points), per unit of eigenvalue, of each H_ii; every row integrates to 1.
        linear: Eigenvalues smaller than this are on a linear scale.
        meta: What this is: problem, step, matrix, split, by, probes, lanczos, unit. Plain JSON values.
    """

    names: tuple[str, ...]
    sizes: NDArray[np.int64]
    norms: Array
    norm_errors: Array
    traces: Array
    trace_errors: Array
    tops: Array
    bottoms: Array
    grid: Array
    densities: Array
    linear: float
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shares(self) -> Array:
        """Shape (n,), share of the whole trace."""
        return np.asarray(self.traces / self.traces.sum())

    @property
    def within(self) -> float:
        """Share of the squared Frobenius norm within blocks."""
        return float((self.norms.diagonal() ** 2).sum() / (self.norms**2).sum())

    def _table(self) -> Mapping[str, Any]:
        return {
            "block": list(self.names),
            "size": self.sizes,
            "norm": self.norms.diagonal(),
            "norm_error": self.norm_errors.diagonal(),
            "trace": self.traces,
            "trace_error": self.trace_errors,
            "share": self.shares,
            "top": self.tops,
            "bottom": self.bottoms,
        }

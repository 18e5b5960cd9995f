"""The spectrum of a curvature matrix as values to be drawn: NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.values.result import Result, Tabular

Array = NDArray[np.float64]


@dataclass(frozen=True)
class End(Result):
    """An end of a spectrum.

    Attributes:
        value: The eigenvalue; NaN where it did not converge.
        residual: |A v - value v|.
        converged: Whether the residual is within the tolerance.
    """

    value: float
    residual: float
    converged: bool


@dataclass(frozen=True)
class Spectrum(Tabular):
    """The density of the eigenvalues of a curvature matrix, from several probes.

    Attributes:
        grid: Shape (points,), eigenvalues.
        densities: Shape (probes, points), per unit of eigenvalue, of each probe; their mean integrates to 1.
        linear: Eigenvalues smaller than this are on a linear scale.
        width: The standard deviation of the smoothing, in units of asinh(eigenvalue / linear).
        size: P, how many eigenvalues there are.
        mean: The mean eigenvalue, trace / P.
        mean_standard_error: Over the probes.
        second_moment: The mean squared eigenvalue, squared Frobenius norm / P.
        second_moment_standard_error: Over the probes.
        largest: The largest eigenvalue.
        smallest: The smallest eigenvalue.
        meta: What this is: problem, step, kind, split, seed, probes, steps, parameters, unit. Plain JSON values.
    """

    grid: Array
    densities: Array
    linear: float
    width: float
    size: int
    mean: float
    mean_standard_error: float
    second_moment: float
    second_moment_standard_error: float
    largest: End
    smallest: End
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def density(self) -> Array:
        """Shape (points,), the mean over the probes."""
        return np.asarray(self.densities.mean(axis=0))

    @property
    def trace(self) -> tuple[float, float]:
        """The trace with its standard error over the probes."""
        return self.size * self.mean, self.size * self.mean_standard_error

    @property
    def floor(self) -> float:
        """The density at a hundredth of the height of a single eigenvalue as large as the largest known."""
        far = max(abs(self.grid[0]), abs(self.grid[-1]))
        return float(0.01 / (self.size * np.sqrt(2 * np.pi) * self.width * np.hypot(far, self.linear)))

    def _table(self) -> Mapping[str, Any]:
        probes = {f"probe_{place}": own for place, own in enumerate(self.densities)}
        return {"eigenvalue": self.grid, "density": self.density, **probes}


def smoothed(nodes: Array, weights: Array, grid: Array, linear: float, width: float) -> Array:
    """The density of each probe on a grid: every node a Gaussian in asinh(eigenvalue / linear).

    Args:
        nodes: Shape (probes, steps), eigenvalues.
        weights: The same shape, each row adding up to 1.
        grid: Shape (points,), eigenvalues.
        linear: Eigenvalues smaller than this are on a linear scale.
        width: The standard deviation of the Gaussians.

    Returns:
        Shape (probes, points), per unit of eigenvalue, scaled together so that the mean integrates to 1.
    """
    away = (np.arcsinh(grid / linear)[None, :, None] - np.arcsinh(nodes / linear)[:, None, :]) / width
    densities = np.einsum("ps,pgs->pg", weights, np.exp(-0.5 * away**2)) / np.hypot(grid, linear)
    return np.asarray(densities / np.trapezoid(densities.mean(axis=0), grid))

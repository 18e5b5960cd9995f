"""The density of a spectrum by stochastic Lanczos quadrature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.curvature.matrix import SymmetricOperator
from landscape.curvature.random_vectors import device_of, generator_of, require_samples, signs, vector_type
from landscape.errors import LandscapeError
from landscape.values.result import Tabular

Array = NDArray[np.float64]

# What the vectors of all steps may take; with more parameters fewer probes go side by side.
_BASIS_BYTES = 2**31
# Eigenvalues nearer to 0 than this share of the largest are on a linear scale, those beyond on a logarithmic.
_LINEAR_SHARE = 1e-3
_POINTS = 1024
# So many widths beyond the outermost node a Gaussian has nothing left.
_MARGIN = 5.0


@dataclass(frozen=True)
class SpectralDensity(Tabular):
    """The distribution of the eigenvalues, each counting 1/P.

    Attributes:
        nodes: Shape (probes, steps), eigenvalues of the tridiagonal matrix of each probe, rising.
        weights: The same shape, not negative, each row adding up to 1.
        grid: Shape (points,), eigenvalues, dense near 0.
        density: Shape (points,), per unit of eigenvalue; its integral over the grid by trapezoids is 1.
        linear: Eigenvalues smaller than this are on a linear scale, for a symmetric-logarithmic axis.
        width: The standard deviation of the smoothing, in units of asinh(eigenvalue / linear).
        mean: The mean eigenvalue, trace / P.
        mean_standard_error: Over the probes.
        second_moment: The mean squared eigenvalue, squared Frobenius norm / P.
        second_moment_standard_error: Over the probes.
        products: Products with one vector that it took.
    """

    nodes: Array
    weights: Array
    grid: Array
    density: Array
    linear: float
    width: float
    mean: float
    mean_standard_error: float
    second_moment: float
    second_moment_standard_error: float
    products: int

    def share(self, low: float, high: float) -> tuple[float, float]:
        """The share of the eigenvalues in [low, high), and its standard error over the probes."""
        inside = (self.nodes >= low) & (self.nodes < high)
        return _mean_and_error((self.weights * inside).sum(1))

    def _table(self) -> Mapping[str, Any]:
        return {"eigenvalue": self.grid, "density": self.density}


def spectral_density(
    operator: SymmetricOperator,
    probes: int = 10,
    steps: int = 80,
    seed: int = 0,
    *,
    width: float = 0.05,
    points: int = _POINTS,
    progress: Callable[[int], None] | None = None,
) -> SpectralDensity:
    """The density of the spectrum.

    Lanczos's method from a random unit vector v gives nodes t and weights w (the squared first entries of the
    eigenvectors) with sum w f(t) = v . f(H) v exactly for polynomials f of degree below twice the steps, and the
    mean of that over v is trace f(H) / P. All vectors are kept orthogonal, so that no node comes twice. Each node
    becomes a Gaussian in asinh(t / linear), a symmetric logarithm, so that the bulk near 0 and outliers a thousand
    times larger are both resolved.

    Args:
        operator: Multiplies vectors by a symmetric matrix.
        probes: Random vectors, 2 at least.
        steps: Products of each.
        seed: Draws the vectors.
        width: The standard deviation of the smoothing, in units of asinh(eigenvalue / linear): about the relative
            width of a line that is far from 0.
        points: Of the grid.
        progress: Called with the number of products so far.

    Returns:
        Nodes and weights, and the smoothed density of the mean over the probes.

    Raises:
        LandscapeError: If there are too few probes or steps, or one probe does not fit into 2 GiB.

    Source:
        Ubaru, Chen and Saad 2017, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", section 3;
        for neural networks Ghorbani, Krishnan and Xiao 2019, section 2. The smoothing on a symmetric logarithm is
        our own.

    Example:
        >>> class Half:
        ...     size = 40
        ...     def __matmul__(self, v):
        ...         return torch.diag(torch.tensor([0.0, 2.0], dtype=v.dtype).repeat(20)) @ v
        >>> found = spectral_density(Half(), probes=3, steps=5)
        >>> round(found.mean, 9), [round(share, 9) for share in found.share(1, 3)]
        (1.0, [0.5, 0.0])
    """
    require_samples(probes, 2)
    if steps < 1:
        raise LandscapeError("must be at least 1", where="steps", got=steps)
    steps = min(steps, operator.size)
    generator = generator_of(seed)
    each = steps * operator.size * vector_type(operator, steps).itemsize
    if each > _BASIS_BYTES:
        raise LandscapeError(
            "the vectors of one probe take too much memory",
            where="spectral density",
            got=f"{each / 2**30:.1f} GiB",
            mend=f"take {_BASIS_BYTES * steps // each} steps at most, or select fewer parameters",
        )
    group, quadratures, done = max(1, _BASIS_BYTES // each), [], 0
    for start in range(0, probes, group):
        columns = signs(operator, min(group, probes - start), generator)
        quadratures += _quadratures(operator, columns, steps, done, progress)
        done += steps * columns.shape[1]
    nodes, weights = (np.stack(parts) for parts in zip(*quadratures, strict=True))
    return _smoothed(nodes, weights, width, points, done)


def _quadratures(
    operator: SymmetricOperator, columns: Tensor, steps: int, done: int, progress: Callable[[int], None] | None
) -> list[tuple[Array, Array]]:
    """Lanczos's method from several vectors side by side: nodes and weights of each."""
    size, count = columns.shape
    # (probes, steps, P): the basis of a probe is a matrix of its own.
    basis = torch.zeros(count, steps, size, dtype=columns.dtype, device=device_of(operator))
    diagonal = torch.zeros(count, steps, dtype=torch.float64)
    beside = torch.zeros(count, steps, dtype=torch.float64)
    current = (columns / columns.norm(dim=0)).T
    for step in range(steps):
        basis[:, step] = current
        product = (operator @ current.T).T.to(columns)
        diagonal[:, step] = (product * current).sum(1).double().cpu()
        rest, scale = product, product.norm(dim=1)
        for _ in range(2):
            inside = torch.einsum("csp,cp->cs", basis[:, : step + 1], rest)
            rest = rest - torch.einsum("cs,csp->cp", inside, basis[:, : step + 1])
        lengths = rest.norm(dim=1)
        # A space that is closed under the matrix has all the nodes there are; the rest is rounding.
        lengths = torch.where(lengths <= 10 * torch.finfo(columns.dtype).eps * scale, 0.0, lengths)
        beside[:, step] = lengths.double().cpu()
        current = torch.where(lengths[:, None] > 0, rest / lengths.clamp(min=1e-300)[:, None], 0.0)
        if progress is not None:
            progress(done + (step + 1) * count)
    return [_nodes(diagonal[probe], beside[probe]) for probe in range(count)]


def _nodes(diagonal: Tensor, beside: Tensor) -> tuple[Array, Array]:
    """Of a tridiagonal matrix; after a zero beside the diagonal the rest has weight 0."""
    matrix = torch.diag(diagonal) + torch.diag(beside[:-1], 1) + torch.diag(beside[:-1], -1)
    values, shapes = torch.linalg.eigh(matrix)
    return values.numpy(), (shapes[0] ** 2).numpy()


def _smoothed(nodes: Array, weights: Array, width: float, points: int, products: int) -> SpectralDensity:
    # Where a probe's space was closed, nodes without weight fill its row.
    seen = np.abs(nodes[weights > 0])
    linear = _LINEAR_SHARE * float(seen.max()) or 1.0
    places = np.arcsinh(nodes / linear)
    held = places[weights > 1e-16]
    along = around(float(held.min()), float(held.max()), width, points)
    # Narrower than the spacing of the grid, a line could fall between its points.
    wide = max(width, float(along[1] - along[0]))
    gaussians = np.exp(-0.5 * ((along[:, None] - places.ravel()[None, :]) / wide) ** 2)
    grid = linear * np.sinh(along)
    per_eigenvalue = gaussians @ weights.ravel() / np.hypot(grid, linear)
    density = per_eigenvalue / np.trapezoid(per_eigenvalue, grid)
    mean, mean_error = _mean_and_error((weights * nodes).sum(1))
    second, second_error = _mean_and_error((weights * nodes**2).sum(1))
    return SpectralDensity(
        nodes, weights, grid, density, linear, wide, mean, mean_error, second, second_error, products
    )


def around(low: float, high: float, width: float, points: int = _POINTS) -> Array:
    """Points from one place to another, and as far beyond as Gaussians of that width reach."""
    return np.linspace(low - _MARGIN * width, high + _MARGIN * width, points)


def _mean_and_error(samples: Array) -> tuple[float, float]:
    return float(samples.mean()), float(samples.std(ddof=1) / np.sqrt(len(samples)))

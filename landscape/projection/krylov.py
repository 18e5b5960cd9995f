"""Largest eigenvalues of a symmetric matrix from products with it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.values.result import Result

Array = NDArray[np.float64]

DENSE = 1024
"""Rows up to which a matrix is decomposed whole, which takes a second."""
MANY = 10
"""Eigenpairs of a larger matrix that are found where fewer are asked for: what a picture of the shares shows."""

# Columns beyond those wanted: the last of a block converge slowest.
_SPARE = 6
# Residual, as a share of the largest eigenvalue in magnitude, at which a pair has converged. An eigenvalue is then
# exact to rounding, and its vector to this over the distance to the next eigenvalue.
_CONVERGED = 1e-10
# Share of a product's norm below which a column adds nothing to the subspace: rounding of the projection.
_NOTHING = 1e-13


@dataclass(frozen=True)
class Leading(Result):
    """Largest eigenvalues of a symmetric matrix A and their vectors.

    Attributes:
        values: Shape (k,), falling.
        vectors: Shape (n, k), orthonormal.
        residuals: Shape (k,), the norms of A v - value v.
    """

    values: Array
    vectors: Array
    residuals: Array


def leading(apply: Callable[[Array], Array], rows: int, count: int) -> Leading:
    """Find the largest eigenvalues by a block Krylov method with full orthogonalisation.

    The subspace spanned by S, A S, A^2 S, ... of a random block S grows until the Ritz pairs wanted have
    converged, at the latest when it is the whole space.

    Args:
        apply: Shape (rows, m) -> A times it.
        rows: Size of the matrix.
        count: How many eigenvalues.

    Returns:
        The pairs, fewer than `count` only of a smaller matrix.

    Source:
        Golub & Underwood 1977, "The block Lanczos method for computing eigenvalues"; Musco & Musco 2015,
        "Randomized block Krylov methods for stronger and faster approximate singular value decomposition".

    Example:
        >>> matrix = np.diag(np.arange(50.0))
        >>> leading(lambda block: matrix @ block, 50, 2).values.round(9).tolist()
        [49.0, 48.0]
    """
    count = min(count, rows)
    start = np.random.default_rng(0).standard_normal((rows, min(rows, count + _SPARE)))
    block = np.linalg.qr(start)[0]
    basis, image = np.empty((rows, 0)), np.empty((rows, 0))
    looked_at = 0
    while True:
        product = apply(block)
        basis, image = np.hstack([basis, block]), np.hstack([image, product])
        block = _new(product, basis)
        # A decomposition of the projection costs the cube of its size: a long search makes few.
        if not block.shape[1] or basis.shape[1] >= 1.2 * looked_at:
            looked_at = basis.shape[1]
            found = _ritz(basis, image, count)
            largest = float(np.abs(found.values).max(initial=0.0))
            if not block.shape[1] or (found.residuals <= _CONVERGED * largest).all():
                return found


def _new(product: Array, basis: Array) -> Array:
    """Orthonormal columns of what a product has outside of the subspace; none where that is rounding."""
    scale = float(np.linalg.norm(product))
    for _ in range(2):
        product = product - basis @ (basis.T @ product)
        left, sizes, _ = np.linalg.svd(product, full_matrices=False)
        product = left[:, sizes > _NOTHING * scale][:, : basis.shape[0] - basis.shape[1]]
        scale = 1.0
    return np.linalg.qr(product)[0]


def _ritz(basis: Array, image: Array, count: int) -> Leading:
    projected = basis.T @ image
    values, inner = np.linalg.eigh((projected + projected.T) / 2)
    values, inner = values[::-1][:count], inner[:, ::-1][:, :count]
    vectors = basis @ inner
    return Leading(values, vectors, np.linalg.norm(image @ inner - vectors * values, axis=0))


def row_blocks(rows: int) -> Iterator[slice]:
    """Rows of a large square matrix, some at a time; all at once of a small one."""
    for start in range(0, rows, DENSE):
        yield slice(start, min(start + DENSE, rows))

"""Coordinates of points from their distances: classical scaling and SMACOF. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.errors import optional
from landscape.projection.krylov import DENSE, MANY, Leading, leading, row_blocks
from landscape.values.embedding import Array, stress_1

# Iterations of SMACOF, and the relative change of stress at which it ends: far below what a picture shows.
_ITERATIONS, _EPS = 1000, 1e-9
# Of more than 1,024 snapshots: how many SMACOF places first, in seconds, and steps over all, which take as long.
_LANDMARKS, _SWEEPS = 500, 20


def classical(distances: Array, dims: int) -> tuple[Array, Array]:
    """Classical scaling: coordinates X with X X^T nearest to the double-centred matrix.

    Args:
        distances: Shape (T, T).
        dims: The number of coordinates; those beyond the positive eigenvalues are 0.

    Returns:
        Coordinates, shape (T, dims), and all eigenvalues of B = -1/2 J D^2 J, the largest first.

    Source:
        Torgerson 1952; Gower 1966, "Some distance properties of latent root and vector methods", Biometrika 53.

    Example:
        >>> points, eigenvalues = classical(np.array([[0.0, 2.0], [2.0, 0.0]]), 1)
        >>> points.ravel().round(12).tolist()
        [1.0, -1.0]
    """
    found = scaled(distances, dims, flat=False)
    return found.points, found.eigenvalues


@dataclass(frozen=True)
class Scaled:
    """A classical embedding.

    Attributes:
        points: Shape (T, dims).
        eigenvalues: Of the double-centred matrix B, falling: all, or the leading ones of many snapshots.
        size: The sum of the magnitudes of all.
        error: Bound on the distance |X - X* Q| of the points X from the exact ones X*, in their best rotation.
    """

    points: Array
    eigenvalues: Array
    size: float
    error: float


def scaled(distances: Array, dims: int, *, flat: bool) -> Scaled:
    """Classical scaling, of more than 1,024 snapshots from products with their distances.

    With R = B U - U T the residual of the eigenvectors U found and T their eigenvalues, P and P* the projections
    on what U and the exact eigenvectors span, |P - P*| <= sqrt(2) |R| / gap (Davis & Kahan), and with t_1 the
    largest eigenvalue and t_k the last one drawn,

        |X X^T - X* X*^T| <= t_1 |P - P*| + |R|,    |X - X* Q| <= |X X^T - X* X*^T| / sqrt(2 (sqrt 2 - 1) t_k)

    The gap is that between the last eigenvalue drawn and the next.

    Args:
        distances: Shape (T, T).
        dims: The number of coordinates.
        flat: Whether the distances are known to fit into a Euclidean space: no eigenvalue is negative then, and
            their sum is the trace. Otherwise all eigenvalues are found, which takes the cube of T.

    Source:
        Davis & Kahan 1970, "The rotation of eigenvectors by a perturbation III", section 2; Tu et al. 2016,
        "Low-rank solutions of linear matrix equations via Procrustes flow", lemma 5.4.
    """
    from scipy.linalg import eigh, eigvalsh

    count, most = len(distances), min(dims, len(distances))
    if count > DENSE and flat:
        found = leading(lambda block: _double_centred(distances, block), count, max(MANY, most + 1))
        size = sum(float(np.vdot(distances[rows], distances[rows])) for rows in row_blocks(count)) / (2 * count)
        roots = np.sqrt(np.maximum(found.values[:most], 0.0))
        points = _oriented(found.vectors[:, :most] * roots)
        return Scaled(points, found.values, size, _error(found, most))
    squared = distances**2
    means = squared.mean(axis=0)
    centred = -0.5 * (squared - means - means[:, None] + means.mean())
    eigenvalues: Array = eigvalsh(centred)[::-1]
    last, vectors = eigh(centred, subset_by_index=(count - most, count - 1))
    points = np.zeros((count, dims))
    points[:, :most] = (vectors * np.sqrt(np.maximum(last, 0.0)))[:, ::-1]
    return Scaled(_oriented(points), eigenvalues, float(np.abs(eigenvalues).sum()), 0.0)


def _double_centred(distances: Array, block: Array) -> Array:
    """-1/2 J D^2 J times a block; the squares of a few rows at a time are in memory."""
    block = block - block.mean(axis=0)
    product = np.concatenate([distances[rows] ** 2 @ block for rows in row_blocks(len(distances))])
    centred: Array = -0.5 * (product - product.mean(axis=0))
    return centred


def _error(found: Leading, most: int) -> float:
    residual = float(np.linalg.norm(found.residuals[:most]))
    last, gap = found.values[most - 1], found.values[most - 1] - found.values[most]
    if residual == 0:
        return 0.0
    if last <= 0 or gap <= 0:
        return float("inf")
    products = float(found.values[0]) * np.sqrt(2) * residual / gap + residual
    return float(products / np.sqrt(2 * (np.sqrt(2) - 1) * last))


def stress_error(found: Scaled, distances: Array, fitted: Array) -> float:
    """Bound on the difference of a classical embedding's stress from the exact one's, where it is iterated.

    With e_i the error of point i, |d - d*| of a pair is at most |e_i - e_j|, whose squares sum to at most
    2 T |e|^2 over all pairs in both orders. With h = sqrt(2 T) |e| / |d|, stresses s and s* differ by at most
    h (1 + s) / (1 - h).
    """
    share = np.sqrt(2 * len(fitted)) * found.error / float(np.linalg.norm(fitted))
    return float(share * (1 + stress_1(distances, fitted)) / (1 - share)) if share < 1 else float("inf")


def metric(distances: Array, start: Array, starts: int, seed: int) -> Array:
    """Metric scaling, never worse in stress than where it begins; of many points by way of some of them.

    Args:
        distances: Shape (T, T).
        start: Shape (T, dims), where it begins.
        starts: Beginnings: this one and so many less one at random.
        seed: Draws the random ones.

    Returns:
        Shape (T, dims), on its principal axes.
    """
    return (_smacof if len(start) <= DENSE else _of_many)(distances, start, starts, seed)


def _of_many(distances: Array, start: Array, starts: int, seed: int) -> Array:
    """The metric embedding of some snapshots, and the others placed by their distances from these.

    A few steps of SMACOF over all snapshots follow, which never raise the stress.

    Source:
        de Silva & Tenenbaum 2004, "Sparse multidimensional scaling using landmark points", section 2 (placing).
    """
    chosen = np.linspace(0, len(distances) - 1, _LANDMARKS).round().astype(int)
    own = _smacof(distances[np.ix_(chosen, chosen)], start[chosen], starts, seed)
    squared = distances[:, chosen] ** 2
    points = -0.5 * (squared - (distances[np.ix_(chosen, chosen)] ** 2).mean(axis=0)) @ np.linalg.pinv(own).T
    points[chosen] = own
    for _ in range(_SWEEPS):
        points = np.concatenate([_majorised(distances[rows], points, rows) for rows in row_blocks(len(points))])
    turned = _principal(points)
    return min((start, turned), key=lambda points: stress_1(distances, distances_of(points)))


def _majorised(distances: Array, points: Array, rows: slice) -> Array:
    """One step of majorisation (the Guttman transform) for some points."""
    drawn = distances_of(points[rows], points)
    ratio = np.divide(distances, drawn, out=np.zeros_like(drawn), where=drawn > 0)
    moved: Array = (ratio.sum(axis=1)[:, None] * points[rows] - ratio @ points) / len(points)
    return moved


def _smacof(distances: Array, start: Array, starts: int, seed: int) -> Array:
    """The best of several runs of SMACOF and of the classical embedding itself."""
    if not distances.any():
        return start
    smacof = optional("sklearn.manifold", "metric scaling", "scikit-learn").smacof
    # Random points as far apart as the classical ones, so that no start is favoured by its size.
    chance = np.random.default_rng(seed).normal(scale=start.std(), size=(starts - 1, *start.shape))
    found = [start]
    for begin in (start, *chance):
        points, _ = smacof(
            distances,
            n_components=start.shape[1],
            init=begin,
            n_init=1,
            max_iter=_ITERATIONS,
            eps=_EPS,
            normalized_stress=False,
        )
        found.append(_principal(points))
    return min(found, key=lambda points: stress_1(distances, distances_of(points)))


def _oriented(points: Array) -> Array:
    """The largest coordinate of every axis positive: the same picture every time."""
    largest = points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])]
    return points * np.where(largest < 0, -1.0, 1.0)


def _principal(points: Array) -> Array:
    """The points, turned to the axes of largest extent."""
    points = points - points.mean(axis=0)
    return _oriented(points @ np.linalg.svd(points, full_matrices=False)[2].T)


def distances_of(points: Array, others: Array | None = None) -> Array:
    """Distances of points from others, or from one another."""
    others = points if others is None else others
    found = np.empty((len(points), len(others)))
    for rows in row_blocks(len(points)):
        squares = sum((axis[rows, None] - other) ** 2 for axis, other in zip(points.T, others.T, strict=True))
        np.sqrt(squares, out=found[rows])
    return found

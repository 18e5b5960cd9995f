"""Interpolation between scattered points by polyharmonic splines, with the errors of leaving one out."""

from __future__ import annotations

import itertools
import math

import numpy as np

from landscape.values.surface import Array

# |r|^5 is conditionally positive definite of order 3, so polynomials up to degree 2 make it solvable (Wendland
# 2005, Theorem 8.16); on a line it is the natural quintic spline.
_POWER = 5
_DEGREE = 2
# Distances between this many points and all nodes are held at once.
_CHUNK = 4096


class Polyharmonic:
    """The smoothest function through given values: s(x) = sum_j c_j |x - x_j|^5 + p(x), with p of degree 2.

    Quadratics are reproduced. Costs O(n^3).

    Args:
        nodes: Shape (n, dims), distinct and not all on one conic, in units in which all axes are alike.
        values: Shape (n, k): k functions at once.

    Attributes:
        left_out: Shape (n, k). What is missed at each node by the spline through all others, value minus spline:
            c_i / (A^-1)_ii, without solving again (Rippa 1999, Adv. Comput. Math. 11).

    Source:
        Duchon 1977; Wendland 2005, Scattered Data Approximation, chapter 8.

    Example:
        >>> line = np.linspace(-1.0, 1.0, 5)[:, None]
        >>> spline = Polyharmonic(line, line**2)
        >>> bool(abs(spline(np.array([[0.3]])) - 0.09).max() < 1e-12)
        True
    """

    def __init__(self, nodes: Array, values: Array) -> None:
        count = len(nodes)
        self._nodes = nodes
        tail = _monomials(nodes)
        system = np.zeros((count + tail.shape[1],) * 2)
        system[:count, :count] = _kernel(nodes, nodes)
        system[:count, count:], system[count:, :count] = tail, tail.T
        # One factorisation for the weights and for the inverse.
        wanted = np.eye(len(system), count + values.shape[1])
        wanted[:, count:] = 0.0
        wanted[:count, count:] = values
        solved = np.linalg.solve(system, wanted)
        self._weights = solved[:, count:]
        self.left_out = self._weights[:count] / np.diagonal(solved)[:count, None]

    def __call__(self, points: Array) -> Array:
        """The spline at points of shape (m, dims): shape (m, k)."""
        parts = [points[start : start + _CHUNK] for start in range(0, len(points), _CHUNK)]
        return np.concatenate(
            [np.hstack([_kernel(part, self._nodes), _monomials(part)]) @ self._weights for part in parts]
        )


def distances(points: Array, nodes: Array) -> Array:
    """Euclidean distances, shape (m, n), between points (m, dims) and nodes (n, dims)."""
    return np.sqrt(sum(np.subtract.outer(points[:, axis], nodes[:, axis]) ** 2 for axis in range(points.shape[1])))


def _kernel(points: Array, nodes: Array) -> Array:
    return distances(points, nodes) ** _POWER


def _monomials(points: Array) -> Array:
    """All products of coordinates up to the degree, shape (m, number of them)."""
    chosen = (
        factors
        for degree in range(_DEGREE + 1)
        for factors in itertools.combinations_with_replacement(range(points.shape[1]), degree)
    )
    return np.stack(
        [math.prod((points[:, axis] for axis in f), start=np.ones(len(points))) for f in chosen], axis=1
    )

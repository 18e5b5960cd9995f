"""Networks that fit all training examples: those that know the function, and those that know the examples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.papers.students import Student
from landscape.problems.catalogue import MultiIndexOptions
from landscape.problems.multi_index import draw_multi_index

Array = NDArray[np.float64]

# Link -> degree, and the units (outer weight, sign of the inner weights) that make it up.
_UNITS: dict[str, tuple[int, tuple[tuple[float, float], ...]]] = {
    "relu": (1, ((1.0, 1.0),)),
    "abs": (1, ((1.0, 1.0), (1.0, -1.0))),
    "linear": (1, ((1.0, 1.0), (-1.0, -1.0))),
    "square": (2, ((1.0, 1.0), (1.0, -1.0))),
    "cube": (3, ((1.0, 1.0), (-1.0, -1.0))),
}
# Of the distance to the nearest neighbour: how far a bump reaches at most.
_REACH = 0.9


def teacher(options: MultiIndexOptions) -> Student:
    """The network that is the target of ``multi-index``, without its noise.

    Args:
        options: The options of the problem; the degree is that of the link.

    Raises:
        LandscapeError: If the link is no sum of a few homogeneous units.

    Example:
        >>> teacher(MultiIndexOptions(link="square", indices=3)).w.shape
        (6, 21)
    """
    if options.link not in _UNITS:
        raise LandscapeError(
            "no network of few units", where="teacher", got=f"link={options.link}", expected=" or ".join(_UNITS)
        )
    degree, units = _UNITS[options.link]
    directions = draw_multi_index(options).directions
    w = np.concatenate([sign * directions for _, sign in units])
    if options.bias:
        w = np.column_stack([w, np.zeros(len(w))])
    return Student(np.repeat([outer for outer, _ in units], len(directions)), w, degree)


def random_direction(inputs: int, avoid: Array, seed: int) -> Array:
    """A random unit vector at right angles to some others.

    Args:
        inputs: Its dimension d.
        avoid: Shape (k, d).
        seed: Draws it.

    Returns:
        Shape (d,).
    """
    drawn = np.random.default_rng(seed).normal(size=inputs)
    basis = np.linalg.qr(avoid.T)[0]
    rest = drawn - basis @ (basis.T @ drawn)
    return np.asarray(rest / np.linalg.norm(rest))


def memoriser(x: Array, y: Array, direction: Array) -> Student:
    """The piecewise linear function of one direction through all examples, from n rectifiers.

    f(x) = y_1 + sum_k a_k max(t - t_k, 0) with t = v . x sorted and a_k the changes of slope.

    Args:
        x: Shape (n, d + 1); the last entry of every row is 1.
        y: Shape (n,).
        direction: Shape (d,), v.

    Returns:
        A student of degree 1 with n units.

    Raises:
        LandscapeError: If the inputs have no entry 1, or two examples have the same place on the direction.
    """
    t, order = _places(x, direction)
    slopes = np.diff(y[order]) / np.diff(t)
    changes = np.diff(slopes, prepend=0.0)
    knots = np.column_stack([np.tile(direction, (len(changes), 1)), -t[:-1]])
    constant = np.append(np.zeros_like(direction), 1.0)
    return Student(np.append(y[order[0]], changes), np.vstack([constant, knots]), 1)


def bump_memoriser(x: Array, y: Array, direction: Array, degree: int = 1) -> Student:
    """A bump of one direction at every example, 0 in between, of any degree.

    A bump is a B-spline of degree p with p + 2 units, sum_k (-1)^k binom(p + 1, k) max(u - k, 0)^p, narrow enough
    to miss all other examples.

    Args:
        x: Shape (n, d + 1); the last entry of every row is 1.
        y: Shape (n,).
        direction: Shape (d,).
        degree: p.

    Returns:
        A student with n (p + 2) units.

    Raises:
        LandscapeError: As `memoriser`.
    """
    t, order = _places(x, direction)
    gaps = np.diff(t)
    nearest = np.minimum(np.append(np.inf, gaps), np.append(gaps, np.inf))
    steps = 2 * _REACH * nearest / (degree + 1)
    signs = np.array([(-1.0) ** k * math.comb(degree + 1, k) for k in range(degree + 2)])
    middle = (degree + 1) / 2
    height = float((signs * np.maximum(middle - np.arange(degree + 2), 0) ** degree).sum())
    knots = t[:, None] + steps[:, None] * (np.arange(degree + 2) - middle)
    inner = np.concatenate(
        [np.tile(direction, (*knots.shape, 1)) / steps[:, None, None], -(knots / steps[:, None])[..., None]],
        axis=2,
    )
    outer = y[order][:, None] * signs / height
    return Student(outer.ravel(), inner.reshape(-1, x.shape[1]), degree)


def blend(one: Student, other: Student, share: float) -> Student:
    """The network (1 - share) one + share other, side by side: it fits all examples that both fit.

    Its smallest trace is that of the parts with outer weights so much smaller: for degree 1,
    (1 - share) T(one) + share T(other).

    Args:
        one: A student.
        other: Another, of the same degree and inputs.
        share: Of the other, from 0 to 1.

    Raises:
        LandscapeError: If they differ in degree or inputs.

    Example:
        >>> a, b = Student(np.ones(1), np.ones((1, 2))), Student(np.ones(3), np.ones((3, 2)))
        >>> blend(a, b, 0.25).a.tolist()
        [0.75, 0.25, 0.25, 0.25]
    """
    if one.degree != other.degree or one.w.shape[1] != other.w.shape[1]:
        raise LandscapeError(
            "students must have one degree and the same inputs",
            where="blend",
            got=f"degrees {one.degree} and {other.degree}, {one.w.shape[1]} and {other.w.shape[1]} inputs",
        )
    return Student(np.concatenate([(1 - share) * one.a, share * other.a]), np.vstack([one.w, other.w]), one.degree)


def _places(x: Array, direction: Array) -> tuple[Array, NDArray[np.int64]]:
    if x.shape[1] != len(direction) + 1 or not (x[:, -1] == 1).all():
        raise LandscapeError("the last entry of every input must be 1", where="memoriser", mend="use bias=true")
    t = x[:, :-1] @ direction
    order = np.argsort(t)
    if len(t) < 2 or not (np.diff(t[order]) > 0).all():
        raise LandscapeError("two examples lie at the same place", where="memoriser", mend="another direction")
    return t[order], order

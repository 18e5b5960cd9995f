"""Two-layer homogeneous networks f(x) = sum_j a_j max(w_j . x, 0)^p: curvature, rescalings, the flattest point.

The loss is the mean of (f - y)^2. Where f fits all examples its Hessian is (2 / n) sum_i g_i g_i^T with g the
gradients of f, so that its trace is (2 / n) sum_j (A_j + B_j), with A_j = sum_i phi(w_j . x_i)^2 of the outer and
B_j = sum_i a_j^2 phi'(w_j . x_i)^2 |x_i|^2 of the inner weights. (a_j, w_j) -> (c^-p a_j, c w_j) leaves f alone,
multiplies A_j by c^2p and B_j by c^-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.params import Weights, resolve
from landscape.values.result import Result, Tabular

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Student(Result):
    """A two-layer network.

    Attributes:
        a: Shape (k,), outer weights.
        w: Shape (k, d), inner weights.
        degree: p.
    """

    a: Array
    w: Array
    degree: int = 1

    def outputs(self, x: Array) -> Array:
        """f(x), shape (n,), of inputs of shape (n, d)."""
        return _power(x @ self.w.T, self.degree) @ self.a

    def rescaled(self, c: ArrayLike) -> Student:
        """The same function with c_j w_j and c_j^-p a_j.

        Args:
            c: Shape (k,), or one number; positive.

        Raises:
            LandscapeError: If one is not positive.
        """
        factors = np.broadcast_to(np.asarray(c, dtype=np.float64), self.a.shape)
        if not (factors > 0).all():
            raise LandscapeError("factors must be positive", where="rescaled", got=float(factors.min()))
        return replace(self, a=self.a * factors**-self.degree, w=self.w * factors[:, None])

    def weights(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Name -> tensor of the model of ``multi-index`` of the same width."""
        pairs = {"0.weight": self.w, "2.weight": self.a[None, :]}
        return {name: torch.from_numpy(values.copy()).to(dtype) for name, values in pairs.items()}


def student_of(weights: Weights, degree: int) -> Student:
    """The student in a snapshot of ``multi-index``, in float64.

    Args:
        weights: A model or snapshot.
        degree: p, the option of the problem.

    Raises:
        LandscapeError: If the weights are not those of such a network.
    """
    tensors = resolve(weights)[1]
    if set(tensors) != {"0.weight", "2.weight"}:
        raise LandscapeError("not a student of multi-index", got=", ".join(tensors), expected="0.weight, 2.weight")
    w, a = (tensors[name].double().cpu().numpy() for name in ("0.weight", "2.weight"))
    return Student(a[0], w, degree)


def _power(t: Array, degree: int) -> Array:
    return np.asarray(np.maximum(t, 0.0) ** degree)


def _slope(t: Array, degree: int) -> Array:
    return degree * np.where(t > 0, np.maximum(t, 0.0) ** (degree - 1), 0.0)


def neuron_traces(student: Student, x: Array) -> tuple[Array, Array]:
    """A_j and B_j, the squared gradients of f by outer and inner weights, summed over examples.

    Args:
        student: The network.
        x: Shape (n, d).

    Returns:
        Two of shape (k,).
    """
    t = x @ student.w.T
    outer = (_power(t, student.degree) ** 2).sum(axis=0)
    lengths = (x**2).sum(axis=1)
    inner = student.a**2 * (_slope(t, student.degree) ** 2 * lengths[:, None]).sum(axis=0)
    return outer, inner


def interpolation_trace(student: Student, x: Array) -> float:
    """(2 / n) sum_j (A_j + B_j): the trace of the Hessian where all examples are fitted.

    Elsewhere it is the trace of the Gauss-Newton matrix; the rest is (2 / n) sum_i (f_i - y_i) times the trace of
    the second derivative of f, which is 0 for p = 1.

    Args:
        student: The network.
        x: Shape (n, d).
    """
    outer, inner = neuron_traces(student, x)
    return float(2 / len(x) * (outer + inner).sum())


def least_trace(outer: ArrayLike, inner: ArrayLike, degree: int) -> Array:
    """min over c > 0 of c^2p A + c^-2 B = (p + 1) p^(-p/(p+1)) A^(1/(p+1)) B^(p/(p+1)).

    Args:
        outer: A, of any shape.
        inner: B.
        degree: p.

    Example:
        >>> [round(float(least_trace(2.3, 0.7, p)), 6) for p in (1, 2, 3)]
        [2.537716, 1.96672, 1.653768]
    """
    p = degree
    a, b = (np.asarray(value, dtype=np.float64) for value in (outer, inner))
    return np.asarray((p + 1) * p ** (-p / (p + 1)) * a ** (1 / (p + 1)) * b ** (p / (p + 1)))


def flattest_factors(outer: ArrayLike, inner: ArrayLike, degree: int) -> Array:
    """The factor at which `least_trace` is reached: c^(2p+2) = B / (p A); 1 where A or B are 0.

    Args:
        outer: A, of any shape.
        inner: B.
        degree: p.
    """
    a, b = (np.asarray(value, dtype=np.float64) for value in (outer, inner))
    there = (a > 0) & (b > 0)
    ratio = np.divide(b, degree * a, out=np.ones(np.broadcast(a, b).shape), where=there)
    return np.asarray(ratio ** (1 / (2 * degree + 2)))


def flattest(student: Student, x: Array) -> Student:
    """The same function with the least trace that rescaling its units can reach.

    Args:
        student: The network.
        x: Shape (n, d), the training inputs.

    Returns:
        The student at the flattest point of its orbit. A unit that is dead on the examples, or adds nothing,
        is not changed.
    """
    return student.rescaled(flattest_factors(*neuron_traces(student, x), student.degree))


def flattest_trace(student: Student, x: Array) -> float:
    """Trace at the flattest point, one for an orbit: (2 / n) times the sum of `least_trace` over A_j and B_j."""
    return float(2 / len(x) * least_trace(*neuron_traces(student, x), student.degree).sum())


@dataclass(frozen=True)
class Comparison(Tabular):
    """Curvature against generalisation, for many networks; one entry per network.

    Attributes:
        names: What they are called.
        train_loss: Shape (k,), mean squared error on the training examples, 0 for interpolators.
        population_loss: Shape (k,), on fresh examples without noise.
        population_error: Shape (k,), the standard error of that.
        trace: Shape (k,), `interpolation_trace` where they are.
        least_trace: Shape (k,), at the flattest point of their orbits.
    """

    names: tuple[str, ...]
    train_loss: Array
    population_loss: Array
    population_error: Array
    trace: Array
    least_trace: Array

    def _table(self) -> Mapping[str, Any]:
        return {"name": self.names} | {field.name: getattr(self, field.name) for field in fields(self)[1:]}


def compare(students: Mapping[str, Student], train: tuple[Array, Array], fresh: tuple[Array, Array]) -> Comparison:
    """Measure many networks on the same examples.

    Args:
        students: Name -> network.
        train: Training inputs, shape (n, d), and targets, shape (n,).
        fresh: Likewise, not used in training, targets without noise.
    """
    squares = [(student.outputs(fresh[0]) - fresh[1]) ** 2 for student in students.values()]
    return Comparison(
        tuple(students),
        np.array([float(((s.outputs(train[0]) - train[1]) ** 2).mean()) for s in students.values()]),
        np.array([float(values.mean()) for values in squares]),
        np.array([float(values.std(ddof=1) / np.sqrt(len(values))) for values in squares]),
        np.array([interpolation_trace(student, train[0]) for student in students.values()]),
        np.array([flattest_trace(student, train[0]) for student in students.values()]),
    )

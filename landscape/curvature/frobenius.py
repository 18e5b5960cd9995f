"""The Frobenius norm of a matrix from products with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from landscape.curvature.matrix import SymmetricOperator, identity_columns
from landscape.curvature.random_vectors import generator_of, mean_and_error, orthonormal, require_samples, signs
from landscape.errors import LandscapeError, did_you_mean
from landscape.values.result import Result
from landscape.vocabulary import FROBENIUS_METHODS

# As for the trace.
_EXACT = 256
_COLUMNS = 256
_FEWEST = 9


@dataclass(frozen=True)
class Frobenius(Result):
    """The root of the sum of squares of all entries, or of all eigenvalues.

    Attributes:
        value: The norm.
        standard_error: Of the norm, to first order; 0 where it is exact.
        squared: Its square; the estimate of the square is the one without bias.
        squared_standard_error: Of the square.
        products: Products with one vector that it took.
        method: How it was found.
    """

    value: float
    standard_error: float
    squared: float
    squared_standard_error: float
    products: int
    method: str


def frobenius(operator: SymmetricOperator, method: str = "auto", samples: int = 60, seed: int = 0) -> Frobenius:
    """The Frobenius norm: the square is the trace of H H, hence the mean of |H z|^2 over random signs z.

    Args:
        operator: Multiplies vectors by a symmetric matrix.
        method: ``"exact"``, ``"hutchinson"``, ``"hutch++"`` (the part in directions that hold most of the matrix
            is computed, the rest estimated; a third of the products to find the directions, and for either part),
            or ``"auto"``: exact up to 256 parameters (or up to `samples`), otherwise Hutch++.
        samples: Products with one vector to spend, where it is not exact.
        seed: Draws the vectors.

    Raises:
        LandscapeError: If the method is unknown or the samples are too few to tell the error.

    Source:
        As for `trace`, of the matrix H H.

    Example:
        >>> class Twice:
        ...     size = 25
        ...     def __matmul__(self, v):
        ...         return 2 * v
        >>> frobenius(Twice()).value
        10.0
    """
    if method not in FROBENIUS_METHODS:
        raise LandscapeError(
            f"unknown method '{method}'", where="frobenius", mend=did_you_mean(method, FROBENIUS_METHODS)
        )
    if method == "auto":
        method = "exact" if operator.size <= max(_EXACT, samples) else "hutch++"
    if method == "exact" or operator.size <= samples // 2:
        return _result(_exact(operator), 0.0, operator.size, "exact")
    generator = generator_of(seed)
    if method == "hutchinson":
        require_samples(samples, 2)
        lengths = (operator @ signs(operator, samples, generator)).double().pow(2).sum(0)
        return _result(*mean_and_error(lengths), samples, method)
    require_samples(samples, _FEWEST)
    directions = samples // 3
    basis = orthonormal(operator @ signs(operator, directions, generator))
    found = float((operator @ basis).double().pow(2).sum())
    rest = signs(operator, samples - 2 * directions, generator)
    mean, error = mean_and_error((operator @ (rest - basis @ (basis.T @ rest))).double().pow(2).sum(0))
    return _result(found + mean, error, samples, method)


def _exact(operator: SymmetricOperator) -> float:
    total = 0.0
    for start in range(0, operator.size, _COLUMNS):
        columns = identity_columns(operator, start, min(start + _COLUMNS, operator.size))
        total += float((operator @ columns).double().pow(2).sum())
    return total


def _result(squared: float, error: float, products: int, method: str) -> Frobenius:
    value = math.sqrt(squared)
    return Frobenius(value, error / (2 * value) if value else 0.0, squared, error, products, method)

"""Means over seeds and differences seed by seed, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

# Of the intervals.
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and how far the true one may be off.

    Attributes:
        mean: The mean.
        half: Half the width of its interval; NaN of one value.
    """

    mean: float
    half: float

    @property
    def excludes_zero(self) -> bool:
        """Return whether all of the interval is on one side of zero."""
        return abs(self.mean) > self.half

    def words(self, digits: int = 2) -> str:
        """As in a table."""
        return f"{self.mean:.{digits}f} ± {self.half:.{digits}f}"


def interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """The mean of values and Student's interval, t_(n-1) s / sqrt(n) to both sides.

    Args:
        values: Shape (n,), independent of each other.
        level: The share of samples whose interval holds the true mean, if values are Gaussian.

    Returns:
        The mean and half the width.

    Source:
        Student 1908.

    Example:
        >>> interval([1.0, 2.0, 3.0]).words()
        '2.00 ± 2.48'
    """
    given = np.asarray(values, dtype=np.float64)
    if len(given) < 2:
        return Interval(float(given.mean()), float("nan"))
    # It takes half a second.
    from scipy.stats import t

    quantile = float(t.ppf((1 + level) / 2, len(given) - 1))
    return Interval(float(given.mean()), quantile * standard_error(given))


def standard_error(values: ArrayLike) -> float:
    """The standard error of the mean of independent values, s / sqrt(n); NaN of one."""
    given = np.asarray(values, dtype=np.float64)
    return float(given.std(ddof=1) / np.sqrt(len(given))) if len(given) > 1 else float("nan")


def paired(values: ArrayLike, others: ArrayLike) -> Interval:
    """The mean of the differences seed by seed: what all seeds share falls out.

    Args:
        values: Shape (n,), one per seed.
        others: Shape (n,), of the same seeds in the same order.

    Example:
        >>> paired([1.0, 2.0, 4.0], [0.0, 1.0, 3.0]).words()
        '1.00 ± 0.00'
    """
    return interval(np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64))

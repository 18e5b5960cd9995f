"""Means over draws, and when they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mean_and_error(values: Sequence[float] | Array) -> tuple[float, float | None]:
    """The mean of independent draws and its standard error; None for a single one.

    Example:
        >>> mean_and_error([1.0, 3.0])
        (2.0, 1.0)
    """
    drawn = np.asarray(values, dtype=np.float64)
    # Infinite losses have infinite means, not warnings.
    with np.errstate(all="ignore"):
        mean = float(drawn.mean())
        error = float(drawn.std(ddof=1)) / math.sqrt(len(drawn)) if len(drawn) > 1 else None
    return mean, error


# Of fewer draws the skewness is not known: that of normal ones passes for too much one time in ten.
_FEWEST = 20
# At a skewness of the mean, g / sqrt(n), of a quarter 95 % intervals hold 93.5 % (Hall 1992, section 2.5: they
# lack 0.25 g^2 / n). Samples that lack the tail have a small skewness and a mean that is too small; with a bound
# so low few of them pass, and at most 5 % of all samples claim an interval that misses (benchmarks/COVERAGE.md).
_SKEWED = 0.25


def skew_note(values: Sequence[float] | Array) -> str:
    """Note what makes the standard error of a mean doubtful, in a sentence; an empty text where nothing does.

    Of skewed draws the largest decide the mean, most samples lack them, and intervals are too narrow.

    Example:
        >>> skew_note([0.0] * 40 + [1.0])
        'the 41 draws are too skewed (6.2) for the interval of their standard error: about 610 would do'
    """
    drawn = np.asarray(values, dtype=np.float64)
    if len(drawn) < _FEWEST or not np.isfinite(drawn).all():
        return ""
    away = drawn - drawn.mean()
    spread = float(np.square(away).mean())
    skewness = float((away**3).mean()) / spread**1.5 if spread > 0 else 0.0
    needed = (skewness / _SKEWED) ** 2
    if needed <= len(drawn):
        return ""
    # Two digits: the skewness is itself an estimate, and mostly too small.
    about = f"{float(f'{needed:.1e}'):,.0f}"
    return (
        f"the {len(drawn)} draws are too skewed ({skewness:.2g}) for the interval of their standard error: "
        f"about {about} would do"
    )


def log_mean_exp(logs: Array) -> tuple[float, float, float]:
    """The logarithm of the mean of exponentials, and what it is worth.

    Args:
        logs: Shape (n,), logarithms of independent positive draws x.

    Returns:
        log of the mean of x; its standard error, that of the mean divided by the mean; and how many draws count,
        (sum x)^2 / sum x^2 (Kish 1965).
    """
    top = float(np.max(logs))
    if not math.isfinite(top):
        return top, math.nan, 0.0
    shares = np.exp(logs - top)
    mean, count = float(shares.mean()), len(shares)
    error = float(shares.std(ddof=1)) / mean / math.sqrt(count) if count > 1 else math.nan
    return top + math.log(mean), error, float(shares.sum() ** 2 / (shares**2).sum())

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


# Fewer draws than this have normal intervals that are too narrow whatever their tails are.
_FEWEST = 20
# Of the squared deviations of normal draws the largest makes a quarter at most, of so many or more.
_SHARE = 0.5


def tail_note(values: Sequence[float] | Array) -> str:
    """What makes the standard error of a mean doubtful, in a sentence; an empty text where nothing does.

    Where one draw makes most of the variance, those that would have made as much are missing from most samples,
    and intervals are too narrow.

    Example:
        >>> tail_note([0.0] * 40 + [1.0])
        'one of 41 draws makes 100 % of their variance: the standard error may be far too small'
    """
    drawn = np.asarray(values, dtype=np.float64)
    if len(drawn) < _FEWEST or not np.isfinite(drawn).all():
        return ""
    squares = (drawn - np.median(drawn)) ** 2
    share = float(squares.max() / squares.sum()) if squares.any() else 0.0
    if share <= _SHARE:
        return ""
    return (
        f"one of {len(drawn)} draws makes {100 * share:.0f} % of their variance: the standard error may be far "
        "too small"
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

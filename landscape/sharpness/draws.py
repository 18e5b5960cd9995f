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

"""Means over examples with their standard errors, summed in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over examples.

    Attributes:
        mean: The mean per example, summed in float64.
        standard_error: The standard deviation over examples divided by the square root of their number;
            NaN where the loss cannot be taken apart into examples.
    """

    mean: float
    standard_error: float


def estimate(shares: Array, weights: Array | None) -> Estimate:
    """The ratio of two sums over examples, and its standard error (of the mean, where all weights are 1).

    Args:
        shares: Shape (examples,).
        weights: Shape (examples,); None is 1 each.

    Returns:
        With m = sum(n) / sum(w) the standard error is sqrt(N / (N - 1) sum((n - m w)^2)) / sum(w), the
        linearised one of a ratio (Cochran 1977, section 2.11).
    """
    count = len(shares)
    total = float(count) if weights is None else float(weights.sum())
    # Infinite shares are infinite means, not warnings.
    with np.errstate(all="ignore"):
        mean = float(shares.sum()) / total if total else math.nan
        if count < 2 or not math.isfinite(mean):
            return Estimate(mean, math.nan)
        rest = shares - mean if weights is None else shares - mean * weights
        scatter = float((rest * rest).sum())
        return Estimate(mean, math.sqrt(scatter * count / (count - 1)) / total)


def estimate_of_batches(means: Array, sizes: Sequence[int]) -> Estimate:
    """The mean over examples of a loss that gives one mean per micro-batch; it has no standard error."""
    with np.errstate(all="ignore"):
        return Estimate(float((means * np.asarray(sizes, float)).sum()) / sum(sizes), math.nan)

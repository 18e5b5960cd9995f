"""Shapes of curves, planes and paths in the numbers of a recipe."""

from __future__ import annotations

import numpy as np

from landscape.claims.claim import Array, Numbers, Reading, more

_RISE = 0.1
# Of the distance between the two networks: how far beyond each end the loss is taken.
_OUTWARD = 0.3


def between(numbers: Numbers, line: str, entry: str) -> tuple[Array, Array]:
    """Places between the ends of a line, and values there."""
    x, values = numbers[f"{line}/x"], numbers[f"{line}/{entry}"]
    inside = (x >= -1e-6) & (x <= 1 + 1e-6)
    return x[inside], values[inside]


def barrier(numbers: Numbers, line: str, entry: str = "train_loss") -> float:
    """The most that values rise above the straight line from end to end."""
    x, values = between(numbers, line, entry)
    return float((values - ((1 - x) * values[0] + x * values[-1])).max())


def width(numbers: Numbers, name: str) -> float:
    """The width over which the loss is less than 0.1 above its least value."""
    x, loss = numbers[f"{name}/x"], numbers[f"{name}/train_loss"]
    fine = np.linspace(x[0], x[-1], 2001)
    return float((np.interp(fine, x, loss) < loss.min() + _RISE).mean() * (x[-1] - x[0]))


def outward_rises(numbers: Numbers, panel: str) -> tuple[float, float]:
    """Rise of the loss outward of the small and of the large batch."""
    x, loss = numbers[f"{panel}/x"], numbers[f"{panel}/train_loss"]
    at = np.interp([-_OUTWARD, 0.0, 1.0, 1 + _OUTWARD], x, loss)
    return float(at[0] - at[1]), float(at[3] - at[2])


def minima(loss: Array) -> int:
    """Points of a grid that are lower than their eight neighbours."""
    padded = np.pad(loss, 1, constant_values=np.inf)
    rows, columns = loss.shape
    around = [
        padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dy, dx) != (0, 0)
    ]
    return int((loss < np.min(around, axis=0)).sum())


def share_of_plane(numbers: Numbers, run: str) -> float:
    """The share of the variance of a path that its plane holds; a little less, since the plane is not centred."""
    x, y, off = (numbers[f"0/{run}/path_{entry}"] for entry in ("x", "y", "off_plane"))
    inside = float(x.var() + y.var())
    return inside / (inside + float((off**2).mean()))


def test_gap(numbers: Numbers, panel: int, worse: str, better: str, examples: int) -> Reading:
    """Difference of two last test errors in %, with two standard errors."""
    shares = np.array([float(numbers[f"{panel}/{name}/test_error"][-1]) for name in (worse, better)])
    error = 200 * float(np.sqrt((shares * (1 - shares) / examples).sum()))
    return more(100 * float(shares[0] - shares[1]), error)

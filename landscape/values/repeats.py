"""Statistics over many random directions: medians and bands, asymmetry, curvature, the error of a subset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.values.grid import REPEAT
from landscape.values.result import Result, Tabular
from landscape.values.surface import Array, Surface

# Unit roundoff, twice: the distance from 1 to the next number of each type.
_EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
# Coordinates r and -r count as mirrored if their sum is below this share of the axis.
_MIRRORED = 1e-9


@dataclass(frozen=True)
class Band(Result):
    """The middle and the spread of a field over its repeats, at each coordinate.

    Quantiles interpolate linearly between repeats (Hyndman & Fan 1996, type 7). Repeats that are not
    computed or NaN at a coordinate are left out there; infinity counts as the largest value.

    Attributes:
        median: Shape of one repeat, (nx,) or (ny, nx); in the unit of the field. NaN where no repeat has a
            value.
        low: The 10 % quantile.
        high: The 90 % quantile.
        lower_quartile: The 25 % quantile.
        upper_quartile: The 75 % quantile.
        count: How many repeats have a value.
    """

    median: Array
    low: Array
    high: Array
    lower_quartile: Array
    upper_quartile: Array
    count: NDArray[np.int64]

    @property
    def relative_width(self) -> Array:
        """(high - low) / |median|; NaN where the median is 0 or not finite."""
        known = np.isfinite(self.median) & (self.median != 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(known, (self.high - self.low) / np.abs(self.median), np.nan)


def band(surface: Surface, field: str) -> Band:
    """The band of a field over the repeats of a slice.

    Args:
        surface: A slice with repeats.
        field: ``"<split>_<metric>"``.

    Returns:
        Median, 10 %, 25 %, 75 % and 90 % quantiles.

    Raises:
        LandscapeError: If the slice has no repeats, or no such field.
    """
    values = _known(surface, field)
    if surface.repeat is None:
        raise LandscapeError(
            "a band needs repeats", got="one plane", mend="evaluate random_lines or random_planes"
        )
    ordered = np.sort(values, axis=0)
    count = (~np.isnan(values)).sum(axis=0)
    low, lower, middle, upper, high = (_quantile(ordered, count, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9))
    return Band(middle, low, high, lower, upper, count)


def _quantile(ordered: Array, count: NDArray[np.int64], share: float) -> Array:
    """A quantile along the first axis, in which the first `count` values are sorted and the rest NaN."""
    place = share * np.maximum(count - 1, 0)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    a, b = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (below, above))
    with np.errstate(invalid="ignore"):
        # Between two infinities, or at a value itself, there is nothing to interpolate.
        return np.where((a == b) | (place == below), a, a + (b - a) * (place - below))


def _known(surface: Surface, field: str) -> Array:
    values = surface[field]
    return values if surface.done is None else np.where(surface.done, values, np.nan)


@dataclass(frozen=True)
class Lines(Tabular):
    """The lines through the centre of a slice, one along each direction of each repeat.

    Attributes:
        axis: Shape (n,), the name of the axis of each line.
        curvature: Shape (n,), the second derivative at the centre by second differences, in units of the
            field per squared unit of the direction; NaN where a value is missing, or 0 is not inside the axis.
        rounding: Shape (n,), the curvature that rounding of the values alone can make, likewise.
        standard_error: Shape (n,), of the curvature if the errors of neighbouring points were independent;
            they go together (the same examples), so it is too large rather than too small. NaN if unknown.
        asymmetry: Shape (n,), dimensionless; NaN where it is not defined. See `lines`.
    """

    axis: tuple[str, ...]
    curvature: Array
    rounding: Array
    standard_error: Array
    asymmetry: Array

    @property
    def positive(self) -> int:
        """Along how many directions the curvature is positive beyond rounding."""
        return int((self.curvature > self.rounding).sum())

    @property
    def negative(self) -> int:
        """Along how many directions the curvature is negative beyond rounding."""
        return int((self.curvature < -self.rounding).sum())

    @property
    def unknown(self) -> int:
        """Along how many directions there is no finite curvature."""
        return int((~np.isfinite(self.curvature)).sum())

    @property
    def undecided(self) -> int:
        """Along how many directions the curvature is within rounding."""
        return len(self.curvature) - self.positive - self.negative - self.unknown

    @property
    def share_positive(self) -> float:
        """The share of the directions with a known curvature along which it is positive; NaN if there are none."""
        known = len(self.curvature) - self.unknown
        return self.positive / known if known else math.nan

    def _table(self) -> Mapping[str, Any]:
        return {
            name: getattr(self, name) for name in ("axis", "curvature", "rounding", "standard_error", "asymmetry")
        }


def lines(surface: Surface, field: str) -> Lines:
    """Curvature and asymmetry along every direction of a slice, through its centre.

    With h1 and h2 the steps to the neighbours of 0, the curvature is

        2 ((L(h2) - L(0)) / h2 - (L(0) - L(-h1)) / h1) / (h1 + h2),

    which is (L(h) - 2 L(0) + L(-h)) / h^2 on an even axis: exact for a quadratic, off by h^2 L''''/12 otherwise.
    Its rounding is eps * s times the sum of the absolute coefficients, with eps of the type of the numbers
    and s the largest of the three values, at least 1 nat for cross-entropies (which subtract numbers of that
    size).

    The asymmetry is, with means over the coordinates r > 0 of an axis that is symmetric about 0,

        mean(L(r) - L(-r)) / mean(L(r) + L(-r) - 2 L(0)):

    0 for any even function; c mean(r^3) / (b mean(r^2)) for a + b r^2 + c r^3; between -1 and 1 wherever
    the centre is the lowest point of the line. Its sign goes with that of the direction, which is arbitrary.

    Args:
        surface: A slice of one plane or several.
        field: ``"<split>_<metric>"``.

    Returns:
        One line along each direction of each repeat; none along axes that do not hold 0, or if another axis
        does not.

    Raises:
        LandscapeError: If the slice has no such field.
    """
    values, errors = _known(surface, field), surface.standard_errors.get(field)
    axes = {name: along for name, along in surface.axes.items() if name != REPEAT}
    least = 1.0 if (surface.meta.get("units") or {}).get(field.partition("_")[2]) == "nats" else 0.0
    eps = _EPS.get(str(surface.meta.get("dtype") or "float32"), _EPS["float32"])
    found: list[tuple[str, float, float, float, float]] = []
    for name in reversed(axes):
        for row, spread in zip(_central(values, axes, name), _central(errors, axes, name, values), strict=True):
            found.append(
                (name, *_curvature(axes[name], row, spread, eps, least), _asymmetry(axes[name], row, eps))
            )
    columns = [np.array([line[i] for line in found], dtype=np.float64) for i in range(1, 5)]
    return Lines(tuple(line[0] for line in found), *columns)


def _central(values: Array | None, axes: Mapping[str, Array], name: str, like: Array | None = None) -> list[Array]:
    """The rows of values along one axis where all others are 0, one for each repeat."""
    if values is None:
        return [np.full(len(axes[name]), np.nan) for _ in _central(like, axes, name)]
    if any(not (along == 0).any() for along in axes.values()):
        return []
    return list(np.atleast_2d(values[_place(axes, name)]))


def _place(axes: Mapping[str, Array], free: str | None = None) -> tuple[Any, ...]:
    """The index of 0 along every axis but one, for all repeats."""
    return (..., *(slice(None) if name == free else int(np.argmin(abs(axes[name]))) for name in axes))


def _curvature(axis: Array, row: Array, errors: Array, eps: float, least: float) -> tuple[float, float, float]:
    """The second difference about 0, its rounding and its standard error."""
    middle = int(np.argmin(abs(axis)))
    if not 0 < middle < len(axis) - 1:
        return math.nan, math.nan, math.nan
    before, after = float(-axis[middle - 1]), float(axis[middle + 1])
    width = before + after
    weights = np.array([2 / (before * width), -2 / (before * after), 2 / (after * width)])
    three = row[middle - 1 : middle + 2]
    if not np.isfinite(three).all():
        return math.nan, math.nan, math.nan
    scale = max(least, float(np.abs(three).max()))
    error = float(np.sqrt(((weights * errors[middle - 1 : middle + 2]) ** 2).sum()))
    return float(weights @ three), eps * scale * float(np.abs(weights).sum()), error


def _asymmetry(axis: Array, row: Array, rounding: float) -> float:
    mirrored = np.abs(axis + axis[::-1]).max() <= _MIRRORED * float(np.ptp(axis))
    if not mirrored or not np.isfinite(row).all():
        return math.nan
    half = len(axis) // 2
    right, left, centre = row[half + 1 :], row[:half][::-1], row[half]
    rise = float(np.mean(right + left - 2 * centre))
    # A line that is flat to rounding has no sides to compare.
    if abs(rise) <= 4 * rounding:
        return math.nan
    return float(np.mean(right - left)) / rise


def summarise_repeats(surface: Surface) -> dict[str, Any]:
    """The statistics of a slice with repeats as plain values, for reports.

    Args:
        surface: A slice with repeats.

    Returns:
        repeats, seeds, and for each field: directions, curvature (median, low and high as the 10 % and 90 %
        quantiles, positive, negative, undecided, unknown, share_positive, standard_error), asymmetry (median
        of the absolute values, low, high, lines), and the largest relative width of the band. A number that
        is not defined is NaN.

    Raises:
        LandscapeError: If the slice has no repeats.
    """
    if surface.repeat is None:
        raise LandscapeError(
            "these statistics need repeats", got="one plane", mend="evaluate random_lines or random_planes"
        )
    return {
        "repeats": len(surface.repeat),
        "seeds": [int(seed) for seed in surface.repeat],
        "fields": {field: _summary(surface, field) for field in surface.fields},
    }


def _summary(surface: Surface, field: str) -> dict[str, Any]:
    found, width = lines(surface, field), band(surface, field).relative_width
    lopsided = np.abs(found.asymmetry[np.isfinite(found.asymmetry)])
    return {
        "directions": len(found.axis),
        "curvature": {
            **_three(found.curvature),
            "positive": found.positive,
            "negative": found.negative,
            "undecided": found.undecided,
            "unknown": found.unknown,
            "share_positive": found.share_positive,
            "standard_error": _three(found.standard_error)["median"],
        },
        "asymmetry": {
            **_three(found.asymmetry),
            "median": float(np.median(lopsided)) if lopsided.size else math.nan,
            "lines": int(lopsided.size),
        },
        "widest_band": float(np.nanmax(width)) if np.isfinite(width).any() else math.nan,
    }


def _three(values: Array) -> dict[str, float]:
    known = values[np.isfinite(values)]
    low, middle, high = np.quantile(known, [0.1, 0.5, 0.9]) if known.size else [math.nan] * 3
    return {"median": float(middle), "low": float(low), "high": float(high)}


def subset_error(surface: Surface, field: str) -> float:
    """The standard error that measuring a subset costs: what the mean over all examples would differ by.

    That of a sample of N from M examples without replacement, s / sqrt(N) * sqrt(1 - N / M) (Cochran 1977,
    section 2.5), where s is the standard deviation over the examples of the subset.

    Args:
        surface: A slice; ``meta["examples"]`` says how many examples were used and how many there are.
        field: ``"<split>_<metric>"``.

    Returns:
        At the centre, if the grid holds it, otherwise the median over the points; in the unit of the field.
        0 for all examples; NaN where standard errors are not known.

    Raises:
        LandscapeError: If the slice has no such field.
    """
    shape = surface[field].shape
    counts = (surface.meta.get("examples") or {}).get(field.partition("_")[0])
    if not isinstance(counts, Mapping):
        return math.nan
    errors = surface.standard_errors.get(field, np.full(shape, np.nan))
    axes = {name: along for name, along in surface.axes.items() if name != REPEAT}
    if all((along == 0).any() for along in axes.values()):
        errors = np.atleast_1d(errors[_place(axes)])
    known = errors[np.isfinite(errors)]
    if not known.size:
        return math.nan
    return float(np.median(known)) * math.sqrt(1 - counts["used"] / counts["available"])

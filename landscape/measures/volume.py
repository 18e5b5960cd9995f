"""The volume around the weights where the loss stays below a level (Dinh et al. 2017, definition 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.measures.adaptive import units_of
from landscape.measures.context import MeasureContext
from landscape.measures.draws import Array, log_mean_exp, mean_and_error
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found

# Radii at which the first crossing is looked for grow by that; a rise and fall between two of them goes unseen.
_GROWTH = 1.25
# Beyond the crossing the loss is tried at these multiples of the radius.
_BEYOND = (1.5, 2.0, 3.0)
# With fewer directions that count, the mean of r^P is decided by a few of them.
_COUNTING = 20.0
# A radius below that of the first try divided by this is taken for 0.
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Crossing:
    """Where the loss along a ray first rises by epsilon.

    Attributes:
        radius: Infinite where it does not within the largest radius.
        returns: Whether it is below that level again farther out.
    """

    radius: float
    returns: bool


def first_crossing(
    rise: Callable[[float], float], level: float, start: float, largest: float, tolerance: float
) -> Crossing:
    """The first radius at which a function that is 0 at 0 reaches a level.

    From `start` it goes outwards by quarters, or inwards by halves until it is below the level, and then halves
    the interval.

    Args:
        rise: Radius -> rise; NaN counts as above the level.
        level: Positive.
        start: The first radius that is tried.
        largest: Where the search ends.
        tolerance: Of the radius, as a share of it.

    Example:
        >>> round(first_crossing(lambda r: r * r, 4.0, 1.0, 100.0, 1e-9).radius, 6)
        2.0
    """
    low, high = 0.0, start
    if rise(high) < level:
        while rise(high) < level:
            low, high = high, high * _GROWTH
            if high > largest:
                return Crossing(math.inf, False)
    else:
        while high > start * _SMALLEST:
            if rise(high / 2) < level:
                low = high / 2
                break
            high /= 2
    while high - low > tolerance * high and low > 0:
        middle = (low + high) / 2
        low, high = (middle, high) if rise(middle) < level else (low, middle)
    return Crossing((low + high) / 2, any(rise(factor * high) < level for factor in _BEYOND))


def log_unit_ball(dimensions: int) -> float:
    """The logarithm of the volume of the unit ball, pi^(P/2) / Gamma(P/2 + 1)."""
    return dimensions / 2 * math.log(math.pi) - math.lgamma(dimensions / 2 + 1)


def _extrapolated(log_radii: Array, dimensions: int) -> dict[str, float]:
    """log E r^P from the cumulants of log r, and how far off it may be.

    log E exp(P x) = P k1 + P^2 k2 / 2 + P^3 k3 / 6 + ...; two terms are exact for a log-normal radius. Their
    standard error is given, and the size of the third term.
    """
    count, p = len(log_radii), dimensions
    mean, variance = float(log_radii.mean()), float(log_radii.var(ddof=1))
    third = float(((log_radii - mean) ** 3).mean())
    sampling = math.hypot(p * math.sqrt(variance / count), p**2 / 2 * variance * math.sqrt(2 / (count - 1)))
    skew = abs(p**3 * third / 6)
    return {
        "extrapolated_log_volume": log_unit_ball(p) + p * mean + p**2 * variance / 2,
        "extrapolation_standard_error": sampling,
        "extrapolation_third_term": skew,
    }


def _crossings(
    context: MeasureContext, field: LocalLoss, units: Tensor, settings: Mapping[str, Any]
) -> list[Crossing]:
    level, number = float(settings["epsilon"]), int(settings["directions"])
    base, found = field.loss(field.zero()), []
    largest = float(settings["largest"]) * float((field.origin / _nonzero(units)).norm())
    largest = largest or float(settings["largest"])
    start = largest * 1e-3
    for index in range(number):
        z = field.normal(index)
        direction = units * (z / z.norm())

        def rise(radius: float, direction: Tensor = direction) -> float:
            return field.loss(radius * direction) - base

        found.append(first_crossing(rise, level, start, largest, float(settings["tolerance"])))
        if math.isfinite(found[-1].radius) and found[-1].radius > 0:
            # All directions start where the first one crossed, whatever the order in which others come.
            start = found[0].radius if math.isfinite(found[0].radius) else start
        context.tell(index + 1, number)
    return found


def _nonzero(units: Tensor) -> Tensor:
    return torch.where(units == 0, float("inf"), units)


def epsilon_volume(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Logarithm of the volume of low loss in sight of the weights."""
    field = LocalLoss(context)
    units = units_of(field, settings["units"])
    moving = int((units != 0).sum())
    shift = float(units[units != 0].abs().double().log().sum())
    crossings = _crossings(context, field, units, settings)
    radii = np.array([crossing.radius for crossing in crossings])
    logs = np.log(radii[np.isfinite(radii) & (radii > 0)])
    details: dict[str, Any] = {
        "dimensions": moving,
        "directions": len(radii),
        "unbounded": int(np.isinf(radii).sum()),
        "returning": float(np.mean([crossing.returns for crossing in crossings])),
    }
    if len(logs) < len(radii):
        details["note"] = (
            f"the loss does not rise so far along {len(radii) - len(logs)} of {len(radii)} directions"
        )
        return Found(math.nan, None, False, details)
    log_mean, error, counting = log_mean_exp(moving * logs)
    enough = counting >= min(_COUNTING, len(logs))
    mean, mean_error = mean_and_error(logs)
    value = shift + log_unit_ball(moving) + log_mean
    extrapolated = _extrapolated(logs, moving)
    extrapolated["extrapolated_log_volume"] += shift
    details |= {
        "mean_log_radius": mean,
        "mean_log_radius_standard_error": mean_error,
        "log_radius_quantiles": np.quantile(logs, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]).tolist(),
        "direct_log_volume": value,
        "counting_directions": counting,
        **extrapolated,
    }
    if not enough:
        details["note"] = (
            f"{counting:.3g} of {len(logs)} directions make up the mean of radius^{moving}: it is not known; "
            f"the mean log radius is {mean:.6g}"
        )
    return Found(value if enough else math.nan, error if enough else None, enough, details)

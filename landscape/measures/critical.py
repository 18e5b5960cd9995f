"""Critical sharpness: from forward passes alone, the rate at which a step would no longer lower the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from landscape.measures.context import MeasureContext
from landscape.measures.registry import Found
from landscape.measures.step_line import error_of, line_of, step_of
from landscape.measures.step_terms import guarded

# Forward passes that it takes at most, that at the weights included.
MOST_PASSES = 10


@dataclass(frozen=True)
class Crossing:
    """Where the loss along a line first exceeds that at its start.

    Attributes:
        at: In units of the step; NaN where it was not found, 0 where the step goes uphill from the start.
        slope: The derivative there of the change of the loss over its distance.
        low: The farthest place that was seen to be lower.
        high: The nearest that was seen to be higher; infinite where none was.
        passes: Forward passes that it took, that at the start included.
        converged: Whether the place is known to the tolerance.
    """

    at: float
    slope: float
    low: float
    high: float
    passes: int
    converged: bool


def crossing(change: Callable[[float], float], tolerance: float, most: int = MOST_PASSES) -> Crossing:
    """Where a loss along a line first exceeds that at its start: doubling or halving, then secants in the bracket.

    The change over the distance, q(t) = (L(t) - L(0)) / t, is linear on a quadratic: its secant has the root
    there, and anywhere else the bracket holds.

    Args:
        change: L(t) - L(0).
        tolerance: Of the place, relative.
        most: Forward passes at most.
    """
    spent = 1
    seen: list[tuple[float, float]] = []

    def rise(at: float) -> float:
        nonlocal spent
        spent += 1
        found = change(at) / at
        seen.append((at, found if math.isfinite(found) else math.inf))
        return seen[-1][1]

    low = high = start = math.nan
    at = 1.0
    while spent < most:
        if not rise(at) > 0:
            low, at = at, 2 * at
            if not math.isnan(high):
                break
            continue
        high, at = at, at / 2
        if not math.isnan(low):
            break
        if len(seen) > 1 and math.isfinite(seen[-2][1]):
            (far, above), (near, below) = seen[-2:]
            slope = (above - below) / (far - near)
            start = below - slope * near
            # To where a quadratic has its root; of a line uphill it is nowhere.
            at = min(max(near - below / slope if slope > 0 else 0.0, near / 8), near / 2)
    if math.isnan(high):
        return Crossing(math.nan, math.nan, low, math.inf, spent, False)
    values = dict(seen)
    if math.isnan(low):
        return Crossing(0.0 if start >= 0 else math.nan, math.nan, 0.0, high, spent, start >= 0)
    last, slope = math.inf, math.nan
    while True:
        steep = (values[high] - values[low]) / (high - low)
        slope = steep if math.isfinite(steep) else slope
        guess = low - values[low] / steep if math.isfinite(steep) else (low + high) / 2
        near = abs(guess - last) <= tolerance * guess or high - low <= tolerance * high
        if near or spent >= most:
            return Crossing(guess, slope, low, high, spent, near)
        # An end that stays must not hold the secant up.
        edge = 1e-3 * (high - low)
        last = found = min(max(guess, low + edge), high - edge)
        values[found] = rise(found)
        low, high = (low, found) if values[found] > 0 else (found, high)


@guarded
def critical_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """2 / the least rate at which the step would no longer lower the loss."""
    line, rate = line_of(context), step_of(context).lr
    before = line.passes
    found = crossing(lambda at: line.change(at).mean, float(settings["tolerance"]))
    details: dict[str, Any] = {
        "critical_rate": found.at * rate,
        "headroom": found.at,
        "forward_passes": line.passes - before,
        "bracket": [found.low, found.high if math.isfinite(found.high) else None],
    }
    if not rate > 0:
        return Found(math.nan, details={**details, "note": "the learning rate of the step is 0 or not known"})
    if found.at == 0:
        return Found(math.inf, details={**details, "note": "the step goes uphill on these data"})
    if math.isnan(found.at) and math.isfinite(found.high):
        note = f"the loss rises from {found.high:g} of the step on, or before"
        return Found(math.nan, converged=False, details={**details, "note": note})
    if math.isnan(found.at):
        bound = 2 / (found.low * rate)
        note = f"the loss does not rise up to {found.low:g} times the step: below {bound:.3g}"
        return Found(math.nan, converged=False, details={**details, "note": note})
    value = 2 / (found.at * rate)
    off = error_of(line.change(found.low if found.low else found.high))
    known = off is not None and math.isfinite(found.slope) and found.slope > 0
    error = value * off / (found.at**2 * found.slope) if known and off is not None else None
    return Found(value, error, found.converged, details)

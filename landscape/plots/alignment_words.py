"""Gains of each family of symmetries between two models, as plain values and in words. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from landscape.plots.kind import Document
from landscape.plots.paired import Interval, interval
from landscape.plots.words import number
from landscape.values.probes import AlignmentGains

PAIRS, BARRIER = "pairs", "barrier, "
"""Names in the numbers beside a picture: ``panel/pairs/barrier, FAMILY`` has a barrier for each pair."""
# Decimals of barriers.
_DIGITS = 3


def report_of_gains(gains: AlignmentGains) -> list[Document]:
    """A dictionary per family: its barriers, the distance that is left, and that of every layer."""
    return [
        {
            "family": family,
            "distance": float(gains.distance[row]),
            "barriers": {name: float(values[row]) for name, values in gains.fields.items()},
            "layers": {name: float(values[row]) for name, values in gains.layers.items()},
        }
        for row, family in enumerate(gains.families)
    ]


def words_of_gains(gains: AlignmentGains, unit: str) -> list[str]:
    """A line per family of symmetries, then the distance of every layer before and after."""
    said = ["  aligned  by              distance  barrier of the straight line"]
    heights = next(iter(gains.fields.values())).tolist()
    for row, (family, distance, height) in enumerate(zip(gains.families, gains.distance, heights, strict=True)):
        name = f"and {family}" if row > 1 else "nothing" if row == 0 else family
        said.append(f"           {name:<15} {distance:<9.4g} {number(height, unit)}")
    layers = ", ".join(f"{name} {values[0]:.3g} -> {values[-1]:.3g}" for name, values in gains.layers.items())
    return [*said, f"  layers   {layers}"]


def gains_in_words(families: Sequence[str], barrier: NDArray[np.float64], unit: str = "") -> str:
    """The barrier that is left after each family of symmetries, and what it took off, pair by pair.

    Args:
        families: ``"none"``, then the family that each adds.
        barrier: Shape (pairs, families).
        unit: Of the loss.

    Example:
        >>> gains_in_words(["none", "permutations"], np.array([[2.0, 1.0], [2.2, 1.1]]), "nats")
        'barrier 2.100 ± 1.271 nats as trained, 1.050 ± 0.635 with permutations (lower by 1.050 ± 0.635)'
    """
    said = []
    for place, family in enumerate(families):
        left = _words(interval(barrier[:, place]))
        if place == 0:
            said.append(f"barrier {left} {unit}".rstrip() + " as trained")
            continue
        off = interval(barrier[:, place - 1] - barrier[:, place])
        change = f"{'lower' if off.mean > 0 else 'higher'} by {_words(Interval(abs(off.mean), off.half))}"
        clear = not abs(off.mean) <= off.half and round(off.mean, _DIGITS) != 0
        said.append(f"{left} with {family} ({change if clear else 'no clear change'})")
    return ", ".join(said)


def _words(one: Interval) -> str:
    return one.words(_DIGITS) if one.half == one.half else f"{one.mean:.{_DIGITS}f}"

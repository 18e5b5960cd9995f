"""Any measure over the orbit: its smallest value there, and how far its values lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import torch

from landscape.errors import LandscapeError
from landscape.measures.context import MeasureContext
from landscape.measures.registry import Found, Measure
from landscape.symmetry import Element

# What a value over the orbit is called, what becomes of the formula, and of what it is a bound.
WORDS = {
    "orbit-minimum": ("smallest over the orbit", "the smallest value over points of the orbit", "upper"),
    "orbit-range": (
        "range over the orbit",
        "the greatest less the smallest value over points of the orbit",
        "lower",
    ),
}
# The standard deviation of the logarithms of random factors: most lie within 1/e and e.
_SPREAD = 0.5
# Draws about the lowest point so far come nearer to it by so much after each that is no lower.
_NEARER = 0.7


def take(measure: Measure, context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """A measure at a place, or over the orbit of it where the settings say so."""
    return over_orbit(measure, context, settings) if "over" in settings else measure.compute(context, settings)


def over_orbit(measure: Measure, context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """A measure's smallest value, or the range of its values, over points of the orbit that the orbit itself says.

    They are the representative, the flattest point and random elements drawn with the seed: about the
    representative for a range, about the lowest point so far, ever nearer, for a minimum. All start at the
    representative in float64, so that weights of one orbit have the same points and the same value. A minimum is
    an upper bound of the infimum. A range is a lower bound: of measures that rescalings change the supremum is
    infinite.

    Args:
        measure: The measure.
        context: Where: any point of the orbit.
        settings: Those of the measure, and those of `registry.OverOptions`.
    """
    over, count = str(settings["over"]), int(settings["elements"])
    own = {name: settings[name] for name in measure.settings}
    start = context.at_representative()
    here, symmetries = start, start.symmetries
    taken: dict[str, Found] = {}

    def at(name: str, element: Element) -> float:
        nonlocal here
        context.tell(len(taken), count + 2)
        here = here if not element.factors else context.at(element.apply(_state(start)), here)
        taken[name] = measure.compute(here, own)
        return taken[name].value

    lowest = (at("representative", Element()), Element())
    flattest = _flattest(start)
    if flattest is not None:
        lowest = min(lowest, (at("flattest", flattest), flattest), key=itemgetter(0))
    spread = _SPREAD
    for number in range(count if symmetries.generators else 0):
        element = symmetries.draw(context.seed + number, spread=spread)
        if over == "orbit-minimum":
            element = lowest[1].then(element)
        found = (at(f"random {number}", element), element)
        spread *= 1.0 if over == "orbit-range" or found[0] < lowest[0] else _NEARER
        lowest = min(lowest, found, key=itemgetter(0))
    return _summary(over, taken)


def _state(context: MeasureContext) -> dict[str, torch.Tensor]:
    return {**context.weights.weights, **context.weights.buffers}


def _flattest(context: MeasureContext) -> Element | None:
    """From the representative to the flattest point; None where there is none."""
    try:
        return context.flattening(None).element
    except LandscapeError:
        return None


def _summary(over: str, taken: Mapping[str, Found]) -> Found:
    values = {name: one.value for name, one in taken.items()}
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    details = {
        "least": values[low],
        "greatest": values[high],
        "least_at": low,
        "greatest_at": high,
        "values": values,
    }
    ends = [taken[low]] if over == "orbit-minimum" else [taken[low], taken[high]]
    errors = [one.standard_error for one in ends]
    known = [error for error in errors if error is not None]
    return Found(
        values[low] if over == "orbit-minimum" else values[high] - values[low],
        sum(error**2 for error in known) ** 0.5 if known else None,
        all(one.converged for one in taken.values()),
        details,
    )

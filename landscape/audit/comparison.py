"""Two minima compared: which orderings survive on their orbits, and which a symmetry reverses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from landscape.audit.orbit_audit import context_of
from landscape.measures.computation import measure_at
from landscape.measures.context import MeasureContext
from landscape.measures.orbit_elements import Column, led_to
from landscape.objective import Objective
from landscape.params import Weights
from landscape.values.audit import Audit, Row
from landscape.values.result import Result

# Factors that a search for a reversal tries: beyond, rounding of float64 weights begins to show in outputs.
_DECADES = (1e-1, 1e1, 1e-2, 1e2, 1e-3, 1e3, 1e-4, 1e4)

SURVIVES = "survives"
REVERSED = "reversed"
NOT_REVERSED = "not reversed by the elements tried"
TIED = "tied"
UNDEFINED = "undefined"
NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Compared(Result):
    """Verdict on the ordering of two minima by a measure.

    Attributes:
        name: Of the measure.
        a: Its value at the first minimum.
        b: At the second.
        verdict: ``"survives"``: the measure is invariant to all symmetries that were found, by claim and by trial.
            ``"reversed"``: by the element. ``"not reversed by the elements tried"``: it changes, but not enough.
            ``"tied"``: neither is less, within the tolerance or three standard errors. ``"undefined"``.
            ``"not tested"``: nothing was found that moves the weights of one of the two, or rescalings may have
            been missed.
        element: The element that reverses it, otherwise an empty text.
        on: ``"a"`` or ``"b"``: which of the two it was applied to.
        value: What the measure is there; None where nothing reverses it.
    """

    name: str
    a: float
    b: float
    verdict: str
    element: str = ""
    on: str = ""
    value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def compare(
    first: Audit,
    second: Audit,
    objectives: tuple[Objective, Objective] | None = None,
    weights: tuple[Weights, Weights] | None = None,
) -> tuple[Compared, ...]:
    """Say of every measure that two audits share whether it orders the two minima whatever their symmetries do.

    Args:
        first: The audit of A.
        second: The audit of B, with the same split, seed and settings.
        objectives: Those of A and of B. With them and `weights`, rescalings by powers of ten are tried on measures
            that no element of the audits reverses but that rescalings change without bound.
        weights: Those of A and of B.

    Returns:
        One for each measure, in the order of the first audit.

    Example:
        >>> [one.verdict for one in compare(small_batch, large_batch)]  # doctest: +SKIP
        ['reversed', 'survives']
    """
    contexts = None
    if objectives is not None and weights is not None:
        contexts = [_context(*each) for each in zip(objectives, weights, (first, second), strict=True)]
    shared = {row.name for row in second.rows}
    return tuple(
        _compared(row, second[row.name], (first, second), contexts) for row in first.rows if row.name in shared
    )


def _context(objective: Objective, weights: Weights, found: Audit) -> MeasureContext:
    return context_of(
        objective,
        weights,
        split=found.meta["split"],
        parameters=found.meta["parameters"] or None,
        seed=found.meta["seed"],
    )


def _compared(a: Row, b: Row, audits: Sequence[Audit], contexts: Sequence[MeasureContext] | None) -> Compared:
    if not (math.isfinite(a.value) and math.isfinite(b.value)) or "undefined" in (a.kind, b.kind):
        return Compared(a.name, a.value, b.value, UNDEFINED)
    if NOT_TESTED in (a.kind, b.kind):
        return Compared(a.name, a.value, b.value, NOT_TESTED)
    if _tied(a, b):
        return Compared(a.name, a.value, b.value, TIED)
    if all(_stands(row, found) for row, found in zip((a, b), audits, strict=True)):
        return Compared(a.name, a.value, b.value, SURVIVES)
    for on, row, other in (("a", a, b), ("b", b, a)):
        for cell in row.cells:
            if (cell.value - other.value) * (row.value - other.value) < 0 and not cell.same:
                return Compared(a.name, a.value, b.value, REVERSED, cell.element, on, cell.value)
    if contexts is not None and "unbounded" in (a.kind, b.kind):
        return _searched(a, b, contexts)
    return Compared(a.name, a.value, b.value, NOT_REVERSED)


def _tied(a: Row, b: Row) -> bool:
    errors = [row.standard_error for row in (a, b) if row.standard_error is not None]
    return abs(a.value - b.value) <= 3 * math.hypot(*errors, 1e-6 * max(abs(a.value), abs(b.value)))


def _stands(row: Row, found: Audit) -> bool:
    """Return whether a measure is invariant to all that was found in a model: by claim, and by trial."""
    present = {name for element in found.elements for name in element["symmetries"]}
    return row.kind == "invariant" and present <= {*row.invariant_claimed} & {*row.tested}


def _searched(a: Row, b: Row, contexts: Sequence[MeasureContext]) -> Compared:
    """Blow up the smaller one until it is the larger one, and measure it there."""
    on, context, row, other = ("a", contexts[0], a, b) if a.value < b.value else ("b", contexts[1], b, a)
    there = None
    for alpha in _DECADES:
        element = context.symmetries.scaling(alpha)
        there = led_to(context, Column(f"alpha = {alpha:g}", "", ("layer-rescaling",), element), there)
        value = measure_at(there, {row.name: row.settings})[row.name].value
        if value > other.value:
            return Compared(a.name, a.value, b.value, REVERSED, f"alpha = {alpha:g}", on, value)
    return Compared(a.name, a.value, b.value, NOT_REVERSED)

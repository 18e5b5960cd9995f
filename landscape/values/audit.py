"""Results of an audit: measures x symmetry elements, and the verdict on each measure. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from landscape.values.result import Result, Tabular

# What layer-wise rescalings make as large as one likes, and who says so.
UNBOUNDED = {
    "hessian_top": "Dinh et al. 2017, theorem 4",
    "hessian_trace": "Dinh et al. 2017, theorem 4 (trace)",
    "hessian_frobenius": "Dinh et al. 2017, theorem 4 (proof)",
    "gauss_newton_trace": "Dinh et al. 2017, theorem 4, for the Gauss-Newton matrix",
    "gauss_newton_top": "Dinh et al. 2017, theorem 4, for the Gauss-Newton matrix",
    "fisher_trace": "Dinh et al. 2017, theorem 4, for the Fisher matrix",
}
# The registry's symmetries that theorem 4 and section 5.1 of Dinh et al. 2017 are about.
_RESCALING = {"layer-rescaling", "unit-rescaling", "batchnorm-scale"}
# So many standard errors apart, two estimates are told apart; chance does it once in 370 comparisons.
_ERRORS = 3.0


@dataclass(frozen=True)
class Cell(Result):
    """A measure under a symmetry element.

    Attributes:
        element: The name of the column.
        value: What was measured there; NaN where it did not converge.
        standard_error: Of an estimate, otherwise None.
        ratio: To the value before.
        predicted: What theory foresees there; None where it says nothing.
        same: ``"tolerance"`` or ``"standard error"``: by what it counts as the value before; an empty text where
            it is another.
        reason: Why it could not be computed, otherwise an empty text.
    """

    element: str
    value: float
    standard_error: float | None
    ratio: float
    predicted: float | None
    same: str
    reason: str = ""


@dataclass(frozen=True)
class Row(Tabular):
    """A measure before and after.

    Attributes:
        name: Of the measure.
        title: In words.
        unit: Of its values.
        value: Before.
        standard_error: Of an estimate, otherwise None.
        invariant_claimed: Symmetries that the registry says do not change it.
        verdict: ``"invariant"``, ``"changes x-fold"`` with the largest factor, ``"unbounded"``, ``"undefined"``,
            ``"not tested"`` or ``"not computed"``.
        kind: The verdict without the factor.
        factor: The largest factor, up or down, over the columns.
        within: By what the cells of an invariant measure are the same; see `Cell`.
        source: Why it is unbounded, otherwise an empty text.
        settings: What it was taken with.
        cells: One per column.
        seconds: Of all its cells.
        tested: The registry's symmetries of which an element moved the weights and left a number.
        reason: Why it is not tested or not computed, otherwise an empty text.
        bound: ``"lower"`` where the values are lower bounds only, otherwise an empty text.
    """

    name: str
    title: str
    unit: str
    value: float
    standard_error: float | None
    invariant_claimed: tuple[str, ...]
    verdict: str
    kind: str
    factor: float
    within: str
    source: str
    settings: Mapping[str, Any]
    cells: tuple[Cell, ...]
    seconds: float
    tested: tuple[str, ...] = ()
    reason: str = ""
    bound: str = ""

    def _table(self) -> Mapping[str, Any]:
        names = ("element", "value", "standard_error", "ratio", "predicted", "same", "reason")
        return {name: [getattr(cell, name) for cell in self.cells] for name in names}


@dataclass(frozen=True)
class Audit(Tabular):
    """Measures x symmetries.

    Attributes:
        symmetries: What was found in the model; see `Symmetries.describe`.
        blocked: What refuses rescaling, and why; what may have been missed.
        elements: name, description and symmetries of every column.
        rows: One per measure.
        max_output_change: The largest change of an output over all columns.
        explained: What rounding explains of it.
        orbit_min_trace: The smallest Gauss-Newton trace on the orbit; None where there is no rescaling.
        meta: Split, seed, element type, examples, step, problem.
        seconds: In all.
        untried: Elements that were left out, and why.
        notes: What makes numbers of the audit doubtful, in sentences.
    """

    symmetries: tuple[Mapping[str, Any], ...]
    blocked: tuple[str, ...]
    elements: tuple[Mapping[str, Any], ...]
    rows: tuple[Row, ...]
    max_output_change: float
    explained: float
    orbit_min_trace: float | None
    meta: Mapping[str, Any]
    seconds: float
    untried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def to_json(self) -> dict[str, Any]:
        """As plain values, with the keys that the command prints."""
        return {
            "symmetries": [dict(one) for one in self.symmetries],
            "blocked": list(self.blocked),
            "untried": list(self.untried),
            "notes": list(self.notes),
            "elements": [dict(one) for one in self.elements],
            "measures": [asdict(row) for row in self.rows],
            "max_output_change": self.max_output_change,
            "explained": self.explained,
            "orbit_min_trace": self.orbit_min_trace,
            **self.meta,
            "seconds": self.seconds,
        }

    def _table(self) -> Mapping[str, Any]:
        names = ("name", "unit", "value", "standard_error", "verdict", "factor", "reason")
        found = {name: [getattr(row, name) for row in self.rows] for name in names}
        for element in dict.fromkeys(cell.element for row in self.rows for cell in row.cells):
            cells = [next((cell for cell in row.cells if cell.element == element), None) for row in self.rows]
            found[f"ratio, {element}"] = [math.nan if cell is None else cell.ratio for cell in cells]
        return found


def same_by(before: float, after: float, errors: tuple[float | None, float | None], tolerance: float) -> str:
    """By what two numbers count as the same: ``"tolerance"``, ``"standard error"``, or an empty text.

    Args:
        before: One.
        after: The other.
        errors: Their standard errors; None for exact numbers.
        tolerance: Up to which relative difference they are the same.
    """
    difference = abs(after - before)
    if difference <= tolerance * abs(before):
        return "tolerance"
    if None not in errors and difference <= _ERRORS * math.hypot(*(error or 0.0 for error in errors)):
        return "standard error"
    return ""


def judged(
    name: str, cells: Sequence[Cell], symmetries: Sequence[Sequence[str]], missed: str = ""
) -> tuple[str, float, str]:
    """The verdict on a measure, the largest factor by which it changed, up or down, and by what it is the same.

    A measure is called invariant only where some element was tried on it, and, where rescalings may have been
    missed, one of these.

    Args:
        name: Of the measure.
        cells: One per element.
        symmetries: Of each element the registry's symmetries that it is made of.
        missed: Which rescalings of the model may not have been found, in words.
    """
    if not cells:
        return "not tested", math.nan, ""
    if not all(math.isfinite(cell.value) for cell in cells):
        return "undefined", math.nan, ""
    sizes = [abs(cell.ratio) for cell in cells]
    factor = max((max(size, 1 / size) if size else math.inf for size in sizes), default=1.0)
    moved = [made_of for cell, made_of in zip(cells, symmetries, strict=True) if not cell.same]
    if not moved:
        if missed and not _RESCALING & {one for made_of in symmetries for one in made_of}:
            return "not tested", factor, ""
        noisy = any(cell.same == "standard error" for cell in cells)
        return "invariant", factor, "standard error" if noisy else "tolerance"
    rescaled = any(_RESCALING & set(made_of) for made_of in moved)
    return ("unbounded" if name in UNBOUNDED and rescaled else "changes"), factor, ""

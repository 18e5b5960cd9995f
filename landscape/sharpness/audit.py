"""The audit: which measures symmetries can change, by how much, and what theory foresees."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from landscape.objective import Objective
from landscape.params import Held, Weights
from landscape.sharpness.columns import Column, columns, flattest_column, foreseen, led_to
from landscape.sharpness.measuring import Measured, globs_of, measure_at, settled_settings
from landscape.sharpness.place import Place
from landscape.sharpness.registry import measure_named
from landscape.symmetry.checking import Runner

# Measures that are functions of curvature products alone, whose change H -> D^-1 H D^-1 foresees.
_FORESEEN = (
    *("hessian_top", "hessian_bottom", "hessian_trace", "hessian_frobenius"),
    *("gauss_newton_trace", "gauss_newton_top", "fisher_trace"),
)
# What layer-wise rescalings make as large as one likes, and who says so.
UNBOUNDED = {
    "hessian_top": "Dinh et al. 2017, theorem 4",
    "hessian_trace": "Dinh et al. 2017, theorem 4 (trace)",
    "hessian_frobenius": "Dinh et al. 2017, theorem 4 (proof)",
    "gauss_newton_trace": "Dinh et al. 2017, theorem 4, for the Gauss-Newton matrix",
    "gauss_newton_top": "Dinh et al. 2017, theorem 4, for the Gauss-Newton matrix",
    "fisher_trace": "Dinh et al. 2017, theorem 4, for the Fisher matrix",
}
# All but those that take minutes of sampling.
DEFAULT = (
    *("hessian_top", "hessian_trace", "gauss_newton_trace", "epsilon_sharpness", "sam_sharpness"),
    *("adaptive_sharpness_worst", "adaptive_sharpness_average", "local_energy", "filter_normalized_curvature"),
    *("relative_flatness", "fisher_rao_norm", "orbit_min_trace"),
)
# What counts as the same number: measures are smooth functions of weights that were rounded once, by 6e-8 in
# float32 and 1e-16 in float64, and eigenvalues are sought to 1e-6.
_SAME = {torch.float64: 1e-5, torch.float32: 1e-2}
# Up to so many numbers x examples a whole audit in float64 takes a minute or so.
_SMALL = 10**8


@dataclass(frozen=True)
class Cell:
    """A measure under a symmetry element.

    Attributes:
        element: The name of the column.
        value: What was measured there; NaN where it did not converge.
        standard_error: Of an estimate, otherwise None.
        ratio: To the value before.
        predicted: What theory foresees there; None where it says nothing.
    """

    element: str
    value: float
    standard_error: float | None
    ratio: float
    predicted: float | None


@dataclass(frozen=True)
class Row:
    """A measure before and after.

    Attributes:
        name: Of the measure.
        title: In words.
        unit: Of its values.
        value: Before.
        standard_error: Of an estimate, otherwise None.
        invariant_claimed: Symmetries that the registry says do not change it.
        verdict: ``"invariant"``, ``"changes x-fold"`` with the largest factor, ``"unbounded"``, or ``"undefined"``.
        kind: The first word of the verdict.
        factor: The largest factor, up or down, over the columns.
        source: Why it is unbounded, otherwise an empty text.
        cells: One per column.
        seconds: Of all its cells.
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
    source: str
    cells: tuple[Cell, ...]
    seconds: float


@dataclass(frozen=True)
class Audit:
    """Measures x symmetries.

    Attributes:
        symmetries: What was found in the model; see `Symmetries.describe`.
        blocked: What refuses rescaling, and why.
        elements: name, description and symmetries of every column.
        rows: One per measure.
        max_output_change: The largest change of an output over all columns.
        explained: What rounding explains of it.
        orbit_min_trace: The smallest Gauss-Newton trace on the orbit; None where there is no rescaling.
        meta: Split, seed, element type, examples, step, problem.
        seconds: In all.
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

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def to_json(self) -> dict[str, Any]:
        """As plain values, with the keys that the command prints."""
        return {
            "symmetries": [dict(one) for one in self.symmetries],
            "blocked": list(self.blocked),
            "elements": [dict(one) for one in self.elements],
            "measures": [asdict(row) for row in self.rows],
            "max_output_change": self.max_output_change,
            "explained": self.explained,
            "orbit_min_trace": self.orbit_min_trace,
            **self.meta,
            "seconds": self.seconds,
        }


def audit(
    objective: Objective,
    weights: Weights,
    names: Sequence[str] = DEFAULT,
    *,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    meta: Mapping[str, Any] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Take measures of some weights and of what symmetries make of them: the same function, other numbers.

    Args:
        objective: The objective.
        weights: A snapshot, a model, or a name -> tensor dictionary.
        names: Names of measures; `measures` lists them.
        split: ``"train"`` or ``"test"``.
        parameters: Globs that choose which parameters count; see `Layout.select`.
        seed: Draws random elements, and all that measures draw: the same everywhere on the orbit.
        dtype: The type of real numbers; None is float64 where that is quick, and the model's own otherwise.
        settings: Name of a measure -> its settings that differ from the published defaults.
        meta: What else the audit is of, such as problem and step; plain JSON values.
        progress: Called with (what is done, columns done, columns in all).

    Returns:
        The audit.

    Raises:
        LandscapeError: If the model cannot be followed, or a name does not exist.

    Source:
        Dinh et al. 2017; the flattest point after Vardhan, Taheri & Mazumdar 2026.

    Example:
        >>> audit(objective, run[-1])["hessian_top"].verdict  # doctest: +SKIP
        'unbounded'
    """
    began = time.monotonic()
    objective.require((split,), ())
    settled = settled_settings(list(names), settings)
    held = Held.of(weights, parameters)
    chosen = dtype or _dtype_for(objective, held, split)
    place = Place(objective, _widened(held, chosen), split, globs_of(weights, parameters), seed, chosen)
    state = {**place.weights.weights, **place.weights.buffers}
    runner = Runner(place.symmetries.runner.model, place.symmetries.runner.x, chosen)
    tried = columns(place.symmetries, state, seed)
    tell = partial(_tell, progress, len(tried) + 2)
    lowest = None
    if [one for one in place.symmetries.scalings]:
        tell("flattest point", 0)
        found = place.symmetries.flattening(
            objective, place.weights, split=split, parameters=place.parameters, seed=seed, dtype=chosen
        )
        lowest = found.value
        tried.append(flattest_column(found))
    tell("as it is", 1)
    before = measure_at(place, settled)
    after = {}
    checks = []
    for done, column in enumerate(tried):
        tell(column.name, done + 2)
        there = led_to(place, column)
        checks.append(runner.compare(state, {**there.weights.weights, **there.weights.buffers}))
        after[column.name] = measure_at(there, settled)
    rows = [_row(name, settled[name], place, before[name], tried, after) for name in settled]
    return Audit(
        symmetries=tuple(place.symmetries.describe()["generators"]),
        blocked=tuple(map(str, place.symmetries.blocked)),
        elements=tuple(
            {"name": one.name, "description": one.description, "symmetries": list(one.symmetries)} for one in tried
        ),
        rows=tuple(rows),
        max_output_change=max((check.max_difference for check in checks), default=0.0),
        explained=max((check.explained for check in checks), default=0.0),
        orbit_min_trace=lowest,
        meta={**place.settings, "examples": objective.examples([split])[split]["used"], **(meta or {})},
        seconds=time.monotonic() - began,
    )


def _tell(progress: Callable[[str, int, int], None] | None, total: int, what: str, done: int) -> None:
    if progress is not None:
        progress(what, done, total)


def _dtype_for(objective: Objective, held: Held, split: str) -> torch.dtype:
    size = sum(info.numel for info in held.layout.moving())
    own = next(iter(held.weights.values())).dtype
    on_cpu = objective.device.type == "cpu"
    small = size * objective.examples([split])[split]["used"] <= _SMALL
    return torch.float64 if on_cpu and small else own


def _widened(held: Held, dtype: torch.dtype) -> Held:
    """The weights in the element type of the audit, so that symmetries round once at most."""
    weights, buffers = (
        {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in part.items()}
        for part in (held.weights, held.buffers)
    )
    return replace(held, weights=weights, buffers=buffers)


def _row(
    name: str,
    settings: Mapping[str, Any],
    place: Place,
    before: Measured,
    tried: Sequence[Column],
    after: Mapping[str, Mapping[str, Measured]],
) -> Row:
    cells = tuple(_cell(column, before, after[column.name][name], place, settings) for column in tried)
    same = _SAME.get(place.dtype or torch.float32, _SAME[torch.float32])
    kind, factor = judged(name, [cell.ratio for cell in cells], same)
    return Row(
        name=name,
        title=measure_named(name).title,
        unit=before.unit,
        value=before.value,
        standard_error=before.standard_error,
        invariant_claimed=before.invariant_claimed,
        verdict=f"changes {factor:.3g}-fold" if kind == "changes" else kind,
        kind=kind,
        factor=factor,
        source=UNBOUNDED[name] if kind == "unbounded" else "",
        cells=cells,
        seconds=before.seconds + sum(after[column.name][name].seconds for column in tried),
    )


def judged(name: str, ratios: Sequence[float], same: float) -> tuple[str, float]:
    """The verdict on a measure, and the largest factor by which it changed, up or down.

    Args:
        name: Of the measure.
        ratios: After to before, one per element.
        same: Up to which relative difference two numbers count as the same.
    """
    if not all(math.isfinite(ratio) for ratio in ratios):
        return "undefined", math.nan
    factor = max((max(abs(ratio), 1 / abs(ratio)) if ratio else math.inf for ratio in ratios), default=1.0)
    if all(abs(ratio - 1) <= same for ratio in ratios):
        return "invariant", factor
    return ("unbounded" if name in UNBOUNDED else "changes"), factor


def _cell(column: Column, before: Measured, there: Measured, place: Place, settings: Mapping[str, Any]) -> Cell:
    ratio = there.value / before.value if before.value else (1.0 if there.value == before.value else math.inf)
    return Cell(
        element=column.name,
        value=there.value,
        standard_error=there.standard_error,
        ratio=ratio,
        predicted=_predicted(column, before, place, settings),
    )


def _predicted(column: Column, before: Measured, place: Place, settings: Mapping[str, Any]) -> float | None:
    """What theory says: no change where that is claimed, otherwise D^-1 H D^-1 from products at the start."""
    if set(column.symmetries) <= set(before.invariant_claimed):
        return before.value
    if before.name not in _FORESEEN:
        return None
    seen = foreseen(place, column)
    return None if seen is None else measure_named(before.name).compute(seen, settings).value

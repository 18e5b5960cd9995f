"""The audit: which measures symmetries can change, by how much, and what theory foresees."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from landscape.curvature import eigenpairs
from landscape.errors import LandscapeError, reason_of
from landscape.files.cells import Cells, Save
from landscape.measures.computation import Measured, globs_of, measure_at
from landscape.measures.context import MeasureContext
from landscape.measures.orbit_elements import Column, columns, flattest_column, foreseen, led_to, moves
from landscape.measures.presets import FEW_EXAMPLES, MANY, audit_settings, is_small, sameness
from landscape.measures.registry import measure_named, settled_settings
from landscape.measures.warm_start import WarmStart
from landscape.objective import Objective
from landscape.objective.identity import identity_of
from landscape.params import Held, Weights, cast
from landscape.symmetry import Flattest
from landscape.symmetry.same_function import Check, Runner, require_same
from landscape.values.audit import UNBOUNDED, Audit, Cell, Row, judged, same_by
from landscape.vocabulary import SCATTERED

# Measures that are functions of curvature products alone, whose change H -> D^-1 H D^-1 foresees.
_FORESEEN = (
    *("hessian_top", "hessian_bottom", "hessian_trace", "hessian_frobenius"),
    *("gauss_newton_trace", "gauss_newton_top", "fisher_trace"),
)
# All but those that take minutes of sampling.
DEFAULT = (
    *("hessian_top", "hessian_trace", "gauss_newton_trace", "epsilon_sharpness", "sam_sharpness"),
    *("adaptive_sharpness_worst", "adaptive_sharpness_average", "local_energy", "filter_normalized_curvature"),
    *("relative_flatness", "fisher_rao_norm", "orbit_min_trace"),
)
# How well their eigenvalue is to be known, and for how many products at most.
_GLANCE, _GLANCES = 1e-1, 30


def audit(
    objective: Objective,
    weights: Weights,
    names: Sequence[str] | None = None,
    *,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    meta: Mapping[str, Any] | None = None,
    save: Save = None,
    progress: Callable[[str, int, int], None] | None = None,
    finished: Callable[[str, Mapping[str, Measured]], None] | None = None,
) -> Audit:
    """Take measures of some weights and of what symmetries make of them: the same function, other numbers.

    A measure that cannot be computed has a row that says why, and so has one that no element was tried on. An
    element that changes outputs by more than rounding explains, or leaves the weights as they are, is left out.

    Args:
        objective: The objective.
        weights: A snapshot, a model, or a name -> tensor dictionary.
        names: Names of measures; `measures` lists them. None is `DEFAULT`, as far as the model allows.
        split: ``"train"`` or ``"test"``.
        parameters: Globs that choose which parameters count; see `Layout.select`.
        seed: Draws random elements, and all that measures draw: the same everywhere on the orbit.
        dtype: The type of real numbers; None is float64 where that is quick, and the model's own otherwise.
        settings: Name of a measure -> its settings that differ from those of audits, `SMALL` or `LARGE`.
        meta: What else the audit is of, such as problem and step; plain JSON values.
        save: A file of finished parts to write and to resume from; each value is in it as soon as it is taken.
        progress: Called with (what is done, values taken, values in all).
        finished: Called with (name of an element, name -> its values there) when all are taken, first of the
            weights as they are, which have no name.

    Returns:
        The audit.

    Raises:
        LandscapeError: If the model cannot be run on the first examples alone, a name does not exist, or the file
            holds parts of another result.

    Source:
        Dinh et al. 2017; the flattest point after Vardhan, Taheri & Mazumdar 2026.

    Example:
        >>> audit(objective, run[-1])["hessian_top"].verdict  # doctest: +SKIP
        'unbounded'
    """
    began = time.monotonic()
    objective.require((split,), ())
    settled_settings(list(names or DEFAULT), settings)
    context = context_of(objective, weights, split=split, parameters=parameters, seed=seed, dtype=dtype)
    context = replace(context, guesses=guesses_at(context, names or DEFAULT))
    rescalable = bool(context.symmetries.scalings)
    chosen = list(names or (name for name in DEFAULT if rescalable or name != "orbit_min_trace"))
    settled = settled_settings(chosen, audit_settings(context, chosen, settings))
    possible = columns(context.symmetries, seed, few=not is_small(objective, context.weights, split))
    tell = _Teller(progress, (len(possible) + 1 + rescalable) * len(chosen) + rescalable, finished)
    made_of = {**context.settings, "of": "audit", "settings": settled}
    with Cells.open(
        save, lambda: identity_of(objective, {"weights": _state(context)}, [split], **made_of)
    ) as cells:
        found = _audited(context, settled, possible, settings, cells, tell)
    return replace(found, meta={**found.meta, **(meta or {})}, seconds=time.monotonic() - began)


def _audited(
    context: MeasureContext,
    settled: Mapping[str, Mapping[str, Any]],
    possible: list[Column],
    given: Mapping[str, Mapping[str, Any]] | None,
    cells: Cells,
    tell: _Teller,
) -> Audit:
    untried: list[str] = []
    lowest = None
    if context.symmetries.scalings:
        tell.begin("flattest point")
        try:
            lowest = _flattest(context, given)
            possible.append(flattest_column(lowest))
        except Exception as error:  # noqa: BLE001 - as of any measure
            untried.append(f"flattest: {reason_of(error)}")
        tell.advance()
    tell.begin("as it is")
    before = _taken_at(context, "", settled, cells, tell)
    if all("reason" in one.details for one in before.values()):
        raise LandscapeError(next(iter(before.values())).details["reason"])
    tried, after, checks = [], {}, []
    there = None
    for column in possible:
        tell.begin(column.name)
        try:
            there = led_to(context, column, there)
            checks.append(checked(context, there, column.name))
        except (LandscapeError, RuntimeError) as error:
            untried.append(f"{column.name}: {reason_of(error)}")
            continue
        if moves(context, there):
            tried.append(column)
            wanted = {name: own for name, own in settled.items() if "reason" not in before[name].details}
            after[column.name] = _taken_at(there, column.name, wanted, cells, tell)
        else:
            untried.append(f"{column.name}: the weights are there already")
    missed = "; ".join(str(one) for one in context.symmetries.blocked if not one.settled)
    rows = [_row(name, settled[name], context, before[name], tried, after, missed, cells) for name in settled]
    return Audit(
        symmetries=tuple(context.symmetries.describe()["generators"]),
        blocked=tuple(map(str, context.symmetries.blocked)),
        elements=tuple(
            {"name": one.name, "description": one.description, "symmetries": list(one.symmetries)} for one in tried
        ),
        rows=tuple(rows),
        max_output_change=max((check.max_difference for check in checks), default=0.0),
        explained=max((check.explained for check in checks), default=0.0),
        orbit_min_trace=None if lowest is None else lowest.value,
        meta={**context.settings, **_examples(context.objective, context.split)},
        seconds=0.0,
        untried=tuple(untried),
        notes=tuple(
            dict.fromkeys([*context.objective.notes, *(note for one in before.values() for note in one.notes)])
        ),
    )


def _taken_at(
    context: MeasureContext, element: str, settled: Mapping[str, Mapping[str, Any]], cells: Cells, tell: _Teller
) -> dict[str, Measured]:
    """Measures at a place, those of a file not again. What failed may succeed another time, and is not kept."""
    names = {name: f"{element}/{name}" for name in settled}
    held = {name: Measured.from_json(cells[cell]) for name, cell in names.items() if cell in cells}

    def keep(taken: Measured) -> None:
        if "reason" not in taken.details:
            cells[names[taken.name]] = taken.to_json()
        tell.advance()

    for _ in held:
        tell.advance()
    values = measure_at(context, settled, keep=keep, held=held, tolerant=True)
    tell.finish(element, values)
    return values


def context_of(
    objective: Objective,
    weights: Weights,
    *,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> MeasureContext:
    """Where an audit begins: weights in its element type, so that symmetries round once at most; see `audit`."""
    held = Held.of(weights, parameters)
    small = is_small(objective, held, split)
    own = next(iter(held.weights.values())).dtype
    chosen = dtype or (torch.float64 if small and objective.device.type == "cpu" else own)
    return MeasureContext(objective, _widened(held, chosen), split, globs_of(weights, parameters), seed, chosen)


def _flattest(context: MeasureContext, given: Mapping[str, Mapping[str, Any]] | None) -> Flattest:
    return context.flattening(
        audit_settings(context, ["orbit_min_trace"], given)["orbit_min_trace"].get("samples")
    )


def guesses_at(context: MeasureContext, names: Sequence[str]) -> dict[str, WarmStart]:
    """Estimate the ends of the spectrum on a few of many examples: warm starts of the searches."""
    examples = context.objective.examples([context.split])[context.split]["used"]
    if "hessian_top" not in names or examples < MANY * FEW_EXAMPLES:
        return {}
    few = context.fresh(objective=context.objective.subset(FEW_EXAMPLES, splits=[context.split]))
    found = eigenpairs(few.operator(), tol=_GLANCE, max_products=_GLANCES, seed=context.seed, keep=True)
    return {} if found.ritz is None else {"hessian": WarmStart(*found.ritz)}


class _Teller:
    """Counts values that are taken, and tells whoever wants to know."""

    def __init__(
        self,
        progress: Callable[[str, int, int], None] | None,
        total: int,
        finished: Callable[[str, Mapping[str, Measured]], None] | None,
    ) -> None:
        self._progress, self._total, self._done, self._what = progress, total, 0, ""
        self._finished = finished

    def begin(self, what: str) -> None:
        self._what = what
        self._tell()

    def advance(self) -> None:
        self._done += 1
        self._tell()

    def finish(self, element: str, values: Mapping[str, Measured]) -> None:
        if self._finished is not None:
            self._finished(element, values)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._what, self._done, self._total)


def _examples(objective: Objective, split: str) -> dict[str, int]:
    counts = objective.examples([split])[split]
    return {"examples": counts["used"], "examples_available": counts["available"]}


def _state(context: MeasureContext) -> dict[str, torch.Tensor]:
    return {**context.weights.weights, **context.weights.buffers}


def checked(context: MeasureContext, there: MeasureContext, what: str) -> Check:
    """Measure how far an element changes outputs; an audit is of one function only."""
    runner = Runner(context.symmetries.runner.model, context.symmetries.runner.x, context.dtype)
    check = runner.compare(_state(context), _state(there))
    require_same(check, what)
    return check


def _widened(held: Held, dtype: torch.dtype) -> Held:
    weights, buffers = (
        {name: cast(tensor, dtype) for name, tensor in part.items()} for part in (held.weights, held.buffers)
    )
    return replace(held, weights=weights, buffers=buffers)


def _row(
    name: str,
    settings: Mapping[str, Any],
    context: MeasureContext,
    before: Measured,
    tried: Sequence[Column],
    after: Mapping[str, Mapping[str, Measured]],
    missed: str,
    kept: Cells,
) -> Row:
    reason = before.details.get("reason", "")
    cells: tuple[Cell, ...]
    if reason:
        cells = tuple(Cell(column.name, math.nan, None, math.nan, None, "", reason) for column in tried)
        kind, factor, within = "not computed", math.nan, ""
    else:
        cells = tuple(_cell(column, before, after[column.name][name], context, settings, kept) for column in tried)
        kind, factor, within = judged(name, cells, [column.symmetries for column in tried], missed)
    tested = [
        one
        for cell, column in zip(cells, tried, strict=True)
        for one in column.symmetries
        if math.isfinite(cell.value)
    ]
    if kind == "not tested":
        reason = missed or "no symmetry of this model was found that moves its weights"
    elif kind == "undefined":
        reason = next((cell.reason for cell in cells if cell.reason), "")
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
        within=within,
        source=UNBOUNDED[name] if kind == "unbounded" else "",
        settings=settings,
        cells=cells,
        seconds=before.seconds + sum(there[name].seconds for there in after.values() if name in there),
        tested=tuple(dict.fromkeys(tested)),
        reason=reason,
        bound=before.bound,
    )


def _cell(
    column: Column,
    before: Measured,
    there: Measured,
    context: MeasureContext,
    settings: Mapping[str, Any],
    kept: Cells,
) -> Cell:
    tolerance = sameness(context.dtype)
    ratio = there.value / before.value if before.value else (1.0 if there.value == before.value else math.inf)
    return Cell(
        element=column.name,
        value=there.value,
        standard_error=there.standard_error,
        ratio=ratio,
        predicted=kept.of(
            f"{column.name}/{before.name}/predicted", lambda: _predicted(column, before, context, settings)
        ),
        same=same_by(before.value, there.value, (before.standard_error, there.standard_error), tolerance),
        reason=there.details.get("reason", ""),
    )


def _predicted(
    column: Column, before: Measured, context: MeasureContext, settings: Mapping[str, Any]
) -> float | None:
    """Predict a measure: no change where that is claimed, otherwise D^-1 H D^-1 from products at the start."""
    if set(column.symmetries) <= set(before.invariant_claimed):
        return before.value
    # A prediction costs as many products as a measurement, and is made of products with operators.
    if (
        before.name not in _FORESEEN
        or settings.get("method") == SCATTERED
        or not is_small(context.objective, context.weights, context.split)
    ):
        return None
    seen = foreseen(context, column)
    return None if seen is None or "over" in settings else measure_named(before.name).compute(seen, settings).value

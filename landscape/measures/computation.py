"""Taking measures: from names to values, with all that a reader must know of each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from landscape.curvature.passes import derivatives_used
from landscape.errors import reason_of
from landscape.measures.context import MeasureContext
from landscape.measures.invariance import tried
from landscape.measures.over_orbit import WORDS, take
from landscape.measures.registry import DERIVATIVES, SYMMETRIES, Measure, measure_named, settled_settings
from landscape.objective import Objective
from landscape.optimizers import Step
from landscape.params import Held, Weights
from landscape.values.result import Result, Tabular

# Lines of a text before the rest is counted.
_LINES = 8


@dataclass(frozen=True)
class Measured(Result):
    """A number that claims to say how sharp a minimum is, with what it is.

    Attributes:
        name: Of the measure.
        value: The number; NaN where it did not converge.
        standard_error: Of an estimate, otherwise None.
        converged: Whether the computation reached its tolerance.
        unit: Of value and standard error.
        formula: In plain text.
        source: Author, year, section.
        invariant_claimed: The symmetries that it claims not to change under.
        settings: All conventions and numbers that it was taken with.
        seconds: How long it took.
        details: More numbers, as plain JSON values.
        notes: What a reader must know of this value, in sentences: a claim of invariance that did not hold at a
            random element of the orbit or could not be tried, and rescalings that may have been missed.
        bound: ``"lower"`` or ``"upper"`` where the value is such a bound of the formula only; otherwise an empty
            text.
    """

    name: str
    value: float
    standard_error: float | None
    converged: bool
    unit: str
    formula: str
    source: str
    invariant_claimed: tuple[str, ...]
    settings: Mapping[str, Any]
    seconds: float
    details: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    bound: str = ""

    @property
    def words(self) -> str:
        """Name, value with its standard error, and unit."""
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2g}"
        said = "" if self.converged else ", not converged"
        return f"{self.name} {self.value:.6g}{error} {self.unit}{said}"

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Measured:
        """Restore what `to_json` gave, after JSON."""
        texts = ("invariant_claimed", "notes")
        held: dict[str, Any] = {name: tuple(own) if name in texts else own for name, own in values.items()}
        return cls(**held)


class Measurements(dict[str, Measured], Tabular):
    """Name of a measure -> measured."""

    def __repr__(self) -> str:
        lines = [f"  {one.words}" for one in self.values()]
        more = [f"  ... {len(lines) - _LINES} more"] if len(lines) > _LINES else []
        return "\n".join(["Measurements", *lines[:_LINES], *more])

    def _table(self) -> Mapping[str, Any]:
        names = ("name", "value", "standard_error", "converged", "unit", "bound", "seconds")
        return {name: [getattr(one, name) for one in self.values()] for name in names}


def measure(
    objective: Objective,
    weights: Weights,
    names: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    products: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
    keep: Callable[[Measured], None] | None = None,
) -> Measurements:
    """Take measures of some weights.

    Those that claim not to change under rescalings try it at one random element of the orbit, on a few examples;
    see `Measured.notes`.

    Args:
        objective: The objective.
        weights: A snapshot, a model, or a name -> tensor dictionary.
        names: Names of measures, which `measures` lists; as keys of a dictionary, with their `settings` as values.
        split: ``"train"`` or ``"test"``.
        parameters: Globs that choose which parameters count; see `Layout.select`.
        seed: Of all draws; equal seeds draw equal numbers at every place.
        dtype: The type of real numbers; None is the model's own.
        settings: Name of a measure -> its settings that differ from the published defaults.
        products: ``"finite-difference"`` takes products with curvature matrices without second derivatives; see
            `landscape.curvature.Curvature`.
        progress: Called with (name of the measure, done, in all).
        keep: Called with each measure as soon as it is taken.

    Returns:
        Name -> measured, in the order asked for; a dictionary that has ``to_dataframe()`` too.

    Raises:
        LandscapeError: If a name or a setting does not exist, or a measure cannot be taken here.

    Example:
        >>> measure(objective, run[-1], ["hessian_top"])["hessian_top"].value  # doctest: +SKIP
        3.0537
    """
    settled = settled_settings(names, settings)
    objective.require((split,), ())
    globs, step = globs_of(weights, parameters), step_after(weights)
    context = MeasureContext(
        objective, Held.of(weights, parameters), split, globs, seed, dtype, step=step, products=products
    )
    return Measurements(measure_at(context, settled, progress=progress, keep=keep, trial=True))


def step_after(weights: Weights) -> Callable[[], Step | None] | None:
    """Return what reads the optimizer step after some weights; None where weights have no such thing."""
    # Looked up in the class: of a run without steps the attribute itself raises.
    if not hasattr(type(weights), "next_step"):
        return None
    snapshot: Any = weights
    return lambda: snapshot.next_step


def globs_of(weights: Weights, parameters: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The globs that choose parameters, one by one; None where all are taken."""
    return None if parameters is None else Held.of(weights, parameters).layout.selected


def measure_at(
    context: MeasureContext,
    settled: Mapping[str, Mapping[str, Any]],
    *,
    progress: Callable[[str, int, int], None] | None = None,
    keep: Callable[[Measured], None] | None = None,
    held: Mapping[str, Measured] | None = None,
    tolerant: bool = False,
    trial: bool = False,
) -> dict[str, Measured]:
    """Take measures at a place.

    Args:
        context: Where.
        settled: Name of a measure -> all its settings.
        progress: Called with (name of the measure, done, in all).
        keep: Called with each measure as soon as it is taken.
        held: Name -> measured, of those that were taken before; they are not taken again.
        tolerant: Give NaN for a measure that cannot be taken here, with the reason in its details.
        trial: Try every claim of invariance under rescalings at a random element; see `invariance.tried`.

    Returns:
        Name -> measured, in the order given.

    Raises:
        LandscapeError: If a measure cannot be taken here, and `tolerant` is not set.
    """
    found = {}
    context = replace(context, wanted=settled)
    for name, settings in settled.items():
        if held and name in held:
            found[name] = held[name]
            continue
        here = context if progress is None else context.telling(partial(progress, name))
        try:
            found[name] = _taken(measure_named(name), here, settings)
        except Exception as error:  # what models and losses raise is theirs to choose
            if not tolerant:
                raise
            found[name] = _refused(measure_named(name), here, settings, reason_of(error))
        if trial:
            found[name] = tried(context, found[name])
        if keep is not None:
            keep(found[name])
    return found


def described(one: Measure, loss_unit: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a measure, as plain values: title, unit, formula, source, invariant_claimed, bound."""
    # An error is a share of 1.
    unit = "1" if settings.get("metric") == "error" else loss_unit or "loss"
    bound = "lower" if one.is_bound(settings) else ""
    title, formula, claims = one.title, one.formula, one.invariant
    if "over" in settings:
        words, how, bound = WORDS[settings["over"]]
        title, formula, claims = f"{title}, {words}", f"{how} of: {formula}", tuple(SYMMETRIES)
    return {
        "title": f"{title} ({bound} bound)" if bound else title,
        "unit": one.unit.format(loss=unit),
        "formula": formula,
        "source": one.source,
        "invariant_claimed": claims,
        "bound": bound,
    }


def _refused(one: Measure, context: MeasureContext, settings: Mapping[str, Any], reason: str) -> Measured:
    about = described(one, context.objective.unit, settings)
    about.pop("title")
    return Measured(
        name=one.name,
        value=math.nan,
        standard_error=None,
        converged=False,
        settings={**settings, **context.settings},
        seconds=0.0,
        details={"reason": reason},
        **about,
    )


def _taken(one: Measure, context: MeasureContext, settings: Mapping[str, Any]) -> Measured:
    began = time.monotonic()
    with derivatives_used() as used:
        found = take(one, context, settings)
    notes = dict.fromkeys(derivatives.note for derivatives in used if derivatives.note)
    details = {**found.details, **({"derivatives": "; ".join(notes)} if notes else {})}
    about = described(one, context.objective.unit, settings)
    about.pop("title")
    note = ""
    if one.family in DERIVATIVES:
        note = context.kinks.note
        if context.kinks.examples < context.kinks.available:
            details["kinks_sought_on"] = context.kinks.examples
    return Measured(
        name=one.name,
        value=found.value,
        standard_error=found.standard_error,
        converged=found.converged and not note,
        notes=(*context.objective.notes, *([note] if note else [])),
        settings={**settings, **context.settings},
        seconds=time.monotonic() - began,
        details=details,
        **about,
    )

"""Taking measures: from names to values, with all that a reader must know of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from landscape.errors import LandscapeError, did_you_mean
from landscape.objective import Objective
from landscape.params import Held, Weights
from landscape.sharpness.place import Place
from landscape.sharpness.registry import Measure, measure_named


@dataclass(frozen=True)
class Measured:
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

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def measure(
    objective: Objective,
    weights: Weights,
    names: Sequence[str],
    *,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    keep: Callable[[Measured], None] | None = None,
) -> dict[str, Measured]:
    """Take measures of some weights.

    Args:
        objective: The objective.
        weights: A snapshot, a model, or a name -> tensor dictionary.
        names: Names of measures; `measures` lists them.
        split: ``"train"`` or ``"test"``.
        parameters: Globs that choose which parameters count; see `Layout.select`.
        seed: Of all draws; equal seeds draw equal numbers at every place.
        dtype: The type of real numbers; None is the model's own.
        settings: Name of a measure -> its settings that differ from the published defaults.
        progress: Called with (name of the measure, done, in all).
        keep: Called with each measure as soon as it is taken.

    Returns:
        Name -> measured, in the order asked for.

    Raises:
        LandscapeError: If a name or a setting does not exist, or a measure cannot be taken here.

    Example:
        >>> measure(objective, run[-1], ["hessian_top"])["hessian_top"].value  # doctest: +SKIP
        3.0537
    """
    chosen = [measure_named(name) for name in names]
    given = settings or {}
    if stray := [name for name in given if name not in names]:
        raise LandscapeError(f"settings of '{stray[0]}', which is not taken", mend=did_you_mean(stray[0], names))
    settled = {one.name: one.settled(given.get(one.name)) for one in chosen}
    objective.require((split,), ())
    globs = None if parameters is None else Held.of(weights, parameters).layout.selected
    found = {}
    shared = Place(objective, Held.of(weights, parameters), split, globs, seed, dtype)
    for one in chosen:
        place = (
            shared
            if progress is None
            else shared.telling(lambda done, total, name=one.name: progress(name, done, total))
        )
        found[one.name] = _taken(one, place, settled[one.name])
        if keep is not None:
            keep(found[one.name])
    return found


def _taken(one: Measure, place: Place, settings: Mapping[str, Any]) -> Measured:
    began = time.monotonic()
    found = one.compute(place, settings)
    loss_unit = place.objective.unit or "loss"
    return Measured(
        name=one.name,
        value=found.value,
        standard_error=found.standard_error,
        converged=found.converged,
        unit=one.unit.format(loss=loss_unit),
        formula=one.formula,
        source=one.source,
        invariant_claimed=one.invariant,
        settings={
            **settings,
            "split": place.split,
            "seed": place.seed,
            "parameters": list(place.parameters or []),
        },
        seconds=time.monotonic() - began,
        details=found.details,
    )

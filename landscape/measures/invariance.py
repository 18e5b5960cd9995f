"""The trial that a measure makes of its own claim: the same number at a random element of the orbit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from landscape.errors import reason_of
from landscape.measures.context import MeasureContext
from landscape.measures.orbit_elements import CLASS_OF, Column, led_to, moves
from landscape.measures.over_orbit import take
from landscape.measures.presets import audit_settings, sameness
from landscape.measures.registry import ORTHOGONAL, OverOptions, measure_named
from landscape.options import fields_of
from landscape.symmetry import Element
from landscape.symmetry.elements import SCALINGS, Generator
from landscape.values.audit import same_by

if TYPE_CHECKING:
    from landscape.measures.computation import Measured

# What holds for all data holds for so few of them.
_EXAMPLES = 32
# Of each of these settings at most so many: draws are the same at both places.
_QUICK = {"samples": 9, "draws": 9, "restarts": 1, "elements": 3}
# The standard deviation of the logarithms of random factors.
_SPREAD = 0.5


def tried(context: MeasureContext, found: Measured) -> Measured:
    """A measure with what became of its claim at one random element of the orbit.

    The element is made of all generators of the model that the claim covers. Where the measure changes there, the
    claim is withdrawn; `details["invariance"]` has both numbers and their relative difference, and `notes` say
    what was not as claimed, what could not be tried, and which rescalings may have been missed.

    Args:
        context: Where it was taken.
        found: What was taken.
    """
    # Orthogonal maps change no curvature whatever the network is; claims of more are tried.
    if set(found.invariant_claimed) <= {*ORTHOGONAL} or not math.isfinite(found.value):
        return found
    try:
        report = _trial(context, found)
    except Exception as error:  # noqa: BLE001 - the number stands all the same
        report = {"passed": None, "reason": reason_of(error)}
    notes = list(found.notes)
    claims = found.invariant_claimed
    if report["passed"] is None:
        notes.append(f"the claim of invariance was not tested: {report['reason']}")
    elif not report["passed"]:
        claims = ()
        notes.append(
            f"a symmetry of the model ({', '.join(report['kinds'])}) changed it from {report['before']:.6g} to "
            f"{report['after']:.6g} on {report['examples']} examples: it is not invariant here"
        )
    if missed := report.pop("missed", ()):
        notes.append("invariant only to the symmetries found: " + "; ".join(missed))
    return replace(
        found, invariant_claimed=claims, notes=tuple(notes), details={**found.details, "invariance": report}
    )


def _trial(context: MeasureContext, found: Measured) -> dict[str, Any]:
    symmetries = context.symmetries
    missed = [str(one) for one in symmetries.blocked if not one.settled]
    factors = _element(symmetries.generators, found.invariant_claimed, context)
    if not factors:
        return {"passed": None, "reason": "no symmetry was found that it claims", "missed": missed}
    here = _on_few(context)
    # Measures with equal claims are tried at the same element.
    there = context.shared(
        ("trial", tuple((one.name, *value.flatten().tolist()) for one, value in factors)),
        lambda: led_to(here, Column("trial", "", (), Element(factors))),
    )
    if not moves(here, there):
        return {"passed": None, "reason": "the element leaves the weights as they are", "missed": missed}
    one, settings = measure_named(found.name), _settings(here, found)
    before, after = take(one, here, settings), take(one, there, settings)
    errors = (before.standard_error, after.standard_error)
    size = abs(before.value)
    return {
        "passed": bool(same_by(before.value, after.value, errors, sameness(context.dtype))),
        "kinds": list(dict.fromkeys(generator.kind for generator, _ in factors)),
        "before": before.value,
        "after": after.value,
        "difference": abs(after.value - before.value) / size if size else abs(after.value),
        "examples": here.objective.examples([context.split])[context.split]["used"],
        "missed": missed,
    }


def _settings(context: MeasureContext, found: Measured) -> Mapping[str, Any]:
    """Fewer draws, which take a fraction of the time; conventions remain as they were."""
    names = (*measure_named(found.name).settings, *fields_of(OverOptions))
    own = {name: found.settings[name] for name in names if name in found.settings}
    quick = own | {
        name: value
        for name, value in audit_settings(context, [found.name], None)[found.name].items()
        if name in _QUICK
    }
    return quick | {name: min(quick[name], most) for name, most in _QUICK.items() if quick.get(name) is not None}


def _on_few(context: MeasureContext) -> MeasureContext:
    """The same place on a few examples: itself where there are no more."""
    if context.objective.examples([context.split])[context.split]["used"] <= _EXAMPLES:
        return context

    def make() -> MeasureContext:
        return context.fresh(objective=context.objective.subset(_EXAMPLES, splits=[context.split]))

    return context.shared("few examples", make)


def _element(
    generators: tuple[Generator, ...], claims: tuple[str, ...], context: MeasureContext
) -> tuple[tuple[Generator, torch.Tensor], ...]:
    """Random values of all generators whose elements do not change a measure, if its claims hold."""
    source = context.generator("trial of invariance")
    drawn = []
    for one in generators:
        if one.kind in SCALINGS and one.kind != "batchnorm":
            value = one.draw(source, _SPREAD)
            if "unit-rescaling" in claims:
                drawn.append((one, value))
            elif "layer-rescaling" in claims:
                drawn.append((one, value[:1].expand(one.units).clone()))
        elif CLASS_OF[one.kind] in claims:
            drawn.append((one, one.draw(source, _SPREAD)))
    return tuple(drawn)

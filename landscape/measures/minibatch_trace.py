"""Traces that several measures take from the same passes, with probes of its own for every micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from landscape.curvature import Estimate, Scattered, scattered_traces
from landscape.curvature.scattered import Map
from landscape.errors import LandscapeError
from landscape.measures.context import MeasureContext
from landscape.measures.registry import Found, computed_in
from landscape.vocabulary import SCATTERED

# From a place and settings to the map B whose tr(B^T H B) a measure is. Modules that make one need this one.
Maker: TypeAlias = Callable[[MeasureContext, Mapping[str, Any]], Map]
_MAKERS: Mapping[str, Maker] = {
    "hessian_trace": lambda _context, _settings: lambda rows: rows,
    "filter_normalized_curvature": computed_in("filter_curvature", "trace_map"),
    "relative_flatness": computed_in("relative_flatness", "trace_map"),
}


def scattered_of(context: MeasureContext, name: str, settings: Mapping[str, Any]) -> Scattered:
    """The trace that a measure is, with those of all other measures here that ask for the same samples.

    They share forward and backward passes, and the signs of the probes.

    Args:
        context: Where.
        name: Of the measure.
        settings: Its ``samples`` are the vectors of signs for every micro-batch.
    """
    samples = int(settings["samples"])
    if samples < 1:
        raise LandscapeError("must be positive", where="samples", got=samples)
    wanted = {**context.wanted, name: settings}
    together = tuple(
        other
        for other in _MAKERS
        if other in wanted
        and wanted[other].get("method") == SCATTERED
        and int(wanted[other].get("samples", 0)) == samples
    )

    def make() -> dict[str, Scattered]:
        maps = [_MAKERS[other](context, wanted[other]) for other in together]
        found = scattered_traces(
            context.operator("hessian"), maps, samples=samples, seed=context.seed, progress=context.progress
        )
        return dict(zip(together, found, strict=True))

    return context.shared(("scattered", together, samples), make)[name]


def scattered(context: MeasureContext, name: str, settings: Mapping[str, Any]) -> Found:
    """The same as what a measure found."""
    whole = scattered_of(context, name, settings).whole
    return found_of(whole)


def found_of(estimate: Estimate, **details: Any) -> Found:
    """An estimate with its standard error."""
    told = {"method": estimate.method, "products": estimate.products, **details}
    return Found(estimate.value, estimate.standard_error, details=told)

"""Settings that take every measure often and quickly, as audits do, and what counts as the same number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from landscape.measures.context import MeasureContext
from landscape.objective import Objective
from landscape.params import Held, Weights
from landscape.vocabulary import SCATTERED

_SAMPLED = (
    *("hessian_trace", "gauss_newton_trace", "fisher_trace", "hessian_frobenius"),
    *("filter_normalized_curvature", "relative_flatness"),
)
_TOGETHER = ("hessian_trace", "gauss_newton_trace", "filter_normalized_curvature", "relative_flatness")
_ENDS = ("hessian_top", "hessian_bottom", "gauss_newton_top")
# What differs from the published settings: an audit takes every measure at half a dozen places and asks whether it
# changes, by factors rather than by per cents.
SMALL: Mapping[str, Mapping[str, Any]] = {
    **{name: {"samples": 30} for name in _SAMPLED},
    "epsilon_sharpness": {"restarts": 2},
    "adaptive_sharpness_average": {"draws": 30},
    "local_energy": {"draws": 30},
    "local_learning_coefficient": {"rounds": 1},
}
LARGE: Mapping[str, Mapping[str, Any]] = {
    # The error of an eigenvalue is the square of that of its residual.
    **{name: {"tol": 5e-2, "max_products": 60} for name in _ENDS},
    **{name: {"samples": 9} for name in _SAMPLED},
    # One pass over the data takes a sample for every 16 examples, and all of these share it.
    **{name: {"method": SCATTERED, "samples": 1} for name in _TOGETHER},
    # What the theorem behind it is about, and next to no work.
    "relative_flatness": {"method": SCATTERED, "samples": 1, "layers": "last"},
    "epsilon_sharpness": {"restarts": 1, "iterations": 6, "tolerance": 3e-2},
    "keskar_sharpness": {"restarts": 1},
    "adaptive_sharpness_worst": {"restarts": 1, "iterations": 5, "batches": 2},
    # With as many draws and one size of noise both take the same steps, once.
    "adaptive_sharpness_average": {"draws": 5},
    "local_energy": {"draws": 5, "points": 1},
    "local_learning_coefficient": {"rounds": 1},
    "orbit_min_trace": {"samples": 1},
}
# What counts as the same number: measures are smooth functions of weights that were rounded once, by 6e-8 in
# float32 and 1e-16 in float64, and eigenvalues are sought to 1e-6.
_SAME = {torch.float64: 1e-5, torch.float32: 1e-2}
# Up to so many numbers x examples a whole audit in float64 takes a minute or so.
_SMALL = 10**8
# And so many numbers alone: networks that have more are mostly convolutional, and use each of them many times.
_FEW = 50_000

# Samples for every micro-batch where there are few of them.
_SAMPLES_OF_FEW = 4
# A search begins at what so many examples tell; not where there are hardly more of them.
FEW_EXAMPLES, MANY = 128, 4


def is_small(objective: Objective, weights: Weights, split: str) -> bool:
    """Return whether measures of all examples in float64, and their predictions by theory, take about a minute."""
    held = Held.of(weights)
    size = sum(info.numbers for info in held.layout.moving())
    return size <= _FEW and size * objective.examples([split])[split]["used"] <= _SMALL


def audit_settings(
    context: MeasureContext, names: Sequence[str], given: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, dict[str, Any]]:
    """The settings of audits, and over them those that are given."""
    small = is_small(context.objective, context.weights, context.split)
    usual = {name: dict((SMALL if small else LARGE).get(name, {})) for name in names}
    examples = context.objective.examples([context.split])[context.split]["used"]
    if not small and examples < MANY * FEW_EXAMPLES:
        # Few micro-batches are few samples.
        for name in {*_TOGETHER, "orbit_min_trace"} & {*names}:
            usual[name]["samples"] = _SAMPLES_OF_FEW
    return {name: {**usual[name], **(given or {}).get(name, {})} for name in names}


def sameness(dtype: torch.dtype | None) -> float:
    """Up to which relative difference two measures are the same number, computed in some element type."""
    return _SAME.get(dtype or torch.float32, _SAME[torch.float32])

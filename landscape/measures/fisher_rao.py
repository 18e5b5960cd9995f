"""The Fisher-Rao norm: how much the loss moves when all weights grow in proportion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landscape.measures.context import MeasureContext
from landscape.measures.gauss_newton import LABELS
from landscape.measures.registry import SYMMETRIES, Found, Measure, register
from landscape.options import Options, option


@dataclass(frozen=True)
class FisherRaoOptions(Options):
    """Which Fisher matrix it is."""

    labels: str = option("data", "Labels of the data, or drawn from the model", choices=tuple(LABELS))
    squared: bool = option(True, "The square of the norm, as published")


def _compute(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    operator = context.operator(LABELS[settings["labels"]])
    value = operator.quadratic(operator.flatten(context.weights.weights).double())
    return Found(value if settings["squared"] else max(value, 0.0) ** 0.5)


register(
    Measure(
        name="fisher_rao_norm",
        title="Fisher-Rao norm, squared",
        formula="|θ|²_fr = θᵀ F θ, F = mean over examples of g gᵀ, g = dl/dθ at its label (labels = model: labels "
        "drawn from the model)",
        unit="{loss}²",
        source="Liang, Poggio, Rakhlin & Stokes 2019, Fisher-Rao metric, geometry and complexity of networks",
        # Maps of degree 1 in the weights; shifts are none, and rotations were not tried.
        invariant=tuple(name for name in SYMMETRIES if name not in ("shift", "stream-rotation")),
        compute=_compute,
        options=FisherRaoOptions,
        misleads="It is no curvature: without biases it is (L + 1)² times the mean of (f · dl/df)² for L hidden "
        "layers, so it sees outputs and residuals only and vanishes at an interpolator.",
    )
)

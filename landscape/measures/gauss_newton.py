"""Measures of the Gauss-Newton and Fisher matrices: the part of the curvature that is never negative."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from landscape.measures.context import SCATTERED, MeasureContext
from landscape.measures.draws import mean_and_error
from landscape.measures.hessian import (
    ORTHOGONAL,
    EigenvalueOptions,
    EstimateOptions,
    TraceOptions,
    extreme,
    traced,
)
from landscape.measures.registry import Found, Measure, register
from landscape.options import Options, option
from landscape.params import Tensors

# Where the labels of the Fisher matrix come from -> kind of operator.
LABELS: Mapping[str, str] = {"model": "fisher", "data": "empirical-fisher"}


@dataclass(frozen=True)
class LabelOptions(Options):
    """Which Fisher matrix it is."""

    labels: str = option("model", "Labels drawn from the model, or those of the data", choices=tuple(LABELS))


@dataclass(frozen=True)
class FisherOptions(EstimateOptions, LabelOptions):
    """Which Fisher matrix it is, and how its trace is taken."""


def _trace(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    if settings["method"] == SCATTERED:
        return _from_draws(context.gauss_newton_draws(int(settings["samples"])))
    exact = context.gauss_newton_exact() if settings["method"] == "auto" else None
    if exact is not None:
        return Found(math.fsum(float(part.sum()) for part in exact.values()), details={"method": "exact"})
    return traced(context, context.operator("gauss-newton"), settings)


def _from_draws(draws: Sequence[Tensors]) -> Found:
    """The mean over sampled diagonals."""
    sums = torch.stack([torch.stack([part.sum() for part in draw.values()]).sum() for draw in draws])
    mean, error = mean_and_error(sums.cpu().numpy())
    return Found(mean, error, details={"method": SCATTERED, "draws": len(draws)})


def _top(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    return extreme(context, context.operator("gauss-newton"), "largest", settings)


def _fisher_trace(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    return traced(context, context.operator(LABELS[settings["labels"]]), settings)


register(
    Measure(
        name="gauss_newton_trace",
        title="Gauss-Newton trace",
        formula="tr G, G = mean over examples of Jᵀ (d²l/df²) J, J = df/dθ; with method = auto exact up to 10⁸ "
        "numbers, examples times outputs times parameters",
        unit="{loss}",
        source="Schraudolph 2002, section 4; Martens 2020, section 8",
        invariant=ORTHOGONAL,
        compute=_trace,
        options=TraceOptions,
        misleads="It leaves out the curvature of the network itself, which matters away from an interpolator, and "
        "rescalings change it like the Hessian trace.",
    )
)
register(
    Measure(
        name="gauss_newton_top",
        title="largest Gauss-Newton eigenvalue",
        formula="max eigenvalue of G = mean over examples of Jᵀ (d²l/df²) J, J = df/dθ",
        unit="{loss}",
        source="Schraudolph 2002, section 4; Martens 2020, section 8",
        invariant=ORTHOGONAL,
        compute=_top,
        options=EigenvalueOptions,
        misleads="It follows the largest Hessian eigenvalue only where the residuals are small, and rescalings "
        "make it as large as one likes.",
    )
)
register(
    Measure(
        name="fisher_trace",
        title="Fisher trace",
        formula="tr F, F = mean over inputs of E_y[g gᵀ], g = d log p(y|x,θ)/dθ, y drawn from the model "
        "(labels = data: g the gradient of the loss at the label of the example)",
        unit="{loss}",
        source="Martens 2020, sections 5 and 11; Jastrzebski et al. 2021 (early in training)",
        invariant=ORTHOGONAL,
        compute=_fisher_trace,
        options=FisherOptions,
        misleads="With the labels of the data it is the mean squared norm of the gradients, which vanishes at an "
        "interpolator whatever its shape; for cross-entropy with the model's labels it is the Gauss-Newton trace.",
    )
)

"""Measures of the Gauss-Newton and Fisher matrices: the part of the curvature that is never negative."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from landscape.measures.context import MeasureContext
from landscape.measures.declared_curvature import LABELS
from landscape.measures.draws import mean_and_error
from landscape.measures.hessian import extreme, traced
from landscape.measures.registry import Found
from landscape.params import Tensors
from landscape.vocabulary import SCATTERED


def gauss_newton_trace(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Trace of the Gauss-Newton matrix."""
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


def gauss_newton_top(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Largest eigenvalue of the Gauss-Newton matrix."""
    return extreme(context, context.operator("gauss-newton"), "largest", settings)


def fisher_trace(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Trace of a Fisher matrix."""
    return traced(context, context.operator(LABELS[settings["labels"]]), settings)

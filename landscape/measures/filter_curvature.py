"""Filter-normalised curvature: the mean curvature of the plots of Li et al."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.curvature.scattered import Map
from landscape.errors import LandscapeError
from landscape.layout import TensorInfo
from landscape.measures.congruence import scaled
from landscape.measures.context import MeasureContext
from landscape.measures.hessian import traced
from landscape.measures.minibatch_trace import scattered
from landscape.measures.registry import Found
from landscape.params import Tensors, filter_rows, spread_over_filters, wide
from landscape.vocabulary import SCATTERED


def filter_scales(context: MeasureContext, one_d: str = "ignore") -> Tensors:
    """|θ_f| / sqrt(n_f) at every element of every filter f: the root mean square of a filter-normalised direction.

    Args:
        context: Says which parameters count.
        one_d: What parameters of at most one dimension are: ``"ignore"`` (0) or ``"norm"`` (each one filter).

    Returns:
        Name -> scales, shaped like the `real_view` of the parameter, float64.

    Raises:
        LandscapeError: If nothing is left.
    """
    moving = context.weights.layout.moving()
    if one_d == "ignore" and all(len(info.shape) <= 1 for info in moving):
        raise LandscapeError("no parameter has filters", where="parameters", mend='set one_d to "norm"')
    return {info.name: _scales(wide(context.weights.weights[info.name]), info, one_d) for info in moving}


def _scales(weight: Tensor, info: TensorInfo, one_d: str) -> Tensor:
    if len(info.shape) <= 1:
        return torch.full_like(weight, 0.0 if one_d == "ignore" else float(weight.square().mean().sqrt()))
    rows = filter_rows(weight, info)
    return spread_over_filters(rows.square().mean(dim=1).sqrt(), info).expand_as(weight)


def filter_normalized_curvature(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Sum of the curvatures of filters, weighted by their squared norms."""
    if settings["method"] == SCATTERED:
        return scattered(context, "filter_normalized_curvature", settings)
    operator = context.operator("hessian")
    return traced(context, scaled(operator, operator.flatten(filter_scales(context, settings["one_d"]))), settings)


def trace_map(context: MeasureContext, settings: Mapping[str, Any]) -> Map:
    """The map B whose tr(Bᵀ H B) the measure is."""
    scales = filter_scales(context, settings["one_d"])
    flat = torch.cat([scales[info.name].flatten() for info in context.weights.layout.moving()])
    return lambda rows: flat.to(rows) * rows

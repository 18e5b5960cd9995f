"""Relative flatness: the curvature of a layer, weighted by the inner products of its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.curvature import Curvature, trace
from landscape.curvature.scattered import Map
from landscape.errors import LandscapeError
from landscape.layout import TensorInfo
from landscape.measures.congruence import Congruent
from landscape.measures.context import MeasureContext
from landscape.measures.minibatch_trace import scattered_of
from landscape.measures.registry import Found
from landscape.params import filter_rows, real_view, wide
from landscape.vocabulary import SCATTERED


def relative_flatness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Curvature of layers, weighted by the inner products of their rows."""
    convention = settings["layers"]
    chosen = _chosen(context, convention)
    together = settings["method"] == SCATTERED
    seen = scattered_of(context, "relative_flatness", settings) if together else None
    found = {}
    for done, info in enumerate(chosen):
        if seen is None:
            found[info.name] = _of_layer(context, info, settings)
            context.tell(done + 1, len(chosen))
        else:
            found[info.name] = (seen.parts[info.name].value, seen.parts[info.name].standard_error)
    values = {name: value for name, (value, _) in found.items()}
    details: dict[str, Any] = {"layers": values}
    if convention == "max":
        name = max(values, key=values.__getitem__)
        return Found(*found[name], details={**details, "layer": name})
    if seen is not None and convention == "sum":
        return Found(seen.whole.value, seen.whole.standard_error, details=details)
    error = math.sqrt(sum((error or 0.0) ** 2 for _, error in found.values()))
    return Found(math.fsum(values.values()), error or None, details=details)


def _chosen(context: MeasureContext, convention: str) -> list[TensorInfo]:
    """The layers that count."""
    layers = [info for info in context.weights.layout.moving() if len(info.shape) >= 2 and info.numel]
    if not layers:
        raise LandscapeError("no parameter has rows", where="parameters", mend="choose weights of layers")
    return {"last": layers[-1:], "first": layers[:1]}.get(convention, layers)


def _of_layer(
    context: MeasureContext, info: TensorInfo, settings: Mapping[str, Any]
) -> tuple[float, float | None]:
    """tr((Wᵀ ⊗ 1) H (W ⊗ 1)) with H the block of the layer, which is the double sum over rows."""
    operator = context.operator("hessian")
    rows = filter_rows(wide(context.weights.weights[info.name]), info)
    found = trace(
        rows_seen(operator, info, rows),
        method=settings["method"],
        samples=settings["samples"],
        # Layers have probes of their own, so that their errors are independent.
        seed=context.generator(info.name).initial_seed(),
    )
    return found.value, found.standard_error or None


def rows_seen(operator: Curvature, info: TensorInfo, rows: Tensor) -> Congruent:
    """Bᵀ H B with B the map V -> S V of (d, m) matrices, S² = W Wᵀ; its trace is that of (W Wᵀ ⊗ 1) H.

    Args:
        operator: H over all selected parameters.
        info: The layer.
        rows: W, shape (d, m), one row per unit or filter.
    """
    units, inputs = rows.shape
    root, order = _root(rows), _order(info)
    start = _start(operator, info)

    def into(columns: Tensor) -> Tensor:
        mixed = (root.to(columns) @ columns.reshape(units, -1)).reshape(units * inputs, -1)
        whole = columns.new_zeros(operator.size, mixed.shape[1])
        whole[start + order] = mixed
        return whole

    def back(columns: Tensor) -> Tensor:
        own = columns[start + order]
        return (root.to(own) @ own.reshape(units, -1)).reshape(units * inputs, -1)

    return Congruent(operator.within(info.name), units * inputs, into, back)


def _root(rows: Tensor) -> Tensor:
    """S with S² = W Wᵀ."""
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _order(info: TensorInfo) -> Tensor:
    """Where each element of the matrix of rows lies in the flattened tensor."""
    places = torch.arange(info.numbers, dtype=torch.float64).reshape(info.real_shape)
    return filter_rows(places, info).long().flatten()


def trace_map(context: MeasureContext, settings: Mapping[str, Any]) -> Map:
    """The map B of all layers at once whose tr(Bᵀ H B) the measure is: it has no part of blocks between layers."""
    layers, start = [], 0
    chosen = {info.name for info in _chosen(context, settings["layers"])}
    for info in context.weights.layout.moving():
        if info.name in chosen:
            rows = filter_rows(wide(context.weights.weights[info.name]), info)
            layers.append((_root(rows), start + _order(info)))
        start += info.numbers

    def over(rows: Tensor) -> Tensor:
        mixed = torch.zeros_like(rows)
        for root, order in layers:
            own = rows[:, order].reshape(len(rows), len(root), -1)
            mixed[:, order] = (root.to(rows) @ own).reshape(len(rows), -1)
        return mixed

    return over


def _start(operator: Curvature, info: TensorInfo) -> int:
    """Where a parameter begins in a vector."""
    parts = operator.unflatten(torch.arange(operator.size, dtype=torch.float64))
    return int(real_view(parts[info.name]).flatten()[0])

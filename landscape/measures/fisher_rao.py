"""The Fisher-Rao norm: how much the loss moves when all weights grow in proportion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.measures.context import MeasureContext
from landscape.measures.declared_curvature import LABELS
from landscape.measures.registry import Found


def fisher_rao_norm(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Fisher-Rao norm, squared or not."""
    operator = context.operator(LABELS[settings["labels"]])
    value = operator.quadratic(operator.flatten(context.weights.weights).double())
    return Found(value if settings["squared"] else max(value, 0.0) ** 0.5)

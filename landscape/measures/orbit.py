"""The smallest Gauss-Newton trace on the orbit: the one curvature that symmetries cannot change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.measures.context import MeasureContext
from landscape.measures.registry import Found


def orbit_min_trace(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Smallest Gauss-Newton trace on the orbit."""
    found = context.flattening(settings["samples"])
    # What makes it doubtful is said of every measure of curvature alike.
    details = {name: value for name, value in found.to_json().items() if name != "note"}
    return Found(found.value, found.standard_error, details=details)

"""Measures: numbers that claim to say how sharp a minimum is, and what each is worth.

Tables of measures and their files need no torch; taking measures does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from landscape.sharpness.registry import SYMMETRIES, Found, Measure, measure_named, measures, register

if TYPE_CHECKING:
    from landscape.sharpness.measuring import Measured as Measured
    from landscape.sharpness.measuring import measure as measure
    from landscape.sharpness.stability import stability_threshold as stability_threshold
    from landscape.sharpness.table import Table as Table
    from landscape.sharpness.table_store import read_table as read_table

_HOME = {
    "Measured": "measuring",
    "Table": "table",
    "measure": "measuring",
    "read_table": "table_store",
    "stability_threshold": "stability",
}
__all__ = [
    "SYMMETRIES",
    "Found",
    "Measure",
    "Measured",
    "Table",
    "measure",
    "measure_named",
    "measures",
    "read_table",
    "register",
    "stability_threshold",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"landscape.sharpness.{_HOME[name]}"), name)
    raise AttributeError(f"module 'landscape.sharpness' has no attribute '{name}'")

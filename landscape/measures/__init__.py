"""Measures: numbers that claim to say how sharp a minimum is, and what each is worth.

Tables of measures and their files need no torch; taking measures does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy
from landscape.measures.registry import (
    SYMMETRIES,
    Found,
    Measure,
    OverOptions,
    measure_named,
    measures,
    profile_settings,
    register,
    step_measures,
)
from landscape.values.measure_table import Table
from landscape.values.profile import Profile, profiles_of

if TYPE_CHECKING:
    from landscape.measures.computation import Measured as Measured
    from landscape.measures.computation import measure as measure
    from landscape.measures.run_table import along as along
    from landscape.measures.stability import stability_threshold as stability_threshold
    from landscape.measures.table_store import read_table as read_table

_HOME = {
    "Measured": "computation",
    "along": "run_table",
    "measure": "computation",
    "read_table": "table_store",
    "stability_threshold": "stability",
}
__all__ = [
    "SYMMETRIES",
    "Found",
    "Measure",
    "Measured",
    "OverOptions",
    "Profile",
    "Table",
    "along",
    "measure",
    "measure_named",
    "measures",
    "profile_settings",
    "profiles_of",
    "read_table",
    "register",
    "stability_threshold",
    "step_measures",
]

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

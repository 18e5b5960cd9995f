"""Measures: numbers that claim to say how sharp a minimum is, and what each is worth.

Tables of measures and their files need no torch; taking measures does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from landscape.sharpness.registry import SYMMETRIES, Found, Measure, measure_named, measures, register
from landscape.values.audit import Audit
from landscape.values.measure_table import Table
from landscape.values.profile import Profile, profiles_of

if TYPE_CHECKING:
    from landscape.sharpness.auditing import audit as audit
    from landscape.sharpness.comparing import Compared as Compared
    from landscape.sharpness.comparing import compare as compare
    from landscape.sharpness.measuring import Measured as Measured
    from landscape.sharpness.measuring import measure as measure
    from landscape.sharpness.measuring import profile_settings as profile_settings
    from landscape.sharpness.stability import stability_threshold as stability_threshold
    from landscape.sharpness.table_store import read_table as read_table

_HOME = {
    "Compared": "comparing",
    "Measured": "measuring",
    "audit": "auditing",
    "compare": "comparing",
    "measure": "measuring",
    "profile_settings": "measuring",
    "read_table": "table_store",
    "stability_threshold": "stability",
}
__all__ = [
    "SYMMETRIES",
    "Audit",
    "Compared",
    "Found",
    "Measure",
    "Measured",
    "Profile",
    "Table",
    "audit",
    "compare",
    "measure",
    "measure_named",
    "measures",
    "profile_settings",
    "profiles_of",
    "read_table",
    "register",
    "stability_threshold",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"landscape.sharpness.{_HOME[name]}"), name)
    raise AttributeError(f"module 'landscape.sharpness' has no attribute '{name}'")

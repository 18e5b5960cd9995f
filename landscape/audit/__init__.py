"""Audits: what measures are worth at one minimum, taken again wherever its symmetries lead."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from landscape.values.audit import Audit

if TYPE_CHECKING:
    from landscape.audit.comparison import Compared as Compared
    from landscape.audit.comparison import compare as compare
    from landscape.audit.orbit_audit import audit as audit

_HOME = {"Compared": "comparison", "audit": "orbit_audit", "compare": "comparison"}
__all__ = ["Audit", "Compared", "audit", "compare"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"landscape.audit.{_HOME[name]}"), name)
    raise AttributeError(f"module 'landscape.audit' has no attribute '{name}'")

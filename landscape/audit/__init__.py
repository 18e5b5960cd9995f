"""Audits: what measures are worth at one minimum, taken again wherever its symmetries lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy
from landscape.values.audit import Audit

if TYPE_CHECKING:
    from landscape.audit.comparison import Compared as Compared
    from landscape.audit.comparison import compare as compare
    from landscape.audit.orbit_audit import audit as audit

_HOME = {"Compared": "comparison", "audit": "orbit_audit", "compare": "comparison"}
__all__ = ["Audit", "Compared", "audit", "compare"]

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

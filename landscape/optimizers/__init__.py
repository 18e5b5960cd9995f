"""Optimizers as landscapes see them: their kinds, steps, preconditioners and stability thresholds.

Thresholds and recorded steps need no torch; recognising and observing an optimizer does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy
from landscape.optimizers.step import Step
from landscape.optimizers.thresholds import DIAGONAL, KINDS, NORMED, threshold, threshold_words

if TYPE_CHECKING:
    from landscape.optimizers.observer import Observer as Observer
    from landscape.optimizers.recognition import kind_of as kind_of

_HOME = {"Observer": "observer", "kind_of": "recognition"}
__all__ = [
    "DIAGONAL",
    "KINDS",
    "NORMED",
    "Observer",
    "Step",
    "kind_of",
    "threshold",
    "threshold_words",
]

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

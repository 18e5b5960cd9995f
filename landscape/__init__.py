"""Loss landscapes of trained networks, and how far to believe them: the table of contents.

Names are imported when they are first used, so that ``import landscape`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "LandscapeError": "landscape.errors",
}
_ROOMS = ("problems", "projection", "render", "training")
__all__ = sorted([*_HOME, *_ROOMS, "__version__"])

if TYPE_CHECKING:
    from landscape.errors import LandscapeError as LandscapeError


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"landscape.{name}")
    raise AttributeError(f"module 'landscape' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)

"""Earlier name of `landscape.measures` and `landscape.audit`."""

from __future__ import annotations

from typing import Any

from landscape import audit as _audit
from landscape import measures as _measures

__all__ = sorted({*_audit.__all__, *_measures.__all__})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'landscape.sharpness' has no attribute '{name}'")
    return getattr(_audit if name in _audit.__all__ else _measures, name)


def __dir__() -> list[str]:
    return list(__all__)

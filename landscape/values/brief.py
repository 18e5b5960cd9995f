"""Printed form of a value: what it is, sizes, and key numbers, in at most ten lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

_WIDTH = 100
_LINES = 8
_TEXT = 60
_WORDS = 160
_NAMES = 4
_ITEMS = 3


def brief(value: Any) -> str:
    """The `repr` of a frozen dataclass: arrays by type, shape and range, tables by their names.

    Example:
        >>> from landscape.values.spectrum import End
        >>> brief(End(2.0, 1e-9, True))
        'End(value=2.0, residual=1e-09, converged=True)'
    """
    name = type(value).__name__
    told = facts(value)
    line = f"{name}({', '.join(f'{key}={words}' for key, words in told.items())})"
    if len(line) <= _WIDTH:
        return line
    rows = [f"  {key}: {words}" for key, words in told.items()]
    more = [f"  ... {len(rows) - _LINES} more"] if len(rows) > _LINES else []
    return "\n".join([name, *rows[:_LINES], *more])


def facts(value: Any) -> dict[str, str]:
    """Name of a field of a dataclass -> its value in a few words; what is empty is left out."""
    held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
    return {key: cut(short(entry), _WORDS) for key, entry in held.items() if not _is_empty(entry)}


def _is_empty(entry: Any) -> bool:
    return entry is None or (isinstance(entry, Mapping | tuple | list | str) and not entry)


def short(entry: Any) -> str:
    """A value in a few words."""
    if isinstance(entry, np.ndarray):
        return _array(entry)
    if hasattr(entry, "shape") and hasattr(entry, "dtype") and not isinstance(entry, np.generic):
        # A tensor, which may be on another device.
        return f"{str(entry.dtype).removeprefix('torch.')} {'x'.join(map(str, entry.shape)) or 'scalar'}"
    if isinstance(entry, Mapping):
        names = [str(name) for name in entry]
        more = f", ... {len(names)} in all" if len(names) > _NAMES else ""
        return "{" + ", ".join(names[:_NAMES]) + more + "}"
    if dataclasses.is_dataclass(entry) and not isinstance(entry, type):
        return type(entry).__name__
    if isinstance(entry, tuple | list):
        shown = [short(one) for one in entry[:_ITEMS]]
        return "[" + ", ".join(shown) + (f", ... {len(entry)} in all" if len(entry) > _ITEMS else "") + "]"
    if isinstance(entry, float):
        return repr(float(f"{entry:.6g}"))
    text = " ".join(repr(entry).split())
    if " at 0x" in text:
        text = getattr(entry, "__name__", type(entry).__name__)
    return cut(text)


def cut(text: str, most: int = _TEXT) -> str:
    """The beginning of a text that is long."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _array(entry: np.ndarray) -> str:
    if entry.size <= _ITEMS:
        return str(entry.tolist())
    shape = "x".join(map(str, entry.shape))
    known = entry[np.isfinite(entry)] if entry.dtype.kind in "fiu" else entry[:0]
    span = f", {known.min():.4g} to {known.max():.4g}" if known.size else ""
    return f"{entry.dtype} {shape}{span}"

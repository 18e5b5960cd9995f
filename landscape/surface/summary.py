"""Summary of a surface file, in plain values."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.files.result import load
from landscape.surface.store import SURFACE
from landscape.values.grid import REPEAT
from landscape.values.repeats import summarise_repeats
from landscape.values.surface import Array

# Of the extent: steps that differ by less are the same but for rounding.
_EVEN = 1e-9


def describe_surface(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a surface file, as plain values for `landscape inspect`.

    Args:
        path: The file.

    Returns:
        format, schema, kind, problem, step, shape, axes (by name, in the order of the shape: points, low, high,
        even), points, done, computed, complete, fields (min, max, NaN, inf), repeats (see
        `summarise_repeats`) where there are some, meta.
    """
    held = load(SURFACE, path)
    surface = held.value
    done = np.ones(surface.values.shape, bool) if surface.done is None else surface.done
    return {
        "format": SURFACE.format,
        "schema": held.schema,
        "kind": surface.meta.get("kind", ""),
        "problem": surface.meta.get("problem", ""),
        "step": surface.meta.get("step"),
        "shape": list(surface.values.shape),
        "axes": {name: _axis(values) for name, values in surface.axes.items() if name != REPEAT},
        "points": int(done.size),
        "done": int(done.sum()),
        "computed": int(done.sum() if surface.computed is None else surface.computed.sum()),
        "complete": surface.complete,
        "fields": {name: summarise(values, done) for name, values in surface.fields.items()},
        **({} if surface.repeat is None else {"repeats": summarise_repeats(surface)}),
        "meta": dict(surface.meta),
    }


def _axis(values: Array) -> dict[str, Any]:
    steps = np.diff(values)
    even = bool(np.ptp(steps) <= _EVEN * np.ptp(values)) if len(steps) else True
    return {"points": len(values), "low": float(values[0]), "high": float(values[-1]), "even": even}


def summarise(values: Array, done: NDArray[np.bool_]) -> dict[str, float | int | None]:
    """Smallest and largest finite value, and how many computed points are NaN or infinite."""
    finite = values[np.isfinite(values)]
    return {
        "min": float(finite.min()) if finite.size else None,
        "max": float(finite.max()) if finite.size else None,
        "nan": int((np.isnan(values) & done).sum()),
        "inf": int(np.isinf(values).sum()),
    }

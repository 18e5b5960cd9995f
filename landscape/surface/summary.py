"""What a surface file holds, in plain values."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.surface.store import FORMAT, SCHEMA, read_surface
from landscape.surface.values import Array


def describe_surface(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a surface file holds, as plain values for `landscape inspect`.

    Args:
        path: The file.

    Returns:
        format, schema, kind, problem, step, shape, points, done, complete, fields (min, max, NaN, inf), meta.
    """
    surface = read_surface(path)
    done = np.ones(surface.values.shape, bool) if surface.done is None else surface.done
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "kind": surface.meta.get("kind", ""),
        "problem": surface.meta.get("problem", ""),
        "step": surface.meta.get("step"),
        "shape": list(surface.values.shape),
        "points": int(done.size),
        "done": int(done.sum()),
        "complete": surface.complete,
        "fields": {name: summarise(values, done) for name, values in surface.fields.items()},
        "meta": dict(surface.meta),
    }


def summarise(values: Array, done: NDArray[np.bool_]) -> dict[str, float | int | None]:
    """Smallest and largest finite value, and how many computed points are NaN or infinite."""
    finite = values[np.isfinite(values)]
    return {
        "min": float(finite.min()) if finite.size else None,
        "max": float(finite.max()) if finite.size else None,
        "nan": int((np.isnan(values) & done).sum()),
        "inf": int(np.isinf(values).sum()),
    }

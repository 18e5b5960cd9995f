"""Summary of a file of measures, in plain values."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from landscape.files.result import load
from landscape.measures.table_store import MEASURES
from landscape.values.measure_table import Column, Table


def describe_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a file of measures, as plain values for `landscape inspect`.

    Args:
        path: The file.

    Returns:
        format, schema, problem, steps (count, first, last), taken, size, complete, measures (by name: min, max,
        last, done, not_converged, unit, title), meta.
    """
    held = load(MEASURES, path)
    return {"format": MEASURES.format, "schema": held.schema, **describe(held.value)}


def describe(table: Table) -> dict[str, Any]:
    """The same of a table in memory, without format and schema."""
    steps = {"count": len(table), "first": int(table.steps[0]), "last": int(table.steps[-1])} if len(table) else {}
    return {
        "problem": table.meta.get("problem", ""),
        "steps": steps,
        "taken": table.taken,
        "size": table.size,
        "complete": table.complete,
        "measures": {name: _column(column) for name, column in table.columns.items()},
        "meta": dict(table.meta),
    }


def _column(column: Column) -> dict[str, Any]:
    finite = column.values[np.isfinite(column.values)]
    return {
        "min": float(finite.min()) if finite.size else None,
        "max": float(finite.max()) if finite.size else None,
        "last": float(column.values[-1]) if len(column.values) and np.isfinite(column.values[-1]) else None,
        "done": int(column.done.sum()),
        "not_converged": int((column.done & ~column.converged).sum()),
        "unit": column.about.get("unit", ""),
        "title": column.about.get("title", ""),
    }

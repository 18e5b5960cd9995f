"""Measures along training as curves: one panel for each, bands of one standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.composition import compose
from landscape.render.look import width_or
from landscape.render.panels import Panel
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet
from landscape.values.surface import Surface

if TYPE_CHECKING:
    from landscape.values.measure_table import Table

# From so many panels on a figure takes the width of a page.
_WIDE = 2


RECORDED = {
    "gamma": "coupling γ",
    "replica_distance": "distance of the replicas from their centre",
    "gradient_evaluations": "gradient evaluations",
}
"""Records of optimizers that are of no split: name -> what it is called in a picture."""


def curve_of(table: Table, name: str) -> Surface:
    """A measure along training as a line slice over the steps, which all pictures of lines can draw.

    Args:
        table: Measures along training.
        name: A measure of the table, or a metric that the run recorded: ``"loss"`` or ``"error"`` of the table's
            split, or one of `RECORDED`.

    Returns:
        Its field is ``"<split>_<name>"``; `meta` says where gradient descent becomes unstable, if the run tells.

    Raises:
        LandscapeError: If the table has neither, or has one step only.
    """
    split = str(table.meta.get("split", "train"))
    field = f"{split}_{name}"
    if len(table) < 2:
        raise LandscapeError("a curve along training needs several steps", got=len(table))
    meta = _meta_of(table, name, split)
    steps = table.steps.astype(float)
    if name in table.columns:
        column = table.columns[name]
        return Surface(
            steps, None, {field: column.values}, {field: column.standard_errors}, done=column.done, meta=meta
        )
    if field in table.metrics:
        return Surface(steps, None, {field: np.asarray(table.metrics[field])}, meta=meta)
    if name in RECORDED and name in table.metrics:
        own = meta | {"splits": [], "titles": {name: RECORDED[name]}, "units": {}}
        return Surface(steps, None, {field: np.asarray(table.metrics[name])}, meta=own)
    known = [*table.columns, *(metric.removeprefix(f"{split}_") for metric in table.metrics)]
    raise LandscapeError(f"the table has no measure '{name}'", mend=did_you_mean(name, known))


def _meta_of(table: Table, name: str, split: str) -> dict[str, Any]:
    about = table.columns[name].about if name in table.columns else {}
    meta: dict[str, Any] = {
        "kind": "curve",
        "along": "training",
        "problem": table.meta.get("problem"),
        "seed": table.meta.get("run_seed"),
        "splits": [split],
        "dtype": table.meta.get("dtype"),
        "axes": [{"label": "step"}],
        "units": {name: about.get("unit", table.meta.get("unit") if name == "loss" else "")},
        "titles": {name: about["title"]} if "title" in about else {},
    }
    threshold = table.meta.get("threshold") or {}
    if threshold.get("measure") == name:
        meta["threshold"] = {"value": threshold["value"], "words": threshold["words"]}
    return meta


def measures(
    tables: Mapping[str, Table], names: Sequence[str] | None = None, *, style: str | None = None
) -> Sheet:
    """Draw measures along training: one panel for each measure, one colour for each run.

    Args:
        tables: Name of a run -> its table.
        names: Which measures; by default all of the first table.
        style: ``"paper"``, ``"talk"`` or ``"dark"``; by default that of the look in use.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw, or a table lacks a measure.

    Example:
        >>> measures({"sgd": table}).savefig("measures.pdf")  # doctest: +SKIP
    """
    chosen = list(next(iter(tables.values())).columns) if names is None else list(names)
    if not chosen:
        raise LandscapeError("there is nothing to draw", got="no measures")
    panels = [Panel({run: curve_of(table, name) for run, table in tables.items()}, title="") for name in chosen]
    width = width_or(TWO_COLUMNS if len(chosen) >= _WIDE else ONE_COLUMN)
    return compose(panels, width=width, style=style, caption=None)

"""Loss, sharpness and threshold as an optimizer sees them, over the steps of a run: a row for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.render.labels import put_foot
from landscape.render.legend import legend_above
from landscape.render.log_axes import make_logarithmic
from landscape.render.palette import marks_along, run_colours
from landscape.render.style import TWO_COLUMNS, Sheet
from landscape.values.edge import SHARPNESSES, THRESHOLD, verdict_of

if TYPE_CHECKING:
    from landscape.values.measure_table import Table

# Inches: of a row; of what stands below all of them, and a line of words.
_ROW, _FOOT, _LINE = 1.75, 0.35, 0.14
# Ratios from which an axis is logarithmic.
_DECADE = 30.0
# A colour and marks each: what the optimizer sees, the top eigenvalue, gain and penalty.
_CURVES = ("own", "top", "gain", "penalty")
# Letters of a line of words under the figure.
_WIDE = 120
_LABELS = {
    "hessian_top": "top eigenvalue of H",
    "preconditioned_sharpness": "of P⁻¹(H + W)",
    "norm_sharpness": "in its norm (bound)",
    "step_gain": "gain −g·D",
    "step_penalty": "penalty DᵀHD / 2",
}


def optimizer(tables: Mapping[str, Table], *, rc: Mapping[str, Any] | None = None) -> Figure:
    """Draw what optimizers see: the loss, sharpness with its threshold, and gain and penalty of the steps.

    Args:
        tables: Name of a run -> measures along it: ``sharpness_threshold``, a sharpness of the optimizer, others.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure; verdicts stand below.

    Raises:
        LandscapeError: If there is nothing to draw.

    Example:
        >>> optimizer({"adam": table}).savefig("adam.pdf")  # doctest: +SKIP
    """
    if not tables:
        raise LandscapeError("there is nothing to draw", got="no runs")
    words = _foot(tables)
    lines = sum(1 + len(part) // _WIDE for part in words)
    sheet = Sheet.grown(TWO_COLUMNS, _ROW * len(tables) + _FOOT + _LINE * lines, rc)
    with sheet.styled():
        grid = sheet.subplots(len(tables), 3, squeeze=False, sharex="row")
        for row, (name, table) in enumerate(tables.items()):
            colours, marks = run_colours(_CURVES), marks_along(_CURVES)
            looks = [{"color": colours[own], **marks[own]} for own in _CURVES]
            _losses(grid[row, 0], table, colours["own"], name if len(tables) > 1 else "")
            _sharpness(grid[row, 1], table, looks)
            _terms(grid[row, 2], table, looks)
        for ax in grid[-1]:
            ax.set_xlabel("step")
        sheet.align_ylabels()
        put_foot(sheet, " ".join(words))
    return sheet


def _foot(tables: Mapping[str, Table]) -> list[str]:
    """Verdicts, a sentence or two for each run."""
    words = []
    for name, table in tables.items():
        verdict = verdict_of(table)
        said = str((table.meta.get("optimizer") or {}).get("words", "")) if verdict is None else verdict.words
        if verdict is not None and not verdict.values:
            said = str(table.meta["optimizer"].get("words", said))
        words.append(f"{name}: {said}." if len(tables) > 1 else f"{said[:1].upper()}{said[1:]}.")
    return words


def _losses(ax: Axes, table: Table, colour: Any, name: str) -> None:
    split = table.meta.get("split", "train")
    values = table.metrics.get(f"{split}_loss")
    if values is not None and np.isfinite(values).any():
        ax.plot(table.steps, values, color=colour)
        _log_if_wide(ax, [np.asarray(values)])
    unit = table.meta.get("unit") or ""
    ax.set_ylabel(f"{'training' if split == 'train' else split} loss" + (f" ({unit})" if unit else ""))
    if name:
        ax.set_title(name, loc="left")
    ax.spines[["top", "right"]].set_visible(False)


def _sharpness(ax: Axes, table: Table, looks: Sequence[Mapping[str, Any]]) -> None:
    """Sharpness of the optimizer and its threshold; the top eigenvalue beside it where that is another."""
    drawn, handles = [], []
    seen = [name for name in (*SHARPNESSES, "hessian_top") if name in table.columns]
    own = next((name for name in seen if name in SHARPNESSES), None)
    for name in seen:
        values = table[name].values
        same = own is not None and name != own and _same(values, table[own].values)
        if not same:
            label = _LABELS[name]
            if name == "preconditioned_sharpness" and _is_hessian(table):
                label = _LABELS["hessian_top"]
            look = looks[0] if name == own or own is None else looks[1]
            handles += ax.plot(table.steps, values, label=label, **look)
            drawn.append(values)
    if THRESHOLD in table.columns and np.isfinite(table[THRESHOLD].values).any():
        name = (table.meta.get("optimizer") or {}).get("threshold") or "threshold"
        values = table[THRESHOLD].values
        handles += ax.plot(table.steps, values, color="0.4", linestyle="--", label=name)
        drawn.append(values)
    _log_if_wide(ax, drawn)
    ax.set_ylabel("sharpness")
    ax.spines[["top", "right"]].set_visible(False)
    legend_above(ax, handles)


def _is_hessian(table: Table) -> bool:
    return "hessian_top" in table.columns and _same(
        table["hessian_top"].values, table["preconditioned_sharpness"].values
    )


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    both = np.isfinite(one) & np.isfinite(other)
    return bool(both.any()) and bool(np.allclose(one[both], other[both], rtol=1e-2))


def _terms(ax: Axes, table: Table, looks: Sequence[Mapping[str, Any]]) -> None:
    handles, drawn = [], []
    for place, name in enumerate(("step_gain", "step_penalty")):
        if name in table.columns:
            values = table[name].values
            handles += ax.plot(table.steps, values, label=_LABELS[name], **looks[2 + place])
            drawn.append(values)
    _log_if_wide(ax, drawn)
    unit = table.meta.get("unit") or ""
    ax.set_ylabel("of a step" + (f" ({unit})" if unit else ""))
    ax.spines[["top", "right"]].set_visible(False)
    legend_above(ax, handles)


def _log_if_wide(ax: Axes, drawn: list[NDArray[Any]]) -> None:
    """A logarithmic axis for positive values that span much."""
    values = np.concatenate([np.empty(0), *drawn])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > _DECADE * values.min():
        make_logarithmic(ax.yaxis)

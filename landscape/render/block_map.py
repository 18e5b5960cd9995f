"""Curvature by block as a map of Frobenius norms, with shares of the trace beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from landscape.render.labels import put_foot
from landscape.render.style import TWO_COLUMNS, Sheet

if TYPE_CHECKING:
    from landscape.values.blocks import Blocks

# Up to so many blocks a cell holds its number.
_NUMBERED = 9
# Inches of a row, of what stands around the map, at least.
_ROW, _AROUND, _LEAST = 0.32, 1.1, 2.4
# Decades below the largest at which colours end.
_DECADES = 4
# Or this factor below the smallest, so that it is told from nothing.
_BELOW = 1.5
# Luminance of the map under which letters are white.
_DARK = 0.5
# Letters of a name.
_NAME = 22


def blocks(found: Blocks, *, rc: Mapping[str, Any] | None = None) -> Figure:
    """Draw curvature by block: |H_ij|_F as a map, and of each block its share of the trace and largest eigenvalue.

    Args:
        found: The blocks.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure.

    Example:
        >>> blocks(found).savefig("blocks.pdf")  # doctest: +SKIP
    """
    count = len(found.names)
    sheet = Sheet.grown(TWO_COLUMNS, max(_LEAST, _ROW * count + _AROUND), rc)
    with sheet.styled():
        ends = bool(np.isfinite(found.tops).any())
        left, *others = sheet.subplots(1, 2 + ends, width_ratios=[2.4, *[1] * (1 + ends)])
        _map(found, left, sheet)
        errors = 100 * found.trace_errors / found.traces.sum()
        _bars(others[0], found, 100 * found.shares, errors, "share of\ntrace (%)")
        if ends:
            unit = f" ({found.meta['unit']})" if found.meta.get("unit") else ""
            _bars(others[1], found, found.tops, None, f"largest\neigenvalue{unit}")
        put_foot(sheet, _words(found))
    return sheet


def _words(found: Blocks) -> str:
    meta = found.meta
    told = [str(meta[key]) for key in ("problem",) if meta.get(key)]
    told += [f"step {meta['step']}", f"{meta['splits'][0]} data"]
    matrix = str(meta["matrix"]).capitalize()
    words = f"{matrix} by {meta['by']}: {', '.join(told)}. Colours: |H_ij|_F, {meta['probes']} probes a block; "
    return words + f"{100 * found.within:.3g} % of its square is within blocks. Bars are one standard error."


def _map(found: Blocks, ax: Axes, sheet: Sheet) -> None:
    top = float(found.norms.max())
    colours = mpl.colormaps["viridis"]
    least = float(found.norms[found.norms > 0].min(initial=top)) / _BELOW
    low = max(top * 10.0**-_DECADES, least)
    norm = LogNorm(low, top)
    image = ax.imshow(np.maximum(found.norms, low), cmap=colours, norm=norm, aspect="auto")
    names = [name if len(name) <= _NAME else f"…{name[1 - _NAME :]}" for name in found.names]
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    sheet.colorbar(image, ax=ax, fraction=0.05).ax.set_title("norm", fontsize="medium")
    if len(names) > _NUMBERED:
        return
    for (row, column), value in np.ndenumerate(found.norms):
        red, green, blue, _ = colours(float(norm(max(float(value), low))))
        shade = 0.299 * red + 0.587 * green + 0.114 * blue
        ink = "white" if shade < _DARK else "black"
        ax.text(column, row, f"{value:.2g}", ha="center", va="center", color=ink, fontsize="x-small")


def _bars(ax: Axes, found: Blocks, values: Any, errors: Any, label: str) -> None:
    places = np.arange(len(found.names))
    ax.barh(places, values, xerr=errors, height=0.65, error_kw={"elinewidth": 0.8})
    ax.set_ylim(len(places) - 0.5, -0.5)
    ax.set_yticks([])
    ax.set_xlabel(label)
    ax.locator_params(axis="x", nbins=4)
    ax.spines[["top", "right"]].set_visible(False)

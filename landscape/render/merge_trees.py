"""The basins of a map and its merge tree, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from landscape.render.contours import colour_scale, draw_plane, map_height, plane_axes
from landscape.render.labels import drawn, field_label, is_share, put_caption
from landscape.render.legend import legend_above
from landscape.render.log_axes import make_logarithmic
from landscape.render.marks import dot
from landscape.render.panel_titles import put_head
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet, has_room

if TYPE_CHECKING:
    from landscape.values.merge_tree import MergeTree
    from landscape.values.surface import Surface

# Inches at 8-point type that the map and the tree need beside each other.
_WIDE = 4.8
# More bars are too narrow to be told apart.
_BARS = 24
_GREY = "#8C8C8C"


def merge_tree(
    surface: Surface, tree: MergeTree, *, words: str = "", rc: Mapping[str, Any] | None = None
) -> Figure:
    """Draw the basins of a map on its contours, and the merge tree beside them.

    A bar of the tree begins at a minimum and ends at the saddle where its basin joins a deeper one. Its pale part
    is the depth that errors explain: a basin whose bar does not rise above it is grey and has no number.

    Args:
        surface: A 2-D slice.
        tree: Its merge tree.
        words: Above the figure.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure.
    """
    beside = has_room(_WIDE)
    if beside:
        sheet = Sheet.grown(TWO_COLUMNS, max(3.2, 0.5 + map_height(surface, 0.56 * TWO_COLUMNS)), rc)
    else:
        sheet = Sheet.grown(ONE_COLUMN, 2.6 + map_height(surface, ONE_COLUMN), rc)
    with sheet.styled():
        ratios: dict[str, Any] = {"width_ratios" if beside else "height_ratios": [1.5, 1.0]}
        axes = sheet.subplot_mosaic([["map", "tree"]] if beside else [["map"], ["tree"]], **ratios)
        scale = colour_scale(surface, tree.field)
        handles = draw_plane(surface, tree.field, axes["map"], scale=scale, centre=False)
        legend_above(axes["map"], [*_mark(axes["map"], surface, tree), *handles])
        _draw_tree(axes["tree"], surface, tree, scale.log)
        if words:
            put_head(sheet, words)
        put_caption(sheet, drawn(surface.meta, tree.field))
    return sheet


def _mark(ax: Axes, surface: Surface, tree: MergeTree) -> list[Artist]:
    """Numbered minima, outlines and saddles of the basins that count, and dots for the others."""
    x, y = plane_axes(surface)
    handles: list[Artist] = []
    others = np.flatnonzero(~tree.certain)
    if len(others):
        row, column = tree.minima[others].T
        look: dict[str, Any] = {"marker": ".", "ms": 3.0, "mew": 0.0, "color": _GREY, "ls": "none"}
        ax.plot(x[column], y[row], zorder=5, **look)
        handles.append(Line2D([], [], **look, label=f"minima within their error: {len(others)}"))
    for number, basin in enumerate(np.flatnonzero(tree.certain).tolist(), 1):
        row, column = tree.minima[basin]
        mark = dot(ax, x[column], y[row], "o", "minimum of a basin")
        mark.set_markersize(10.0)
        # Within the mark, where it meets no name of a snapshot.
        style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 6.5, "color": "black"}
        ax.annotate(str(number), (x[column], y[row]), zorder=7, **style)
        handles += [mark] * (number == 1)
        if basin:
            row, column = tree.saddles[basin]
            saddle = dot(ax, x[column], y[row], "X", "saddle")
            inside = (tree.basins == basin).astype(float)
            ax.contour(x, y, inside, [0.5], colors="white", linewidths=1.0, linestyles="dashed", zorder=4)
            handles += [saddle] * (number == 2)
    return handles


def _draw_tree(ax: Axes, surface: Surface, tree: MergeTree, log: bool) -> None:
    factor = 100.0 if is_share(tree.field) else 1.0
    order = [*_ordered(tree)]
    place = {basin: at for at, basin in enumerate(order)}
    numbers = {basin: n for n, basin in enumerate(np.flatnonzero(tree.certain).tolist(), 1)}
    ink = mpl.rcParams["axes.labelcolor"]
    finite = tree.rims[np.isfinite(tree.rims)]
    top = float(finite.max()) if len(finite) else float(tree.bottoms.max())
    for basin, at in place.items():
        colour = ink if basin in numbers else _GREY
        low, high = factor * tree.bottoms[basin], factor * min(float(tree.rims[basin]), top)
        explained = min(high, low + factor * float(tree.errors[basin]))
        ax.plot([at, at], [low, explained], color=_GREY, alpha=0.35, lw=5.0, solid_capstyle="butt")
        ax.plot([at, at], [low, high], color=colour, lw=1.4 if basin in numbers else 0.8)
        if tree.parents[basin] >= 0:
            ax.plot([place[int(tree.parents[basin])], at], [high, high], color=colour, lw=0.8)
        if basin in numbers:
            style: dict[str, Any] = {"ha": "center", "va": "top", "textcoords": "offset points"}
            ax.annotate(str(numbers[basin]), (at, low), xytext=(0, -3), **style)
    if log:
        make_logarithmic(ax.yaxis)
    ax.margins(x=0.08, y=0.1)
    ax.set_xticks([])
    left = len(tree.parents) - len(order)
    ax.set_xlabel("basins" + (f" ({left} more are within their error)" if left else ""))
    ax.set_ylabel(field_label(tree.field, surface.meta, log=log))
    pale = Line2D([], [], color=_GREY, alpha=0.35, lw=5.0, label="depth that errors explain")
    legend_above(ax, [pale])


def _ordered(tree: MergeTree) -> list[int]:
    """The basins that are drawn, each beyond those of lower saddles, so that no line of the tree crosses a bar."""
    wanted = set(np.flatnonzero(tree.certain).tolist()) | {0}
    for basin in range(len(tree.parents)):
        ancestors = {basin}
        while (basin := int(tree.parents[basin])) >= 0:
            ancestors.add(basin)
        if len(wanted | ancestors) <= _BARS:
            wanted |= ancestors
    for basin in [*wanted]:
        while basin >= 0:
            wanted.add(basin)
            basin = int(tree.parents[basin])
    children: dict[int, list[int]] = {}
    for basin in sorted(wanted - {0}, key=lambda one: tree.rims[one]):
        children.setdefault(int(tree.parents[basin]), []).append(basin)
    found, waiting = [], [0]
    while waiting:
        found.append(waiting.pop())
        waiting += reversed(children.get(found[-1], []))
    return found

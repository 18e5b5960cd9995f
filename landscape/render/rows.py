"""Figures whose panels are rows of axes, each row about one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.render.figure_widths import inches_of
from landscape.render.labels import fit, fit_label, inches, points, put_foot
from landscape.render.legend import legend_of_sheet
from landscape.render.look import width_or
from landscape.render.panels import letter
from landscape.render.style import Sheet, type_scale

Array = NDArray[np.float64]
Panel = TypeVar("Panel")

# Inches at 8-point type of a figure's legend and foot.
_WORDS = 0.45
# Inches at 8-point type of what stands at the left of axes.
_SIDE = 0.55
# Inches at 8-point type that axes with their words need.
_NARROWEST = 1.75


def draw_rows(
    panels: Sequence[Panel],
    draw: Callable[[Sequence[Axes], Panel], str | None],
    handles: Callable[[], Sequence[Artist]],
    foot: Callable[[Sequence[Panel]], str],
    *,
    row_height: float,
    ratios: Sequence[float],
    share: bool = False,
) -> Sheet:
    """Draw panels, a row each, under one legend.

    Args:
        panels: From the top.
        draw: Draws a panel in its row of axes, and says what stands above it.
        handles: What stands in the legend; called in the style of the figure.
        foot: What the panels say of themselves.
        row_height: Inches of a row at 8-point type.
        ratios: Widths of the axes of a row.
        share: Whether the axes of a row have the same limits.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw.
    """
    if not panels:
        raise LandscapeError("there is nothing to draw", where="panels", got="none", expected="at least one")
    sheet, grid = _grid(len(panels), row_height, ratios, "row" if share else False)
    with sheet.styled():
        for place, (row, panel) in enumerate(zip(grid, panels, strict=True)):
            title = draw(row, panel)
            words = " ".join(filter(None, [f"({letter(place)})" if len(panels) > 1 else "", title]))
            head = row[0].set_title(words, loc="left", fontweight="bold")
            head.set_text(fit(words, inches(sheet)[0] - _SIDE * type_scale(), points(head)))
        legend_of_sheet(sheet, handles())
        put_foot(sheet, foot(panels))
    return sheet


def _grid(count: int, row_height: float, ratios: Sequence[float], shared: Any) -> tuple[Sheet, list[list[Axes]]]:
    """A sheet with the axes of so many rows; on a narrow page those of a row stand below each other."""
    k, across = type_scale(), len(ratios)
    wide = inches_of(width_or("two-columns"))
    narrow = wide < k * _NARROWEST * across
    sheet = Sheet(wide, k * (_WORDS + count * row_height * (across if narrow else 1)))
    with sheet.styled():
        if narrow:
            axes = sheet.subplots(count * across, 1, squeeze=False).reshape(count, across)
            for first, *others in axes if shared else ():
                for ax in others:
                    ax.sharex(first)
                    ax.sharey(first)
        else:
            axes = sheet.subplots(count, across, squeeze=False, width_ratios=ratios, sharex=shared, sharey=shared)
    return sheet, axes.tolist()


def name(ax: Axes, x: str, y: str) -> None:
    """Write what the axes are, broken into lines where it is long, and take off the frame's upper right."""
    ax.set_xlabel(fit_label(x, inches(ax)[0], points(ax.xaxis.label)))
    ax.set_ylabel(fit_label(y, inches(ax)[1], points(ax.yaxis.label)))
    ax.spines[["top", "right"]].set_visible(False)

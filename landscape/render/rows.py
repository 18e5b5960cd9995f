"""Figures whose panels are rows of axes, each row about one thing."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties

from landscape.errors import LandscapeError
from landscape.render import style as looks
from landscape.render.labels import fit_label, inches, points
from landscape.render.panels import letter
from landscape.render.style import Sheet
from landscape.render.widths import inches_of, length

# Inches at 8-point type of a figure's legend and foot.
_WORDS = 0.45


def sheet_of(rows: int, width: str | float, height: float | None, style: str, row_height: float) -> Sheet:
    """An empty sheet for so many rows.

    Args:
        rows: How many, at least 1.
        width: Inches, or a name; see `widths.WIDTHS`.
        height: Inches; by default what the rows need.
        style: ``"paper"``, ``"talk"`` or ``"dark"``.
        row_height: Inches of a row at 8-point type.

    Raises:
        LandscapeError: If there is no row, or an option is not known.
    """
    if not rows:
        raise LandscapeError("there is nothing to draw", where="panels", got="none", expected="at least one")
    rc = looks.get(style)
    k = float(FontProperties(size=rc["font.size"]).get_size_in_points()) / 8.0
    own = k * (_WORDS + rows * row_height)
    return Sheet(inches_of(width), own if height is None else length(height, "height"), rc)


def head_row(axes: Sequence[Axes], title: str | None, place: int, rows: int) -> None:
    """Put a title above the first axes of a row, with a letter where there are several rows."""
    words = " ".join(part for part in (f"({letter(place)})" if rows > 1 else "", title or "") if part)
    axes[0].set_title(words, loc="left", fontweight="bold")


def name(ax: Axes, x: str, y: str) -> None:
    """Write what the axes are, broken into lines where it is long, and take off the frame's upper right."""
    ax.set_xlabel(fit_label(x, inches(ax)[0], points(ax.xaxis.label)))
    ax.set_ylabel(fit_label(y, inches(ax)[1], points(ax.yaxis.label)))
    ax.spines[["top", "right"]].set_visible(False)


def legend_of_sheet(sheet: Sheet, handles: Sequence[Artist], width: float) -> None:
    """One legend above all rows, in as many columns as fit.

    Args:
        sheet: The figure.
        handles: Artists with labels.
        width: Inches that the figure has.
    """
    size = FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()
    # A letter takes 0.55 of its height; a handle and the space between columns as much as eight letters.
    longest = max(len(str(handle.get_label())) for handle in handles) + 8
    columns = max(1, min(len(handles), int(width / (longest * 0.55 * size / 72))))
    sheet.legend(
        handles=list(handles),
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        handlelength=1.6,
        columnspacing=1.2,
        borderpad=0.0,
    )

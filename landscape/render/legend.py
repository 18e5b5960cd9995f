"""A legend above the axes or the whole figure, where it hides no data, in rows that read from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.transforms import Bbox

from landscape.render.labels import advance, fit_label, page

One = TypeVar("One")

# In units of the type size: a handle with the space after it, and the space between columns.
_HANDLE, _BETWEEN = 2.4, 1.2
# Inches that are kept free at the right of a legend.
_MARGIN = 0.05
# How often a legend that is too wide after all is placed again.
_TRIES = 3
# What matplotlib calls the axes of a colour bar, over which a legend may extend.
_BAR = "<colorbar>"


class _Roof(Legend):
    """A legend for which the layout keeps height but no width.

    A legend wider than its axes would make the layout narrow them, which makes the legend wider still in
    their measure, until nothing is left of the axes.

    Attributes:
        entries: Its handles in the order in which they are read.
        free: Whether its width was left to the page, and not given.
        room: Inches that it was fitted to.
        columns: How many it has.
    """

    entries: Sequence[Artist]
    free: bool
    room: float
    columns: int

    def said(self) -> tuple[list[str], int]:
        """Its words as they are broken, and in how many columns they stand."""
        return [text.get_text() for text in self.texts], self.columns

    def get_tightbbox(self, renderer: Any = None) -> Bbox:
        box = Bbox.null() if (own := super().get_tightbbox(renderer)) is None else own
        under = self.axes.bbox
        return Bbox([[under.x0, box.y0], [under.x1, box.y1]])


def legend_above(ax: Axes, handles: Sequence[Artist], width: float | None = None) -> float:
    """Put a legend above the axes, in as many columns as fit.

    Args:
        ax: The axes.
        handles: Artists with labels; none, no legend.
        width: Inches for the legend, in which longer labels are broken; by default as wide as the axes, or what
            the page leaves it once it is laid out, see `fit_legends`.

    Returns:
        About how high the legend is, in points; 0 without one.
    """
    if not handles:
        return 0.0
    return _put(ax, handles, float(ax.bbox.width) / page(ax).dpi if width is None else width, free=width is None)


def _put(ax: Axes, handles: Sequence[Artist], width: float, *, free: bool) -> float:
    size = _type_size()
    labels = [fit_label(str(handle.get_label()), width - _HANDLE * size / 72, size) for handle in handles]
    columns = _columns(labels, width)
    roof = ax.legend_ = _Roof(
        ax,
        _by_column(handles, columns),
        _by_column(labels, columns),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2,
        borderpad=0.0,
        frameon=False,
        ncols=columns,
        handlelength=1.6,
        handletextpad=_HANDLE - 1.6,
        columnspacing=_BETWEEN,
        labelspacing=0.3,
    )
    roof.entries, roof.free, roof.room, roof.columns = handles, free, width, columns
    roof.texts = _by_row(roof.texts, columns)
    roof.legend_handles = _by_row(roof.legend_handles, columns)
    lines = sum(max(label.count("\n") for label in row) + 1 for row in _rows(labels, columns))
    # A line of text and the space below it; the pad under the legend and as much above.
    return size * (1.3 * lines + 0.4)


def fit_legends(sheet: Figure) -> bool:
    """Give legends above axes the room that a figure has for them where it is laid out.

    Args:
        sheet: The figure.

    Returns:
        Whether any was placed again: then the figure is to be laid out again.
    """
    anew = False
    for ax in sheet.axes:
        # The layout leaves axes of equal units as wide as their place, which they do not fill.
        ax.apply_aspect()
    for ax in sheet.axes:
        roof = ax.legend_
        if isinstance(roof, _Roof) and roof.free and (room := _room(ax, roof, sheet)) != roof.room:
            before = roof.said()
            _put_within(ax, roof.entries, room)
            anew = anew or not (isinstance(ax.legend_, _Roof) and before == ax.legend_.said())
    return anew


def _put_within(ax: Axes, entries: Sequence[Artist], room: float) -> None:
    """Put a legend into room that it really keeps: how wide words are is reckoned, and then seen."""
    dpi, width = page(ax).dpi, room
    for _ in range(_TRIES):
        _put(ax, entries, width, free=True)
        roof = ax.legend_
        if not isinstance(roof, _Roof):
            return
        over = (roof.get_tightbbox().x1 - ax.bbox.x0) / dpi - room - _MARGIN
        roof.room = room
        if over <= 0:
            return
        width -= over + _MARGIN


def _room(ax: Axes, roof: _Roof, sheet: Figure) -> float:
    """Inches from the left of axes to what stands at their right, or to the edge of the page."""
    low = ax.bbox.y1
    high = low + roof.get_tightbbox().height
    beside = [one.get_tightbbox() for one in sheet.axes if one.bbox.x0 > ax.bbox.x0 and one.get_label() != _BAR]
    ends = [box.x0 for box in beside if box is not None and box.y1 >= low - 1 and box.y0 < high]
    return float(min([sheet.bbox.x1, *ends]) - ax.bbox.x0) / page(ax).dpi - _MARGIN


def legend_of_sheet(sheet: Figure, handles: Sequence[Artist]) -> None:
    """Put one legend above all axes of a figure, in as many columns as fit.

    Args:
        sheet: The figure.
        handles: Artists with labels, at least one.
    """
    width, size = float(sheet.get_size_inches()[0]) - _MARGIN, _type_size()
    labels = [fit_label(str(handle.get_label()), width - _HANDLE * size / 72, size) for handle in handles]
    columns = _columns(labels, width)
    # The layout would put the title of the figure into the same room: it becomes that of the legend.
    title = sheet.get_suptitle()
    if title:
        sheet.suptitle("")
    bold = FontProperties(size=mpl.rcParams["figure.titlesize"], weight="bold")
    legend = sheet.legend(
        handles=_by_column(handles, columns),
        labels=_by_column(labels, columns),
        title=title or None,
        title_fontproperties=bold,
        alignment="left",
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        handlelength=1.6,
        handletextpad=_HANDLE - 1.6,
        columnspacing=_BETWEEN,
        borderpad=0.0,
    )
    legend.texts = _by_row(legend.texts, columns)
    legend.legend_handles = _by_row(legend.legend_handles, columns)


def _type_size() -> float:
    return float(FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points())


def _columns(labels: Sequence[str], width: float) -> int:
    """The most columns that fit into so many inches, filled one row after the other."""
    size = _type_size()
    wide = [max(advance(line, size) for line in label.split("\n")) for label in labels]
    for columns in range(len(labels), 1, -1):
        widths = [max(wide[column::columns]) for column in range(columns)]
        if sum(widths) + (_HANDLE * columns + _BETWEEN * (columns - 1)) * size / 72 <= width:
            return columns
    return 1


def _by_column(things: Sequence[One], columns: int) -> list[One]:
    """Things that are read row by row, in the order in which matplotlib fills columns with them."""
    return [one for column in range(columns) for one in things[column::columns]]


def _by_row(things: Sequence[One], columns: int) -> list[One]:
    """The inverse of `_by_column`."""
    order = _by_column(range(len(things)), columns)
    return [things[order.index(place)] for place in range(len(things))]


def _rows(things: Sequence[One], columns: int) -> list[Sequence[One]]:
    return [things[start : start + columns] for start in range(0, len(things), columns)]

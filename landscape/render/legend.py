"""A legend above the axes or the whole figure, where it hides no data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.transforms import Bbox

from landscape.render.labels import fit_label, page


class _Roof(Legend):
    """A legend for which the layout keeps height but no width.

    A legend wider than its axes would make the layout narrow them, which makes the legend wider still in
    their measure, until nothing is left of the axes.
    """

    def get_tightbbox(self, renderer: Any = None) -> Bbox:
        box = Bbox.null() if (own := super().get_tightbbox(renderer)) is None else own
        under = self.axes.bbox
        return Bbox([[under.x0, box.y0], [under.x1, box.y1]])


def legend_above(ax: Axes, handles: Sequence[Artist], width: float | None = None) -> float:
    """Put a legend above the axes, in as many columns as fit.

    Args:
        ax: The axes.
        handles: Artists with labels; none, no legend.
        width: Inches for the legend, in which longer labels are broken; by default as wide as the axes.

    Returns:
        About how high the legend is, in points; 0 without one.
    """
    if not handles:
        return 0.0
    labels = [str(handle.get_label()) for handle in handles]
    size = FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()
    if width is not None:
        # A handle and the space after it take two and a half letters' height.
        labels = [fit_label(label, width - 2.5 * size / 72, size) for label in labels]
    columns = _columns(labels, float(ax.bbox.width) / page(ax).dpi if width is None else width)
    ax.legend_ = _Roof(
        ax,
        list(handles),
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2,
        borderpad=0.0,
        frameon=False,
        ncols=columns,
        handlelength=1.6,
        columnspacing=1.2,
        labelspacing=0.3,
    )
    rows = -(-len(labels) // columns)
    lines = rows + sum(label.count("\n") for label in labels)
    # A line of text and the space below it; the pad under the legend and as much above.
    return size * (1.3 * lines + 0.4)


def legend_of_sheet(sheet: Figure, handles: Sequence[Artist]) -> None:
    """Put one legend above all axes of a figure, in as many columns as fit.

    Args:
        sheet: The figure.
        handles: Artists with labels, at least one.
    """
    size = FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()
    # A letter takes 0.55 of its height; a handle and the space between columns as much as eight letters.
    longest = max(len(str(handle.get_label())) for handle in handles) + 8
    width = float(sheet.get_size_inches()[0])
    # The layout would put the title of the figure into the same room: it becomes that of the legend.
    title = sheet.get_suptitle()
    if title:
        sheet.suptitle("")
    bold = FontProperties(size=mpl.rcParams["figure.titlesize"], weight="bold")
    sheet.legend(
        handles=list(handles),
        title=title or None,
        title_fontproperties=bold,
        alignment="left",
        loc="outside upper left",
        ncols=max(1, min(len(handles), int(width / (longest * 0.55 * size / 72)))),
        frameon=False,
        handlelength=1.6,
        columnspacing=1.2,
        borderpad=0.0,
    )


def _columns(texts: list[str], width: float) -> int:
    """The most legend columns that fit into so many inches, filled one column after the other."""
    letter = 0.55 * FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points() / 72
    for columns in range(len(texts), 1, -1):
        # As matplotlib deals them out.
        widths = [max(map(len, column)) for column in np.array_split(texts, columns)]
        # Six letters' worth for the handle and the space between columns.
        if sum(wide + 6 for wide in widths) * letter <= width:
            return columns
    return 1

"""The words above the axes of a composed figure, in lines that run level across a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from landscape.render.labels import Page, fit, fit_lines, inches, points
from landscape.render.legend import legend_above
from landscape.render.look import current

# Height of a line of text, in units of its type size.
_LINE = 1.25


@dataclass(frozen=True)
class Head:
    """Heading, notes and legend above one axes, from the top.

    Attributes:
        heading: Of the panel, in bold; on its first axes only.
        reach: Inches that the heading may take.
        title: Which run, or what of it.
        notes: What there is to know about it, in small type.
        legend: Handles.
        width: Inches that all but the heading may take.
    """

    heading: str
    reach: float
    title: str
    notes: str
    legend: Sequence[Artist]
    width: float


class _Above(Annotation):
    """Words above axes for which the layout keeps height but no width: they may extend over a neighbour."""

    def get_tightbbox(self, renderer: Any = None) -> Bbox:
        box = super().get_tightbbox(renderer)
        if box is None or self.axes is None:
            return Bbox.null()
        under = self.axes.bbox
        return Bbox([[under.x0, box.y0], [under.x1, box.y1]])


def put_head(fig: Page, text: str = "") -> None:
    """Set the title that the look in use asks for and a text below it at the top, where the layout keeps room."""
    title = current().title if isinstance(fig, Figure) else None
    if title or text:
        head = fig.suptitle("", x=0.01, ha="left", linespacing=1.3, fontweight="normal" if text else "bold")
        lines = [fit_lines(words, inches(fig)[0], points(head)) for words in (title, text) if words]
        head.set_text("\n".join(lines))


def put_heads(row: Sequence[tuple[Axes, Head]]) -> float:
    """Write the heads of a row of axes, so that headings stand level, and titles too.

    Args:
        row: Axes with what stands above them.

    Returns:
        About how high the highest is, in points.
    """
    sizes = [mpl.rcParams[key] for key in ("legend.fontsize", "axes.titlesize", "figure.titlesize")]
    small, middle, large = (float(FontProperties(size=size).get_size_in_points()) for size in sizes)
    offsets = []
    for ax, head in row:
        height = legend_above(ax, head.legend, head.width)
        offsets.append(height + _write(ax, fit_lines(head.notes, head.width, small), small, height))
    titles = [fit(head.title, head.width, middle) for _, head in row]
    level = max(offsets)
    used = [_write(ax, title, middle, level) for (ax, _), title in zip(row, titles, strict=True)]
    level += max(used)
    used = [_write(ax, fit(head.heading, head.reach, large), large, level, weight="bold") for ax, head in row]
    return level + max(used)


def _write(ax: Axes, text: str, size: float, height: float, **look: Any) -> float:
    """Write a text so many points above the axes; returns the points that it takes."""
    if not text:
        return 0.0
    # Descenders and the space below them take half a line below the base line of the last line.
    place: dict[str, Any] = {
        "xytext": (0, height + 0.5 * size),
        "textcoords": "offset points",
        "va": "baseline",
        "ha": "left",
    }
    ax.add_artist(
        _Above(
            text,
            (0.0, 1.0),
            xycoords="axes fraction",
            annotation_clip=False,
            clip_on=False,
            fontsize=size,
            linespacing=_LINE,
            **place,
            **look,
        )
    )
    return size * (_LINE * (text.count("\n") + 1) + 0.3)

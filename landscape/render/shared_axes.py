"""Parts that panels of a composed figure share: scales, limits, colour bars and the names of axes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.transforms import Bbox

from landscape.render.contours import colour_bar
from landscape.render.curves import wants_log_axis
from landscape.render.labels import (
    axis_label,
    field_label,
    fit_label,
    inches,
    page,
    parts,
    points,
    unit,
    with_notes,
)
from landscape.render.look import of_metric
from landscape.render.panels import Cell
from landscape.render.scale import Scale, asked, scale_of

Place = tuple[int, int]
"""Row and column, from the top left."""

# Between a map and its bar, and the width of the bar, in inches at 8-point type. A bar beside several maps stands
# clear of the numbers at their lower right corners.
_BAR_GAP, _FAR_GAP, _BAR = 0.06, 0.14, 0.1


@dataclass(frozen=True)
class Group:
    """Cells that are read against each other.

    Attributes:
        cells: Their numbers.
        scale: Of maps and reliefs.
        pale: Whether colours are pale, since a path is drawn over some of them.
        log: Whether the y axes of curves are logarithmic.
        first: Whether they show the metric of the first of all cells.
        label: What the values are.
    """

    cells: list[int]
    scale: Scale
    pale: bool
    log: bool
    label: str
    first: bool


def groups_of(cells: Sequence[Cell], share: bool) -> list[Group]:
    """Put cells together that show the same metric in the same unit, curves apart from planes.

    Args:
        cells: All cells of a figure.
        share: False leaves each by itself.

    Returns:
        The groups; every cell is in one.
    """
    found: dict[Hashable, list[int]] = {}
    for i, cell in enumerate(cells):
        key = (cell.kind == "curves", *cell.measure) if share else i
        found.setdefault(key, []).append(i)
    return [_group(cells, members) for members in found.values()]


def _group(cells: Sequence[Cell], members: list[int]) -> Group:
    own = [cells[i] for i in members]
    field, values = own[0].field, np.concatenate([cell.values for cell in own])
    first = own[0].measure == cells[0].measure
    with of_metric(int(not first)):
        if own[0].kind == "curves":
            return Group(members, Scale(False, 0.0, 1.0), False, wants_log_axis(field, [values]), "", first)
        scale = asked(values, lambda seen, log: scale_of(field, seen, log))
    labels = {field_label(cell.field, cell.surface.meta, log=scale.log) for cell in own}
    pale = any(cell.kind == "path" for cell in own)
    label = labels.pop() if len(labels) == 1 else _metric_label(own[0], scale.log)
    return Group(members, scale, pale, scale.log, label, first)


def _metric_label(cell: Cell, log: bool) -> str:
    """The metric alone, where the maps of a group show several splits of it."""
    metric = parts(cell.field)[1]
    return with_notes(metric.replace("_", " "), unit(cell.surface.meta, metric), "log scale" if log else "")


def share_limits(axes: Sequence[Axes]) -> None:
    """Give axes the same y limits, wide enough for all."""
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def beside(places: Sequence[Place]) -> list[int]:
    """Which maps of a group its colour bar stands beside: the first unbroken run of rows of the last column.

    Args:
        places: Where the maps of the group are.

    Returns:
        Their numbers, from the top.
    """
    last = max(column for _, column in places)
    rows = sorted((row, i) for i, (row, column) in enumerate(places) if column == last)
    return [i for step, (row, i) in enumerate(rows) if row == rows[0][0] + step]


def put_bar(axes: Sequence[Axes], group: Group, k: float) -> Axes | None:
    """Draw one colour bar at the right of maps that stand above each other.

    Args:
        axes: The maps, from the top.
        group: What they share.
        k: Type size in units of 8 points.

    Returns:
        The axes of the bar; None where the map has no colours.
    """
    filled = next((found for ax in axes if (found := filled_of(ax)) is not None), None)
    if filled is None:
        return None
    place = _Beside(axes, k)
    axes[0].add_child_axes(place)
    height = sum(inches(ax)[1] for ax in axes)
    return colour_bar(axes[0], filled, group.scale, group.label, place, height)


def filled_of(ax: Axes) -> QuadContourSet | None:
    """The filled contours on some axes."""
    return next((c for c in ax.collections if isinstance(c, QuadContourSet) and c.filled), None)


class _Beside(Axes):
    """Axes at the right of others, as high as all of these together.

    The layout keeps width for them but no height: they extend over the room between rows.
    """

    def __init__(self, others: Sequence[Axes], k: float) -> None:
        super().__init__(others[0].figure, (0.0, 0.0, 0.1, 0.1), zorder=5, label="<colorbar>")
        self._others, self._k = list(others), k
        self.set_axes_locator(self._locate)

    def _locate(self, _: Any, renderer: Any) -> Bbox:
        for ax in self._others:
            ax.apply_aspect()
        boxes = [ax.get_position() for ax in self._others]
        width = float(page(self).get_size_inches()[0])
        gap = _BAR_GAP if len(boxes) == 1 else _FAR_GAP
        left = max(box.x1 for box in boxes) + self._k * gap / width
        low, high = min(box.y0 for box in boxes), max(box.y1 for box in boxes)
        return Bbox([[left, low], [left + self._k * _BAR / width, high]])

    def get_tightbbox(self, renderer: Any = None, **options: Any) -> Bbox | None:
        box, over = super().get_tightbbox(renderer, **options), self._others[0].bbox
        return None if box is None else Bbox([[box.x0, over.y0], [box.x1, over.y1]])


def name_once(axes: Mapping[Place, Axes], barred: Sequence[Axes]) -> None:
    """Leave out the name and numbers of an axis where the neighbour at the left or below has the same.

    Args:
        axes: Place -> axes.
        barred: Axes with a colour bar at their right, beyond which the eye does not look for numbers.
    """
    flat = {place: ax for place, ax in axes.items() if ax.name != "3d"}
    said = {place: _Said(ax) for place, ax in flat.items()}
    for (row, column), ax in flat.items():
        left, below, own = (row, column - 1), (row + 1, column), said[row, column]
        if left in flat and flat[left] not in barred and own.same_y(said[left]):
            ax.set_ylabel("")
            ax.tick_params(axis="y", which="both", labelleft=False)
        if below in flat and own.same_x(said[below]):
            ax.set_xlabel("")
            ax.tick_params(axis="x", which="both", labelbottom=False)


def name_map(ax: Axes, meta: Mapping[str, Any], width: float, height: float) -> None:
    """Fit the names of the axes of a map to its size: in two lines, without their notes where these take more.

    Args:
        ax: The map.
        meta: Of its slice.
        width: Inches.
        height: Inches.
    """
    for index, (axis, room) in enumerate(((ax.xaxis, width), (ax.yaxis, height))):
        room, size = max(room, 1.2), points(axis.label)
        whole = fit_label(axis_label(meta, index), room, size)
        short = fit_label(axis_label(meta, index, short=True), room, size)
        axis.set_label_text(short if whole.count("\n") > 1 else whole)


class _Said:
    """Labels and limits of the axes of one cell, before any of it is left out."""

    def __init__(self, ax: Axes) -> None:
        self.x = (ax.get_xlabel(), ax.get_xlim())
        self.y = (ax.get_ylabel(), ax.get_ylim(), ax.get_yscale())
        self.equal = ax.get_aspect() != "auto"

    def same_y(self, other: _Said) -> bool:
        # Axes of equal units stand level only if they are alike in both directions.
        return self.y == other.y and self.equal == other.equal and (not self.equal or self.x == other.x)

    def same_x(self, other: _Said) -> bool:
        return self.x == other.x and self.equal == other.equal and (not self.equal or self.y == other.y)

"""Several panels in one figure that can be read against each other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from mpl_toolkits.mplot3d import Axes3D

from landscape.errors import LandscapeError
from landscape.render import style as looks
from landscape.render.arrangement import LEFT, arrange, best_columns, inner_width, row_heights
from landscape.render.contours import draw_plane
from landscape.render.foot import Said, provenance
from landscape.render.heads import Head, put_heads
from landscape.render.labels import caption_parts, drawn, field_name, fit_lines, parts, put_foot
from landscape.render.overlay import name_curves, overlay, run_colours
from landscape.render.panels import Cell, Panel, cells_of, letter
from landscape.render.relief import draw_relief
from landscape.render.sharing import Group, Place, beside, groups_of, name_map, name_once, put_bar, share_limits
from landscape.render.style import Sheet, pale
from landscape.render.trajectories import draw_way, the_path
from landscape.render.truth import short_verdict, verdict
from landscape.render.widths import inches_of, length

# Kinds of cells whose values are read from a colour bar; reliefs have their heights.
_BARRED = ("map", "path")
# Fits of the height to the width after which the sizes of all pictures in the tests stand still.
_FITS = 2


def compose(
    panels: Sequence[Panel],
    *,
    columns: int | None = None,
    width: str | float = "two-columns",
    height: float | None = None,
    style: str = "paper",
    share: bool = True,
    caption: str | None = None,
) -> Sheet:
    """Draw several panels in one figure.

    Curves of several runs lie over each other, in a colour for each run that is the same in all panels, solid
    for training and dashed for test data. Maps of several runs stand beside each other under their names. Maps
    of the same metric have the same colours, levels and lines, and one colour bar; curves of the same metric
    the same y axis. A trajectory says above it what the plane holds of it.

    Args:
        panels: From the left, row by row; they get letters where there are several.
        columns: Axes in a row; by default as many as are legible, with the fewest rows and empty places.
        width: Inches, or a name such as ``"one-column"``, ``"neurips"``, ``"icml-column"``; see `widths.WIDTHS`.
        height: Inches; by default as high as the content.
        style: ``"paper"``, ``"talk"`` or ``"dark"``.
        share: Whether panels of the same metric share limits, scale and levels.
        caption: Words at the foot, before what the slices say of themselves; ``""`` leaves the foot empty.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw, a panel mixes kinds, a slice lacks the field, or an
            option is not known.

    Example:
        >>> fig = compose([Panel({"small batch": a, "large batch": b})], width="neurips")  # doctest: +SKIP
    """
    rc, inches = looks.get(style), inches_of(width)
    if height is not None:
        length(height, "height")
    if columns is not None and (not isinstance(columns, int) or columns < 1):
        raise LandscapeError("a figure needs a column", where="columns", got=columns, expected="1 or more")
    if not panels:
        raise LandscapeError("there is nothing to draw", where="panels", got="none", expected="at least one Panel")
    own = [cells_of(panel, i) for i, panel in enumerate(panels)]
    counts = [len(cells) for cells in own]
    # All measures of the layout are for the 8-point type of `paper`.
    k = rc["font.size"] / 8.0
    cells = [cell for panel in own for cell in panel]
    groups = groups_of(cells, share)
    bars = sum(any(cells[i].kind in _BARRED for i in group.cells) for group in groups)
    places = arrange(counts, best_columns(counts, inches, k, bars) if columns is None else columns)
    figure = _Figure(panels, cells, groups, places, inches, k)
    sheet = Sheet(inches, figure.height if height is None else height, rc)
    with sheet.styled():
        figure.draw(sheet)
        put_foot(sheet, figure.foot(caption))
        with _roomy(f"{inches:g} x {'any height' if height is None else f'{height:g}'} inches"):
            # How long words may be is known once the axes have their width.
            figure.fit(sheet, height is None)
            words = figure.write(sheet)
            if height is None:
                sheet.set_size_inches(inches, sheet.get_size_inches()[1] + words)
            figure.fit(sheet, height is None)
        sheet.set_layout_engine("none")
    return sheet


@contextmanager
def _roomy(size: str) -> Iterator[None]:
    """Turn the layout's warning that no room is left for the axes into an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout not applied")
        try:
            yield
        except UserWarning:
            raise LandscapeError(
                "the words leave no room for the panels", where="compose", got=size, mend="make the figure larger"
            ) from None


class _Figure:
    """The plan of a figure, and the steps in which it is drawn."""

    def __init__(
        self,
        panels: Sequence[Panel],
        cells: Sequence[Cell],
        groups: Sequence[Group],
        places: Sequence[Place],
        width: float,
        k: float,
    ) -> None:
        self.panels, self.cells, self.groups, self.places, self.k = panels, cells, groups, places, k
        self.bars = {id(group): stand for group in self.groups if (stand := self._stand(group))}
        self.columns = max(column for _, column in places) + 1
        barred = {places[stand[0]][1] for stand in self.bars.values()}
        self.inner = inner_width(self.columns, width, k, len(barred))
        self.rows = row_heights(self.cells, places, [self.inner] * len(self.cells), k)
        # Ample for the words: a page without room for them cannot be laid out, and the rest is cut off again.
        self.height = sum(self.rows) + (1.3 * len(self.rows) + 1.0) * k

    def _stand(self, group: Group) -> list[int]:
        """The maps of a group that its bar stands beside; reliefs have their heights to be read by."""
        maps = [i for i in group.cells if self.cells[i].kind in _BARRED]
        return [maps[i] for i in beside([self.places[i] for i in maps])] if maps else []

    def draw(self, sheet: Sheet) -> None:
        """Draw everything but what stands above the axes."""
        side, (width, height) = self.k * LEFT, sheet.get_size_inches()
        shares = {
            "left": side / width,
            "right": min(1.0, self.columns * (side + self.inner) / width),
            "bottom": max(0.0, 1 - sum(self.rows) / height),
            "top": 1.0,
        }
        gaps = {"wspace": side / self.inner, "hspace": 0.0}
        self.grid = sheet.add_gridspec(len(self.rows), self.columns, height_ratios=self.rows, **shares, **gaps)
        self.axes = [
            sheet.add_subplot(self.grid[row, column], projection="3d" if cell.kind == "relief" else None)
            for cell, (row, column) in zip(self.cells, self.places, strict=True)
        ]
        # Ticks and numbers on lines are fitted to these shares; the layout would add the gaps to its own.
        self.grid.update(wspace=None, hspace=None)
        self.legends = self._draw(self.axes)
        barred = [self.axes[i] for stand in self.bars.values() for i in stand]
        name_once(dict(zip(self.places, self.axes, strict=True)), barred)
        for group in self.groups:
            if stand := self.bars.get(id(group)):
                put_bar([self.axes[i] for i in stand], group, self.k)

    def write(self, sheet: Sheet) -> float:
        """Write what stands above the axes, and fit the names of axes to their room; returns the inches taken."""
        width, height = (float(length) for length in sheet.get_size_inches())
        boxes = [
            (box.x0 * width, box.x1 * width, box.height * height)
            for box in (ax.get_position() for ax in self.axes)
        ]
        logs = {i: group.log for group in self.groups for i in group.cells}
        for i, (left, right, high) in enumerate(boxes):
            ax, cell = self.axes[i], self.cells[i]
            left_out = [axis for axis in (ax.xaxis, ax.yaxis) if not axis.get_label_text()]
            if cell.kind == "curves":
                name_curves(ax, cell, logs[i], right - left, high)
            elif cell.kind != "relief":
                name_map(ax, cell.surface.meta, right - left, high)
            for axis in left_out:
                axis.set_label_text("")
        taken = 0.0
        for row in range(len(self.rows)):
            here = [i for i, place in enumerate(self.places) if place[0] == row]
            heads = [self._head(i, self._room(i, boxes, width), self._reach(i, boxes, width)) for i in here]
            taken += put_heads([(self.axes[i], head) for i, head in zip(here, heads, strict=True)]) / 72
        return taken

    def _room(self, i: int, boxes: Sequence[tuple[float, float, float]], width: float) -> float:
        """Inches from the left of a cell to where its neighbour's numbers begin, or to a bar of several rows."""
        row, column = self.places[i]
        if any(i in stand[1:] for stand in self.bars.values()):
            return boxes[i][1] - boxes[i][0]
        right = [j for j, place in enumerate(self.places) if place == (row, column + 1)]
        end = boxes[right[0]][0] - 0.7 * self.k * LEFT if right else width
        return max(end, boxes[i][1]) - boxes[i][0]

    def _reach(self, i: int, boxes: Sequence[tuple[float, float, float]], width: float) -> float:
        """Inches from the left of a cell to the right of the last one of its panel in the same row."""
        row = [
            j
            for j, cell in enumerate(self.cells)
            if cell.panel == self.cells[i].panel and self.places[j][0] == self.places[i][0]
        ]
        at_the_edge = self.places[row[-1]][1] == self.columns - 1
        return (width if at_the_edge else boxes[row[-1]][1]) - boxes[i][0]

    def fit(self, sheet: Sheet, free: bool) -> None:
        """Lay the figure out; where its height is free, as high as its axes want at the width that words leave."""
        equal = [ax for ax in self.axes if ax.name != "3d" and ax.get_aspect() != "auto"]
        # Words are measured on axes that fill their place; equal units would move them within it.
        for ax in equal:
            ax.set_aspect("auto")
        for _ in range(_FITS if free else 1):
            sheet.lay_out(passes=1)
            width, height = sheet.get_size_inches()
            boxes = [ax.get_position(original=True) for ax in self.axes]
            has = [0.0] * len(self.rows)
            for box, (row, _) in zip(boxes, self.places, strict=True):
                has[row] = height * float(box.height)
            if free:
                wants = row_heights(self.cells, self.places, [width * float(box.width) for box in boxes], self.k)
                self.grid.set_height_ratios(wants)
                sheet.set_size_inches(width, height + sum(wants) - sum(has))
        sheet.lay_out(passes=1)
        for ax in equal:
            ax.set_aspect("equal")
            ax.apply_aspect()

    def _draw(self, axes: Sequence[Axes]) -> list[list[Artist]]:
        """Draw all cells, and return what their legends say that no legend before has said."""
        colours = run_colours([run for cell in self.cells if cell.kind == "curves" for run in cell.surfaces])
        handles: dict[int, list[Artist]] = {}
        for group in self.groups:
            for i in group.cells:
                handles[i] = _draw_cell(axes[i], self.cells[i], group, colours)
            if self.cells[group.cells[0]].kind == "curves":
                share_limits([axes[i] for i in group.cells])
        # The same words may stand for a line among curves and for a star on maps.
        said: set[tuple[bool, str]] = set()
        legends = []
        for i, cell in enumerate(self.cells):
            new = {(cell.kind == "curves", str(handle.get_label())): handle for handle in handles[i]}
            legends.append([handle for key, handle in new.items() if key not in said])
            said |= set(new)
        return legends

    def _head(self, i: int, width: float, reach: float) -> Head:
        cell, panel = self.cells[i], self.panels[self.cells[i].panel]
        first = i == 0 or self.cells[i - 1].panel != cell.panel
        return Head(
            heading=self._heading(panel, cell.panel) if first else "",
            reach=reach,
            title=self._title(cell, panel),
            notes=_notes(cell, width),
            legend=self.legends[i],
            width=width,
        )

    def _heading(self, panel: Panel, index: int) -> str:
        lone = next(iter(panel.surfaces)) if len(panel.surfaces) == 1 else ""
        title = (lone if panel.title is None else panel.title) or ""
        return title if len(self.panels) == 1 else f"({letter(index)}) {title}".strip()

    def _title(self, cell: Cell, panel: Panel) -> str:
        """The run of a map where the panel has several, and the field where the figure has several."""
        if cell.kind == "curves":
            return ""
        fields = {c.field for c in self.cells if c.kind != "curves"}
        said = [cell.run] if len(panel.surfaces) > 1 else []
        return ", ".join([*said, *([field_name(cell.field)] if len(fields) > 1 else [])])

    def foot(self, caption: str | None) -> str:
        """The words at the foot: those given, then what the slices say of themselves."""
        if caption == "":
            return ""
        return "\n".join(part for part in (caption, self._provenance()) if part)

    def _provenance(self) -> str:
        said: list[Said] = []
        for cell in self.cells:
            for run, surface in cell.surfaces.items():
                meta: dict[str, Any] = drawn(surface.meta, cell.field)
                if meta.get("splits"):
                    meta["splits"] = [split for field in cell.fields[run] if (split := parts(field)[0])]
                said.append(Said(letter(cell.panel), run, caption_parts(meta)))
        return provenance(said)


def _notes(cell: Cell, width: float) -> str:
    """The verdict about a path, in short form where the whole takes more than two lines."""
    if cell.kind != "path":
        return ""
    path, meta = the_path(cell.surface), cell.surface.meta
    whole = verdict(path, meta)
    size = float(mpl.rcParams["legend.fontsize"])
    said = short_verdict(path, meta) if fit_lines(whole, width, size).count("\n") > 1 else whole
    return said[:1].upper() + said[1:]


def _draw_cell(ax: Axes, cell: Cell, group: Group, colours: dict[str, str]) -> list[Artist]:
    """Draw one cell without its legend and colour bar; returns the legend's handles."""
    if cell.kind == "curves":
        return overlay(ax, cell, colours, group.log)
    name = mpl.rcParams["image.cmap"]
    cmap = pale(name) if group.pale else None
    if isinstance(ax, Axes3D):
        draw_relief(cell.surface, cell.field, ax, group.scale, cmap=cmap)
        return []
    # Maps of unlike shape in a row hang from the same line, under their heads.
    ax.set_anchor("N")
    if cell.kind == "path":
        way = the_path(cell.surface)
        return draw_way(cell.surface, way, cell.field, ax, scale=group.scale, colorbar=False)
    return draw_plane(cell.surface, cell.field, ax, scale=group.scale, cmap=cmap, colorbar=False)

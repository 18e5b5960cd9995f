"""Several panels in one figure that can be read against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from mpl_toolkits.mplot3d import Axes3D

from landscape.errors import LandscapeError
from landscape.render import style as looks
from landscape.render.arrangement import BAR, BELOW, LEFT, arrange, best_columns, row_heights
from landscape.render.contours import draw_plane
from landscape.render.heads import Head, put_heads
from landscape.render.labels import DOT, caption_parts, drawn, field_name, fit_lines, parts, put_foot
from landscape.render.overlay import overlay, run_colours
from landscape.render.panels import Cell, Panel, cells_of, letter
from landscape.render.relief import draw_relief
from landscape.render.sharing import Group, Place, beside, groups_of, name_once, put_bar, share_limits
from landscape.render.style import Sheet, pale
from landscape.render.trajectories import draw_way, the_path
from landscape.render.truth import short_verdict, verdict
from landscape.render.widths import inches_of, length


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
    places = arrange(counts, best_columns(counts, inches, k) if columns is None else columns)
    figure = _Figure(panels, [cell for cells in own for cell in cells], places, inches, k, share)
    sheet = Sheet(inches, figure.height if height is None else height, rc)
    with sheet.styled():
        words = figure.fill(sheet)
        foot = figure.foot(caption)
        put_foot(sheet, foot)
        if height is None:
            sheet.set_size_inches(inches, figure.height + words + _foot_height(foot, inches))
    return sheet


def _foot_height(text: str, width: float) -> float:
    size = float(mpl.rcParams["figure.labelsize"])
    return 1.3 * size / 72 * (fit_lines(text, width, size).count("\n") + 1) + 0.1 if text else 0.0


class _Figure:
    """The plan of a figure, and the steps in which it is drawn."""

    def __init__(
        self,
        panels: Sequence[Panel],
        cells: Sequence[Cell],
        places: Sequence[Place],
        width: float,
        k: float,
        share: bool,
    ) -> None:
        self.panels, self.cells, self.places, self.k, self.share = panels, cells, places, k, share
        self.groups = groups_of(cells, share)
        self.bars = {id(group): stand for group in self.groups if (stand := self._stand(group))}
        barred = {places[stand[0]][1] for stand in self.bars.values()}
        self.inner, self.rows = row_heights(cells, places, width, k, len(barred))
        self.columns = max(column for _, column in places) + 1
        self.height = sum(self.rows) + 0.12 * len(self.rows)

    def _stand(self, group: Group) -> list[int]:
        """The maps of a group that its bar stands beside; reliefs have their heights to be read by."""
        maps = [i for i in group.cells if self.cells[i].kind in ("map", "path")]
        return [maps[i] for i in beside([self.places[i] for i in maps])] if maps else []

    def fill(self, sheet: Sheet) -> float:
        """Draw everything; returns the inches that words above and below the axes take."""
        grid = sheet.add_gridspec(len(self.rows), self.columns, height_ratios=self.rows)
        axes = [
            sheet.add_subplot(grid[row, column], projection="3d" if cell.kind == "relief" else None)
            for cell, (row, column) in zip(self.cells, self.places, strict=True)
        ]
        legends = self._draw(axes)
        barred = [axes[stand[-1]] for stand in self.bars.values()]
        name_once(dict(zip(self.places, axes, strict=True)), barred)
        for group in self.groups:
            if stand := self.bars.get(id(group)):
                put_bar([axes[i] for i in stand], group, self.k)
        heads = [self._head(i, legend) for i, legend in enumerate(legends)]
        words = 0.0
        for row in range(len(self.rows)):
            here = [i for i, place in enumerate(self.places) if place[0] == row]
            words += put_heads([(axes[i], heads[i]) for i in here]) / 72
            words += max(_below(axes[i]) for i in here)
        return words

    def _draw(self, axes: Sequence[Axes]) -> list[list[Artist]]:
        """Draw all cells, and return what their legends say that no legend before has said."""
        colours = run_colours([run for cell in self.cells if cell.kind == "curves" for run in cell.surfaces])
        handles: dict[int, list[Artist]] = {}
        for group in self.groups:
            for i in group.cells:
                handles[i] = _draw_cell(axes[i], self.cells[i], group, colours)
            if self.cells[group.cells[0]].kind == "curves":
                share_limits([axes[i] for i in group.cells])
        said: set[str] = set()
        legends = []
        for i in range(len(self.cells)):
            new = {str(handle.get_label()): handle for handle in handles[i]}
            legends.append([handle for label, handle in new.items() if label not in said])
            said |= set(new)
        return legends

    def _head(self, i: int, legend: list[Artist]) -> Head:
        cell, panel = self.cells[i], self.panels[self.cells[i].panel]
        first = i == 0 or self.cells[i - 1].panel != cell.panel
        row, column = self.places[i]
        reach = sum(
            other.panel == cell.panel and place[0] == row
            for other, place in zip(self.cells, self.places, strict=True)
        )
        each = self.inner + self.k * LEFT
        last = column + reach == self.columns
        return Head(
            heading=self._heading(panel, cell.panel) if first else "",
            reach=reach * each - self.k * LEFT + (self.k * BAR if last and self.bars else 0.0),
            title=self._title(cell, panel),
            notes=self._notes(cell),
            legend=legend,
            width=self.inner,
        )

    def _heading(self, panel: Panel, index: int) -> str:
        lone = next(iter(panel.surfaces)) if len(panel.surfaces) == 1 else ""
        title = (lone if panel.title is None else panel.title) or ""
        return title if len(self.panels) == 1 else f"({letter(index)}) {title}".strip()

    def _title(self, cell: Cell, panel: Panel) -> str:
        """The run of a map where the panel has several, and the field where the figure has several."""
        if cell.kind == "curves":
            return ""
        planes = {c.measure: c.field for c in self.cells if c.kind != "curves"}
        said = [cell.run] if len(panel.surfaces) > 1 else []
        return ", ".join([*said, *([field_name(cell.field)] if len(planes) > 1 else [])])

    def _notes(self, cell: Cell) -> str:
        """The verdict about a path, in short form where the whole takes more than two lines."""
        if cell.kind != "path":
            return ""
        path, meta = the_path(cell.surface), cell.surface.meta
        whole = verdict(path, meta)
        size = float(mpl.rcParams["legend.fontsize"])
        long = fit_lines(whole, self.inner, size).count("\n") > 1
        said = short_verdict(path, meta) if long else whole
        return said[:1].upper() + said[1:]

    def foot(self, caption: str | None) -> str:
        """The words at the foot: those given, then what the slices say of themselves."""
        if caption == "":
            return ""
        return "\n".join(part for part in (caption, self._provenance()) if part)

    def _provenance(self) -> str:
        """What all slices have in common on one line, then what each has to itself, under the name of its run."""
        said: list[tuple[str, list[str]]] = []
        for cell in self.cells:
            for run, surface in cell.surfaces.items():
                meta: dict[str, Any] = drawn(surface.meta, cell.field)
                if meta.get("splits"):
                    meta["splits"] = [parts(field)[0] for field in cell.fields[run]]
                said.append((run, caption_parts(meta)))
        shared = [part for part in said[0][1] if all(part in own for _, own in said)]
        lines: dict[str, list[str]] = {}
        for run, own in said:
            rest = DOT.join(part for part in own if part not in shared)
            if rest and run not in lines.setdefault(rest, []):
                lines[rest].append(run)
        each = [f"{', '.join(runs)}: {line}" for line, runs in lines.items()]
        return "\n".join(line for line in (DOT.join(shared), *each) if line)


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


def _below(ax: Axes) -> float:
    """Inches that numbers and name of the x axis take."""
    size = float(mpl.rcParams["font.size"])
    label = ax.get_xlabel()
    if ax.name == "3d" or not label:
        return 0.1 * size / 8
    return BELOW * size / 8 + 1.2 * size / 72 * (label.count("\n") + 1)

"""The steps in which a composed figure is drawn, written and laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from mpl_toolkits.mplot3d import Axes3D

from landscape.render.arrangement import LEFT, inner_width, row_heights
from landscape.render.contours import draw_plane
from landscape.render.curves import limit
from landscape.render.figure_caption import Said, provenance
from landscape.render.labels import caption_parts, drawn, field_name, fit_lines, parts
from landscape.render.overlay import name_curves, overlay
from landscape.render.palette import run_colours
from landscape.render.panel_titles import Head, put_heads
from landscape.render.panels import Cell, Panel, letter
from landscape.render.path_fidelity import short_verdict, verdict
from landscape.render.relief import draw_relief
from landscape.render.shared_axes import Group, Place, beside, name_map, name_once, put_bar, share_limits
from landscape.render.style import Sheet, pale
from landscape.render.trajectories import draw_way, the_paths

# Kinds of cells whose values are read from a colour bar; reliefs have their heights.
BARRED = ("map", "path")


class Assembly:
    """The plan of a figure, and the steps in which it is drawn: `draw`, `fit`, `write`, `fit`, `settle`.

    Args:
        panels: The panels.
        cells: One for each of their axes.
        groups: Which of these share what.
        places: Where the cells are.
        width: Inches of the figure.
        k: Type size in units of 8 points.
    """

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
        maps = [i for i in group.cells if self.cells[i].kind in BARRED and not self.cells[i].lines]
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

    def write(self, sheet: Sheet, free: bool) -> None:
        """Write what stands above the axes, and fit the names of their axes to the room that they have."""
        width, height = (float(length) for length in sheet.get_size_inches())
        found = [ax.get_position(original=free) for ax in self.axes]
        boxes = [(box.x0 * width, box.x1 * width, box.height * height) for box in found]
        if free:
            boxes = [(*box[:2], self.rows[row]) for box, (row, _) in zip(boxes, self.places, strict=True)]
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
        rooms = [self._room(i, boxes, width) for i in range(len(boxes))]
        # All in short form where one has to be, so that they can be compared.
        self.short = any(self._is_long(i, room) for i, room in enumerate(rooms))
        taken = 0.0
        for row in range(len(self.rows)):
            here = [i for i, place in enumerate(self.places) if place[0] == row]
            heads = [self._head(i, rooms[i], self._reach(i, boxes, width)) for i in here]
            taken += put_heads([(self.axes[i], head) for i, head in zip(here, heads, strict=True)]) / 72
        if free:
            sheet.set_size_inches(width, height + taken)

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
        return boxes[row[-1]][0] + self._room(row[-1], boxes, width) - boxes[i][0]

    def fit(self, sheet: Sheet, free: bool) -> None:
        """Make a figure of free height as high as its axes want to be at the width that words leave them."""
        self.settle(sheet)
        if not free:
            return
        width, height = sheet.get_size_inches()
        boxes = [ax.get_position(original=True) for ax in self.axes]
        has = [0.0] * len(self.rows)
        for box, (row, _) in zip(boxes, self.places, strict=True):
            has[row] = height * float(box.height)
        self.rows = row_heights(self.cells, self.places, [width * float(box.width) for box in boxes], self.k)
        self.grid.set_height_ratios(self.rows)
        sheet.set_size_inches(width, height + sum(self.rows) - sum(has))

    def settle(self, sheet: Sheet) -> None:
        """Lay the figure out, on axes that fill their places: equal units would move words within them."""
        equal = [ax for ax in self.axes if ax.name != "3d" and ax.get_aspect() != "auto"]
        for ax in equal:
            ax.set_aspect("auto")
        sheet.lay_out(passes=1)
        for ax in equal:
            ax.set_aspect("equal")
            ax.apply_aspect()

    def _draw(self, axes: Sequence[Axes]) -> list[list[Artist]]:
        """Draw all cells, and return what their legends say: nothing if legends before have said all of it."""
        colours = run_colours([run for cell in self.cells if cell.kind == "curves" for run in cell.surfaces])
        handles: dict[int, list[Artist]] = {}
        for group in self.groups:
            for i in group.cells:
                handles[i] = _draw_cell(axes[i], self.cells[i], group, colours)
            if self.cells[group.cells[0]].kind == "curves":
                share_limits([axes[i] for i in group.cells])
                for i in group.cells if group.first else ():
                    limit(axes[i])
        # The same words may stand for a line among curves and for a star on maps.
        said: set[tuple[bool, str]] = set()
        legends = []
        for i, cell in enumerate(self.cells):
            new = {(cell.kind == "curves", str(handle.get_label())): handle for handle in handles[i]}
            # One that leaves out some of the lines of its axes hides them.
            legends.append([] if said >= set(new) else list(new.values()))
            said |= set(new)
        return legends

    def _head(self, i: int, width: float, reach: float) -> Head:
        cell, panel = self.cells[i], self.panels[self.cells[i].panel]
        first = i == 0 or self.cells[i - 1].panel != cell.panel
        return Head(
            heading=self._heading(panel, cell.panel) if first else "",
            reach=reach,
            title=self._title(cell, panel),
            notes=self._notes(i, self.short),
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

    def _notes(self, i: int, short: bool) -> str:
        """The verdict about a path."""
        cell = self.cells[i]
        if cell.kind != "path":
            return ""
        say = short_verdict if short else verdict
        said = [say(path, cell.surface.meta, name) for name, path in the_paths(cell.surface).items()]
        return said[0][:1].upper() + said[0][1:] if len(said) == 1 else "\n".join(said)

    def _is_long(self, i: int, width: float) -> bool:
        """Return whether the whole verdict takes more than two lines."""
        size = float(mpl.rcParams["legend.fontsize"])
        return fit_lines(self._notes(i, False), width, size).count("\n") > 1

    def provenance(self) -> str:
        """Return the provenance of the slices, for the foot."""
        said: list[Said] = []
        for cell in self.cells:
            for run, surface in cell.surfaces.items():
                meta: dict[str, Any] = drawn(surface.meta, cell.field)
                if meta.get("splits"):
                    meta["splits"] = [split for field in cell.fields[run] if (split := parts(field)[0])]
                said.append(Said(letter(cell.panel), run, caption_parts(meta)))
        return provenance(said)


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
        return draw_way(cell.surface, cell.field, ax, scale=group.scale, colorbar=False, lines=cell.lines)
    how: dict[str, Any] = {"scale": group.scale, "cmap": cmap, "colorbar": False, "lines": cell.lines}
    return draw_plane(cell.surface, cell.field, ax, **how)

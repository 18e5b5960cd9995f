"""Cells of a composed figure: one for each of its axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.contours import plane_field
from landscape.render.curves import chosen
from landscape.render.labels import parts, shown, unit
from landscape.render.missing_values import known
from landscape.render.pictures import VIEWS, kind_of
from landscape.render.repeats import median_of, widths_of
from landscape.render.scale import Array
from landscape.render.trajectories import the_paths

if TYPE_CHECKING:
    from landscape.values.surface import Surface


@dataclass(frozen=True)
class Panel:
    """One panel of a composed figure: slices of one kind, of one run or of several.

    Attributes:
        surfaces: Name of a run -> its slice. Curves are drawn over each other, maps beside each other.
        title: What stands beside the panel's letter; by default the name of a lone run.
        field: ``"<split>_<metric>"``; by default the first of a plane, all splits of the loss of a line.
        view: Of planes: ``"contour"``, ``"levels"``, ``"3d"`` or ``"both"``, as in `picture`.
    """

    surfaces: Mapping[str, Surface]
    title: str | None = None
    field: str | None = None
    view: str = "contour"


@dataclass(frozen=True)
class Cell:
    """Content of one axes.

    Attributes:
        kind: ``"curves"`` of all runs; ``"map"``, ``"path"`` or ``"relief"`` of one.
        surfaces: Name of a run -> its slice; of repeated planes the median.
        fields: Name of a run -> the fields drawn of it, all of one metric.
        panel: The number of the panel.
        lines: Whether a map has level lines only, without colours.
    """

    kind: str
    surfaces: Mapping[str, Surface]
    fields: Mapping[str, Sequence[str]]
    panel: int
    lines: bool = False

    @property
    def run(self) -> str:
        """The first or only run."""
        return next(iter(self.surfaces))

    @property
    def surface(self) -> Surface:
        """The slice of that run."""
        return self.surfaces[self.run]

    @property
    def field(self) -> str:
        """The first field drawn of it."""
        return self.fields[self.run][0]

    @property
    def measure(self) -> tuple[str, str]:
        """Metric and unit: cells that agree in both can be compared."""
        metric = parts(self.field)[1]
        return metric, unit(self.surface.meta, metric)

    @property
    def values(self) -> Array:
        """All that is drawn, in the unit shown; NaN where a point has no finite value."""
        drawn = [
            known(surface, shown(surface, field)).ravel()
            for run, surface in self.surfaces.items()
            for field in self.fields[run]
        ]
        return np.concatenate(drawn)


def letter(index: int) -> str:
    """The letter of a panel: a to z, then aa, ab, ...

    Example:
        >>> letter(0), letter(26)
        ('a', 'aa')
    """
    before, last = divmod(index, 26)
    return (letter(before - 1) if before else "") + chr(ord("a") + last)


def cells_of(panel: Panel, index: int) -> list[Cell]:
    """The cells of a panel.

    Args:
        panel: The panel.
        index: Its number, from 0.

    Returns:
        One cell for curves; for planes one for each run, with view ``"both"`` two.

    Raises:
        LandscapeError: If it has no slice, slices of several kinds, or a view or field that does not go with
            them.
    """
    where = f"panel ({letter(index)})"
    if not panel.surfaces:
        raise LandscapeError("the panel has no slice", where=where, got="no runs", expected="at least one")
    if panel.view not in VIEWS:
        raise LandscapeError(
            f"there is no view '{panel.view}'", where=where, mend=did_you_mean(str(panel.view), VIEWS)
        )
    kinds = {run: kind_of(surface) for run, surface in panel.surfaces.items()}
    if len(set(kinds.values())) > 1:
        raise LandscapeError(
            "the slices of one panel are of one kind",
            where=where,
            got=", ".join(f"{run}: {kind}" for run, kind in kinds.items()),
            mend="make a panel of each kind",
        )
    for run, surface in panel.surfaces.items():
        _require_field(surface, panel.field, f"{where}, run '{run}'")
    if "curve" in kinds.values():
        return [_curves(panel, index, where)]
    return [cell for run in panel.surfaces for cell in _planes(panel, run, index, kinds[run])]


def _require_field(surface: Surface, field: str | None, where: str) -> None:
    if not surface.fields:
        raise LandscapeError("the surface has no values to draw", where=where)
    if field is not None and field not in surface.fields:
        raise LandscapeError(
            f"the surface has no field '{field}'",
            where=where,
            expected="one of " + ", ".join(surface.fields),
            mend=did_you_mean(field, surface.fields),
        )


def _curves(panel: Panel, index: int, where: str) -> Cell:
    if panel.view != "contour":
        raise LandscapeError("a curve has one view only", where=where, got=panel.view, mend="leave it out")
    metrics = {run: chosen(surface) for run, surface in panel.surfaces.items()}
    if panel.field is not None:
        return Cell("curves", panel.surfaces, {run: [panel.field] for run in panel.surfaces}, index)
    have = [metric for fields in metrics.values() for metric in fields]
    metric = "loss" if "loss" in have else have[0]
    for run, fields in metrics.items():
        if metric not in fields:
            raise LandscapeError(
                f"the surface has no {metric}, which other runs of the panel have",
                where=f"{where}, run '{run}'",
                got=", ".join(panel.surfaces[run].fields),
                mend="choose a field that all have",
            )
    return Cell("curves", panel.surfaces, {run: fields[metric] for run, fields in metrics.items()}, index)


def _planes(panel: Panel, run: str, index: int, kind: str) -> list[Cell]:
    """A map, a relief or both; of repeats the median, whose other view is the width of their band."""
    surface = panel.surfaces[run]
    middle = surface if surface.repeat is None else median_of(surface)
    field = plane_field(middle, panel.field)
    seen = {"contour": ["map"], "levels": ["map"], "3d": ["relief"], "both": ["map", "relief"]}[panel.view]
    if kind == "trajectory" and surface.repeat is None:
        the_paths(surface)
        seen = ["path" if view == "map" else view for view in seen]
    if surface.repeat is not None and panel.view == "both":
        widths = widths_of(surface, field)
        name = next(iter(widths.fields))
        return [
            Cell("map", {run: middle}, {run: [field]}, index),
            Cell("map", {run: widths}, {run: [name]}, index),
        ]
    lines = panel.view == "levels"
    return [Cell(view, {run: middle}, {run: [field]}, index, lines) for view in seen]

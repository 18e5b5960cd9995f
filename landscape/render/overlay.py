"""Curves of several runs on the same axes: a colour for each run, a dash for each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from landscape.render.curves import set_scale, y_label
from landscape.render.labels import axis_label, centre_label, fit_label, inches, parts, points, split_name
from landscape.render.line_marks import draw_centre, draw_field, draw_threshold, mark_gaps, side_handles

if TYPE_CHECKING:
    from landscape.render.panels import Cell

_DASHES = {"train": "-", "test": "--", "val": "-."}
_OTHER_DASH = ":"


def run_colours(runs: Sequence[str]) -> dict[str, str]:
    """A colour for each run: those of the style, or of the colour map where the style has too few.

    Args:
        runs: Names, possibly repeated.

    Returns:
        Name -> colour.
    """
    names = list(dict.fromkeys(runs))
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    if len(names) > len(cycle):
        # The ends of a colour map are too near to the paper and to the ink.
        cycle = [
            to_hex(colour) for colour in colormaps[mpl.rcParams["image.cmap"]](np.linspace(0.1, 0.9, len(names)))
        ]
    return dict(zip(names, cycle, strict=False))


def overlay(ax: Axes, cell: Cell, colours: Mapping[str, str], log: bool) -> list[Artist]:
    """Draw the curves of all runs of a cell.

    Args:
        ax: Where to draw.
        cell: Of kind ``"curves"``.
        colours: Name of a run -> its colour.
        log: Whether the y axis is logarithmic.

    Returns:
        Legend handles: runs, then splits where there are several, then what accompanies the curves.
    """
    splits = list(dict.fromkeys(parts(field)[0] for fields in cell.fields.values() for field in fields))
    runs: list[Artist] = []
    gaps: list[Artist] = []
    sides: dict[str, Artist] = {}
    for run, surface in cell.surfaces.items():
        for field in cell.fields[run]:
            name = run if len(splits) == 1 else f"{run}, {split_name(parts(field)[0])}"
            dash = dash_of(parts(field)[0], splits)
            draw_field(ax, surface, field, colours[run], name, dash=dash, single=colours[run])
            gaps += mark_gaps(ax, surface, field, colours[run], len(gaps), name)
        label = run if surface.repeat is None else f"{run} median"
        runs.append(Line2D([], [], color=colours[run], label=label))
        sides |= draw_threshold(ax, surface, colours[run])
        sides |= {str(handle.get_label()): handle for handle in side_handles(surface, list(cell.fields[run]))}
    ax.set_xlim(min(s.x[0] for s in cell.surfaces.values()), max(s.x[-1] for s in cell.surfaces.values()))
    set_scale(ax, cell.field, log)
    name_curves(ax, cell, log, *inches(ax))
    # A number of the x axis is half an inch wide at 8-point type.
    ax.locator_params(axis="x", nbins=max(2, min(5, int(inches(ax)[0] / (0.5 * points(ax.xaxis.label) / 8)))))
    ax.spines[["top", "right"]].set_visible(False)
    # A lone run may have no name.
    runs = [handle for handle in runs if handle.get_label()]
    return [*runs, *_split_handles(splits), *_centre(ax, cell), *sides.values(), *gaps]


def dash_of(split: str, splits: Sequence[str]) -> str:
    """The line style of a split; a lone split is solid."""
    return "-" if len(splits) == 1 else _DASHES.get(split, _OTHER_DASH)


def _split_handles(splits: Sequence[str]) -> list[Artist]:
    if len(splits) == 1:
        return []
    grey = mpl.rcParams["axes.labelcolor"]
    return [Line2D([], [], color=grey, ls=dash_of(split, splits), label=split_name(split)) for split in splits]


def _centre(ax: Axes, cell: Cell) -> list[Artist]:
    """One dotted line at the weights in the middle of all runs; dashes mean a split here."""
    labels = {centre_label(surface.meta) for surface in cell.surfaces.values()}
    # Those of several runs may be trained and untrained.
    trained = all(label.startswith("trained") for label in labels)
    label = labels.pop() if len(labels) == 1 else "trained weights" if trained else "weights of each run"
    for surface in cell.surfaces.values():
        if handles := draw_centre(ax, surface, label, ":"):
            return handles
    return []


def name_curves(ax: Axes, cell: Cell, log: bool, width: float, height: float) -> None:
    """Fit the names of both axes to their size; where runs differ in one, all their names.

    Args:
        ax: The axes.
        cell: What they show.
        log: Whether the y axis is logarithmic.
        width: Inches.
        height: Inches.
    """
    metas = {run: surface.meta for run, surface in cell.surfaces.items()}
    across = dict.fromkeys(axis_label(meta, 0) for meta in metas.values())
    fields = list(dict.fromkeys(field for drawn in cell.fields.values() for field in drawn))
    along = dict.fromkeys(y_label(fields, meta, log) for meta in metas.values())
    for axis, labels, room in ((ax.xaxis, across, width), (ax.yaxis, along, height)):
        lines = [fit_label(label, max(room, 1.2), points(axis.label)) for label in labels]
        axis.set_label_text("\n".join(lines))

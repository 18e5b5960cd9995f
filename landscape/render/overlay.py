"""Curves of several runs on the same axes: a colour for each run, a dash for each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.render.curves import set_scale, y_label
from landscape.render.labels import centre_label, fit_label, inches, parts, points, split_name
from landscape.render.line_marks import (
    draw_centre,
    draw_field,
    draw_threshold,
    mark_gaps,
    side_handles,
    step_label,
)
from landscape.render.palette import dash_of, marks_along, split_look

if TYPE_CHECKING:
    from landscape.render.panels import Cell


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
    # Colours tell runs, or splits where there is one run and no other axes could give it a colour.
    lone = len(colours) == 1 and len(splits) > 1
    medians = lone and next(iter(cell.surfaces.values())).repeat is not None
    runs: list[Artist] = []
    gaps: list[Artist] = []
    marks = marks_along(list(colours))
    sides: dict[str, Artist] = {}
    for run, surface in cell.surfaces.items():
        for field in cell.fields[run]:
            name = run if len(splits) == 1 else f"{run}, {split_name(parts(field)[0])}"
            colour, dash = (
                split_look(parts(field)[0], splits) if lone else (colours[run], dash_of(parts(field)[0], splits))
            )
            draw_field(ax, surface, field, colour, name, dash=dash, single=colour, marks=marks[run])
            gaps += mark_gaps(ax, surface, field, colour, len(gaps), name)
        # What of a lone run is drawn, its splits say.
        if not lone:
            label = run if surface.repeat is None else f"{run} median"
            runs.append(Line2D([], [], color=colours[run], label=label, **marks[run]))
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
    return [*runs, *_split_handles(splits, lone, medians), *_centre(ax, cell), *sides.values(), *gaps]


def _split_handles(splits: Sequence[str], lone: bool, medians: bool) -> list[Artist]:
    if len(splits) == 1:
        return []
    ink = mpl.rcParams["axes.labelcolor"]
    looks = {split: split_look(split, splits) for split in splits}
    return [
        Line2D([], [], color=colour if lone else ink, ls=dash, label=f"{split_name(split)}{' median' * medians}")
        for split, (colour, dash) in looks.items()
    ]


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
    across = dict.fromkeys(step_label(meta) for meta in metas.values())
    fields = list(dict.fromkeys(field for drawn in cell.fields.values() for field in drawn))
    along = dict.fromkeys(y_label(fields, meta, log) for meta in metas.values())
    for axis, labels, room in ((ax.xaxis, across, width), (ax.yaxis, along, height)):
        lines = [fit_label(label, max(room, 1.2), points(axis.label)) for label in labels]
        axis.set_label_text("\n".join(lines))

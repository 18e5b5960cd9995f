"""Many random lines or planes in one picture: every line thin, their median thick, their band shaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from landscape.render.contours import contour, map_height
from landscape.render.labels import (
    DOT,
    caption,
    drawn,
    field_name,
    is_share,
    parts,
    pick,
    put_foot,
    unit,
)
from landscape.render.look import of_metric
from landscape.render.relief import surface3d
from landscape.render.scale import tell
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet
from landscape.values.repeats import Lines, band, lines

if TYPE_CHECKING:
    from landscape.values.surface import Surface

# Thin and pale enough that twenty lines are a texture behind their median.
_SINGLE: dict[str, Any] = {"lw": 0.4, "alpha": 0.22, "zorder": 1.2}
_BAND = 0.3
# Inches: what the findings add to a caption, two lines in one column.
STATISTICS = 0.25


def draw_lines(
    ax: Axes,
    surface: Surface,
    field: str,
    colour: str,
    label: str,
    *,
    dash: str = "-",
    single: str | None = None,
    marks: Mapping[str, Any] = MappingProxyType({}),
) -> Artist:
    """Draw every line of a field thin and pale, their median, and the band between their 10 and 90 % quantiles.

    Args:
        ax: Where to draw.
        surface: A 1-D slice with repeats.
        field: One of its fields.
        colour: Of the median and its band.
        label: Of the median.
        dash: Its line style.
        single: The colour of the thin lines; by default grey.
        marks: See `palette.marks_along`.

    Returns:
        The median, for a legend.
    """
    spread, factor = band(surface, field), 100.0 if is_share(field) else 1.0
    singles = np.where(np.isfinite(surface.fields[field]), surface.fields[field], np.nan)
    if surface.done is not None:
        singles = np.where(surface.done, singles, np.nan)
    ax.plot(surface.x, factor * singles.T, color=single or mpl.rcParams["axes.labelcolor"], **_SINGLE)
    low, high = (np.where(np.isfinite(end), factor * end, np.nan) for end in (spread.low, spread.high))
    ax.fill_between(surface.x, low, high, color=colour, alpha=_BAND, lw=0, zorder=1.5)
    middle = np.where(np.isfinite(spread.median), factor * spread.median, np.nan)
    return ax.plot(surface.x, middle, color=colour, label=label, ls=dash, zorder=2.5, **marks)[0]


def line_handles(surface: Surface) -> list[Artist]:
    """Return legend handles for single lines and for bands."""
    grey = mpl.rcParams["axes.labelcolor"]
    count = 0 if surface.repeat is None else len(surface.repeat)
    return [
        Line2D([], [], color=grey, lw=0.6, alpha=0.5, label=f"{count} lines"),
        Patch(color=grey, alpha=_BAND, lw=0, label="10–90 %"),
    ]


def median_of(surface: Surface) -> Surface:
    """The median over the repeats of a slice, as a slice; computed where all repeats are.

    Args:
        surface: A slice with repeats.

    Returns:
        A slice without; ``meta["statistic"]`` says what it is.
    """
    fields = {field: band(surface, field).median for field in surface.fields}
    return _over_repeats(surface, fields, {"statistic": "median"})


def _over_repeats(surface: Surface, fields: Mapping[str, Any], about: Mapping[str, Any]) -> Surface:
    done = None if surface.done is None else np.asarray(surface.done.all(axis=0))
    meta = {**surface.meta, **about}
    return replace(surface, fields=fields, standard_errors={}, done=done, meta=meta, repeat=None)


def repeats_map(surface: Surface, field: str | None, view: str, rc: Mapping[str, Any] | None) -> Figure:
    """Draw the median of many planes: as a map, in relief, or beside the relative width of their band.

    Args:
        surface: A 2-D slice with repeats.
        field: ``"<split>_<metric>"``; by default the first.
        view: ``"contour"``, ``"3d"`` or ``"both"``, which puts the width beside the median.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure; its caption says that it is a median, and what `lines` found.

    Raises:
        LandscapeError: If the slice has more than two axes, or no such field.
    """
    name, middle = pick(surface, field), median_of(surface)
    wide = view == "both"
    height = 0.95 * ONE_COLUMN if view == "3d" else map_height(middle, ONE_COLUMN)
    sheet = Sheet.grown(TWO_COLUMNS if wide else ONE_COLUMN, height + STATISTICS, rc)
    with sheet.styled():
        if view == "3d":
            surface3d(middle, name, ax=sheet.add_subplot(projection="3d"))
        elif wide:
            left, right = sheet.subplots(1, 2, squeeze=False)[0]
            contour(middle, name, ax=left)
            with of_metric(1):
                contour(widths_of(surface, name), ax=right)
        else:
            contour(middle, name, ax=sheet.add_subplot())
        put_foot(sheet, caption_of(surface, name, drawn(middle.meta, name)))
    return sheet


def widths_of(surface: Surface, field: str) -> Surface:
    """The width of the 10-90 % band over the repeats as a share of their median, as a slice of one field."""
    fields = {"10–90 % band / median": band(surface, field).relative_width}
    return _over_repeats(surface, fields, {})


def caption_of(surface: Surface, field: str, meta: Mapping[str, Any]) -> str:
    """The caption of a picture of repeats: what it was made from, and what they say about the centre."""
    return DOT.join(part for part in (caption(meta), words(lines(surface, field), field, meta)) if part)


def words(found: Lines, field: str, meta: Mapping[str, Any]) -> str:
    """Summarise the lines through the centre in a few words; empty if there is no centre.

    Args:
        found: The lines.
        field: Of which field.
        meta: Of the surface, for the unit.

    Returns:
        ``"curvature of the training loss at the centre positive along 20 of 20 directions (median 1.2 nats
        per unit²); median |asymmetry| 0.1"``.
    """
    count = len(found.curvature) - found.unknown
    if not count:
        return ""
    known = found.curvature[np.isfinite(found.curvature)]
    doubts = [f"{n} {why}" for n, why in ((found.undecided, "undecided"), (found.unknown, "unknown")) if n]
    # An error is stored as a share of 1 and read in percent.
    middle = float(np.median(known)) * (100 if is_share(field) else 1)
    number, measure = tell([float(f"{middle:.2g}")])[0], unit(meta, parts(field)[1])
    notes = [f"median {number}" + (f" {measure} per unit²" if measure else ""), *doubts]
    said = (
        f"curvature of the {field_name(field)} at the centre positive along {found.positive} of {count} directions"
        f" ({', '.join(notes)})"
    )
    lopsided = np.abs(found.asymmetry[np.isfinite(found.asymmetry)])
    # No-break spaces: a number alone on the last line of a caption is easily overlooked.
    return said + (f"; median\u00a0|asymmetry|\u00a0{float(np.median(lopsided)):.2g}" if lopsided.size else "")

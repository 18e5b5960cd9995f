"""Orbits as still pictures: slices of one function at several parametrisations, and measures over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from landscape.render.labels import DOT, caption_parts, fit_label, inches, points, put_foot, with_notes
from landscape.render.legend import legend_of_sheet
from landscape.render.log_axes import make_logarithmic
from landscape.render.palette import mark_of
from landscape.render.scale import LINE_DECADES, wants_log
from landscape.render.style import TWO_COLUMNS, Sheet
from landscape.values.orbit import Along, Orbit

SLICES = {"none": "random direction, not normalised", "filter": "the same, filter-normalised"}
_HEIGHT = 2.9


def orbits(found: Sequence[Orbit]) -> Sheet:
    """Draw orbits, a row for each: both slices at all positions, and the measures relative to those at home.

    Args:
        found: The orbits of one snapshot.

    Returns:
        A new figure.
    """
    sheet = Sheet.grown(TWO_COLUMNS, _HEIGHT * len(found))
    with sheet.styled():
        axes = sheet.subplots(len(found), 3, squeeze=False)
        for row, orbit in zip(axes, found, strict=True):
            norm = LogNorm(orbit.positions[0], orbit.positions[-1])
            for ax, normalize in zip(row, SLICES, strict=False):
                _slices(ax, orbit, normalize, norm)
            bar = sheet.colorbar(ScalarMappable(norm, mpl.rcParams["image.cmap"]), ax=row[1])
            bar.set_label(orbit.parameter)
            handles = _measures(row[2], orbit)
        # One legend for all rows: above an axes it would push that of its row down.
        if handles:
            legend_of_sheet(sheet, handles)
        put_foot(sheet, words(found))
    return sheet


def words(found: Sequence[Orbit]) -> str:
    """Words for the foot: what was done, and how far outputs changed."""
    first = found[0]
    said = caption_parts({key: value for key, value in first.meta.items() if key != "seed"})
    said += [
        f"{orbit.name}: outputs changed by at most {orbit.output_change.max():.0e} of the largest"
        for orbit in found
    ]
    return DOT.join(said)


def _slices(ax: Axes, orbit: Orbit, normalize: str, norm: LogNorm) -> None:
    colours = mpl.colormaps[mpl.rcParams["image.cmap"]]
    rows = orbit.slices[normalize]
    for place, (position, row) in enumerate(zip(orbit.positions, rows, strict=True)):
        home = place == orbit.home
        look: dict[str, Any] = {"lw": 1.6 if home else 0.8, "zorder": 3 if home else 2}
        shown = np.where(np.isfinite(row), row, np.nan)
        ax.plot(orbit.x[normalize], shown, color=colours(norm(position)), **look)
    log = wants_log(rows, LINE_DECADES)
    if log:
        make_logarithmic(ax.yaxis)
    unit = str((orbit.meta.get("units") or {}).get("loss") or "")
    width, height = inches(ax)
    ax.set_xlabel(fit_label(SLICES[normalize], width, points(ax.xaxis.label)))
    ax.set_ylabel(fit_label(with_notes("loss", unit, "log scale" if log else ""), height, points(ax.yaxis.label)))
    ax.spines[["top", "right"]].set_visible(False)


def _measures(ax: Axes, orbit: Orbit) -> list[Artist]:
    handles: list[Artist] = []
    for place, one in enumerate(shown_measures(orbit)):
        look: dict[str, Any] = {"marker": mark_of(place), "ms": 3, "lw": 0.9}
        handles += ax.plot(orbit.positions, relative(one, orbit), label=one.title, **look)
    make_logarithmic(ax.xaxis)
    make_logarithmic(ax.yaxis)
    ax.set_xlabel(with_notes(orbit.parameter, "log scale"))
    ax.set_ylabel(fit_label("relative to the given weights (log scale)", inches(ax)[1], points(ax.yaxis.label)))
    ax.spines[["top", "right"]].set_visible(False)
    return handles


def shown_measures(orbit: Orbit) -> list[Along]:
    """The measures that can be drawn relative to the weights as they are."""
    return [one for one in orbit.measures if not one.reason and (relative(one, orbit) > 0).all()]


def relative(one: Along, orbit: Orbit) -> Any:
    """The values of a measure to the one at home; NaN where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return one.values / one.values[orbit.home]

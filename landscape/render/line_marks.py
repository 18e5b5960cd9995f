"""One field of a line slice on given axes: its values, their band, and marks where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from landscape.render.labels import axis_label, centre_label, is_share, parts, shown, split_name
from landscape.render.missing_values import gaps, known
from landscape.render.repeats import draw_lines, line_handles
from landscape.render.scale import Array

if TYPE_CHECKING:
    from landscape.values.surface import Surface

# Where on the axes each kind of gap is marked, in shares of their height, and how.
_GAP_MARKS = {"infinite": ("^", 0.97), "undefined (NaN)": ("x", 0.03), "not computed": ("|", 0.03)}
_BAND = 0.25
# Of the values: a curve whose whole range is smaller shows the rounding of sums over examples, by type of numbers.
_ROUNDING = {"float64": 1e-13}
_ROUNDING_OF_OTHERS = 2e-6
CONSTANT = "constant within rounding"


def draw_field(
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
    """Draw the values of a field with plus and minus one standard error; of repeats all lines and their median.

    Args:
        ax: Where to draw.
        surface: A 1-D slice.
        field: One of its fields.
        colour: Of the curve, or of the median.
        label: For a legend.
        dash: A line style.
        single: The colour of the lines behind a median; by default grey.
        marks: Of the curve or the median; see `palette.marks_along`.

    Returns:
        The curve or the median, for a legend.
    """
    if surface.repeat is not None:
        return draw_lines(ax, surface, field, colour, f"{label} median", dash=dash, single=single, marks=marks)
    values = steadied(surface, field)
    curve = _values(ax, surface.x, values, {"color": colour, "label": label, "ls": dash, **marks})
    if is_preview(surface):
        ax.plot(surface.x[surface.computed], values[surface.computed], ".", color=colour, ms=3.0)
    _band(ax, surface, field, values, colour)
    return curve


def steadied(surface: Surface, field: str) -> Array:
    """The values to draw of a field: their mean where they differ by rounding alone."""
    values = known(surface, shown(surface, field))
    return np.where(np.isfinite(values), np.nanmean(values), values) if is_rounding(surface, field) else values


def is_rounding(surface: Surface, field: str) -> bool:
    """Return whether the values of a line slice differ by no more than rounding."""
    values = known(surface, shown(surface, field))
    values = values[np.isfinite(values)]
    if surface.repeat is not None or values.size < 2:
        return False
    within = _ROUNDING.get(str(surface.meta.get("dtype")), _ROUNDING_OF_OTHERS)
    return 0 < float(np.ptp(values)) <= within * float(np.abs(values).max())


def _values(ax: Axes, x: Array, values: Array, look: dict[str, Any]) -> Artist:
    """A curve; a point whose neighbours are both missing would vanish from it, so it gets a dot."""
    there = np.isfinite(values)
    lonely = there & ~np.append(there[1:], False) & ~np.append(False, there[:-1])
    ax.plot(x[lonely], values[lonely], ".", color=look["color"])
    return ax.plot(x, values, **look)[0]


def is_preview(surface: Surface) -> bool:
    """Return whether some of the values are interpolated."""
    return surface.computed is not None and not surface.computed.all()


def _band(ax: Axes, surface: Surface, field: str, values: Array, colour: str) -> None:
    if not _has_errors(surface, field):
        return
    width = surface.standard_errors[field] * (100.0 if is_share(field) else 1.0)
    if is_preview(surface):
        # Between computed points, of which no two may be neighbours, there is no standard error to fill with.
        ax.errorbar(surface.x, values, width, fmt="none", ecolor=colour, elinewidth=1.2, alpha=0.35, zorder=1.5)
        return
    ax.fill_between(surface.x, values - width, values + width, color=colour, alpha=_BAND, lw=0, zorder=1.5)


def _has_errors(surface: Surface, field: str) -> bool:
    return field in surface.standard_errors and bool(np.isfinite(surface.standard_errors[field]).any())


def step_label(meta: Mapping[str, Any]) -> str:
    """Label the axis of a line slice: how far weights move along its direction, or where along training."""
    label = axis_label(meta, 0)
    return label if meta.get("along") else f"step α along {label}" if "direction" in label else label


def draw_centre(ax: Axes, surface: Surface, label: str | None = None, dash: Any = (0, (4, 2))) -> list[Artist]:
    """Draw a thin vertical line at the trained weights, where the slice holds them.

    Args:
        ax: Where to draw.
        surface: A 1-D slice.
        label: For a legend; by default which weights these are.
        dash: A line style.

    Returns:
        The line, or nothing.
    """
    # Along training, 0 is where it began.
    if surface.meta.get("along") or not surface.x[0] <= 0 <= surface.x[-1]:
        return []
    look: dict[str, Any] = {"color": mpl.rcParams["axes.labelcolor"], "lw": 0.7, "ls": dash, "zorder": 1}
    return [ax.axvline(0.0, label=label or centre_label(surface.meta), **look)]


def draw_threshold(ax: Axes, surface: Surface, colour: str) -> dict[str, Artist]:
    """Draw the threshold of a curve along training as a dashed line, if it has one.

    Args:
        ax: Where to draw.
        surface: A 1-D slice; see `training_curves.curve_of`.
        colour: Of the line.

    Returns:
        Words -> a handle for a legend.
    """
    threshold = surface.meta.get("threshold")
    if not threshold:
        return {}
    look: dict[str, Any] = {"ls": (0, (4, 2)), "lw": 0.8}
    ax.axhline(threshold["value"], color=colour, zorder=1.2, **look)
    words = str(threshold["words"])
    return {words: Line2D([], [], color=mpl.rcParams["axes.labelcolor"], label=words, **look)}


def side_handles(surface: Surface, fields: list[str]) -> list[Artist]:
    """Return legend handles for all that accompanies curves: bands, single lines, dots where computed."""
    if surface.repeat is not None:
        return line_handles(surface)
    grey, handles = mpl.rcParams["axes.labelcolor"], list[Artist]()
    if is_preview(surface):
        handles.append(Line2D([], [], marker=".", ms=4.0, ls="none", color=grey, label="computed points"))
    if any(_has_errors(surface, field) for field in fields):
        handles.append(Patch(color=grey, alpha=_BAND, lw=0, label="± standard error"))
    flat = [split_name(parts(field)[0]) for field in fields if is_rounding(surface, field)]
    if flat:
        label = CONSTANT if len(flat) == len(fields) else f"{', '.join(flat)} {CONSTANT}"
        handles.append(Line2D([], [], ls="none", label=label))
    return handles


def mark_gaps(ax: Axes, surface: Surface, field: str, colour: str, rank: int, name: str = "") -> list[Artist]:
    """Mark where values are missing at the foot or the top of the axes, and say how many.

    Args:
        ax: Where to draw.
        surface: A 1-D slice.
        field: One of its fields.
        colour: Of the marks.
        rank: How many fields were marked on these axes before; their marks stand above each other.
        name: What the values are called in the legend, where there are several.

    Returns:
        Legend handles.
    """
    handles: list[Artist] = []
    for gap in gaps(surface, field):
        marker, height = _GAP_MARKS[gap.name]
        where = surface.x[gap.mask.reshape(-1, len(surface.x)).any(axis=0)]
        label = f"{name} {gap.label}".strip()
        look: dict[str, Any] = {"color": colour, "ls": "none", "ms": 3.5, "mew": 0.8, "label": label}
        ax.plot(
            where,
            np.full(len(where), height + 0.05 * rank * (1 if height < 0.5 else -1)),
            marker,
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            **look,
        )
        handles.append(Line2D([], [], marker=marker, **look))
    return handles

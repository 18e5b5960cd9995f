"""A line slice as curves: losses above, errors below, with what is undefined or infinite said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.gaps import gaps, known
from landscape.render.labels import (
    Page,
    centre_label,
    field_label,
    fit_label,
    inches,
    is_share,
    name_axes,
    page,
    parts,
    points,
    put_caption,
    put_foot,
    shown,
    split_name,
    unit,
    with_notes,
)
from landscape.render.legend import legend_above
from landscape.render.repeats import STATISTICS, caption_of, draw_lines, line_handles
from landscape.render.scale import LINE_DECADES, Array, wants_log
from landscape.render.style import ONE_COLUMN, Sheet

if TYPE_CHECKING:
    from landscape.surface.values import Surface

# Where on the axes each kind of gap is marked, in shares of their height, and how.
_GAP_MARKS = {"infinite": ("^", 0.97), "undefined (NaN)": ("x", 0.03), "not computed": ("|", 0.03)}


def curve(
    surface: Surface,
    ax: Axes | None = None,
    *,
    metrics: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw a line slice: one panel for each metric, one curve for each split.

    A metric whose values are positive and span more than two decades gets a logarithmic axis, and its
    label says so. Bands are plus and minus one standard error. NaN leaves a gap, with a cross at the foot;
    an infinite value is an arrowhead at the top. Of repeats every line is drawn thin and grey, with the
    median and the band between the 10 and 90 % quantiles of each split.

    Args:
        surface: A 1-D slice.
        ax: Where to draw the first metric only; by default a new figure with a panel for each, and a caption.
        metrics: Which metrics; by default all, in the order of the file.
        splits: Which splits; by default all.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on: a new one when `ax` is None.

    Raises:
        LandscapeError: If the slice is 2-D, or has no such metric or split.

    Example:
        >>> curve(surface, metrics=["loss"]).savefig("loss.pdf")  # doctest: +SKIP
    """
    panels = chosen(surface, metrics, splits)
    if ax is not None:
        _panel(surface, next(iter(panels.values())), ax, set())
        name_axes(ax, surface.meta, flat=False)
        return page(ax)
    height = 1.0 + 1.5 * len(panels) + (0.0 if surface.repeat is None else STATISTICS)
    sheet = Sheet(ONE_COLUMN, height, rc)
    with sheet.styled():
        stack(surface, panels, sheet)
        if surface.repeat is None:
            put_caption(sheet, surface.meta)
        else:
            put_foot(sheet, caption_of(surface, next(iter(panels.values()))[0], surface.meta))
    return sheet


def chosen(
    surface: Surface, metrics: Sequence[str] | None = None, splits: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """The fields to draw of a line slice, by metric.

    Raises:
        LandscapeError: If the slice is 2-D, or has no such metric or split.
    """
    if surface.y is not None:
        raise LandscapeError("a line slice is needed here", got="a plane", mend="draw it with contour")
    named = [(field, *parts(field)) for field in surface.fields]
    _known_names("split", splits, [split for _, split, _ in named])
    _known_names("metric", metrics, [metric for _, _, metric in named])
    panels: dict[str, list[str]] = {metric: [] for metric in metrics or []}
    for field, split, metric in named:
        if (metrics is None or metric in metrics) and (splits is None or split in splits):
            panels.setdefault(metric, []).append(field)
    panels = {metric: fields for metric, fields in panels.items() if fields}
    if not panels:
        raise LandscapeError("the surface has no values to draw")
    return panels


def _known_names(what: str, asked: Sequence[str] | None, have: list[str]) -> None:
    for name in asked or []:
        if name not in have:
            raise LandscapeError(f"the surface has no {what} '{name}'", mend=did_you_mean(name, sorted(set(have))))


def stack(surface: Surface, panels: dict[str, list[str]], fig: Page) -> list[Axes]:
    """Draw panels above each other with one x axis; the first is the tallest and carries the legend.

    Args:
        surface: A 1-D slice.
        panels: The fields of each panel.
        fig: A figure or subfigure to fill.

    Returns:
        The axes, from the top.
    """
    ratios = [1.5] + [1.0] * (len(panels) - 1)
    grid = fig.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios)
    axes = list(grid[:, 0])
    said: set[str] = set()
    for fields, ax in zip(panels.values(), axes, strict=True):
        _panel(surface, fields, ax, said)
    name_axes(axes[-1], surface.meta, flat=False)
    fig.align_ylabels(axes)
    return axes


def _panel(surface: Surface, fields: list[str], ax: Axes, said: set[str]) -> None:
    """One metric: its curves, bands, gaps, axis, and a legend of what no panel above has said."""
    drawn = {field: known(surface, shown(surface, field)) for field in fields}
    log = not is_share(fields[0]) and wants_log(np.concatenate(list(drawn.values())), LINE_DECADES)
    handles: list[Artist] = []
    for rank, (field, values) in enumerate(drawn.items()):
        if surface.repeat is not None:
            handles += draw_lines(ax, surface, field, f"C{rank}")
            continue
        handles.append(_line(ax, surface.x, values, f"C{rank}", split_name(parts(field)[0])))
        handles += _dots(ax, surface, values, f"C{rank}")[: rank == 0]
        _band(ax, surface, field, values, f"C{rank}")
    centre = _centre(ax, surface)
    ax.set_xlim(surface.x[0], surface.x[-1])
    if log:
        ax.set_yscale("log")
    elif is_share(fields[0]):
        ax.set_ylim(bottom=0.0)
    ax.locator_params(axis="x", nbins=5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylabel(fit_label(_y_label(fields, surface, log), inches(ax)[1], points(ax.yaxis.label)))
    if surface.repeat is None:
        handles += [*centre, *_band_handle(surface, fields)]
    else:
        handles += [*centre, *line_handles(surface)]
    handles += _mark_gaps(ax, surface, fields)
    legend_above(ax, [handle for handle in handles if handle.get_label() not in said])
    said.update(str(handle.get_label()) for handle in handles)


def _centre(ax: Axes, surface: Surface) -> list[Artist]:
    """A dashed line at the trained weights, where the slice holds them."""
    if not surface.x[0] <= 0 <= surface.x[-1]:
        return []
    look: dict[str, Any] = {"color": mpl.rcParams["axes.labelcolor"], "lw": 0.7, "ls": (0, (4, 2)), "zorder": 1}
    return [ax.axvline(0.0, label=centre_label(surface.meta), **look)]


def _line(ax: Axes, x: Array, values: Array, colour: str, label: str) -> Artist:
    """A curve; a point whose neighbours are both missing would vanish from it, so it gets a dot."""
    there = np.isfinite(values)
    lonely = there & ~np.append(there[1:], False) & ~np.append(False, there[:-1])
    ax.plot(x[lonely], values[lonely], ".", color=colour)
    return ax.plot(x, values, color=colour, label=label)[0]


def _dots(ax: Axes, surface: Surface, values: Array, colour: str) -> list[Artist]:
    """Dots where a preview is computed, and their legend handle."""
    if not _is_preview(surface):
        return []
    ax.plot(surface.x[surface.computed], values[surface.computed], ".", color=colour, ms=3.0)
    grey = mpl.rcParams["axes.labelcolor"]
    return [Line2D([], [], marker=".", ms=4.0, ls="none", color=grey, label="computed points")]


def _is_preview(surface: Surface) -> bool:
    return surface.computed is not None and not surface.computed.all()


def _band(ax: Axes, surface: Surface, field: str, values: Array, colour: str) -> None:
    error = surface.standard_errors.get(field)
    if error is None or not np.isfinite(error).any():
        return
    width = error * (100.0 if is_share(field) else 1.0)
    if _is_preview(surface):
        # Between computed points, of which no two may be neighbours, there is no standard error to fill with.
        ax.errorbar(surface.x, values, width, fmt="none", ecolor=colour, elinewidth=1.2, alpha=0.35, zorder=1.5)
        return
    ax.fill_between(surface.x, values - width, values + width, color=colour, alpha=0.25, lw=0, zorder=1.5)


def _band_handle(surface: Surface, fields: list[str]) -> list[Artist]:
    errors = [surface.standard_errors[field] for field in fields if field in surface.standard_errors]
    if not any(np.isfinite(error).any() for error in errors):
        return []
    return [Patch(color=mpl.rcParams["axes.labelcolor"], alpha=0.25, lw=0, label="± standard error")]


def _mark_gaps(ax: Axes, surface: Surface, fields: list[str]) -> list[Artist]:
    """Mark where values are missing at the foot or the top of the axes, and say how many."""
    handles: list[Artist] = []
    for rank, field in enumerate(fields):
        for gap in gaps(surface, field):
            marker, height = _GAP_MARKS[gap.name]
            where = surface.x[gap.mask.reshape(-1, len(surface.x)).any(axis=0)]
            label = gap.label if len(fields) == 1 else f"{split_name(parts(field)[0])} {gap.label}"
            look: dict[str, Any] = {"color": f"C{rank}", "ls": "none", "ms": 3.5, "mew": 0.8, "label": label}
            ax.plot(
                where,
                # Two splits with the same gap stand above each other.
                np.full(len(where), height + 0.05 * rank * (1 if height < 0.5 else -1)),
                marker,
                transform=ax.get_xaxis_transform(),
                clip_on=False,
                **look,
            )
            handles.append(Line2D([], [], marker=marker, **look))
    return handles


def _y_label(fields: list[str], surface: Surface, log: bool) -> str:
    if len(fields) == 1:
        return field_label(fields[0], surface.meta, log=log)
    metric = parts(fields[0])[1]
    return with_notes(metric.replace("_", " "), unit(surface.meta, metric), "log scale" if log else "")

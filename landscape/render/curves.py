"""A line slice as curves: losses above, errors below, with what is undefined or infinite said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.labels import (
    Page,
    field_label,
    fit_label,
    inches,
    is_share,
    metric_name,
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
from landscape.render.line_marks import (
    draw_centre,
    draw_field,
    draw_threshold,
    mark_gaps,
    side_handles,
    step_label,
)
from landscape.render.log_axes import make_logarithmic
from landscape.render.look import current, of_metric
from landscape.render.missing_values import known
from landscape.render.notebook import drawn_on
from landscape.render.palette import split_look
from landscape.render.repeats import STATISTICS, caption_of
from landscape.render.scale import LINE_DECADES, Array, wants_log
from landscape.render.style import ONE_COLUMN, Sheet

if TYPE_CHECKING:
    from landscape.values.surface import Surface
# Of the height: a curve that lies on 0 would be hidden by the axis.
_BELOW_ZERO = 0.03


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
        _name_line(ax, surface)
        return drawn_on(ax)
    height = 1.0 + 1.5 * len(panels) + (0.0 if surface.repeat is None else STATISTICS)
    sheet = Sheet.grown(ONE_COLUMN, height, rc)
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
    for place, (fields, ax) in enumerate(zip(panels.values(), axes, strict=True)):
        with of_metric(place):
            _panel(surface, fields, ax, said)
    _name_line(axes[-1], surface)
    fig.align_ylabels(axes)
    return axes


def _name_line(ax: Axes, surface: Surface) -> None:
    width, size = max(inches(ax)[0], 1.5), points(ax.xaxis.label)
    ax.set_xlabel(fit_label(step_label(surface.meta), width, size))


def _panel(surface: Surface, fields: list[str], ax: Axes, said: set[str]) -> None:
    """One metric: its curves, bands, gaps, axis, and a legend of what no panel above has said."""
    names = {field: split_name(parts(field)[0]) for field in fields}
    splits = [parts(field)[0] for field in fields]
    looks = {field: split_look(split, splits) for field, split in zip(fields, splits, strict=True)}
    handles = [draw_field(ax, surface, f, looks[f][0], name, dash=looks[f][1]) for f, name in names.items()]
    edge = draw_threshold(ax, surface, mpl.rcParams["axes.labelcolor"])
    handles += [*draw_centre(ax, surface), *edge.values(), *side_handles(surface, fields)]
    for rank, (field, name) in enumerate(names.items()):
        handles += mark_gaps(ax, surface, field, looks[field][0], rank, name if len(names) > 1 else "")
    ax.set_xlim(surface.x[0], surface.x[-1])
    values = [known(surface, shown(surface, field)) for field in fields]
    log = set_scale(ax, fields[0], wants_log_axis(fields[0], values))
    limit(ax)
    ax.locator_params(axis="x", nbins=5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylabel(fit_label(y_label(fields, surface.meta, log), inches(ax)[1], points(ax.yaxis.label)))
    legend_above(ax, [handle for handle in handles if handle.get_label() not in said])
    said.update(str(handle.get_label()) for handle in handles)


def wants_log_axis(field: str, values: Sequence[Array]) -> bool:
    """Return whether a metric has a logarithmic axis, as it wants or the look asks; errors have a linear one."""
    return asked_log(not is_share(field) and wants_log(np.concatenate([v.ravel() for v in values]), LINE_DECADES))


def asked_log(suiting: bool) -> bool:
    """Return whether an axis of values is logarithmic: as the look in use has it, or else as suits."""
    look = current()
    # A logarithmic axis has no place for a lower end of 0 or less.
    return suiting and not (look.vmin is not None and look.vmin <= 0) if look.log is None else look.log


def limit(ax: Axes) -> None:
    """Give an axis of values the limits that the look in use asks for.

    Raises:
        LandscapeError: If it is logarithmic and nothing on it is positive, or the limits leave nothing between.
    """
    look = current()
    if look.vmin is not None:
        ax.set_ylim(bottom=look.vmin)
    if look.vmax is not None:
        ax.set_ylim(top=look.vmax)
    if look.log and not np.isfinite(ax.dataLim.minposy):
        raise LandscapeError("a logarithmic axis has positive values only", got="none", mend="leave out log")
    low, high = ax.get_ylim()
    if look.scaled and not low < high:
        least, most = ax.dataLim.intervaly
        raise LandscapeError(
            "no value lies within the limits of the axis",
            got=f"values from {least:g} to {most:g}",
            mend="give another vmin or vmax",
        )


def set_scale(ax: Axes, field: str, log: bool) -> bool:
    """Make the y axis logarithmic, or begin shares and distances just below 0, in sight; returns `log`."""
    if log:
        make_logarithmic(ax.yaxis)
    elif is_share(field) or parts(field)[1] == "distance":
        ax.set_ylim(bottom=-_BELOW_ZERO * ax.get_ylim()[1])
    return log


def y_label(fields: Sequence[str], meta: Mapping[str, Any], log: bool) -> str:
    """Name the curves of one metric: by the field, or by the metric where there are several."""
    if len(fields) == 1:
        return field_label(fields[0], meta, log=log)
    metric = parts(fields[0])[1]
    return with_notes(metric_name(metric, meta), unit(meta, metric), "log scale" if log else "")

"""Paths between models: loss and error along them with their barriers, and the matrix of barriers of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from landscape.errors import LandscapeError
from landscape.render.contours import ink_on
from landscape.render.curves import limit, set_scale, wants_log_axis, y_label
from landscape.render.dendrogram import TREE, Tree, draw_tree, reordered
from landscape.render.labels import (
    DOT,
    caption,
    field_label,
    fit_label,
    inches,
    is_share,
    page,
    parts,
    points,
    put_foot,
    split_name,
    unit,
)
from landscape.render.legend import legend_above
from landscape.render.look import current, of_metric
from landscape.render.notebook import drawn_on
from landscape.render.palette import dash_of, marks_along, run_colours, split_look
from landscape.render.scale import tell
from landscape.render.style import ONE_COLUMN, Sheet

if TYPE_CHECKING:
    from landscape.values.probes import Barriers, Interpolation

_POLICIES = {"frozen": "frozen", "interpolate": "interpolated", "recalibrate": "recalibrated"}
# Inches for a cell of a matrix that holds a number of four digits.
_CELL = 0.42


def interpolation(
    curves: Interpolation | Sequence[Interpolation],
    ax: Axes | None = None,
    *,
    metrics: Sequence[str] | None = None,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw the loss and the error along paths between two models, with the barrier of each in the legend.

    A colour is a path or a policy for normalisation statistics, a dash is a split. The barrier is that of the
    first split, max L - (L(0) + L(1)) / 2 on [0, 1].

    Args:
        curves: One or several, of the same two models.
        ax: Where to draw the first metric only; by default a new figure with a panel for each, and a caption.
        metrics: Which metrics; by default all.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on.

    Raises:
        LandscapeError: If there are none, or no such metric.

    Example:
        >>> interpolation([frozen, recalibrated]).savefig("line.pdf")  # doctest: +SKIP
    """
    given = list(curves) if isinstance(curves, Sequence) else [curves]
    drawn = _distinct(given)
    if not drawn:
        raise LandscapeError("there is no path to draw")
    wanted = _metrics(drawn, metrics)
    if ax is not None:
        _panel(ax, drawn, wanted[0], first=True)
        _name_line(ax, drawn)
        return drawn_on(ax)
    # A legend takes a line for each path, and one for the splits.
    sheet = Sheet.grown(ONE_COLUMN, 1.5 + 1.35 * len(wanted) + 0.17 * len(drawn), rc)
    with sheet.styled():
        ratios = [1.5] + [1.0] * (len(wanted) - 1)
        grid = sheet.subplots(len(wanted), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        for place, (metric, panel) in enumerate(zip(wanted, grid, strict=True)):
            with of_metric(place):
                _panel(panel, drawn, metric, first=place == 0)
        _name_line(grid[-1], drawn)
        sheet.align_ylabels(list(grid))
        put_foot(sheet, _caption(drawn, len(given) > len(drawn)))
    return sheet


def _distinct(curves: list[Interpolation]) -> list[Interpolation]:
    """Without those that policies for statistics repeat, where the model has no statistics."""

    def repeats(place: int, curve: Interpolation) -> bool:
        return any(other.path == curve.path and other.bn != curve.bn for other in curves[:place])

    return [c for i, c in enumerate(curves) if c.meta.get("statistics", True) or not repeats(i, c)]


def _metrics(curves: Sequence[Interpolation], asked: Sequence[str] | None) -> list[str]:
    have = list(dict.fromkeys(parts(field)[1] for curve in curves for field in curve.fields))
    for metric in asked or []:
        if metric not in have:
            raise LandscapeError(f"the path has no metric '{metric}'", mend="it has " + ", ".join(have))
    return list(asked or have)


def _panel(ax: Axes, curves: Sequence[Interpolation], metric: str, *, first: bool) -> None:
    fields = [field for field in curves[0].fields if parts(field)[1] == metric]
    splits = [parts(field)[0] for field in fields]
    factor = 100.0 if is_share(fields[0]) else 1.0
    names = [_name(curve, curves) for curve in curves]
    colours, marks = run_colours(names), marks_along(names)
    for name, curve in zip(names, curves, strict=True):
        for field, split in zip(fields, splits, strict=True):
            values = np.where(np.isfinite(curve[field]), factor * curve[field], np.nan)
            colour = split_look(split, splits)[0] if len(names) == 1 else colours[name]
            ax.plot(curve.t, values, color=colour, ls=dash_of(split, splits), **marks[name])
            beyond = curve.t[np.isinf(curve[field])]
            # The layout would keep room for marks that are nowhere.
            if len(beyond):
                ax.plot(beyond, np.full(len(beyond), 0.97), "^", color=colour, ms=3.5, **_at_top(ax))
    ink = mpl.rcParams["axes.labelcolor"]
    for end in (0.0, 1.0):
        ax.axvline(end, color=ink, lw=0.7, ls=(0, (4, 2)), zorder=1)
    log = set_scale(ax, fields[0], wants_log_axis(fields[0], [curve[f] for curve in curves for f in fields]))
    limit(ax)
    ax.set_xlim(curves[0].t[0], curves[0].t[-1])
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylabel(fit_label(y_label(fields, curves[0].meta, log), inches(ax)[1], points(ax.yaxis.label)))
    if first:
        handles: list[Artist] = [
            Line2D([], [], color=colours[name], label=f"{name}barrier {_told(curve, splits[0])}", **marks[name])
            for name, curve in zip(names, curves, strict=True)
        ]
        if len(splits) > 1:
            handles += [
                Line2D(
                    [],
                    [],
                    color=split_look(split, splits)[0] if len(names) == 1 else ink,
                    ls=dash_of(split, splits),
                    label=split_name(split),
                )
                for split in splits
            ]
        legend_above(ax, handles)


def _at_top(ax: Axes) -> dict[str, Any]:
    return {"transform": ax.get_xaxis_transform(), "ls": "none", "clip_on": False}


def _name(curve: Interpolation, curves: Sequence[Interpolation]) -> str:
    """Name what sets a curve apart from the others: its path, or its policy; empty for a lone one."""
    said = []
    if len({other.path for other in curves}) > 1:
        said.append({"bezier": "Bézier curve", "chain": "polygonal chain"}.get(curve.path, curve.path))
    if len({other.bn for other in curves}) > 1:
        said.append(_POLICIES[curve.bn])
    return ", ".join(said) + ": " if said else ""


def _told(curve: Interpolation, split: str) -> str:
    """The barriers of a path on a split, with their units: ``"1.9 nats, 45 %"``."""
    said = []
    for field in (field for field in curve.fields if parts(field)[0] == split):
        height = curve.barrier_of(field) * (100.0 if is_share(field) else 1.0)
        number = "undefined" if math.isnan(height) else "infinite"
        if math.isfinite(height):
            number = f"{tell([float(f'{height:.2g}')])[0]} {unit(curve.meta, parts(field)[1])}".strip()
        said.append(number)
    return ", ".join(said)


def _name_line(ax: Axes, curves: Sequence[Interpolation]) -> None:
    start, end = curves[0].labels
    ax.set_xlabel(fit_label(f"t, from {start} at 0 to {end} at 1", inches(ax)[0], points(ax.xaxis.label)))


def _caption(curves: Sequence[Interpolation], fewer: bool = False) -> str:
    first = curves[0]
    said = [caption(first.meta), _statistics([curve.bn for curve in curves], first.meta)]
    if fewer:
        said.append("the model has no normalisation statistics: one curve for all policies")
    said.append(f"distance {first.distance:.3g}")
    said.append("barrier: max L(t) − (L(0) + L(1))/2 on [0, 1]")
    return DOT.join(part for part in said if part)


def _statistics(policies: Sequence[str], meta: Mapping[str, Any]) -> str:
    """Describe the policy for normalisation statistics; empty where the model has none."""
    if not meta.get("statistics", True):
        return ""
    return f"normalisation statistics {', '.join(dict.fromkeys(_POLICIES[policy] for policy in policies))}"


def _matrix_caption(found: Barriers) -> str:
    said = [caption(found.meta), _statistics([found.bn], found.meta), f"{found.points} points on each line"]
    said += ["all aligned"] if "aligned" in found.meta else []
    return DOT.join(part for part in said if part)


def barriers(
    found: Barriers,
    field: str | None = None,
    ax: Axes | None = None,
    *,
    dendrogram: bool = False,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw the barriers between each two of several models as a matrix, with their numbers in it.

    Args:
        found: The barriers.
        field: ``"<split>_<metric>"``; by default the first.
        ax: Where to draw; by default a new figure with a caption.
        dendrogram: Order the models by average linkage of their barriers, and draw the tree above the matrix.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on.

    Raises:
        LandscapeError: If a barrier is not finite, and a tree is asked for.
    """
    name = next(iter(found.fields)) if field is None else field
    tree = None
    if dendrogram:
        tree = Tree.of(found[name])
        found = reordered(found, tree.order)
    _ = found[name]
    if ax is not None:
        _matrix(ax, found, name, tree)
        return drawn_on(ax)
    size = max(2.0, _CELL * len(found.names))
    longest = max(len(label) for label in found.names)
    side = size + min(1.2, 0.06 * longest) + 0.3
    height = side + 0.5 + (0.0 if tree is None else TREE * size)
    sheet = Sheet.grown(max(ONE_COLUMN, side + 0.8), height, rc)
    with sheet.styled():
        _matrix(sheet.add_subplot(), found, name, tree)
        put_foot(sheet, _matrix_caption(found))
    return sheet


def _matrix(ax: Axes, found: Barriers, field: str, tree: Tree | None) -> None:
    values = found[field] * (100.0 if is_share(field) else 1.0)
    count = len(found.names)
    known = values[np.isfinite(values)]
    top = float(known.max()) if known.size and known.max() > 0 else 1.0
    look = current()
    ends = (0.0 if look.vmin is None else look.vmin, top if look.vmax is None else look.vmax)
    norm, colours = Normalize(*ends, clip=True), colormaps[look.cmap or mpl.rcParams["image.cmap"]]
    image = ax.imshow(np.where(np.isfinite(values), values, top), norm=norm, cmap=colours)
    for row in range(count):
        for column in range(count):
            number = float(values[row, column])
            text = "–" if row == column else "∞" if math.isinf(number) else f"{number:.2g}"
            ink = ink_on(colours(norm(number if math.isfinite(number) else top)))
            ax.text(column, row, text, ha="center", va="center", color=ink, size=7.0)
    ax.set_xticks(range(count), list(found.names), rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(count), list(found.names))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = page(ax).colorbar(image, ax=ax, fraction=0.05, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(f"barrier of the {field_label(field, found.meta)}")
    if tree is not None:
        draw_tree(ax, tree, 100.0 if is_share(field) else 1.0)

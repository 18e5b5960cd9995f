"""Basins: what noise does to the loss, how far it stays low, and what becomes of branches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from landscape.errors import LandscapeError
from landscape.render.curves import asked_log, limit, set_scale, y_label
from landscape.render.labels import (
    DOT,
    caption,
    field_label,
    fit_label,
    inches,
    is_share,
    parts,
    points,
    put_foot,
    split_name,
    with_notes,
)
from landscape.render.legend import legend_above
from landscape.render.log_axes import make_logarithmic
from landscape.render.look import of_metric
from landscape.render.palette import meaning, split_look
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet, has_room

if TYPE_CHECKING:
    from landscape.values.probes import Perturbation, Profile, Retraining

_DIRECTIONS = {
    "random": "random",
    "filter": "filter-normalised",
    "gradient": "gradient",
    "top": "top eigenvector",
}
_BAND = 0.25
# Inches at 8-point type that curves and radii need beside each other.
_WIDE = 4.8


def perturbation(found: Perturbation | Sequence[Perturbation], *, rc: Mapping[str, Any] | None = None) -> Figure:
    """Draw a basin: means under noise with the band over draws, and radii along directions.

    Of several snapshots, in the order of their steps: the rise of the loss under the largest noise, and radii,
    over the steps. An infinite radius is an arrowhead at the top.

    Args:
        found: One snapshot, or several of one run.
        rc: rcParams; by default `style.paper`.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there are none.
    """
    basins = list(found) if isinstance(found, Sequence) else [found]
    if not basins:
        raise LandscapeError("there is no basin to draw")
    return _over_time(basins, rc) if len(basins) > 1 else _one(basins[0], rc)


def _one(basin: Perturbation, rc: Mapping[str, Any] | None) -> Figure:
    profile = basin.profile
    metrics = list(dict.fromkeys(parts(field)[1] for field in profile.fields))
    height = 1.0 + 1.15 * max(2, len(metrics))
    beside = has_room(_WIDE)
    sheet = Sheet.grown(TWO_COLUMNS, height, rc) if beside else Sheet.grown(ONE_COLUMN, 1.9 * height, rc)
    with sheet.styled():
        if beside:
            left, right = sheet.subfigures(1, 2, width_ratios=[1.25, 1.0], squeeze=False)[0]
        else:
            left, right = sheet.subfigures(2, 1, height_ratios=[1.25, 1.0], squeeze=False)[:, 0]
        axes = left.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for place, (metric, ax) in enumerate(zip(metrics, axes, strict=True)):
            fields = [field for field in profile.fields if parts(field)[1] == metric]
            with of_metric(place):
                _profile(ax, profile, fields, legend=place == 0)
        axes[-1].set_xlabel(_axis_of(profile, axes[-1]))
        left.align_ylabels(list(axes))
        _bars(right.add_subplot(), basin)
        put_foot(sheet, _foot([basin]))
    return sheet


def _foot(basins: Sequence[Perturbation]) -> str:
    """Describe what was drawn, and what bands are."""
    draws = len(basins[0].profile.sizes)
    meta = dict(basins[0].meta)
    if len(basins) > 1:
        meta = {key: value for key, value in meta.items() if key not in ("step", "epoch")}
    said = f"{draws} draws of the noise; bands are their 10–90 % quantiles" if draws > 1 else "1 draw of the noise"
    return DOT.join(part for part in (caption(meta), said) if part)


def _axis_of(profile: Profile, ax: Axes) -> str:
    label = with_notes(f"scale of the {profile.mode} noise", profile.unit)
    return fit_label(label, inches(ax)[0], points(ax.xaxis.label))


def _profile(ax: Axes, profile: Profile, fields: Sequence[str], *, legend: bool) -> None:
    """The median over draws with the band between the 10 and 90 % quantiles."""
    factor = 100.0 if is_share(fields[0]) else 1.0
    handles: list[Artist] = []
    splits = [parts(field)[0] for field in fields]
    for field, split in zip(fields, splits, strict=True):
        colour, dash = split_look(split, splits)
        low, middle, high = np.quantile(factor * profile[field], [0.1, 0.5, 0.9], axis=0)
        ax.fill_between(profile.scales, low, high, color=colour, alpha=_BAND, lw=0)
        label = f"{split_name(parts(field)[0])} median"
        handles += ax.plot(profile.scales, middle, color=colour, ls=dash, label=label)
    log = set_scale(ax, fields[0], asked_log(False))
    limit(ax)
    ax.set_xlim(profile.scales[0], profile.scales[-1])
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylabel(fit_label(y_label(fields, profile.meta, log), inches(ax)[1], points(ax.yaxis.label)))
    if legend:
        handles.append(Patch(color=mpl.rcParams["axes.labelcolor"], alpha=_BAND, lw=0, label="10–90 %"))
        legend_above(ax, handles)


def _bars(ax: Axes, basin: Perturbation) -> None:
    """Every radius as a dot on a line of its kind of direction."""
    names = list(basin.radii)
    # One decade around what is there, so that what is infinite has a place beside it.
    finite = np.concatenate([r.radii[np.isfinite(r.radii)] for r in basin.radii.values()] or [np.ones(1)])
    finite = finite[finite > 0]
    for row, name in enumerate(names):
        radii = basin.radii[name].radii
        inside = radii[np.isfinite(radii)]
        ax.plot(inside, np.full(len(inside), row), "o", color=f"C{row}", ms=4.0, alpha=0.6, mew=0)
        beyond = int(np.isinf(radii).sum())
        if beyond:
            said = "infinite" if beyond == len(radii) else f"{beyond} of {len(radii)} infinite"
            ax.annotate(f"{said} →", (0.98, row), xycoords=ax.get_yaxis_transform(), ha="right", va="bottom")
        elif np.isnan(radii).all():
            ax.annotate("undefined", (0.5, row), xycoords=ax.get_yaxis_transform(), ha="center", va="bottom")
    make_logarithmic(ax.xaxis)
    if finite.size:
        ax.set_xlim(finite.min() / 2, finite.max() * 2)
    ax.set_yticks(
        range(len(names)), [_DIRECTIONS[name].replace(" ", "\n").replace("-", "-\n", 1) for name in names]
    )
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", color=mpl.rcParams["grid.color"], lw=0.4)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(fit_label(_radius_label(basin), inches(ax)[0], points(ax.xaxis.label)))


def _radius_label(basin: Perturbation) -> str:
    measure = str((basin.meta.get("units") or {}).get("loss") or "")
    rise = f"{basin.rise:g} {measure}".strip()
    return f"distance to a rise of {rise} (norm of the weights {basin.norm:.3g})"


def _over_time(basins: Sequence[Perturbation], rc: Mapping[str, Any] | None) -> Figure:
    steps = np.array([basin.meta.get("step", place) for place, basin in enumerate(basins)])
    sheet = Sheet.grown(ONE_COLUMN, 4.2, rc)
    with sheet.styled():
        upper, lower = sheet.subplots(2, 1, sharex=True, squeeze=False)[:, 0]
        _rises(upper, steps, basins)
        _radii(lower, steps, basins)
        lower.set_xlabel("step of training (optimizer updates)")
        sheet.align_ylabels([upper, lower])
        put_foot(sheet, _foot(basins))
    return sheet


def _rises(ax: Axes, steps: np.ndarray, basins: Sequence[Perturbation]) -> None:
    """The training loss with and without the largest noise."""
    field = next(iter(basins[0].profile.fields))
    profile = basins[0].profile
    factor = 100.0 if is_share(field) else 1.0
    ends = np.array([basin.profile[field][:, -1] for basin in basins]) * factor
    low, middle, high = np.quantile(ends, [0.1, 0.5, 0.9], axis=1)
    centre = np.array([basin.profile[field][0, 0] for basin in basins]) * factor
    ax.fill_between(steps, low, high, color=meaning("noisy").colour, alpha=_BAND, lw=0)
    handles: list[Artist] = [*ax.plot(steps, centre, color=meaning("found").colour, label="without noise")]
    handles += ax.plot(
        steps, middle, color=meaning("noisy").colour, label=f"{profile.mode} noise of {profile.scales[-1]:g}"
    )
    log = set_scale(ax, field, asked_log(bool((np.concatenate([centre, low]) > 0).all())))
    limit(ax)
    ax.set_ylabel(fit_label(field_label(field, profile.meta, log=log), inches(ax)[1], points(ax.yaxis.label)))
    ax.spines[["top", "right"]].set_visible(False)
    legend_above(ax, handles)


def _radii(ax: Axes, steps: np.ndarray, basins: Sequence[Perturbation]) -> None:
    handles: list[Artist] = []
    for rank, name in enumerate(basins[0].radii):
        every = [basin.radii[name].radii for basin in basins]
        middle = np.array([np.median(radii) for radii in every])
        colour, label = f"C{rank}", _DIRECTIONS[name]
        shown = np.where(np.isfinite(middle), middle, np.nan)
        handles += ax.plot(steps, shown, color=colour, label=label, marker="." if len(steps) < 30 else "")
        if len(every[0]) > 1:
            known = [np.where(np.isfinite(radii), radii, np.nan) for radii in every]
            bands = np.array([np.quantile(r, [0.1, 0.9]) for r in known]).T
            ax.fill_between(steps, *bands, color=colour, alpha=_BAND, lw=0)
        beyond = steps[np.isinf(middle)]
        look: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ls": "none", "clip_on": False}
        if len(beyond):
            ax.plot(beyond, np.full(len(beyond), 0.97 - 0.05 * rank), "^", color=colour, ms=3.5, **look)
            said = f"{label} infinite"
            handles.append(Line2D([], [], marker="^", ls="none", color=colour, ms=3.5, label=said))
    make_logarithmic(ax.yaxis)
    ax.set_ylabel(fit_label(f"{_radius_label(basins[0]).split(' (')[0]}", inches(ax)[1], 8.0))
    ax.spines[["top", "right"]].set_visible(False)
    legend_above(ax, handles)


def retraining(found: Retraining, *, rc: Mapping[str, Any] | None = None) -> Figure:
    """Draw what became of branches: their error, that of their midpoints, and how far apart they are, over epochs.

    A colour is a noise; thin lines are single branches. Controls, trained on without noise, are black.

    Args:
        found: The branches.
        rc: rcParams; by default `style.paper`.

    Returns:
        A new figure.
    """
    metric = "error" if any(parts(field)[1] == "error" for field in found.fields) else "loss"
    field = f"train_{metric}"
    starts = list(dict.fromkeys(found.starts.tolist()))
    sheet = Sheet.grown(TWO_COLUMNS, 0.5 + 2.1 * len(starts), rc)
    with sheet.styled():
        grid = sheet.subplots(len(starts), 3, sharex=True, squeeze=False)
        colours = {noise: f"C{rank}" for rank, noise in enumerate(dict.fromkeys(n for n in found.noises if n))}
        for row, start in zip(grid, starts, strict=True):
            _branch_errors(row[0], found, start, field, colours)
            _midpoint_errors(row[1], found, start, field, colours)
            _distances(row[2], found, start, colours)
            if len(starts) > 1:
                row[0].annotate(f"from step {start}", (0.02, 0.96), xycoords="axes fraction", va="top")
        for ax in grid[-1]:
            ax.set_xlabel("epochs since branching")
        put_foot(sheet, _foot_of_branches(found))
    return sheet


def _foot_of_branches(found: Retraining) -> str:
    meta = found.meta
    said = [caption({name: value for name, value in meta.items() if name != "bn"})]
    said += [f"retrained by {meta['optimizer']}"] if meta.get("optimizer") else []
    if meta.get("bn") and meta.get("statistics", True):
        said.append(f"statistics at midpoints {meta['bn']}d".replace("frozend", "frozen"))
    return DOT.join(part for part in said if part)


def _branch_errors(ax: Axes, found: Retraining, start: int, field: str, colours: Mapping[str, str]) -> None:
    handles: dict[str, Artist] = {}
    for place, noise in enumerate(found.noises):
        if found.starts[place] == start:
            values = _shown(found.fields[field][place], field)
            label = f"noise {noise}" if noise else "no noise (control)"
            handles[label] = _thin(ax, found.epochs, values, _colour(noise, colours), label)
    _finish(ax, f"{field_label(field, found.meta)} of branches", field)
    legend_above(ax, list(handles.values()))


def _midpoint_errors(ax: Axes, found: Retraining, start: int, field: str, colours: Mapping[str, str]) -> None:
    handles: dict[str, Artist] = {}
    for place, (i, j) in enumerate(found.pairs):
        if found.starts[i] == start:
            control = bool(found.with_control[place])
            noise = found.noises[j] or found.noises[i]
            label = "branch and control" if control else "two branches"
            values = _shown(found.midpoints[field][place], field)
            dash = "--" if control else "-"
            _thin(ax, found.epochs, values, _colour(noise, colours), label, dash)
            handles[label] = Line2D([], [], color=mpl.rcParams["axes.labelcolor"], ls=dash, label=label)
    _finish(ax, f"{field_label(field, found.meta)} of midpoints", field)
    legend_above(ax, list(handles.values()))


def _distances(ax: Axes, found: Retraining, start: int, colours: Mapping[str, str]) -> None:
    handles: dict[str, Artist] = {}
    ink = mpl.rcParams["axes.labelcolor"]
    for place, (i, _) in enumerate(found.pairs):
        if found.starts[i] == start and not found.with_control[place]:
            _thin(ax, found.epochs, found.between[place], _colour(found.noises[i], colours), "")
            handles["apart"] = Line2D([], [], color=ink, label="two branches")
    for place, noise in enumerate(found.noises):
        if found.starts[place] == start and noise:
            ax.axhline(found.kicks[place], color=_colour(noise, colours), lw=0.7, ls=":", zorder=1)
            handles["noise"] = Line2D([], [], color=ink, ls=":", lw=0.7, label="size of the noise")
    ax.set_ylim(bottom=0.0)
    _finish(ax, "distance", "")
    legend_above(ax, list(handles.values()))


def _shown(values: np.ndarray, field: str) -> np.ndarray:
    return np.where(np.isfinite(values), values * (100.0 if is_share(field) else 1.0), np.nan)


def _colour(noise: str, colours: Mapping[str, str]) -> str:
    return colours[noise] if noise else str(mpl.rcParams["axes.labelcolor"])


def _thin(ax: Axes, x: Any, y: Any, colour: str, label: str, dash: str = "-") -> Artist:
    return ax.plot(x, y, color=colour, lw=0.9, ls=dash, alpha=0.8, label=label)[0]


def _finish(ax: Axes, label: str, field: str) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    if field and is_share(field):
        # A curve at zero would lie on the axis and be cut in half by it.
        top = max((float(np.nanmax(line.get_ydata())) for line in ax.lines), default=math.nan)
        low, high = (-0.05, 1.0) if not top > 0 else (-0.05 * top, 1.1 * top)
        ax.set_ylim(low, high)
    ax.set_ylabel(fit_label(label, inches(ax)[1], points(ax.yaxis.label)))

"""Fidelity of a drawn trajectory: in one sentence, and in two panels over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.render.labels import fit_label, inches, points, unit, with_notes
from landscape.render.legend import legend_above
from landscape.render.log_axes import make_logarithmic
from landscape.render.palette import meaning
from landscape.render.scale import LINE_DECADES, Array, tell, wants_log

if TYPE_CHECKING:
    from landscape.values.surface import Path

_KINDS = {"real": meaning("real"), "in the plane": meaning("in-plane")}
# Distances from the plane below this share of the path's own extent are rounding of float32 weights.
_IN_PLANE = 1e-6


def verdict(path: Path, meta: Mapping[str, Any], name: str = "") -> str:
    """Say how much of a trajectory its picture in a plane shows.

    Args:
        path: The trajectory; NaN distances and losses are left out.
        meta: Of the surface; `plane.motion_held` is the share of the squared motion that lies in the plane, where
            the path itself does not say it.
        name: Of the run, where the plane has several.

    Returns:
        One line: what the plane holds, how far the path leaves it, and by how much the loss at the projected
        points differs from the loss of the snapshots.

    Example:
        >>> verdict(path, {"plane": {"motion_held": 0.83}})  # doctest: +SKIP
        'the plane holds 83 % of the motion; the path runs up to 4.1 off it; median |real − in-plane| loss 0.8'
    """
    held = _held(path, meta)
    said = [] if held is None else [f"the plane holds {_percent(held)} of the motion"]
    said += [_distance_words(path, "it" if said else "the plane"), _loss_words(path, unit(meta, "loss"))]
    return (f"{name}: " if name else "") + "; ".join(part for part in said if part)


def called(name: str, meta: Mapping[str, Any]) -> str:
    """The name of a run, with its seed where a plane has several runs and their seeds are known."""
    seed = (meta.get("seeds") or {}).get(name)
    return name if seed is None else f"{name}, seed {seed}"


def _held(path: Path, meta: Mapping[str, Any]) -> float | None:
    if math.isfinite(path.motion_held):
        return path.motion_held
    told = (meta.get("plane") or {}).get("motion_held")
    return None if told is None else float(told)


def short_verdict(path: Path, meta: Mapping[str, Any], name: str = "") -> str:
    """The verdict where there is little room: what the plane holds, and how far the path leaves it.

    Example:
        >>> short_verdict(path, {"plane": {"motion_held": 0.83}})  # doctest: +SKIP
        'holds 83 % of the motion; up to 4.1 off the plane'
    """
    held = _held(path, meta)
    said = [] if held is None else [f"holds {_percent(held)} of the motion"]
    far = _distance_words(path, "the plane").removeprefix("the path ").removeprefix("runs ")
    return (f"{name}: " if name else "") + "; ".join(part for part in (*said, far) if part)


def _percent(share: float) -> str:
    percent = 100 * share
    # 99.97 % must not be rounded to "all of it".
    digits = 0 if percent < 99 else 1 if percent < 99.9 else 2
    return f"{percent:.{digits}f} %" if share != 1 else "100 %"


def _distance_words(path: Path, plane: str) -> str:
    known = path.off_plane[np.isfinite(path.off_plane)]
    if not known.size:
        return ""
    far = float(known.max())
    extent = float(np.nanmax(np.hypot(path.x - path.x[-1], path.y - path.y[-1])))
    if far <= _IN_PLANE * extent:
        return f"the path stays in {plane}"
    return f"the path runs up to {_two_digits(far)} off {plane}"


def _loss_words(path: Path, measure: str) -> str:
    with np.errstate(invalid="ignore"):
        gap = np.abs(path.loss - path.plane_loss)
    known = gap[~np.isnan(gap)]
    if not known.size:
        return "in-plane loss not computed"
    middle = float(np.median(known))
    if np.isinf(middle):
        return "median |real − in-plane| loss infinite"
    return f"median |real − in-plane| loss {_two_digits(middle)} {measure}".rstrip()


def _two_digits(value: float) -> str:
    return tell([float(f"{value:.2g}")])[0]


def draw_distance(ax: Axes, paths: Mapping[str, Path], colours: Mapping[str, str] | None = None) -> None:
    """Draw how far each snapshot lies off the plane.

    Args:
        ax: Where to draw.
        paths: Name -> trajectory.
        colours: Of each of several.
    """
    for name, path in paths.items():
        ax.plot(
            path.step,
            path.off_plane,
            color=colours[name] if colours else meaning("off-plane").colour,
            marker=".",
            ms=2.5,
        )
    ax.set_ylim(bottom=0.0)
    if not max(np.nanmax(np.append(path.off_plane, 0.0)) for path in paths.values()) > 0:
        # All zero, or unknown: an axis of some height, without inventing a scale from rounding.
        ax.set_ylim(0.0, 1.0)
    _finish(ax, "off-plane distance (Euclidean)")


def draw_losses(
    ax: Axes, paths: Mapping[str, Path], meta: Mapping[str, Any], colours: Mapping[str, str] | None = None
) -> None:
    """Draw the loss of the snapshots beside the loss at their projections into the plane.

    Args:
        ax: Where to draw.
        paths: Name -> trajectory.
        meta: Of the surface, for the unit.
        colours: Of each of several, in which both its lines are drawn.
    """
    handles: list[Artist] = []
    for name, path in paths.items():
        for (label, own), losses in zip(_KINDS.items(), (path.loss, path.plane_loss), strict=True):
            colour = colours[name] if colours else own.colour
            look: dict[str, Any] = {"color": colour, "marker": own.marker, "ls": own.dash, "ms": 2.5}
            drawn = ax.plot(path.step, _finite(losses), label=label, **look)
            if not colours:
                handles += drawn
    if colours:
        ink = mpl.rcParams["axes.labelcolor"]
        handles = [Line2D([], [], color=ink, ls=own.dash, label=of) for of, own in _KINDS.items()]
    values = np.concatenate([np.append(path.loss, path.plane_loss) for path in paths.values()])
    log = wants_log(values, LINE_DECADES)
    if log:
        make_logarithmic(ax.yaxis)
    missing = sum(int((~np.isfinite(p.loss) | ~np.isfinite(p.plane_loss)).sum()) for p in paths.values())
    if missing:
        count = sum(len(path.step) for path in paths.values())
        # The losses of a path are the last to be computed.
        words = "not computed yet" if "coarse" in meta else f"not finite: {missing} of {count}"
        handles += ax.plot([], [], ls="none", label=words)
    _finish(ax, with_notes("loss", unit(meta, "loss"), "log scale" if log else ""))
    legend_above(ax, handles)


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _finish(ax: Axes, label: str) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.02)
    ax.set_ylabel(fit_label(label, max(1.2, inches(ax)[1]), points(ax.yaxis.label)))

"""Points on a map: the trained weights, named points, and the words beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from landscape.render.labels import centre_label, points

if TYPE_CHECKING:
    from landscape.values.surface import Surface


def mark_plane(ax: Axes, surface: Surface, centre: bool = True) -> list[Artist]:
    """Mark the trained weights and the named points of a plane.

    Args:
        ax: The axes that hold the map.
        surface: The slice; `meta["plane"]["marks"]` are the named points.
        centre: Whether to mark the origin, where no named point lies on it.

    Returns:
        Legend handles.
    """
    named = named_points(surface)
    for label, x, y in named:
        if _inside(ax, x, y):
            dot(ax, x, y, "o")
            write_beside(ax, label, x, y)
    taken = any(x == 0 and y == 0 for _, x, y in named)
    if not centre or taken or not _inside(ax, 0.0, 0.0):
        return []
    return [dot(ax, 0.0, 0.0, "*", centre_label(surface.meta))]


def mark_moved(ax: Axes, surface: Surface) -> list[Artist]:
    """Mark the snapshot that a plane was moved to, where it was moved to one.

    Args:
        ax: The axes that hold the map.
        surface: The slice; `meta["plane"]["moved_to"]` is the place of the snapshot.

    Returns:
        A legend handle.
    """
    place = (surface.meta.get("plane") or {}).get("moved_to")
    if not place or not _inside(ax, place["x"], place["y"]):
        return []
    return [dot(ax, place["x"], place["y"], "D", f"in this plane: step {place['step']}")]


def mark_computed(ax: Axes, surface: Surface) -> list[Artist]:
    """Dot the computed points of a map that is otherwise interpolated.

    Args:
        ax: The axes that hold the map.
        surface: A 2-D slice.

    Returns:
        A legend handle, or none where all points are computed.
    """
    if surface.computed is None or surface.computed.all() or surface.y is None:
        return []
    row, column = np.nonzero(surface.computed)
    look: dict[str, Any] = {"marker": ".", "ms": 1.6, "mew": 0.0, "color": "black", "alpha": 0.6, "ls": "none"}
    ax.plot(surface.x[column], surface.y[row], zorder=3, **look)
    return [Line2D([], [], **{**look, "ms": 4.0}, label="computed points")]


def mark_unconverged(ax: Axes, surface: Surface, field: str) -> list[Artist]:
    """Cross the points of a map of Hessian eigenvalues that have not converged, and count those that are bounds.

    Args:
        ax: The axes that hold the map.
        surface: A 2-D slice.
        field: The field drawn.

    Returns:
        A legend handle that counts them, or none.
    """
    split, _, metric = field.partition("_")
    converged = surface.fields.get(f"{split}_hessian_converged")
    if not metric.startswith("hessian") or converged is None or surface.y is None:
        return []
    known, handles = np.isfinite(surface.fields[field]), []
    row, column = np.nonzero((converged == 0) & known)
    if len(row):
        look: dict[str, Any] = {"marker": "x", "ms": 3.0, "mew": 0.7, "color": "black", "ls": "none"}
        ax.plot(surface.x[column], surface.y[row], zorder=3, **look)
        handles.append(Line2D([], [], **look, label=f"not converged: {len(row)} of {converged.size} points"))
    bounds = int(((converged > 0) & (converged < 1) & known).sum())
    if bounds and metric != "hessian_max":
        words = f"λmin is an upper bound: {bounds} of {converged.size} points"
        handles.append(Line2D([], [], ls="none", label=words))
    return list(handles)


def named_points(surface: Surface) -> list[tuple[str, float, float]]:
    """Label, x and y of the points that the plane was laid through."""
    marks = (surface.meta.get("plane") or {}).get("marks") or []
    return [(str(mark["label"]), float(mark["x"]), float(mark["y"])) for mark in marks]


def dot(ax: Axes, x: float, y: float, marker: str, label: str = "", rim: str = "black") -> Line2D:
    """A white marker with a black or coloured rim, visible on every colour; whole also on the edge of the map."""
    size = float(mpl.rcParams["lines.markersize"]) * (2.0 if marker == "*" else 1.2)
    look: dict[str, Any] = {
        "mfc": "white",
        "mec": rim,
        "mew": 0.7 if rim == "black" else 1.1,
        "ls": "none",
        "zorder": 6,
        "clip_on": False,
    }
    return ax.plot(x, y, marker=marker, ms=size, label=label, **look)[0]


def write_beside(ax: Axes, text: str, x: float, y: float, *, upward: bool = True) -> None:
    """Write a few words above (or below) a point, or on the side where the axes have room for them."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    across, along = (x - left) / (right - left), (y - low) / (high - low)
    # Words are about a third of the map wide and a tenth high: those near an edge turn inwards.
    side = "left" if across < 0.2 else "right" if across > 0.8 else "center"
    above = along < 0.1 or (upward and along < 0.85)
    ax.annotate(
        text,
        (x, y),
        xytext=({"left": 3, "center": 0, "right": -3}[side], 5 if above else -5),
        textcoords="offset points",
        ha=side,
        va="bottom" if above else "top",
        color="black",
        fontsize=0.85 * points(ax.xaxis.label),
        zorder=7,
        path_effects=[withStroke(linewidth=1.8, foreground="white")],
    )


def _inside(ax: Axes, x: float, y: float) -> bool:
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    return left <= x <= right and low <= y <= high

"""The line of a path over a map: its direction, its two ends, and what of it lies outside the picture."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from landscape.render.marks import dot, write_beside
from landscape.render.palette import END, INK, START
from landscape.render.scale import Array

# Where along the path the arrows sit, in shares of its length: enough to read the direction by.
_ARROWS = (0.2, 0.5, 0.8)
# How many snapshots next to an end say on which side of it the path lies.
_NEAR = 5


class Way(Protocol):
    """Drawn part of a path: steps and coordinates, each of shape (T,)."""

    @property
    def step(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def x(self) -> Array: ...  # noqa: D102
    @property
    def y(self) -> Array: ...  # noqa: D102


def draw_path(ax: Axes, path: Way, *, colour: str = INK, name: str = "", words: bool = True) -> list[Artist]:
    """Draw a path, its direction and its two ends: a dot where it begins, a star where it ends.

    Args:
        ax: Axes whose limits are set.
        path: The path.
        colour: Of its line.
        name: What it is called in the legend; by default how many snapshots it has.
        words: Whether to write the steps beside its ends.

    Returns:
        A legend handle.
    """
    casing = [Stroke(linewidth=2.4, foreground="white", alpha=0.8), Normal()]
    ax.plot(path.x, path.y, "-", color=colour, lw=1.1, zorder=4, path_effects=casing)
    ax.plot(path.x, path.y, ".", color=colour, ms=2.5, zorder=4.5)
    _arrows(ax, path, colour)
    for at, marker in ((0, START), (-1, END)):
        x, y = float(path.x[at]), float(path.y[at])
        if np.isfinite([x, y]).all() and _seen(ax, path)[at]:
            dot(ax, x, y, marker, rim="black" if colour == INK else colour)
            if words:
                # On the other side of where the path comes from or goes to.
                near = path.y[1 : 1 + _NEAR] if at == 0 else path.y[-1 - _NEAR : -1]
                upward = not (len(near) and float(np.nanmean(near)) > y)
                write_beside(ax, f"step {path.step[at]}", x, y, upward=upward)
    label = name or f"path of {len(path.step)} snapshots"
    outside = int((~_seen(ax, path)).sum())
    if outside:
        label += f", {outside} outside the picture"
    return [Line2D([], [], color=colour, lw=1.1, label=label, path_effects=casing)]


def _seen(ax: Axes, path: Way) -> Any:
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    # Half a percent: a snapshot on the very edge of the grid counts as inside in spite of rounding.
    dx, dy = 0.005 * (right - left), 0.005 * (high - low)
    across = (path.x >= left - dx) & (path.x <= right + dx)
    return across & (path.y >= low - dy) & (path.y <= high + dy)


def _arrows(ax: Axes, path: Way, colour: str) -> None:
    """Arrowheads along the path at even shares of its length, where the pieces are long enough."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    seen = _seen(ax, path)
    steps = np.hypot(np.diff(path.x) / (right - left), np.diff(path.y) / (high - low))
    length: Array = np.cumsum(np.where(np.isfinite(steps), steps, 0.0))
    if len(length) == 0 or length[-1] == 0:
        return
    for share in _ARROWS:
        i = int(np.searchsorted(length, share * length[-1]))
        # Pieces below 1 % of the axes are shorter than the arrowhead itself.
        if steps[i] < 0.01 or not (seen[i] and seen[i + 1]):
            continue
        tail, head = np.array([path.x[i], path.y[i]]), np.array([path.x[i + 1], path.y[i + 1]])
        look = {"arrowstyle": "-|>", "color": colour, "lw": 0.0, "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", tail + 0.9 * (head - tail), tail + 0.4 * (head - tail), arrowprops=look, zorder=5)

"""The field of projected negative gradients over a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from landscape.render.palette import INK

if TYPE_CHECKING:
    from landscape.values.surface import Surface

# The longest arrow, in distances between neighbouring arrows.
_LONGEST = 0.85
# A gradient this far below the largest is drawn as a dot by the square root all the same.
_SMALLEST = 1e-12


def draw_gradient(ax: Axes, surface: Surface) -> list[Artist]:
    """Draw an arrow at every point where a gradient was taken: the negative gradient, projected into the plane.

    An arrow points where the drawn loss falls fastest in weight space; it crosses lines at right angles where the
    directions are orthogonal and equally long. Its length goes by the square root of the projected gradient's.

    Args:
        ax: The axes that hold the map.
        surface: A 2-D slice.

    Returns:
        A legend handle, or none where no gradients were taken.
    """
    if not surface.gradient or surface.y is None:
        return []
    step_x, step_y = surface.gradient["step_x"], surface.gradient["step_y"]
    known = np.isfinite(step_x) & np.isfinite(step_y)
    row, column = np.nonzero(known)
    if not len(row):
        return []
    x, y, u, v = surface.x[column], surface.y[row], step_x[known], step_y[known]
    across, along = np.ptp(surface.x), np.ptp(surface.y)
    # As the eye sees it: in shares of the map, whatever the units of the axes are.
    size = np.hypot(u / across, v / along)
    apart = min(_distance(x) / across, _distance(y) / along)
    top = float(size.max())
    if top > 0:
        length = _LONGEST * apart * np.sqrt(np.maximum(size / top, _SMALLEST)) / np.maximum(size, _SMALLEST * top)
        quiver = ax.quiver(
            *(x, y, u * length, v * length),
            angles="xy",
            scale_units="xy",
            scale=1.0,
            color=INK,
            width=0.0035,
            headwidth=4.0,
            headlength=4.5,
            headaxislength=4.0,
            minlength=0.5,
            zorder=3.5,
        )
        quiver.set_path_effects([withStroke(linewidth=1.0, foreground="white", alpha=0.6)])
    return [Line2D([], [], color=INK, marker=r"$\rightarrow$", ls="none", ms=7, mew=0.2, label=_words(surface))]


def _distance(values: np.ndarray) -> float:
    """Between neighbours among some coordinates."""
    apart = np.diff(np.unique(values))
    return float(apart.min()) if len(apart) else 1.0


def _words(surface: Surface) -> str:
    share = surface.gradient["share"]
    known = share[np.isfinite(share)]
    held = f" (median {100 * float(np.median(known)):.2g} % of it)" if known.size else ""
    return f"−gradient in the plane{held},\nlength by its square root"

"""Points without a finite value: found, counted, hatched and named, never filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from landscape.render.scale import Array

if TYPE_CHECKING:
    from landscape.values.surface import Surface


@dataclass(frozen=True)
class Gap:
    """One reason why points have no finite value.

    Attributes:
        name: The reason.
        mask: Which points, in the shape of the field.
        hatch: The pattern of their area.
        grey: The shade of their area.
    """

    name: str
    mask: NDArray[np.bool_]
    hatch: str
    grey: str

    @property
    def label(self) -> str:
        """The reason and how many points it holds for, for a legend."""
        return f"{self.name}: {self.mask.sum()} of {self.mask.size} points"


def gaps(surface: Surface, field: str) -> list[Gap]:
    """The reasons why points of a field have no finite value; reasons that do not occur are left out.

    Args:
        surface: The slice.
        field: One of its fields.

    Returns:
        At most three: not computed, undefined (NaN), infinite.
    """
    values = surface.fields[field]
    missing = np.zeros(values.shape, bool) if surface.done is None else ~surface.done
    found = [
        Gap("not computed", missing, "....", "#F4F4F4"),
        Gap("undefined (NaN)", np.isnan(values) & ~missing, "/////", "#D9D9D9"),
        Gap("infinite", np.isinf(values) & ~missing, "xxxxx", "#BDBDBD"),
    ]
    return [gap for gap in found if gap.mask.any()]


def known(surface: Surface, values: Array) -> Array:
    """The values with NaN wherever a point is not computed or not finite, for drawing."""
    usable = np.isfinite(values) if surface.done is None else np.isfinite(values) & surface.done
    return np.where(usable, values, np.nan)


def hatch(ax: Axes, surface: Surface, found: list[Gap]) -> list[Patch]:
    """Hatch every grid square that touches a gap, below the colours that cover what is known.

    Args:
        ax: Where to draw.
        surface: The slice, for its coordinates.
        found: Its gaps.

    Returns:
        One legend handle for each gap.
    """
    handles = []
    for rank, gap in enumerate(found):
        look: dict[str, Any] = {"fc": gap.grey, "ec": "#6E6E6E", "hatch": gap.hatch, "lw": 0.0}
        # Below zorder 0.5 contourf (zorder 1) paints over the corners that it can draw itself.
        ax.add_patch(PathPatch(_squares(surface, gap.mask), zorder=0.1 + 0.1 * rank, **look))
        handles.append(Patch(label=gap.label, **look))
    return handles


def _squares(surface: Surface, mask: NDArray[np.bool_]) -> Path:
    """One outline of all the squares between grid points that touch the mask."""
    x, y = surface.x, surface.y
    if y is None:
        return Path(np.empty((0, 2)))
    j, i = np.nonzero(mask[:-1, :-1] | mask[1:, :-1] | mask[:-1, 1:] | mask[1:, 1:])
    left, right, low, high = x[i], x[i + 1], y[j], y[j + 1]
    corners = np.array([[left, low], [right, low], [right, high], [left, high], [left, low]])
    codes = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY])
    return Path(corners.transpose(2, 0, 1).reshape(-1, 2), np.tile(codes, len(i)))

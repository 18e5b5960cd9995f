"""A plane slice as a 3-D relief over its own contour lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from mpl_toolkits.mplot3d import Axes3D

from landscape.errors import LandscapeError
from landscape.render.contours import colour_scale, lines_within, plane_axes, plane_field
from landscape.render.labels import axis_label, drawn, field_label, fit_label, inches, page, put_caption, shown
from landscape.render.missing_values import gaps, known
from landscape.render.notebook import drawn_on
from landscape.render.scale import Array, Scale, bands
from landscape.render.style import ONE_COLUMN, Sheet, is_dark, pale

if TYPE_CHECKING:
    from landscape.values.surface import Surface

# Inches: longer names of the slanting axes are broken, or they would run into the height's name and the caption.
_LABEL = 1.5
# Inches at 8-point type: the width of axes along which the names of a relief fit.
_NARROW = 2.1
# In units of the type size: the names at the right and below, which stand beyond the axes.
_RIGHT, _BELOW = 3.0, 0.6
# Degrees: high enough to see into a valley, turned so that neither axis is foreshortened to a line.
EYE = (32.0, -58.0)
# Depth of the floor below the lowest point, in shares of the relief's height: the valley stays visible.
_FLOOR = 0.45


def surface3d(
    surface: Surface,
    field: str | None = None,
    ax: Axes | None = None,
    *,
    elev: float = EYE[0],
    azim: float = EYE[1],
    log: bool | None = None,
    clip: float | None = None,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw a plane slice as a relief, with contour lines on the floor below it.

    Heights and colours follow the rules of `contour`. On a logarithmic scale the height is log10 of the
    value, and the ticks name the values. Values above a clipped range are drawn as a plateau at its upper
    end, marked ``"> 50"``; points without a finite value are holes, and counted.

    Args:
        surface: A 2-D slice.
        field: ``"<split>_<metric>"``; by default the first.
        ax: 3-D axes to draw on; by default a new figure, with a caption.
        elev: Elevation of the eye above the plane, degrees.
        azim: Azimuth of the eye, degrees.
        log: Insist on a logarithmic or linear scale.
        clip: The largest value to be told apart, in the unit shown; inf for no clipping.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on: a new one when `ax` is None.

    Raises:
        LandscapeError: If the slice is 1-D, has no such field, or the axes are not 3-D.

    Example:
        >>> surface3d(surface, azim=30).savefig("relief.png")  # doctest: +SKIP
    """
    name = plane_field(surface, field)
    scale = colour_scale(surface, name, log, clip)
    if ax is not None:
        if not isinstance(ax, Axes3D):
            raise LandscapeError("these axes are not 3-D", mend='make them with projection="3d"')
        draw_relief(surface, name, ax, scale, eye=(elev, azim))
        return drawn_on(ax)
    sheet = Sheet.grown(ONE_COLUMN, 0.95 * ONE_COLUMN, rc)
    with sheet.styled():
        draw_relief(surface, name, sheet.add_subplot(projection="3d"), scale, eye=(elev, azim))
        put_caption(sheet, drawn(surface.meta, name))
    return sheet


def draw_relief(
    surface: Surface,
    field: str,
    ax: Axes3D,
    scale: Scale,
    *,
    eye: tuple[float, float] = EYE,
    cmap: Colormap | None = None,
) -> None:
    """Draw the relief of a plane on given 3-D axes.

    Args:
        surface: A 2-D slice.
        field: One of its fields.
        ax: Where to draw.
        scale: How values become heights and colours.
        eye: Elevation and azimuth, degrees.
        cmap: The colour map; by default ``image.cmap`` of the style.
    """
    x, y = plane_axes(surface)
    across, along = np.meshgrid(x, y)
    heights = scale.forward(known(surface, shown(surface, field)))
    edges = bands(scale)
    low, top = float(edges[0]), float(edges[-1])
    floor = low - _FLOOR * (top - low)
    if np.isfinite(heights).any():
        colours = {"cmap": cmap or colormaps[mpl.rcParams["image.cmap"]], "norm": Normalize(low, top)}
        _relief(ax, (across, along, np.minimum(heights, top)), colours)
        positions = scale.forward(lines_within(scale, heights))
        if len(positions):
            if is_dark():
                # The dark end of the colours would not be seen on the ground.
                colours["cmap"] = pale(mpl.rcParams["image.cmap"])
            ax.contour(across, along, heights, positions, zdir="z", offset=floor, linewidths=0.8, **colours)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.set_zlim(floor, top)
    ax.view_init(*eye)
    _name(ax, surface, field, scale)


def _relief(ax: Axes3D, mesh: tuple[Array, Array, Array], colours: dict[str, Any]) -> None:
    # Every grid point is drawn up to 150 a side; beyond that the squares are smaller than a printed dot.
    stride = max(1, max(mesh[2].shape) // 150)
    ax.plot_surface(
        *mesh,
        rstride=stride,
        cstride=stride,
        edgecolor=(0.0, 0.0, 0.0, 0.18),
        linewidth=0.15,
        antialiased=True,
        shade=False,
        **colours,
    )


def _name(ax: Axes3D, surface: Surface, field: str, scale: Scale) -> None:
    """Ticks at round values, and labels far enough from them."""
    ticks = np.array([scale.low]) if scale.flat else scale.ticks(5)
    ax.set_zticks(scale.forward(ticks), labels=scale.names(ticks))
    size = float(mpl.rcParams["font.size"])
    x, y = plane_axes(surface)
    ax.set_xticks(_inner_ticks(x))
    ax.set_yticks(_inner_ticks(y))
    # Pads are in points and suit 8-point type; larger type needs what it is larger by besides.
    k, more = size / 8.0, size - 8.0
    ax.tick_params(pad=-2 * k, labelsize=0.8 * size)
    # Names longer than their axes would meet: those of narrow reliefs are smaller.
    small = 0.85 * size * min(1.0, max(0.75, inches(ax)[0] / (_NARROW * k)))
    look: dict[str, Any] = {"fontsize": small, "linespacing": 1.1}
    room = min(k * _LABEL, 0.75 * inches(ax)[0])
    across, along = (fit_label(axis_label(surface.meta, i, short=True), room, small) for i in (0, 1))
    ax.set_xlabel(across, labelpad=2 * more - 3, **look)
    ax.set_ylabel(along, labelpad=2 * more - 3, **look)
    label = field_label(field, surface.meta, log=scale.log) + (", constant" if scale.flat else "")
    # Tick labels are centred on their place: the longer they are, the further out they and the name must be.
    longest = max(map(len, scale.names(ticks)), default=0)
    ax.tick_params(axis="z", pad=k * (0.9 * longest - 2.5))
    pad = k * (0.45 * (longest - 2) ** 2) + 1.8 * more - 5
    ax.set_zlabel(fit_label(label, 2.2 * k, small), labelpad=pad, **look)
    ax.set_box_aspect((1, 1, 0.8), zoom=0.9 if longest < 6 else 0.82)
    ax.add_artist(_Room(_RIGHT * size / 72, (_BELOW * size + 4 * more) / 72))
    notes = [f"{gap.label} (not drawn)" for gap in gaps(surface, field)]
    if notes:
        ax.text2D(0.0, 1.0, "\n".join(notes), transform=ax.transAxes, fontsize=0.8 * size, va="top")


def _inner_ticks(coordinates: Array) -> Array:
    """Three or four round coordinates away from the corners, where the labels of two axes meet."""
    low, high = float(coordinates[0]), float(coordinates[-1])
    ticks = np.asarray(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high))
    margin = 0.08 * (high - low)
    return ticks[(ticks > low + margin) & (ticks < high - margin)]


class _Room(Artist):
    """Nothing, at the right of a relief and below: the layout does not see that names of its axes stand there."""

    def __init__(self, right: float, below: float) -> None:
        super().__init__()
        self._right, self._below = right, below
        # What is clipped to the axes is not laid out.
        self.set_clip_on(False)

    def draw(self, renderer: Any) -> None:
        """Draw nothing."""

    def get_tightbbox(self, renderer: Any = None) -> Bbox:
        """The axes, larger by so many inches."""
        if not isinstance(self.axes, Axes):
            return Bbox.null()
        box, dpi = self.axes.bbox, page(self.axes).dpi
        return Bbox.from_extents(box.x0, box.y0 - self._below * dpi, box.x1 + self._right * dpi, box.y1)

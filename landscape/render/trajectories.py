"""An optimisation path on the plane it was projected into, with how far it really lies from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.errors import LandscapeError
from landscape.render.contours import colour_scale, map_height, paint, plane_field
from landscape.render.labels import Page, drawn, fit, inches, points, put_caption, root
from landscape.render.legend import legend_above
from landscape.render.paths import draw_path
from landscape.render.scale import Scale
from landscape.render.style import TWO_COLUMNS, Sheet, pale
from landscape.render.truth import draw_distance, draw_losses, verdict

if TYPE_CHECKING:
    from landscape.surface.values import Path, Surface


def trajectory(
    surface: Surface,
    fig: Page | None = None,
    *,
    field: str | None = None,
    log: bool | None = None,
    clip: float | None = None,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw a path over the contours of its plane, and how far it lies from what is drawn.

    The map is that of `contour` in paler colours. Beside it, over the same steps: the Euclidean distance of
    each snapshot from the plane, and its real loss against the loss at its projection. Above, the `verdict`.

    Args:
        surface: A 2-D slice with a path.
        fig: A figure or subfigure to fill; by default a new figure, with a caption.
        field: ``"<split>_<metric>"``; by default the first.
        log: Insist on a logarithmic or linear colour scale.
        clip: The largest value to be told apart by colour; inf for no clipping.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on: a new one when `fig` is None.

    Raises:
        LandscapeError: If the slice is 1-D, has no path, or no such field.

    Example:
        >>> trajectory(surface).savefig("path.pdf")  # doctest: +SKIP
    """
    name = plane_field(surface, field)
    path = the_path(surface)
    scaling = {"log": log, "clip": clip}
    if fig is not None:
        _fill(surface, path, name, fig, scaling)
        return root(fig)
    height = max(3.3, 0.35 + map_height(surface, 0.56 * TWO_COLUMNS))
    sheet = Sheet.grown(TWO_COLUMNS, height, rc)
    with sheet.styled():
        _fill(surface, path, name, sheet, scaling)
        put_caption(sheet, drawn(surface.meta, name))
    return sheet


def the_path(surface: Surface) -> Path:
    """The path of a surface.

    Raises:
        LandscapeError: If it has none, or an empty one.
    """
    if surface.path is None or not len(surface.path.step):
        raise LandscapeError("the surface has no path to draw", mend="draw it with contour")
    return surface.path


def _fill(surface: Surface, path: Path, field: str, fig: Page, scaling: Mapping[str, Any]) -> None:
    axes = fig.subplot_mosaic([["map", "off"], ["map", "loss"]], width_ratios=[1.5, 1.0])
    axes["off"].sharex(axes["loss"])
    draw_map(surface, path, field, axes["map"], **scaling)
    draw_distance(axes["off"], path)
    axes["off"].tick_params(labelbottom=False)
    draw_losses(axes["loss"], path, surface.meta)
    axes["loss"].set_xlabel("step")
    fig.align_ylabels([axes["off"], axes["loss"]])
    put_verdict(surface, path, fig)


def put_verdict(surface: Surface, path: Path, fig: Page) -> None:
    """Write the verdict across the top of a figure or subfigure."""
    title = fig.suptitle("", x=0.01, ha="left")
    words = verdict(path, surface.meta)
    title.set_text(fit(words[:1].upper() + words[1:], inches(fig)[0], points(title)))


def draw_map(
    surface: Surface,
    path: Path,
    field: str,
    ax: Axes,
    *,
    log: bool | None = None,
    clip: float | None = None,
) -> None:
    """Draw the contours of a plane in pale colours with a path over them, and a legend above.

    Args:
        surface: A 2-D slice.
        path: The path in its plane.
        field: One of the fields.
        ax: Where to draw.
        log: Insist on a logarithmic or linear colour scale.
        clip: The largest value to be told apart by colour.
    """
    legend_above(ax, draw_way(surface, path, field, ax, scale=colour_scale(surface, field, log, clip)))


def draw_way(
    surface: Surface, path: Path, field: str, ax: Axes, *, scale: Scale, colorbar: bool = True
) -> list[Artist]:
    """Draw a path over the contours of its plane, without a legend.

    Args:
        surface: A 2-D slice.
        path: The path in its plane.
        field: One of the fields.
        ax: Where to draw.
        scale: How values become colours.
        colorbar: Whether to draw the colour bar.

    Returns:
        Legend handles.
    """
    ends = [(float(path.x[at]), float(path.y[at])) for at in (0, -1)]
    cmap = pale(mpl.rcParams["image.cmap"])
    handles = paint(ax, surface, field, scale=scale, cmap=cmap, colorbar=colorbar, avoid=ends)
    return [*draw_path(ax, path), *handles]

"""An optimisation path on the plane it was projected into, with how far it really lies from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.errors import LandscapeError
from landscape.render.contours import colour_scale, map_height, paint, plane_field
from landscape.render.labels import Page, drawn, put_caption
from landscape.render.legend import legend_above
from landscape.render.marks import mark_moved
from landscape.render.notebook import drawn_on
from landscape.render.palette import INK, run_colours
from landscape.render.panel_titles import put_head
from landscape.render.path_fidelity import called, draw_distance, draw_losses, verdict
from landscape.render.paths import draw_path
from landscape.render.scale import Scale
from landscape.render.style import TWO_COLUMNS, Sheet, pale

if TYPE_CHECKING:
    from landscape.values.surface import Path, Surface

# Half of a number on a level line, in shares of the map, and how many places of a path are looked at.
_UNDER, _PLACES = (0.05, 0.03), 400


def trajectory(
    surface: Surface,
    fig: Page | None = None,
    *,
    field: str | None = None,
    log: bool | None = None,
    clip: float | None = None,
    lines: bool = False,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw a path, or several, over the contours of their plane, and how far they lie from what is drawn.

    The map is that of `contour` in paler colours. Beside it, over the same steps: the Euclidean distance of
    each snapshot from the plane, and its real loss against the loss at its projection. Above, the `verdict`, for
    each path in its colour where there are several.

    Args:
        surface: A 2-D slice with a path or several.
        fig: A figure or subfigure to fill; by default a new figure, with a caption.
        field: ``"<split>_<metric>"``; by default the first.
        log: Insist on a logarithmic or linear colour scale.
        clip: The largest value to be told apart by colour; inf for no clipping.
        lines: Draw level lines only, without colours.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on: a new one when `fig` is None.

    Raises:
        LandscapeError: If the slice is 1-D, has no path, or no such field.

    Example:
        >>> trajectory(surface).savefig("path.pdf")  # doctest: +SKIP
    """
    name = plane_field(surface, field)
    paths = the_paths(surface)
    how = {"log": log, "clip": clip, "lines": lines}
    if fig is not None:
        _fill(surface, name, fig, how)
        return drawn_on(fig)
    # A line of the verdict of each path is an eighth of an inch high.
    height = max(3.3, 0.35 + map_height(surface, 0.56 * TWO_COLUMNS)) + 0.14 * (len(paths) - 1)
    sheet = Sheet.grown(TWO_COLUMNS, height, rc)
    with sheet.styled():
        _fill(surface, name, sheet, how)
        put_caption(sheet, drawn(surface.meta, name))
    return sheet


def the_paths(surface: Surface) -> dict[str, Path]:
    """The paths of a surface by the name and the seed of their run; a lone one has none.

    Raises:
        LandscapeError: If it has none, or an empty one.
    """
    named = {called(name, surface.meta): path for name, path in surface.paths.items()}
    paths = named if surface.path is None else {"": surface.path}
    if not paths or not all(len(path.step) for path in paths.values()):
        raise LandscapeError("the surface has no path to draw", mend="draw it with contour")
    return paths


def path_colours(paths: Mapping[str, Path]) -> dict[str, str]:
    """A colour for each path: ink for a lone one."""
    return run_colours(list(paths)) if len(paths) > 1 else dict.fromkeys(paths, INK)


def _fill(surface: Surface, field: str, fig: Page, how: Mapping[str, Any]) -> None:
    draw_map(surface, field, put_panels(surface, fig)["map"], **how)


def put_panels(surface: Surface, fig: Page) -> dict[str, Axes]:
    """Draw all but the map: how far the paths lie from the plane, their losses, and the verdict.

    Args:
        surface: A 2-D slice with a path or several.
        fig: A figure or subfigure to fill.

    Returns:
        The axes ``map``, still empty, ``off`` and ``loss``.
    """
    paths = the_paths(surface)
    axes: dict[str, Axes] = fig.subplot_mosaic([["map", "off"], ["map", "loss"]], width_ratios=[1.5, 1.0])
    axes["off"].sharex(axes["loss"])
    colours = None if len(paths) == 1 else path_colours(paths)
    draw_distance(axes["off"], paths, colours)
    axes["off"].tick_params(labelbottom=False)
    draw_losses(axes["loss"], paths, surface.meta, colours)
    axes["loss"].set_xlabel("step")
    fig.align_ylabels([axes["off"], axes["loss"]])
    put_verdict(surface, fig)
    return axes


def put_verdict(surface: Surface, fig: Page) -> None:
    """Write the verdict of each path across the top of a figure or subfigure."""
    # Their seeds are in the legend, and lines are short.
    names = [""] if surface.path is not None else list(surface.paths)
    paths = the_paths(surface).values()
    said = [verdict(path, surface.meta, name) for name, path in zip(names, paths, strict=True)]
    said = [words if ":" in words.split(";")[0] else words[:1].upper() + words[1:] for words in said]
    put_head(fig, "\n".join(said))


def draw_map(
    surface: Surface,
    field: str,
    ax: Axes,
    *,
    log: bool | None = None,
    clip: float | None = None,
    lines: bool = False,
) -> None:
    """Draw the contours of a plane in pale colours with its paths over them, and a legend above.

    Args:
        surface: A 2-D slice with a path or several.
        field: One of the fields.
        ax: Where to draw.
        log: Insist on a logarithmic or linear colour scale.
        clip: The largest value to be told apart by colour.
        lines: Draw level lines only, without colours.
    """
    legend_above(ax, draw_way(surface, field, ax, scale=colour_scale(surface, field, log, clip), lines=lines))


def draw_way(
    surface: Surface, field: str, ax: Axes, *, scale: Scale, colorbar: bool = True, lines: bool = False
) -> list[Artist]:
    """Draw the paths of a plane over its contours, without a legend.

    Args:
        surface: A 2-D slice with a path or several.
        field: One of the fields.
        ax: Where to draw.
        scale: How values become colours.
        colorbar: Whether to draw the colour bar.
        lines: Draw level lines only, without colours.

    Returns:
        Legend handles.
    """
    paths = the_paths(surface)
    ends = [(float(path.x[at]), float(path.y[at])) for path in paths.values() for at in (0, -1)]
    cmap = pale(mpl.rcParams["image.cmap"])
    how: dict[str, Any] = {"scale": scale, "cmap": cmap, "colorbar": colorbar, "avoid": ends, "lines": lines}
    handles = paint(ax, surface, field, **how)
    for path in paths.values():
        _clear(ax, path)
    colours, drawn_paths = path_colours(paths), []
    for name, path in paths.items():
        label = f"{name}, {len(path.step)} snapshots" if len(paths) > 1 else ""
        drawn_paths += draw_path(ax, path, colour=colours[name], name=label, words=len(paths) == 1)
    return [*drawn_paths, *mark_moved(ax, surface), *handles]


def _clear(ax: Axes, path: Path) -> None:
    """Take off the numbers on level lines that a path would be drawn over."""
    places = ax.transData.transform(np.column_stack([path.x, path.y]))
    places = ax.transAxes.inverted().transform(places[np.isfinite(places).all(axis=1)])
    if not len(places):
        return
    along = np.linspace(0, len(places) - 1, _PLACES)
    way = np.column_stack([np.interp(along, np.arange(len(places)), places[:, axis]) for axis in (0, 1)])
    for text in list(ax.texts):
        at = ax.transAxes.inverted().transform(ax.transData.transform(text.get_position()))
        if (np.abs(way - at) < _UNDER).all(axis=1).any():
            text.remove()

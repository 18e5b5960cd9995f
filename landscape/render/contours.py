"""A plane slice as a map: filled colours, labelled contour lines, and marks for what lies in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from landscape.errors import LandscapeError
from landscape.render.arrows import draw_gradient
from landscape.render.labels import (
    drawn,
    equal_axes,
    field_label,
    fit_label,
    inches,
    name_axes,
    pick,
    points,
    put_caption,
    shown,
)
from landscape.render.legend import legend_above
from landscape.render.marks import mark_computed, mark_plane, mark_unconverged, named_points
from landscape.render.missing_values import gaps, hatch, known
from landscape.render.notebook import drawn_on
from landscape.render.scale import Array, Scale, asked, bands, scale_of, tell
from landscape.render.style import ONE_COLUMN, Sheet

if TYPE_CHECKING:
    from landscape.values.surface import Surface

# Off the end of the colour maps in use, so that "more than the scale shows" is not taken for its top.
_OVER = "#FFF9D6"
# Rec. 709 weights of red, green and blue in the lightness that the eye sees.
_LIGHTNESS = (0.2126, 0.7152, 0.0722)


def contour(
    surface: Surface,
    field: str | None = None,
    ax: Axes | None = None,
    *,
    log: bool | None = None,
    clip: float | None = None,
    colorbar: bool = True,
    centre: bool = True,
    lines: bool = False,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw a plane slice as filled contours.

    Colours are logarithmic where the values are positive and span more than 1.5 decades, and clipped where
    few extreme values would take most of the range; the colour bar says so. Points without a finite value
    are hatched and counted. Errors are in percent, on a linear scale.

    Args:
        surface: A 2-D slice.
        field: ``"<split>_<metric>"``; by default the first.
        ax: Where to draw; by default a new figure, with a caption.
        log: Insist on a logarithmic or linear colour scale.
        clip: The largest value to be told apart by colour, in the unit shown; inf for no clipping.
        colorbar: Whether to draw the colour bar.
        centre: Whether to mark the trained weights.
        lines: Draw level lines only, without colours.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on: a new one when `ax` is None.

    Raises:
        LandscapeError: If the slice is 1-D or has no such field.

    Example:
        >>> contour(surface, "test_error").savefig("error.png")  # doctest: +SKIP
    """
    name = plane_field(surface, field)
    scale = colour_scale(surface, name, log, clip)
    how: dict[str, Any] = {"scale": scale, "colorbar": colorbar, "centre": centre, "lines": lines}
    if ax is not None:
        legend_above(ax, draw_plane(surface, name, ax, **how))
        return drawn_on(ax)
    # A row of the legend is an eighth of an inch high.
    height = map_height(surface, ONE_COLUMN) + 0.13 * len(gaps(surface, name))
    sheet = Sheet.grown(ONE_COLUMN, height, rc)
    with sheet.styled():
        ax = sheet.add_subplot()
        legend_above(ax, draw_plane(surface, name, ax, **how))
        put_caption(sheet, drawn(surface.meta, name))
    return sheet


def draw_plane(
    surface: Surface,
    field: str,
    ax: Axes,
    *,
    scale: Scale,
    cmap: Colormap | None = None,
    colorbar: bool = True,
    centre: bool = True,
    lines: bool = False,
) -> list[Artist]:
    """Draw the map of a plane and the points that lie in it, without a legend.

    Args:
        surface: A 2-D slice.
        field: One of its fields.
        ax: Where to draw.
        scale: How values become colours.
        cmap: The colour map; by default ``image.cmap`` of the style.
        colorbar: Whether to draw the colour bar.
        centre: Whether to mark the trained weights.
        lines: Draw level lines only, without colours.

    Returns:
        Legend handles.
    """
    avoid = [(0.0, 0.0), *((x, y) for _, x, y in named_points(surface))]
    handles = paint(ax, surface, field, scale=scale, cmap=cmap, colorbar=colorbar, avoid=avoid, lines=lines)
    return [*mark_plane(ax, surface, centre), *handles]


def plane_field(surface: Surface, field: str | None) -> str:
    """The field to draw of a 2-D slice.

    Raises:
        LandscapeError: If the slice is 1-D or has no such field.
    """
    plane_axes(surface)
    return pick(surface, field)


def plane_axes(surface: Surface) -> tuple[Array, Array]:
    """The coordinates (nx,) and (ny,) of a 2-D slice.

    Raises:
        LandscapeError: If the slice is 1-D, has more than two axes, or repeats.
    """
    if surface.y is None:
        raise LandscapeError("a plane slice is needed here", got="a line", mend="draw it with curve")
    if surface.more:
        names = list(reversed(surface.axes))
        raise LandscapeError(
            "a map has two axes", got=", ".join(names), mend=f"choose a plane with .at({names[2]}=...)"
        )
    if surface.repeat is not None:
        raise LandscapeError(
            "a map shows one plane",
            got=f"{len(surface.repeat)} repeats",
            mend="draw them with picture, or choose one with .at(repeat=...)",
        )
    return surface.x, surface.y


def colour_scale(surface: Surface, field: str, log: bool | None = None, clip: float | None = None) -> Scale:
    """The scale of a field in the unit shown; see `scale_of` and `asked`, before which `log` goes."""

    def choice(values: Array, wanted: bool | None) -> Scale:
        return scale_of(field, values, wanted if log is None else log, clip)

    return asked(known(surface, shown(surface, field)), choice)


def paint(
    ax: Axes,
    surface: Surface,
    field: str,
    *,
    scale: Scale,
    cmap: Colormap | None = None,
    colorbar: bool = True,
    avoid: Sequence[tuple[float, float]] = (),
    lines: bool = False,
) -> list[Artist]:
    """Fill the axes with the colours, lines and hatches of one field.

    Args:
        ax: Where to draw.
        surface: A 2-D slice.
        field: One of its fields.
        scale: How values become colours.
        cmap: The colour map; by default ``image.cmap`` of the style.
        colorbar: Whether to draw the colour bar.
        avoid: Points (x, y) near which no contour line is labelled, since other words stand there.
        lines: Draw level lines only, without colours; their values stand in the legend.

    Returns:
        Legend handles of the hatches, of the dots where a preview is computed, of gradients, and of level lines.
    """
    x, y = plane_axes(surface)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    # Before anything is measured: words and ticks are fitted to what equal axes leave of the room.
    if equal_axes(surface.meta):
        ax.set_aspect("equal")
    handles: list[Artist] = [*hatch(ax, surface, gaps(surface, field))]
    heights = scale.forward(known(surface, shown(surface, field)))
    if np.isfinite(heights).any() and lines:
        handles += level_lines(ax, (x, y, heights), scale, field_label(field, surface.meta, log=scale.log), avoid)
    elif np.isfinite(heights).any():
        colours = (cmap or colormaps[mpl.rcParams["image.cmap"]]).with_extremes(over=_OVER)
        filled = _fill(ax, (x, y, heights), scale, colours)
        _lines(ax, (x, y, heights), scale, filled, avoid)
        if colorbar:
            colour_bar(ax, filled, scale, field_label(field, surface.meta, log=scale.log))
    # At 8-point type a tick label is about half an inch wide, and two of them need a third of an inch in height.
    k = points(ax.xaxis.label) / 8
    for axis, length, each in zip((ax.xaxis, ax.yaxis), inches(ax), (0.45 * k, 0.32 * k), strict=True):
        axis.set_major_locator(MaxNLocator(min(6, max(2, int(length / each))), steps=[1, 2, 5, 10]))
    name_axes(ax, surface.meta)
    handles += [*mark_computed(ax, surface), *mark_unconverged(ax, surface, field)]
    return [*handles, *draw_gradient(ax, surface)]


def _fill(ax: Axes, mesh: tuple[Array, Array, Array], scale: Scale, colours: Colormap) -> QuadContourSet:
    edges = bands(scale)
    norm = Normalize(edges[0], edges[-1])
    # What lies below the scale has the height of its lower end, and so the colour.
    filled = ax.contourf(*mesh, edges, norm=norm, cmap=colours, extend="max" if scale.clipped else "neither")
    # In a PDF or SVG the seams between bands would show as white hairs; lines and words stay vectors.
    filled.set_rasterized(True)
    return filled


def _lines(
    ax: Axes,
    mesh: tuple[Array, Array, Array],
    scale: Scale,
    filled: QuadContourSet,
    avoid: Sequence[tuple[float, float]],
) -> None:
    """Contour lines in an ink that shows on their colours, the larger ones with their value."""
    lines = lines_within(scale, mesh[2])
    if not len(lines):
        return
    positions = scale.forward(lines)
    colours = np.asarray(filled.get_cmap()(filled.norm(positions)))
    inks = [ink_on(colour) for colour in colours]
    drawn = ax.contour(*mesh, positions, colors=inks, linewidths=0.5, linestyles="solid", alpha=0.8)
    names = dict(zip(positions, scale.names(lines), strict=True))
    # The clipped end is named at the colour bar.
    inner = (lines < scale.high if scale.clipped else np.ones(len(lines), bool)) & (lines > scale.low)
    roomy = [_roomy(segments, mesh) for segments in drawn.allsegs]
    large = positions[inner & np.array(roomy)]
    rims = {names[position]: filled.get_cmap()(filled.norm(np.array(position))) for position in positions}
    _numbers(ax, drawn, large, names, rims, avoid)


def level_lines(
    ax: Axes,
    mesh: tuple[Array, Array, Array],
    scale: Scale,
    label: str,
    avoid: Sequence[tuple[float, float]] = (),
) -> list[Artist]:
    """Draw level lines in the ink of the page, the larger ones with their value.

    Args:
        ax: Where to draw.
        mesh: Coordinates and heights on the scale.
        scale: How values became heights.
        label: What the values are.
        avoid: Points (x, y) near which no line is labelled.

    Returns:
        A legend handle that names the values.
    """
    lines = lines_within(scale, mesh[2])
    if not len(lines):
        return []
    positions, ink = scale.forward(lines), mpl.rcParams["axes.labelcolor"]
    drawn = ax.contour(*mesh, positions, colors=ink, linewidths=0.7, linestyles="solid")
    names = dict(zip(positions, tell(lines), strict=True))
    large = positions[[_roomy(segments, mesh) for segments in drawn.allsegs]]
    _numbers(ax, drawn, large, names, dict.fromkeys(names.values(), mpl.rcParams["axes.facecolor"]), avoid)
    return [Line2D([], [], color=ink, lw=0.7, label=f"{label}: {', '.join(names.values())}")]


def lines_within(scale: Scale, heights: Array) -> Array:
    """The lines of a scale that some heights reach: a scale that maps share may extend beyond one of them."""
    positions = scale.forward(scale.lines())
    return scale.lines()[(positions > np.nanmin(heights)) & (positions < np.nanmax(heights))]


def _numbers(
    ax: Axes,
    drawn: QuadContourSet,
    large: Array,
    names: Mapping[float, str],
    rims: Mapping[str, Any],
    avoid: Sequence[tuple[float, float]],
) -> None:
    """Write values onto contour lines, with a rim in the colour of the line's surroundings."""
    # More than six numbers run into each other in one column.
    chosen = large[::-1][:: -(-len(large) // 6) or 1]
    if not len(chosen):
        return
    corners = ax.viewLim.corners()
    low, extent = corners[0], corners[-1] - corners[0]
    size = 0.75 * points(ax.xaxis.label)
    for text in list(ax.clabel(drawn, chosen, fmt=names, fontsize=size, inline=False)):
        place = (np.array(text.get_position()) - low) / extent
        others = [np.abs((np.array(point) - low) / extent - place) for point in avoid]
        # Half a number beyond the frame, or under other words, says less than none.
        if min(*place, *(1 - place)) < 0.06 or any(dx < 0.15 and dy < 0.1 for dx, dy in others):
            text.remove()
            continue
        text.set_path_effects([withStroke(linewidth=2.5, foreground=rims[text.get_text()])])


def _roomy(segments: Sequence[Array], mesh: tuple[Array, Array, Array]) -> bool:
    """Return whether a contour line has a piece that is large enough on the map for a number to stand in it."""
    extent = np.array([np.ptp(mesh[0]), np.ptp(mesh[1])])
    spans = [np.sort(np.ptp(piece, axis=0) / extent) for piece in segments if len(piece)]
    # A quarter of the map across; slivers along an edge only if they run over most of it.
    return any(wide > 0.25 and (narrow > 0.08 or wide > 0.6) for narrow, wide in spans)


def ink_on(colour: Any) -> str:
    """Black on light colours, white on dark ones."""
    return "black" if np.dot(colour[:3], _LIGHTNESS) > 0.4 else "white"


def colour_bar(
    ax: Axes,
    filled: QuadContourSet,
    scale: Scale,
    label: str,
    place: Axes | None = None,
    height: float | None = None,
) -> Axes:
    """Draw a colour bar as high as the axes at their right, with ticks where the lines are.

    Args:
        ax: The axes that hold the map.
        filled: The filled contours.
        scale: How values became colours; a clipped one ends in an arrow and a tick ``"> value"``.
        label: What the values are.
        place: Axes to draw the bar in, by default new ones.
        height: Inches, about, of the bar; by default that of the axes.

    Returns:
        The axes of the bar, a child of `ax`.
    """
    place = ax.inset_axes((1.03, 0.0, 0.05, 1.0)) if place is None else place
    bar = ax.figure.colorbar(filled, cax=place, spacing="proportional")
    ticks = np.append([scale.low][: scale.flat or scale.under], scale.lines())
    height, size = inches(ax)[1] if height is None else height, points(ax.yaxis.label)
    # From the top, so that a clipped end keeps its tick; twice the type size is the least distance.
    room = max(1, int(0.8 * height * 72 / (2 * size)))
    ticks = ticks[::-1][:: -(-len(ticks) // room) or 1][::-1]
    if scale.under:
        # The picture says that lower values have the colour of its floor.
        ticks[0] = scale.low
    bar.set_ticks(scale.forward(ticks).tolist(), labels=scale.names(ticks))
    bar.minorticks_off()
    if bar.solids is not None:
        bar.solids.set_rasterized(True)
    bar.outline.set_linewidth(mpl.rcParams["axes.linewidth"])
    bar.set_label(fit_label(f"{label}, constant" if scale.flat else label, max(1.0, 0.85 * height), size))
    return place


def map_height(surface: Surface, width: float) -> float:
    """The height in inches of a figure that holds one map, so that equal axes leave no empty margins."""
    x, y = plane_axes(surface)
    ratio = float((y[-1] - y[0]) / (x[-1] - x[0])) if equal_axes(surface.meta) else 0.95
    # 0.68 of the width is the map, the rest labels and colour bar; 0.75 in are labels, legend and caption.
    # Below half as high as wide, the name of the y axis would be higher than the map and cut off.
    return 0.75 + 0.68 * width * min(max(ratio, 0.5), 1.6)

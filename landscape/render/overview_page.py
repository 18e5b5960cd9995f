"""One figure about one trained network: along a line, over a plane, in relief, and on the way there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure, SubFigure

from landscape.errors import LandscapeError
from landscape.render.contours import contour, plane_field
from landscape.render.curves import chosen, stack
from landscape.render.labels import (
    DOT,
    Page,
    caption_parts,
    centre_label,
    drawn,
    field_name,
    fit,
    inches,
    is_share,
    parts,
    points,
    put_foot,
    unit,
)
from landscape.render.notebook import drawn_on
from landscape.render.path_fidelity import draw_losses, verdict
from landscape.render.relief import surface3d
from landscape.render.scale import tell
from landscape.render.style import TWO_COLUMNS, Sheet
from landscape.render.trajectories import draw_map, path_colours, the_paths

if TYPE_CHECKING:
    from landscape.values.surface import Surface

_Panel = tuple[str, Callable[[SubFigure], None]]
# Inches: in half of the page, a map with its labels is about as high as wide; the path has its losses below.
_UPPER, _LOWER = 3.05, 4.2


def overview(
    curve_surface: Surface | None,
    plane_surface: Surface | None,
    trajectory_surface: Surface | None,
    summary: Mapping[str, Any] | None = None,
    fig: Page | None = None,
    *,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw everything about one trained network in one figure.

    (a) loss and error along a line, (b) the loss over a plane, (c) the same in relief, (d) the path of the
    optimiser in its own plane, with its real loss against the loss in the plane.

    Args:
        curve_surface: A 1-D slice; None leaves (a) out.
        plane_surface: A 2-D slice; None leaves (b) and (c) out.
        trajectory_surface: A 2-D slice with a path; None leaves (d) out.
        summary: For the title line: the numbers under names of fields, e.g. ``{"train_loss": 0.0012,
            "test_error": 0.029}``, and ``"title"`` to be said before them. Other names are left out.
        fig: A figure to fill; by default a new one.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on: a new one when `fig` is None.

    Raises:
        LandscapeError: If there is nothing to draw, or a slice is not of its kind.

    Example:
        >>> save(overview(line, plane, pca, {"test_error": 0.029}), "overview.png")  # doctest: +SKIP
    """
    surfaces = [s for s in (curve_surface, plane_surface, trajectory_surface) if s is not None]
    panels = _panels(curve_surface, plane_surface, trajectory_surface)
    if not panels:
        raise LandscapeError("there is no slice to draw", mend="give at least one of the three")
    if fig is not None:
        _fill(fig, panels, surfaces, summary or {})
        return drawn_on(fig)
    columns = min(2, len(panels))
    heights = [_UPPER, _LOWER] if len(panels) > 2 else [_UPPER if trajectory_surface is None else _LOWER]
    sheet = Sheet.grown(TWO_COLUMNS * columns / 2, 0.6 + sum(heights), rc)
    with sheet.styled():
        _fill(sheet, panels, surfaces, summary or {})
    return sheet


def _panels(line: Surface | None, plane: Surface | None, way: Surface | None) -> list[_Panel]:
    """List the panels to draw, each with its heading; the slices are checked before anything is drawn."""
    panels: list[_Panel] = []
    if line is not None:
        chosen(line)
        panels.append(("along one direction", partial(_draw_line, line)))
    if plane is not None:
        plane_field(plane, None)
        panels.append(("over a plane", partial(_draw_plane, plane)))
        panels.append(("the same plane in relief", partial(_draw_relief, plane)))
    if way is not None:
        plane_field(way, None)
        the_paths(way)
        panels.append(("the path of the optimiser", partial(_draw_way, way)))
    return panels


def _fill(fig: Page, panels: list[_Panel], surfaces: list[Surface], summary: Mapping[str, Any]) -> None:
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    ratios = [_UPPER, _LOWER][:rows]
    places = fig.subfigures(rows, columns, squeeze=False, height_ratios=ratios).ravel()
    for place, (letter, (heading, draw)) in zip(places, zip("abcd", panels, strict=False), strict=False):
        place.suptitle(f"({letter}) {heading}", x=0.02, ha="left", weight="bold")
        draw(place)
    title = fig.suptitle("", x=0.01, ha="left", fontsize=1.2 * float(mpl.rcParams["font.size"]))
    title.set_text(fit(_title(surfaces, summary), inches(fig)[0], points(title)))
    put_foot(fig, _captions(surfaces))


def _title(surfaces: list[Surface], summary: Mapping[str, Any]) -> str:
    """The name of the network, and what the summary says about it."""
    meta = surfaces[0].meta
    default = ", ".join(part for part in (str(meta.get("problem") or ""), centre_label(meta)) if part)
    fields = dict.fromkeys(field for surface in surfaces for field in surface.fields)
    said = [_number(field, summary[field], meta) for field in fields if summary.get(field) is not None]
    head = str(summary.get("title") or default)
    return f"{head}: {', '.join(said)}" if said else head


def _number(field: str, value: float, meta: Mapping[str, Any]) -> str:
    """``"test error 2.9 %"``."""
    shown = f"{100 * value:.2g}" if is_share(field) else tell([float(f"{value:.2g}")])[0]
    return f"{field_name(field)} {shown} {unit(meta, parts(field)[1])}".rstrip()


def _captions(surfaces: list[Surface]) -> str:
    """Describe what all slices have in common, then what each has to itself."""
    metas = [s.meta if s.y is None else drawn(s.meta, plane_field(s, None)) for s in surfaces]
    parts = [caption_parts(meta) for meta in metas]
    shared = [part for part in parts[0] if all(part in other for other in parts)]
    lines = [shared, *([part for part in own if part not in shared] for own in parts)]
    return DOT.join(dict.fromkeys(DOT.join(line) for line in lines if line))


def _draw_line(surface: Surface, place: SubFigure) -> None:
    stack(surface, chosen(surface), place)


def _draw_plane(surface: Surface, place: SubFigure) -> None:
    contour(surface, ax=place.add_subplot())


def _draw_relief(surface: Surface, place: SubFigure) -> None:
    surface3d(surface, ax=place.add_subplot(projection="3d"))


def _draw_way(surface: Surface, place: SubFigure) -> None:
    paths = the_paths(surface)
    field = plane_field(surface, None)
    above, below = place.subplots(2, 1, height_ratios=[3.5, 1.0])
    draw_map(surface, field, above)
    draw_losses(below, paths, surface.meta, None if len(paths) == 1 else path_colours(paths))
    below.set_xlabel("step")
    foot = place.supxlabel("", x=0.02, ha="left", fontsize=0.85 * float(mpl.rcParams["font.size"]))
    said = [verdict(path, surface.meta, name) for name, path in paths.items()]
    foot.set_text("\n".join(fit(words, 0.97 * inches(place)[0], points(foot)) for words in said))

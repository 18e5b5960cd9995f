"""From slices to a figure: what a recipe says, told to the room that draws."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from landscape.recipe import values
    from landscape.recipe.values import Recipe
    from landscape.surface import Surface


def draw(panels: Sequence[Mapping[str, Any]], figure: Mapping[str, Any], caption: str | None) -> Figure:
    """The figure of a recipe.

    Args:
        panels: Each with its surfaces by name of the run, kind, title, metric, split and view; or all with their
            embeddings, see `draw_embeddings`.
        figure: The fields of `values.Figure`.
        caption: What stands at the foot, if anything does.

    Returns:
        A new figure.
    """
    from landscape.recipe.embedding import draw_embeddings
    from landscape.recipe.exhibits import draw_exhibits
    from landscape.render.composition import Panel, compose

    if "scene" in panels[0]:
        return draw_exhibits(panels, figure, caption)
    if "embeddings" in panels[0]:
        return draw_embeddings(panels, figure, caption)
    parts = [
        Panel(
            surfaces=panel["surfaces"],
            title=panel["title"],
            field=field_of(panel["surfaces"], panel["metric"], panel["split"]),
            view=panel["view"],
        )
        for panel in panels
    ]
    look = {name: figure[name] for name in ("columns", "width", "height", "style", "share")}
    return compose(parts, caption=caption, **look)


def field_of(surfaces: Mapping[str, Surface], metric: str | None, split: str | None) -> str | None:
    """The field that a metric and a split name, each by default the first there is; None if neither is given."""
    if metric is None and split is None:
        return None
    first = next(iter(surfaces.values()))
    first_split, first_metric = next(iter(first.fields)).split("_", 1)
    field = f"{split or first_split}_{metric or first_metric}"
    _ = first[field]
    return field


def draw_panel(
    recipe: Recipe,
    panel: int = 0,
    *,
    ax: Axes | None = None,
    run: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    **where: Any,
) -> Figure:
    """Draw one panel of a recipe, making what the cache does not hold.

    Args:
        recipe: The recipe.
        panel: Which of its panels, from 0.
        ax: Where to draw; by default a new figure.
        run: Which of its runs; by default all of a curve, and the first of a plane.
        cache: The folder that results are kept in; by default ``.landscape-cache`` beside the recipe.
        **where: ``data`` and ``device``, as in `render`.

    Returns:
        The figure drawn on.

    Raises:
        LandscapeError: If there is no such panel or run, or a slice cannot be made.

    Example:
        >>> draw_panel(load("figures/digits.toml"), 1, ax=ax)  # doctest: +SKIP
    """
    from landscape import render
    from landscape.recipe.rendering import CACHE
    from landscape.render.contours import plane_field
    from landscape.render.labels import page
    from landscape.render.trajectories import draw_map

    if not 0 <= panel < len(recipe.panels):
        raise LandscapeError(
            "there is no such panel", where=recipe.path, got=panel, expected=f"0 to {len(recipe.panels) - 1}"
        )
    chosen = recipe.panels[panel]
    if chosen.exhibit is not None:
        raise LandscapeError("this panel takes a figure of its own", where=recipe.path, mend="render the recipe")
    if chosen.embed is not None:
        return _whole(recipe, chosen, recipe.path.parent / CACHE if cache is None else cache, ax, where)
    surfaces = chosen.surfaces(recipe.path.parent / CACHE if cache is None else cache, **where)
    name = next(iter(surfaces)) if run is None else run
    if name not in surfaces:
        raise LandscapeError(
            f"there is no run '{name}' in this panel", where=recipe.path, mend=did_you_mean(name, surfaces)
        )
    surface = surfaces[name]
    field = field_of(surfaces, chosen.metric, chosen.split)
    if ax is None:
        return render.picture(surface, field=field, view=chosen.view)
    if surface.y is None:
        _overlay(chosen, surfaces if run is None else {name: surface}, field, ax)
    elif surface.path is not None or surface.paths:
        draw_map(surface, plane_field(surface, field), ax)
    elif chosen.view == "3d":
        render.surface3d(surface, field, ax=ax)
    else:
        render.contour(surface, field, ax=ax)
    return page(ax)


def _whole(recipe: Recipe, panel: values.Panel, cache: Any, ax: Axes | None, where: Mapping[str, Any]) -> Figure:
    """A panel of embeddings: a map never stands without its Shepard diagram, so one axes cannot hold it."""
    from landscape.recipe.embedding import draw_embeddings

    if ax is not None:
        raise LandscapeError("an embedding takes a figure of its own", where=recipe.path, mend="leave ax out")
    look = {} if panel.embed is None else asdict(panel.embed)
    made = {"embeddings": panel.embeddings(cache, **where), "title": panel.title, "embed": look}
    return draw_embeddings([made], asdict(recipe.figure), None)


def _overlay(panel: values.Panel, surfaces: Mapping[str, Surface], field: str | None, ax: Axes) -> None:
    from landscape.render.curves import wants_log_axis
    from landscape.render.legend import legend_above
    from landscape.render.overlay import overlay, run_colours
    from landscape.render.panels import Panel, cells_of

    cell = cells_of(Panel(surfaces, panel.title, field), 0)[0]
    lines = [surfaces[run][name] for run, names in cell.fields.items() for name in names]
    legend_above(ax, overlay(ax, cell, run_colours(list(surfaces)), wants_log_axis(cell.field, lines)))

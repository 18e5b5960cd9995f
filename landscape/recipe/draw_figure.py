"""From the values of a recipe to its figure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError, did_you_mean
from landscape.plots import Kind, Shown, page_with
from landscape.recipe.cache import CACHE
from landscape.recipe.values import Figure as Wanted
from landscape.render.look import Look
from landscape.vocabulary import PAGE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from landscape.pages import Page
    from landscape.recipe.panel import Recipe


def draw(kinds: Sequence[Kind], panels: Sequence[Shown], figure: Mapping[str, Any], caption: str | None) -> Figure:
    """The figure of a recipe.

    Args:
        kinds: Of the panels.
        panels: What they show.
        figure: The options of `values.Figure`.
        caption: What stands at the foot, if anything does.

    Returns:
        A new figure.
    """
    look = replace(Wanted(**figure), words=caption)
    if len({kind.name for kind in kinds}) == 1:
        return kinds[0].drawn(panels, look)
    from landscape.plots.slices import composed

    parts = [panel for kind, shown in zip(kinds, panels, strict=True) for panel in (kind.panels or _none)(shown)]
    with look.applied():
        return composed(parts)


def page_of(kind: Kind, panel: Shown, figure: Mapping[str, Any]) -> Page:
    """The interactive page of a recipe of one panel."""
    return page_with(kind, panel, Wanted(**figure))


def _none(shown: Shown) -> list[Any]:
    return []


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
        LandscapeError: If there is no such panel or run, or a value cannot be made.

    Example:
        >>> draw_panel(load("figures/digits.toml"), 1, ax=ax)  # doctest: +SKIP
    """
    if not 0 <= panel < len(recipe.panels):
        raise LandscapeError(
            "there is no such panel", where=recipe.path, got=panel, expected=f"0 to {len(recipe.panels) - 1}"
        )
    chosen = recipe.panels[panel]
    shown = chosen.shown(recipe.path.parent / CACHE if cache is None else cache, **where)
    if run is not None and run not in shown.parts:
        raise LandscapeError(
            f"there is no run '{run}' in this panel", where=recipe.path, mend=did_you_mean(run, shown.parts)
        )
    if run is not None:
        shown = replace(shown, parts={run: shown.parts[run]})
    # A panel by itself has the size that suits it, and no title of others.
    without = ("width", "height", "title", *(() if ax is None else PAGE_OPTIONS))
    heeded = [name for name in chosen.plot.heeds(chosen.options) if name not in without]
    return chosen.plot.drawn([shown], Look(**{name: getattr(recipe.figure, name) for name in heeded}), ax)

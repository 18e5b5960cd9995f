"""A recipe: panels that can be asked for what they show, and how they become one picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.plots import Shown
from landscape.plots.source import unheard
from landscape.recipe import values
from landscape.recipe.cache import Cache
from landscape.recipe.graph import Graph, Where
from landscape.recipe.tasks import make, shown_from
from landscape.recipe.toml_lines import FULL
from landscape.recipe.values import Figure, Run
from landscape.vocabulary import DEVICE

if TYPE_CHECKING:
    from landscape.values.surface import Surface


@dataclass(frozen=True)
class Panel(values.Panel):
    """One part of the figure; see `values.Panel`."""

    def shown(
        self,
        cache: str | os.PathLike[str],
        *,
        data: str | os.PathLike[str] | None = None,
        device: str = DEVICE,
    ) -> Shown:
        """Return what this panel shows, ready to be drawn; made now as far as the cache does not hold it."""
        kept = Cache(Path(cache))
        graph = Graph(Where(None if data is None else Path(data).expanduser(), device))
        entry = graph.add_panel(self)
        for step in graph.steps.values():
            if kept.record(step) is None:
                make(step, kept, unheard)
        return shown_from(entry, kept)

    def values(self, cache: str | os.PathLike[str], **where: Any) -> dict[str, Any]:
        """Return the values that this panel shows, made now as far as the cache does not hold them.

        Args:
            cache: The folder that results are kept in.
            **where: ``data`` and ``device``, as in `render`.

        Returns:
            Name of a run -> its value, such as a slice; of a line or plane through several runs one for all.

        Raises:
            LandscapeError: If one cannot be made.

        Example:
            >>> recipe.panels[0].values(".landscape-cache")["base"].values.shape  # doctest: +SKIP
            (51,)
        """
        return dict(self.shown(cache, **where).parts)

    def surfaces(self, cache: str | os.PathLike[str], **where: Any) -> dict[str, Surface]:
        """The slices or curves of this panel, made now as far as the cache does not hold them; see `values`.

        Raises:
            LandscapeError: If the panel shows none.
        """
        if self.plot.panels is None:
            raise LandscapeError("the panel shows no slices", got=self.kind, mend="ask values()")
        drawn = self.plot.panels(self.shown(cache, **where))
        return {name: surface for panel in drawn for name, surface in panel.surfaces.items()}

    embeddings = values
    """The earlier name of `values`, of panels of embeddings."""


@dataclass(frozen=True)
class Recipe:
    """Recipe of one figure, from training to picture.

    Attributes:
        path: The file.
        text: What is in it.
        caption: Its first comment, or what its panels show.
        runs: Name -> run.
        panels: In the order drawn.
        figure: How they become one picture.
        size: Its version; pictures and numbers of other sizes than ``"full"`` are kept apart.
    """

    path: Path
    text: str
    caption: str
    runs: Mapping[str, Run]
    panels: tuple[Panel, ...]
    figure: Figure
    size: str = FULL

    @property
    def name(self) -> str:
        """The name of the file without its suffix; pictures have it too."""
        return self.path.stem

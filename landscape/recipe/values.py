"""A recipe as a value: runs, panels and the figure, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.pipeline import Along, Embed, Grown, Slice
from landscape.training import Settings

if TYPE_CHECKING:
    import os

    from landscape.projection.embedding import Embedding
    from landscape.surface import Surface


@dataclass(frozen=True)
class Run:
    """Where the weights come from.

    Attributes:
        name: What panels call it.
        kind: ``"train"``, ``"file"``, or the kind of a derived run such as ``"import"``.
        problem: A built-in problem, or ``/path/file.py:function``; None is the one that a file names.
        options: Options of the problem.
        training: Of a run that is trained.
        data: The folder or file of the data; None leaves it to whoever renders.
        files: Of a run that is read or imported: its files.
        arguments: Of a derived run: what it is derived by, as plain values.
        base: Of a derived run: the run that it comes from, if it comes from one.
    """

    name: str
    kind: str
    problem: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Settings | None = None
    data: Path | None = None
    files: tuple[Path, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    base: Run | None = None


@dataclass(frozen=True)
class Exhibited:
    """What a panel shows whose figure is all its own.

    Attributes:
        kind: One of `exhibits.EXHIBITS`.
        settings: What is taken and shown, as plain values.
        members: Name of a run -> name with its seed -> the run with that seed.
    """

    kind: str
    settings: Mapping[str, Any]
    members: Mapping[str, Mapping[str, Run]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that runs are trained with."""
        own = next(iter(self.members.values()), {})
        return tuple(run.training.seed for run in own.values() if run.training is not None)


@dataclass(frozen=True)
class Panel:
    """One part of the figure.

    Attributes:
        slice: What is evaluated.
        runs: Name -> run, in the order drawn.
        title: Above the panel; None leaves it out.
        metric: What is drawn; None is the loss.
        split: On which data; None is both for a curve and train otherwise.
        view: Of a surface: ``"contour"``, ``"3d"`` or ``"both"``.
        measure: Of a measure along training: its name, or a metric that runs record; its `slice` means nothing.
        along: How that is taken.
        embed: Of an embedding: how, and how it is shown; its `slice` means nothing.
        grown: Of branches side by side: what is shown of them; its `slice` means nothing.
        exhibit: Of a figure all of its own: what; its `slice` means nothing.
    """

    slice: Slice
    runs: Mapping[str, Run]
    title: str | None = None
    metric: str | None = None
    split: str | None = None
    view: str = "contour"
    measure: str | None = None
    along: Along | None = None
    embed: Embed | None = None
    grown: Grown | None = None
    exhibit: Exhibited | None = None

    @property
    def kind(self) -> str:
        """What it shows: ``"curve"``, ``"surface"``, ..., ``"branches"``, or the kind of an exhibit."""
        if self.exhibit is not None:
            return self.exhibit.kind
        if self.embed is not None:
            return "mds"
        if self.grown is not None:
            return "branches"
        return self.slice.kind if self.along is None else "measure"

    def embeddings(self, cache: str | os.PathLike[str], **where: Any) -> dict[str, Embedding]:
        """The embeddings of a panel of kind ``"mds"``, made now as far as the cache does not hold them.

        Args:
            cache: The folder that results are kept in.
            **where: ``data`` and ``device``, as in `render`.

        Returns:
            Name of a layer -> its embedding.

        Raises:
            LandscapeError: If one cannot be made, or the panel shows slices.
        """
        from landscape.recipe.rendering import embeddings_of

        return embeddings_of(self, cache, **where)

    def surfaces(self, cache: str | os.PathLike[str], **where: Any) -> dict[str, Surface]:
        """The slices of this panel, made now as far as the cache does not hold them.

        Args:
            cache: The folder that results are kept in.
            **where: ``data`` and ``device``, as in `render`.

        Returns:
            Name of a run -> its slice; of a line or plane through several runs, one slice for all; of branches
            side by side a curve for each two.

        Raises:
            LandscapeError: If one cannot be made.

        Example:
            >>> recipe.panels[0].surfaces(".landscape-cache")["base"].values.shape  # doctest: +SKIP
            (51,)
        """
        from landscape.recipe.rendering import surfaces_of

        return surfaces_of(self, cache, **where)


@dataclass(frozen=True)
class Figure:
    """How the panels become one picture.

    Attributes:
        columns: Panels side by side; None chooses.
        style: ``"paper"``, ``"talk"`` or ``"dark"``.
        width: ``"one-column"``, ``"two-columns"``, a venue's width, or inches.
        height: Inches; None chooses.
        share: Whether panels that compare have the same limits.
        caption: Whether the caption stands in the picture too.
        formats: ``"png"``, and what else is wanted.
    """

    columns: int | None = None
    style: str = "paper"
    width: str | float = "two-columns"
    height: float | None = None
    share: bool = True
    caption: bool = False
    formats: tuple[str, ...] = ("png",)


@dataclass(frozen=True)
class Recipe:
    """How one figure is made, from training to picture.

    Attributes:
        path: The file.
        text: What is in it.
        caption: Its first comment.
        runs: Name -> run.
        panels: In the order drawn.
        figure: How they become one picture.
    """

    path: Path
    text: str
    caption: str
    runs: Mapping[str, Run]
    panels: tuple[Panel, ...]
    figure: Figure

    @property
    def name(self) -> str:
        """The name of the file without its suffix; pictures have it too."""
        return self.path.stem

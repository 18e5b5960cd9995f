"""A kind of picture: what it is made with, how it is computed and drawn, and what is said of it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.options import Options, default_of, fields_of, read_options
from landscape.plots.source import Source
from landscape.values.result import Result
from landscape.vocabulary import MAP_OPTIONS, PAGE_OPTIONS, SCALE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from landscape.pages.document import Page
    from landscape.render.look import Look
    from landscape.render.panels import Panel

Parts = Mapping[str, Any]
Document = dict[str, Any]
# Options of a look that count where a picture has no page of its own size.
_HEEDED = {"on given axes": (*MAP_OPTIONS, *SCALE_OPTIONS), "as a page": ("title", "cmap", *SCALE_OPTIONS)}


@dataclass(frozen=True)
class Shown(Result):
    """Contents of one panel.

    Attributes:
        parts: Name -> value, in the order drawn.
        options: How they were computed, and how they are to be shown.
        title: Above the panel; None leaves it out.
        groups: Name of a part -> what parts that differ in their seed have in common; by default its own name.
    """

    parts: Parts
    options: Any
    title: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> Any:
        """The first value, or the only one."""
        return next(iter(self.parts.values()))


def _look_options() -> Mapping[str, Any]:
    from landscape.render.look import Look

    return fields_of(Look)


def _nothing(*_: Any) -> Any:
    return {}


def _no_words(shown: Shown) -> list[str]:
    return []


def _no_faults(options: Any, runs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return iter(())


@dataclass(frozen=True)
class Kind(Result):
    """A kind of picture, the same from the command line, a recipe and Python.

    Attributes:
        name: What it is asked for by.
        summary: A phrase for help, such as ``"Hessian eigenvalues"``.
        options: A frozen dataclass of `landscape.options.option` fields.
        compute: (source, options) -> name -> value.
        draw: (panels, look) -> figure; several panels where one figure can hold them.
        report: (panel) -> what `--json` prints of it.
        lines: (document) -> the same in lines for a person; None where `words` says it.
        words: (panel) -> the same in lines, where the document does not suffice.
        columns: (panel) -> name -> column, and what the table is about: a table of the numbers; None for none.
        numbers: (panel) -> name -> array: the numbers in the picture.
        each: (options) -> whether every run is computed by itself.
        loss: Whether it takes the objective of a run.
        file: Of a kind that draws no runs, the option that names the file that it draws instead.
        panels: (panel) -> panels that `render.compose` draws beside others; None if the figure is all its own.
        page: (panel) -> its interactive page; None if there is none.
        moments: (source, options) -> the options of each moment of an animation that computes several values.
        frames: (panels, one for each moment) -> how many frames there are, and an iterator that draws them; None
            if it cannot move.
        stored: The format of files that hold such a value, and how they are read; None if there is none.
        also: Kinds whose stored values it draws too, besides its own.
        table: (panels) -> a table in Markdown that belongs to the picture; None if there is none.
        faults: (options, runs of a recipe) -> (option, what is wrong with it for these runs).
        bases: Whether the runs that branches left are needed too.
        seeds: Whether a recipe may train every run with several seeds.
        deciding: (options) -> those that decide what is computed, as plain values.
        cost: (options) -> what tells the costs of two computations apart, and how much of it there is.
        onto: (panel, axes) -> the figure drawn on; None if a panel does not fit on given axes.
        heeds: (options) -> the options of `landscape.render.Look` that mean something for the picture.
        step: Where a recipe keeps such values.
        title: Of the section of its options in help.
        unit: What progress is counted in.
        saved: The key of `--json` that names the file results are kept in; empty if none are.
    """

    name: str
    summary: str
    options: type[Options]
    compute: Callable[[Source, Any], Parts]
    draw: Callable[[Sequence[Shown], Look], Figure]
    report: Callable[[Shown], Document]
    lines: Callable[[Mapping[str, Any]], list[str]] | None = None
    words: Callable[[Shown], list[str]] | None = None
    columns: Callable[[Shown], tuple[Mapping[str, Any], Mapping[str, Any]]] | None = None
    numbers: Callable[[Shown], Mapping[str, NDArray[Any]]] = _nothing
    each: Callable[[Any], bool] = field(default=lambda options: False)
    loss: bool = True
    file: str = ""
    panels: Callable[[Shown], list[Panel]] | None = None
    page: Callable[[Shown], Page] | None = None
    moments: Callable[[Source, Any], list[Any]] = field(default=lambda source, options: [options])
    frames: Callable[[Sequence[Shown]], tuple[int, Iterator[NDArray[Any]]]] | None = None
    stored: tuple[str, Callable[[Path], Any]] | None = None
    also: tuple[str, ...] = ()
    table: Callable[[Sequence[Shown]], str] | None = None
    faults: Callable[[Any, Mapping[str, Any]], Iterator[tuple[str, str]]] = field(default=_no_faults)
    bases: bool = False
    seeds: bool = False
    deciding: Callable[[Any], Mapping[str, Any]] = field(default=lambda options: options.plain(deciding=True))
    cost: Callable[[Any], tuple[Any, float]] = field(default=lambda options: (options.plain(deciding=True), 1.0))
    onto: Callable[[Shown, Axes], Figure] | None = None
    heeds: Callable[[Any], tuple[str, ...]] = field(default=lambda options: (*PAGE_OPTIONS, *SCALE_OPTIONS))
    step: str = "value"
    title: str = ""
    unit: str = "part"
    saved: str = ""

    def shown(self, source: Source, options: Any, title: str | None = None) -> Shown:
        """Compute a panel."""
        parts: dict[str, Any] = {}
        for own in source.each() if self.each(options) else [source]:
            parts |= self.compute(own, options)
        return Shown(parts, options, title, source.groups)

    def say(self, shown: Shown, document: Mapping[str, Any]) -> list[str]:
        """Describe what is seen, in lines for a person; `document` also names the picture."""
        if self.lines is not None:
            return self.lines(document)
        written = [document[key] for key in ("trajectory", "picture", "table") if document.get(key)]
        return [*(self.words or _no_words)(shown), *(f"  written  {path}" for path in written)]

    def __call__(
        self,
        runs: Any,
        objective: Any = None,
        *,
        save: Any = None,
        progress: Callable[[int, int], None] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Figure:
        """Draw runs.

        Args:
            runs: A run or its address (see `addresses.run_at`), or several, in a list or by name; of a kind that
                draws none, the file that it draws.
            objective: What the runs were trained on; by default what their files name.
            save: A file that results are kept in, and resumed from.
            progress: Called with (work done, work in all).
            ax: Axes to draw on; by default a new figure.
            **options: Those of the kind, and those of `landscape.render.Look`.

        Returns:
            The figure.

        Raises:
            LandscapeError: If an option does not exist or cannot be used, or the picture cannot be made.
        """
        from landscape.plots.sources import source_of
        from landscape.render.look import Look

        look_names = _look_options()
        look = read_options(Look, {name: value for name, value in options.items() if name in look_names}, None)
        own = {name: value for name, value in options.items() if name not in look_names}
        if self.file:
            own, runs = {self.file: os.fspath(runs), **own}, {}
        wanted = read_options(self.options, own, None)
        self.require_heeded(look.chosen, wanted, where="" if ax is None else "on given axes")
        source = source_of(runs, objective, save=save, progress=progress) if runs or not self.file else Source({})
        return self.drawn([self.shown(source, wanted)], look, ax)

    def require_heeded(
        self, chosen: Iterable[str], options: Any, spell: Callable[[str], str] = str, *, where: str = ""
    ) -> None:
        """Check that options of a look mean something here.

        Args:
            chosen: The options of the look that were given.
            options: Those of the kind.
            spell: The name of an option as the user wrote it.
            where: Where not all of them count: ``"on given axes"`` or ``"as a page"``.

        Raises:
            LandscapeError: If some mean nothing.
        """
        known = _HEEDED.get(where)
        heeded = [name for name in self.heeds(options) if known is None or name in known]
        names = [spell(name) for name in chosen if name not in heeded]
        if names:
            raise LandscapeError(
                f"{', '.join(names)} cannot change a picture of kind {self.name} {where}".rstrip(),
                mend="leave it out",
            )

    @property
    def options_(self) -> Mapping[str, Any]:
        """The declared options by name."""
        return fields_of(self.options)

    def drawn(self, panels: Sequence[Shown], look: Look, ax: Axes | None = None) -> Figure:
        """Draw panels that are computed."""
        if ax is None:
            with look.applied():
                return self.draw(panels, look)
        if self.onto is None:
            raise LandscapeError(f"a picture of kind {self.name} takes a figure of its own", mend="leave ax out")
        from matplotlib import rc_context

        with look.applied(), rc_context({} if look.cmap is None else {"image.cmap": look.cmap}):
            return self.onto(panels[0], ax)

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature that help and completion show: with every option by name."""
        parameters = [
            inspect.Parameter("runs", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            inspect.Parameter("objective", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
        ]
        only = inspect.Parameter.KEYWORD_ONLY
        names = {"save": None, "progress": None, "ax": None}
        names |= {name: default_of(one) for name, one in {**self.options_, **_look_options()}.items()}
        parameters += [inspect.Parameter(name, only, default=default) for name, default in names.items()]
        return inspect.Signature(parameters)


def alone(kind: str, draw: Callable[[Shown, Look], Figure]) -> Callable[[Sequence[Shown], Look], Figure]:
    """Draw one panel in a figure, under its title unless the look has one; several are refused."""

    def draw_alone(panels: Sequence[Shown], look: Look) -> Figure:
        if len(panels) > 1:
            raise LandscapeError(
                f"a figure holds one panel of kind {kind}", got=len(panels), mend="write two recipes"
            )
        with (look if look.title is not None else look.given(title=panels[0].title)).applied() as titled:
            return draw(panels[0], titled)

    return draw_alone


def page_of_parts(shown: Shown) -> Page:
    """The interactive page of the values of a panel."""
    from landscape.pages import page_of

    return page_of(shown.parts, title=shown.title)

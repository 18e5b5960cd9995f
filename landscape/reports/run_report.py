"""The report of a run, or of two beside each other: every section computed, drawn and doubted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError, reason_of
from landscape.html.markup import Markup, element, failure, pairs, warning
from landscape.html.shell import page
from landscape.plots import Shown, Source
from landscape.plots.source import unheard
from landscape.render.look import Look
from landscape.reports.comparison import compared
from landscape.reports.facts import facts_of, still
from landscape.reports.options import ReportOptions
from landscape.reports.sections import SECTIONS, STEPS, Section, head_room
from landscape.storage.provenance import versions

if TYPE_CHECKING:
    from landscape.plots.source import Progress

Watch = Callable[[str, str], AbstractContextManager["Progress"]]


def _unwatched(title: str, unit: str) -> AbstractContextManager[Progress]:
    return nullcontext(unheard)


@dataclass
class _Report:
    """A report in the making.

    Attributes:
        source: Its runs.
        wanted: Its options.
        watch: (what is done, unit) -> a context in which progress is told.
        doubts: (name of a run, what not to believe of it), in the order found.
        shown: (run, title of a section) -> what was computed.
    """

    source: Source
    wanted: ReportOptions
    watch: Watch
    doubts: list[tuple[str, str]] = field(default_factory=list)
    shown: dict[tuple[str, str], Shown] = field(default_factory=dict)

    @property
    def several(self) -> bool:
        """Return whether two runs are compared."""
        return len(self.source.runs) > 1

    def spoken_doubts(self) -> list[str]:
        """The doubts, once each, with the run that they are of where there are several."""
        of: dict[str, list[str]] = {}
        for name, words in self.doubts:
            of.setdefault(words, []).append(name)
        if not self.several:
            return list(of)
        return [f"{'both' if len(set(names)) > 1 else names[0]}: {words}" for words, names in of.items()]

    def section(self, own: Section) -> Markup:
        """A section with its picture, or its pictures side by side."""
        sources = [self.source] if own.together else self.source.each()
        figures = [self.guarded(own.title, partial(self._figure, own, source)) for source in sources]
        return element("section", element("h2", own.title), element("div", *figures, class_="views"))

    def guarded(self, what: str, make: Callable[[], Markup]) -> Markup:
        """A part; where it cannot be made, the reason."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - a report says what failed, and goes on
            reason = (
                str(error) if isinstance(error, LandscapeError) else f"{type(error).__name__}: {reason_of(error)}"
            )
            return failure(what, reason)

    def _figure(self, own: Section, source: Source) -> Markup:
        name, run = ", ".join(source.names), source.first
        options = own.options(self.wanted, run)
        with self.watch(f"{own.title.lower()} of {name}", own.kind.unit) as progress:
            shown = own.kind.shown(replace(source, progress=progress), options)
        self.shown[name, own.title] = shown
        self.doubts += [(name, words) for words in own.doubts(shown, run)]
        picture = still(own.kind.drawn([shown], Look()), f"{own.title} of {name}")
        title = [element("h3", name)] if self.several and not own.together else []
        return element("figure", *title, picture, *self._said(own, shown))

    def _said(self, own: Section, shown: Shown) -> list[Markup]:
        if not own.words:
            return []
        document = {**own.kind.report(shown), "picture": "", "seconds": 0.0, own.kind.saved or "saved": None}
        lines = [line.strip().removeprefix(": ") for line in own.kind.say(shown, document)]
        kept = [line for line in lines if line and "computed in" not in line and line != "picture:"]
        if own.kind.name == "audit":
            kept = [f"{row.title}: {row.verdict}" for row in shown.first.audit.rows]
        listed = element("ul", *(element("li", line) for line in kept))
        return [element("details", element("summary", "In words"), listed, open=True)]

    def steps(self) -> Markup:
        """The head-room of the learning rate, of each run."""
        parts = []
        for source in self.source.each():
            name = source.names[0]
            if source.first.optimizer:
                parts.append(self.guarded(STEPS.title, partial(self._figure, STEPS, source)))
                continue
            parts.append(self.guarded(STEPS.title, partial(self._room, name, source)))
        return element("section", element("h2", STEPS.title), element("div", *parts, class_="views"))

    def _room(self, name: str, source: Source) -> Markup:
        shown = self.shown.get((name, "Spectrum of the Hessian"))
        if shown is None:
            raise LandscapeError("it needs the spectrum, which is missing")
        said = head_room(source.first, shown.first)
        return element("p", f"{name}: {said}" if self.several else said)


def report_of(
    runs: Any,
    objective: Any = None,
    *,
    options: ReportOptions | None = None,
    rebuild: Callable[[Any], Any] | None = None,
    watch: Watch = _unwatched,
) -> str:
    """The report of a run, or of two that are compared, as one HTML page without scripts.

    A part that cannot be made says why in its place.

    Args:
        runs: A run or its address, or two in a list or by name.
        objective: What they were trained on; by default what their files name.
        options: What it is of; by default that of `ReportOptions`.
        rebuild: Run -> its objective, instead of `objective`.
        watch: (what is done, unit) -> a context that yields a function (done, in all).

    Returns:
        The page.

    Raises:
        LandscapeError: If there are no runs, or more than two.

    Example:
        >>> Path("report.html").write_text(report_of("run.h5"))  # doctest: +SKIP
    """
    from landscape.plots.sources import source_of

    source = source_of(runs, objective)
    source = source if rebuild is None else replace(source, rebuild=rebuild)
    source.require(1, 2, "a report is of one run, or compares two")
    made = _Report(source, options or ReportOptions(), watch)
    body = list(_body(made))
    title = f"Report: {' and '.join(source.names)}"
    return page(title, body, about=_about(made))


def _body(made: _Report) -> Iterator[Markup]:
    facts = [(name, facts_of(run)) for name, run in made.source.runs.items()]
    tables = [element("div", element("h3", name) if made.several else None, pairs(own)) for name, own in facts]
    yield element("section", element("h2", "What was trained"), element("div", *tables, class_="views"))
    for name, run in made.source.runs.items():
        if not run.finished:
            made.doubts.append((name, "the training is not finished: the last snapshot is not its end"))
    parts = [made.section(own) for own in SECTIONS[:-1]]
    parts += [made.steps(), made.section(SECTIONS[-1])]
    if made.several:
        parts.insert(0, made.guarded("The comparison", lambda: _comparison(made)))
    doubts = made.spoken_doubts()
    yield warning("What not to believe", doubts) if doubts else element("p", "Nothing here gives reason to doubt.")
    yield from parts


def _comparison(made: _Report) -> Markup:
    audits = [made.shown.get((name, "Audit of sharpness measures")) for name in made.source.names]
    return element(
        "section",
        element("h2", "Comparison"),
        *compared(made.source, made.wanted, audits, made.watch, made.guarded),
    )


def _about(made: _Report) -> str:
    own = versions()
    said = "with --fast, " if made.wanted.fast else ""
    return f"Made by landscape {own['landscape']} and torch {own['torch']}, {said}seed {made.wanted.seed}."

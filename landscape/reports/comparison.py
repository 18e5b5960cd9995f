"""Two runs compared: the same basin or not, and which measures tell them apart wherever symmetries lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from landscape import plots
from landscape.html.markup import Markup, element, table
from landscape.plots import Shown, Source
from landscape.plots.lines import ConnectOptions, InterpolateOptions
from landscape.render.look import Look
from landscape.reports.facts import still
from landscape.reports.options import ReportOptions

# Frankle, Dziugaite, Roy & Carbin 2020, section 3: below 2 % of error two runs are linearly connected.
_CONNECTED = 0.02
_EPOCHS = (5, 30)


def compared(
    source: Source,
    wanted: ReportOptions,
    audits: Sequence[Shown | None],
    watch: Callable[[str, str], Any],
    guarded: Callable[[str, Callable[[], Markup]], Markup],
) -> Iterator[Markup]:
    """Yield the parts of a comparison.

    Args:
        source: Two runs.
        wanted: Options of the report.
        audits: Those of both; None where one is missing.
        watch: As of `report_of`.
        guarded: Makes a part, or says why it cannot be made.
    """
    yield element("h3", "The same basin?")
    line = InterpolateOptions(at=wanted.at, align=True, points=21 if wanted.fast else 51)
    curve = ConnectOptions(
        at=wanted.at, align=True, epochs=_EPOCHS[0 if wanted.fast else 1], points=21, seed=wanted.seed
    )
    parts = [
        guarded("The straight line", lambda: _joined(plots.interpolate, line, source, watch)),
        guarded("The curve of low loss", lambda: _joined(plots.connect, curve, source, watch)),
    ]
    yield element("div", *parts, class_="views")
    yield element(
        "p", f"The curve was trained for {curve.epochs} epochs: more may find a lower one.", class_="note"
    )
    yield element("h3", "Which measures tell them apart?")
    yield guarded("The comparison of measures", lambda: _measures(source, wanted, audits))


def _joined(kind: Any, options: Any, source: Source, watch: Callable[[str, str], Any]) -> Markup:
    with watch(f"{kind.name} {' and '.join(source.names)}", kind.unit) as progress:
        shown = kind.shown(replace(source, progress=progress), options)
    picture = still(kind.drawn([shown], Look()), f"{kind.name}: loss and error between both")
    lines = [line.strip() for line in kind.say(shown, {})]
    said = [element("p", element("strong", words)) for words in _verdict(kind, shown)]
    return element("figure", picture, *said, element("ul", *(element("li", line) for line in lines if line)))


def _verdict(kind: Any, shown: Shown) -> list[str]:
    """Say of each line between both whether it crosses a barrier of the training error."""
    found = shown.first.found
    curves = list(found) if kind is plots.interpolate else [found.curve]
    said = []
    for one in curves:
        if "train_error" not in one.fields:
            continue
        height = float(one.barrier_of("train_error"))
        word = "no barrier" if height < _CONNECTED else "a barrier"
        said.append(
            f"{one.path}: {word}: the training error rises by {100 * height:.2g} %, where less than "
            f"{100 * _CONNECTED:g} % counts as connected"
        )
    return said


def _measures(source: Source, wanted: ReportOptions, audits: Sequence[Shown | None]) -> Markup:
    from landscape.errors import LandscapeError
    from landscape.plots.audit_values import comparison_of

    first, second = audits
    if first is None or second is None:
        raise LandscapeError("it needs the audits of both runs, and one is missing")
    objectives = [source.objective(name) for name in source.names]
    found = comparison_of(
        list(source.runs.values()), objectives, [first.first.audit, second.first.audit], first.options
    )
    rows = [
        (
            one.name,
            f"{one.a:.4g}",
            f"{one.b:.4g}",
            _order(one),
            one.verdict + (f" by {one.element}" if one.element else ""),
        )
        for one in found
    ]
    heads = ("measure", *source.names, "order", "does the order survive symmetries?")
    return table(heads, rows)


def _order(one: Any) -> str:
    if one.verdict in ("tied", "undefined", "not tested"):
        return ""
    return "first < second" if one.a < one.b else "first > second"

"""Charts of lines and dots as an interactive page, with a slider over positions where lines have several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.html.markup import Markup, choice, element, plot, slider
from landscape.pages.document import Page
from landscape.render.look import current

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A line, or dots.

    Attributes:
        name: In the legend.
        x: Shape (n,), or (K, n) where the slider has K positions.
        y: The same, or one of them.
        z: Of a line in space, likewise.
        error: Standard errors of y, of its shape, told beside a point; None where there are none.
        dots: ``"lines"``, ``"markers"`` or ``"lines+markers"``.
        dash: ``"solid"``, ``"dash"``, ``"dot"`` or ``"dashdot"``.
        place: Of its colour among those of the page; None is its place among the lines.
        shade: Shape (n,), values that colour the dots.
        told: n texts, more of what is told of each point.
        band: Shape (2, n), between which a band is drawn.
    """

    name: str
    x: Array
    y: Array
    z: Array | None = None
    error: Array | None = None
    dots: str = "lines"
    dash: str = "solid"
    place: int | None = None
    shade: Array | None = None
    told: Sequence[str] = ()
    band: Array | None = None


@dataclass(frozen=True)
class Chart:
    """Lines on common axes.

    Attributes:
        name: Of its place in the page.
        title: Above it.
        x_label: With the unit.
        y_label: With the unit.
        lines: In the order drawn.
        log: The logarithmic axes at first, ``""``, ``"x"``, ``"y"`` or ``"xy"``.
        switch: Whether the reader may make the y axis linear or logarithmic.
        equal: Whether x and y have one scale.
        x_ticks: Value -> words, where the axis has ticks of its own.
        limits: Of the y axis; None leaves an end to the values.
        caption: Below it.
        shade: What the colours of dots mean.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    log: str = ""
    switch: bool = True
    equal: bool = False
    x_ticks: Mapping[float, str] | None = None
    limits: tuple[float | None, float | None] = (None, None)
    caption: str = ""
    shade: str = ""

    def plain(self) -> dict[str, Any]:
        """The chart as plain values, for the script."""
        return {
            **{name: getattr(self, name) for name in ("name", "x_label", "y_label", "log", "equal", "shade")},
            "lines": [_line(place, line) for place, line in enumerate(self.lines)],
            "x_ticks": None if self.x_ticks is None else [[*self.x_ticks], [*self.x_ticks.values()]],
            "range": _range(self.lines),
            "limits": list(self.limits),
        }

    def markup(self) -> Markup:
        """Its place in the page."""
        drawn = f"{self.title}: {self.y_label} over {self.x_label}; " + ", ".join(one.name for one in self.lines)
        return element("section", element("h2", self.title), plot(self.name, drawn, self.caption))


@dataclass(frozen=True)
class Reading:
    """A number beside the charts.

    Attributes:
        name: Of its place in the page.
        label: What it is.
        values: One for each position of the slider, or one for all.
        unit: Behind the number.
        errors: Standard errors, likewise; None where there are none.
    """

    name: str
    label: str
    values: Sequence[float]
    unit: str = ""
    errors: Sequence[float] | None = None


@dataclass(frozen=True)
class Turn:
    """A slider.

    Attributes:
        name: Of the control.
        label: What it turns.
        positions: What each position is called.
        at: The first position shown.
    """

    name: str
    label: str
    positions: Sequence[str]
    at: int = 0


def charts_page(
    title: str,
    charts: Sequence[Chart],
    *,
    lead: Sequence[Markup] = (),
    turns: Sequence[tuple[Turn, Sequence[Reading], Sequence[str]]] = (),
    tail: Sequence[Markup] = (),
    about: str = "",
) -> Page:
    """A page of charts; the scale and the limits of the look in use are those of the first.

    Args:
        title: Above it.
        charts: What is drawn.
        lead: Before the charts.
        turns: Sliders, each with the numbers that it changes and the names of its charts.
        tail: After the charts.
        about: At its foot.
    """
    look = current()
    if look.scaled and charts:
        log = charts[0].log if look.log is None else charts[0].log.replace("y", "") + "y" * look.log
        charts = [replace(charts[0], log=log, limits=(look.vmin, look.vmax)), *charts[1:]]
    title = look.title or title
    switches = [choice("scale", "Values", {"as-drawn": "as suits them", "linear": "linear", "log": "logarithmic"})]
    controls = switches if any(chart.switch for chart in charts) else []
    named = {chart.name: chart for chart in charts}
    turned = {name for _, _, names in turns for name in names}
    body = [*lead]
    if controls:
        body.append(element("div", *controls, class_="controls"))
    for turn, readings, names in turns:
        body.append(element("div", slider(turn.name, turn.label, len(turn.positions), turn.at), class_="controls"))
        body += [_readings(readings)] if readings else []
        body.append(element("div", *(named[name].markup() for name in names), class_="views"))
    rest = [chart.markup() for chart in charts if chart.name not in turned]
    body += [element("div", *rest, class_="views")] if rest else []
    data = {
        "charts": [chart.plain() | {"switch": chart.switch} for chart in charts],
        "turns": [
            {
                "name": turn.name,
                "positions": list(turn.positions),
                "readings": [_reading(one) for one in readings],
                "charts": list(names),
            }
            for turn, readings, names in turns
        ],
    }
    return Page(title, (*body, *tail), data, ("charts.js",), about)


def _readings(readings: Sequence[Reading]) -> Markup:
    cells = [
        element("div", element("dt", one.label), element("dd", "", id=f"reading-{one.name}")) for one in readings
    ]
    return element("dl", *cells, class_="readings", aria_live="polite")


def _reading(one: Reading) -> dict[str, Any]:
    errors = None if one.errors is None else [float(error) for error in one.errors]
    return {"name": one.name, "values": [float(value) for value in one.values], "unit": one.unit, "errors": errors}


def _line(place: int, line: Line) -> dict[str, Any]:
    return {
        **{name: getattr(line, name) for name in ("name", "dots", "dash")},
        **{name: _thin(getattr(line, name)) for name in ("x", "y", "z", "error", "shade", "band")},
        "told": list(line.told),
        "place": place if line.place is None else line.place,
    }


def _thin(values: Array | None) -> Any:
    """Float64, so that what is told of a point is the number computed."""
    return None if values is None else np.asarray(values, dtype=np.float64)


def _range(lines: Sequence[Line]) -> list[list[float]] | None:
    """The limits of y that hold all positions of a slider: what changes is seen to change."""
    if not any(np.ndim(line.y) > 1 for line in lines):
        return None
    every = np.concatenate([np.ravel(line.y) for line in lines])
    known = every[np.isfinite(every)]
    positive = known[known > 0]
    if not known.size:
        return None
    low, high = float(known.min()), float(known.max())
    ends = [low - 0.04 * (high - low), high + 0.04 * (high - low)]
    logs = [float(np.log10(positive.min())), float(np.log10(positive.max()))] if positive.size else ends
    return [ends, [logs[0] - 0.04 * (logs[1] - logs[0]), logs[1] + 0.04 * (logs[1] - logs[0])]]

"""Orbits as an interactive page: a slider moves along them, and what is invariant stays where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from landscape.html.markup import Markup, element, table
from landscape.pages.charts import Chart, Line, Reading, Turn, charts_page
from landscape.pages.document import Page
from landscape.render.labels import caption, with_notes
from landscape.render.orbit_plots import SLICES, relative, shown_measures
from landscape.render.scale import LINE_DECADES, wants_log
from landscape.values.orbit import Orbit

_SAID = {
    "rescaling": "Hidden units are multiplied by α, and what reads them is divided by it.",
    "basis": "The queries and keys of attention heads, and their values, are written in another basis.",
}
_TURNED = {"rescaling": "α", "basis": "Condition of the bases"}


def orbit_page(found: Mapping[str, Orbit], *, title: str | None = None) -> Page:
    """A page of orbits: for each a slider, the loss along a random direction, and measures.

    Args:
        found: Name of a family -> orbit, all of one snapshot.
        title: Above the page.
    """
    first = next(iter(found.values()))
    charts, turns = [], []
    for name, orbit in found.items():
        own = list(_charts(name, orbit))
        charts += own
        positions = [
            f"{position:.3g}" + (" (as trained)" if place == orbit.home else "")
            for place, position in enumerate(orbit.positions)
        ]
        turn = Turn(name, _TURNED.get(name, orbit.parameter), positions, orbit.home)
        turns.append((turn, _readings(name, orbit), [chart.name for chart in own[: len(SLICES)]]))
    named = f"One function, many landscapes: {first.meta.get('problem') or 'a model'}"
    return charts_page(
        title or named,
        charts,
        lead=list(_lead(found)),
        turns=turns,
        tail=[_verdicts(name, orbit) for name, orbit in found.items()],
        about=caption(first.meta),
    )


def _lead(found: Mapping[str, Orbit]) -> Iterator[Markup]:
    change = max(float(orbit.output_change.max()) for orbit in found.values())
    said = " ".join(_SAID[name] for name in found if name in _SAID)
    yield element(
        "p",
        f"{said} The network computes the same function at every position of the slider: its outputs change by at "
        f"most {change:.1e} of the largest, which is rounding. What moves is how the function is written down.",
    )


def _charts(name: str, orbit: Orbit) -> Iterator[Chart]:
    unit = str((orbit.meta.get("units") or {}).get("loss") or "")
    for normalize, words in SLICES.items():
        rows = orbit.slices[normalize]
        home = Line("as trained", orbit.x[normalize], rows[orbit.home], dash="dot", place=1)
        moved = Line("at this position", orbit.x[normalize], rows, place=0)
        log = "y" if wants_log(rows, LINE_DECADES) else ""
        titled = words[:1].upper() + words[1:]
        yield Chart(
            f"{name}-{normalize}", titled, "along the direction", with_notes("loss", unit), (home, moved), log
        )
    lines = [
        Line(
            one.title,
            orbit.positions,
            relative(one, orbit),
            dots="lines+markers",
            dash=("solid", "dash")[one.claimed],
        )
        for one in shown_measures(orbit)
    ]
    if lines:
        yield Chart(
            f"{name}-measures",
            f"Measures over {orbit.parameter}",
            f"{orbit.parameter} (log scale)",
            "relative to the given weights",
            tuple(lines),
            "xy",
            caption="Dashed: claimed not to change.",
        )


def _readings(name: str, orbit: Orbit) -> list[Reading]:
    unit = str((orbit.meta.get("units") or {}).get("loss") or "")
    found = [
        Reading(f"{name}-loss", "loss at the centre", orbit.losses.tolist(), unit),
        Reading(f"{name}-output", "outputs changed by (of the largest)", orbit.output_change.tolist()),
        Reading(f"{name}-plain", "curvature of the slice, not normalised", orbit.curvatures("none").tolist()),
        Reading(
            f"{name}-filter", "curvature of the slice, filter-normalised", orbit.curvatures("filter").tolist()
        ),
    ]
    for one in orbit.measures:
        if not one.reason:
            errors = None if np.isnan(one.errors).all() else one.errors.tolist()
            found.append(Reading(f"{name}-{one.name}", one.title, one.values.tolist(), one.unit, errors))
    return found


def _verdicts(name: str, orbit: Orbit) -> Markup:
    rows = [words.split(": ", 1) for words in orbit.verdicts()]
    ends = f"{orbit.positions[0]:.3g} to {orbit.positions[-1]:.3g}"
    return table(("", "verdict"), rows, caption=f"What stays and what moves, {orbit.parameter} from {ends}")

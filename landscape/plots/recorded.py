"""Metrics: what runs recorded while they trained, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.forms import NAMES
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, alone
from landscape.plots.source import Source
from landscape.vocabulary import PAGE_OPTIONS, SCALE_OPTIONS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from landscape.pages import Page
    from landscape.render.look import Look


@dataclass(frozen=True)
class MetricsOptions(Options):
    """Which metrics are drawn."""

    metrics: tuple[str, ...] = option(
        (),
        "Which metrics: loss, error, gamma, replica_distance, ...",
        form=NAMES,
        unset="all but gradient_evaluations",
        decides=False,
        shows=True,
    )
    branches: bool = option(False, "Draw the branches in the files too")


@dataclass(frozen=True)
class RecordedMetrics:
    """Metrics that a run recorded.

    Attributes:
        steps: Shape (T,).
        metrics: Name -> shape (T,).
        problem: The problem it was trained on.
    """

    steps: NDArray[np.int64]
    metrics: Mapping[str, NDArray[np.float64]]
    problem: str


def _compute(source: Source, wanted: MetricsOptions) -> Parts:
    found: dict[str, RecordedMetrics] = {}
    for name, run in source.runs.items():
        found[name] = RecordedMetrics(run.steps, dict(run.metrics), run.problem)
        for branch, own in run.branches.items() if wanted.branches else ():
            label = branch if len(source.runs) == 1 else f"{name}, {branch}"
            found[label] = RecordedMetrics(own.steps, dict(own.metrics), own.problem)
    return found


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    about = ", ".join(dict.fromkeys(run.problem for run in shown.parts.values() if run.problem))
    lone = {"": shown.first} if len(shown.parts) == 1 else shown.parts
    return render.recorded(lone, shown.options.metrics or None, about=about)


def _report(shown: Shown) -> Document:
    problems = list(dict.fromkeys(run.problem for run in shown.parts.values() if run.problem))
    return {
        "kind": "metrics",
        "problem": problems[0] if len(problems) == 1 else None,
        "about": problems,
        "runs": {
            name: {metric: [float(values[0]), float(values[-1])] for metric, values in run.metrics.items()}
            for name, run in shown.parts.items()
        },
        "snapshots": {name: len(run.steps) for name, run in shown.parts.items()},
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    counts = list(document["snapshots"].values())
    many = f"{len(counts)} runs" if len(counts) > 1 else f"{counts[0]} snapshots"
    problems = document["problem"] or ", ".join(document["about"]) or "(own code)"
    return [f"{document['picture']}: what was recorded of {problems}, {many}"]


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    return {
        f"{name}/{entry}": values
        for name, run in shown.parts.items()
        for entry, values in {"x": run.steps, **run.metrics}.items()
    }


def _page(shown: Shown) -> Page:
    from landscape.pages.lines import recorded_page

    about = ", ".join(dict.fromkeys(run.problem for run in shown.parts.values() if run.problem))
    title = shown.title or (f"What was recorded of {about}" if about else None)
    return recorded_page(shown.parts, shown.options.metrics, title=title)


METRICS = Kind(
    name="metrics",
    summary="what runs recorded while they trained",
    options=MetricsOptions,
    compute=_compute,
    draw=alone("metrics", _draw),
    heeds=lambda options: (*PAGE_OPTIONS, "columns", *SCALE_OPTIONS),
    report=_report,
    lines=_lines,
    numbers=_numbers,
    page=_page,
    title="Recorded metrics (--kind metrics)",
    loss=False,
)

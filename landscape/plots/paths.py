"""Paths: runs in their principal components, without a loss and without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.forms import STEP, TEXT
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, alone
from landscape.plots.source import Source
from landscape.vocabulary import PAGE_OPTIONS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from landscape.projection.components import Components
    from landscape.render.look import Look

CENTERS = ("mean", "last", "initial")


@dataclass(frozen=True)
class PathOptions(Options):
    """Which components are drawn."""

    at: int | str = option("last", "The last snapshot that counts: a step, or last", form=STEP)
    center: str = option("mean", "What is subtracted from snapshots", choices=CENTERS)
    components: int = option(5, "How many are reported", low=2)
    parameters: str | None = option(None, "Parameters that count, e.g. 'fc.*,!*.bias'", form=TEXT, unset="all")


@dataclass(frozen=True)
class RunPaths:
    """Runs in their principal components.

    Attributes:
        found: The components.
        steps: Name of a run -> shape (T,), the steps of its snapshots.
        dims: How many components are reported.
        problem: Of the first run.
        about: The problems of all runs.
    """

    found: Components
    steps: Mapping[str, NDArray[np.int64]]
    dims: int
    problem: str
    about: str = ""


def _compute(source: Source, wanted: PathOptions) -> Parts:
    from landscape import projection

    wanted = source.placed(wanted)
    runs = {name: run[: run.index_of(wanted.at) + 1] for name, run in source.runs.items()}
    found = projection.principal_components(
        list(runs.values()), dims=wanted.components, center=wanted.center, parameters=wanted.parameters
    )
    steps = {name: run.steps for name, run in runs.items()}
    return {", ".join(runs): RunPaths(found, steps, wanted.components, source.first.problem, source.about())}


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    return render.components(shown.first.found, shown.first.steps, about=shown.first.about)


def _report(shown: Shown) -> Document:
    from landscape import render

    paths: RunPaths = shown.first
    return {
        "kind": "path",
        "problem": paths.problem,
        "center": paths.found.center,
        "snapshots": {name: len(steps) for name, steps in paths.steps.items()},
        "explained_variance_ratio": paths.found.shares.tolist(),
        "null_ratio": paths.found.null.tolist(),
        "variance": paths.found.variance,
        "scores": {name: own.tolist() for name, own in zip(paths.steps, paths.found.scores, strict=True)},
        "verdict": render.component_verdict(paths.found, len(paths.steps)),
        "components": paths.dims,
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    counts = document["snapshots"]
    many = f"{sum(counts.values())} snapshots" + (f" of {len(counts)} runs" if len(counts) > 1 else "")
    lines = [
        f"{document['picture']}: {many} of {document['problem'] or '(own code)'} in their principal components",
        f"  {document['verdict']}",
        "  component      share        sum   random walk",
    ]
    total = 0.0
    pairs = list(zip(document["explained_variance_ratio"], document["null_ratio"], strict=True))
    for place, (share, null) in enumerate(pairs[: document["components"]], 1):
        total += share
        lines.append(f"  {place:<10} {100 * share:>7.2f} %  {100 * total:>7.2f} %     {100 * null:>7.2f} %")
    return lines


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    paths: RunPaths = shown.first
    shares = {"share": paths.found.shares, "random_walk": paths.found.null}
    return shares | dict(zip(paths.steps, paths.found.scores, strict=True))


PATH = Kind(
    name="path",
    summary="principal components of the snapshots, no loss",
    options=PathOptions,
    compute=_compute,
    draw=alone("path", _draw),
    heeds=lambda options: PAGE_OPTIONS,
    report=_report,
    lines=_lines,
    numbers=_numbers,
    title="Principal components (--kind path)",
    loss=False,
)

"""Principal components as `landscape plot --kind path` draws them: without a loss, and without torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from landscape import LandscapeError

from .plotting import Asked, option
from .shared import together

_OWN = ("at", "parameters", "center", "components")

_option = option("Principal components (--kind path)")
options = together(
    [
        _option("--center", help="mean, last or initial: what is subtracted from snapshots. [default: mean]"),
        _option("--components", type=int, metavar="K", help="How many are reported, at least 2. [default: 5]"),
    ]
)


def plot(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """Draw trajectories in their principal components.

    Returns:
        What is to be printed: as a JSON document, and as lines.
    """
    from landscape import projection, render
    from landscape.trajectory import open_trajectory

    asked.require_only(*_OWN)
    began = time.monotonic()
    dims = asked.options.get("components", 5)
    if dims < 2:
        raise LandscapeError("a picture shows two components or more", where="--components", got=dims)
    names = asked.names
    runs = [open_trajectory(file) for file in asked.files]
    at = asked.options.get("at", "last")
    runs = [run[: run.index_of(at) + 1] for run in runs]
    found = projection.principal_components(
        runs, dims=dims, center=asked.options.get("center", "mean"), parameters=asked.options.get("parameters")
    )
    problems = dict.fromkeys(run.problem for run in runs if run.problem)
    steps = {name: run.steps for name, run in zip(names, runs, strict=True)}
    render.save(render.components(found, steps, about=", ".join(problems)), asked.picture)
    document = {
        "kind": "path",
        "problem": runs[0].problem,
        "picture": str(asked.picture),
        "center": found.center,
        "snapshots": {name: len(run) for name, run in zip(names, runs, strict=True)},
        "explained_variance_ratio": found.shares.tolist(),
        "null_ratio": found.null.tolist(),
        "variance": found.variance,
        "scores": {name: scores.tolist() for name, scores in zip(names, found.scores, strict=True)},
        "verdict": render.component_verdict(found, len(runs)),
        "seconds": time.monotonic() - began,
    }
    return document, _report(document, asked.picture, dims)


def _report(document: dict[str, Any], picture: Path, dims: int) -> list[str]:
    counts = document["snapshots"]
    many = f"{sum(counts.values())} snapshots" + (f" of {len(counts)} runs" if len(counts) > 1 else "")
    lines = [
        f"{picture}: {many} of {document['problem'] or '(own code)'} in their principal components",
        f"  {document['verdict']}",
        "  component      share        sum   random walk",
    ]
    total = 0.0
    pairs = zip(document["explained_variance_ratio"], document["null_ratio"], strict=True)
    for place, (share, null) in enumerate(list(pairs)[:dims], 1):
        total += share
        lines.append(f"  {place:<10} {100 * share:>7.2f} %  {100 * total:>7.2f} %     {100 * null:>7.2f} %")
    return lines

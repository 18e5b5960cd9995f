"""What runs recorded while they trained, as `landscape plot --kind metrics` draws it: without torch."""

from __future__ import annotations

from typing import Any

from .plotting import Asked, option
from .shared import together

_option = option("Recorded metrics (--kind metrics)")
options = together(
    [
        _option(
            "--metrics",
            metavar="A,B,...",
            help="Which: loss, error, gamma, replica_distance, ... [default: all but gradient_evaluations]",
        ),
    ]
)
NAMES = ("metrics",)
# Of another kind of picture too.
SHARED = ("branches",)


def plot(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """Draw what trajectories recorded.

    Returns:
        What is to be printed: as a JSON document, and as lines.
    """
    from landscape import render
    from landscape.trajectory import open_trajectory

    asked.require_only(*NAMES, *SHARED)
    runs: dict[str, Any] = {}
    for name, file in zip(asked.names, asked.files, strict=True):
        run = open_trajectory(file)
        runs[name] = run
        if asked.options.get("branches"):
            one = len(asked.files) == 1
            runs |= {branch if one else f"{name}, {branch}": own for branch, own in run.branches.items()}
    names = [part.strip() for part in asked.options.get("metrics", "").split(",") if part.strip()] or None
    problems = list(dict.fromkeys(run.problem for run in runs.values() if run.problem))
    render.save(render.recorded(runs, names, about=", ".join(problems)), asked.picture)
    document = {
        "kind": "metrics",
        "problem": problems[0] if len(problems) == 1 else None,
        "picture": str(asked.picture),
        "runs": {
            name: {metric: [float(values[0]), float(values[-1])] for metric, values in run.metrics.items()}
            for name, run in runs.items()
        },
    }
    many = f"{len(runs)} runs" if len(runs) > 1 else f"{len(next(iter(runs.values())))} snapshots"
    return document, [f"{asked.picture}: what was recorded of {', '.join(problems) or '(own code)'}, {many}"]

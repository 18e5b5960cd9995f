"""Parts of reports: what was trained, from the file of a run, and still pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from landscape.html.markup import Markup, element
from landscape.render.figure_widths import inches_of
from landscape.render.pictures import as_data
from landscape.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS = ("optimizer", "lr", "momentum", "nesterov", "weight_decay", "batch_size", "epochs", "schedule")


def facts_of(run: Trajectory) -> dict[str, str]:
    """Name -> what the file says of the run, in the order shown."""
    training = dict(run.training or {})
    options = ", ".join(f"{name} {value}" for name, value in dict(run.problem_args or {}).items())
    told: dict[str, Any] = {
        "problem": run.problem or "(own code)",
        "options": options,
        "parameters": f"{run.layout.parameter_count:,}",
        "snapshots": f"{len(run)}, steps {run.steps[0]:,} to {run.steps[-1]:,}",
        "training seed": run.seed,
        **{name.replace("_", " "): training.get(name) for name in _SETTINGS},
        "recorded": run.header.created_utc,
        "run": run.run_id,
    }
    told |= {
        f"{name.replace('_', ' ')}, first and last": f"{values[0]:.4g}, {values[-1]:.4g}"
        for name, values in run.metrics.items()
        if name != "gradient_evaluations"
    }
    return {name: str(value) for name, value in told.items() if value not in (None, "", {})}


def still(figure: Figure, words: str) -> Markup:
    """A picture within a page; one wider than a column scrolls on a phone, where it would be too small to read."""
    broad = figure.get_size_inches()[0] > inches_of("one-column")
    return element("img", src=as_data(figure), alt=words, class_="broad" if broad else None)

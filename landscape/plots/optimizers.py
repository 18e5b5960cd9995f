"""The edge of stability of any optimizer: loss, sharpness and threshold along runs that recorded their steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.measures.along_options import Along
from landscape.options import redeclared
from landscape.plots.kind import Kind, Parts, Shown
from landscape.plots.measures import lines_of_tables, read_kept, report_of_tables
from landscape.plots.source import Source
from landscape.vocabulary import PAGE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look

# Every step of a search for eigenvalues is a pass over the data: a picture needs three digits.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class OptimizerOptions(Along):
    """Which measures are drawn, and where they are taken."""

    measures: tuple[str, ...] = redeclared(
        Along, "measures", (), "Further measures to take beside those drawn", unset="none"
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield measures and settings that do not exist; of those drawn, settings may be given too."""
        yield from Along(measures=self.measures).conflicts()


def measures_drawn(kind: str) -> tuple[str, ...]:
    """The measures that a picture of an optimizer of some kind shows."""
    from landscape.optimizers import NORMED

    own = "norm_sharpness" if kind in NORMED else "preconditioned_sharpness"
    return (*("hessian_top", own, "sharpness_threshold", "lr_headroom"), "step_gain", "step_penalty")


def _compute(source: Source, wanted: OptimizerOptions) -> Parts:
    from landscape.measures.run_table import measures_along

    name = source.names[0]
    run = source.runs[name]
    if not run.optimizer:
        raise LandscapeError(
            "the run has no recorded updates",
            where=run.path,
            mend="use landscape train --record update,preconditioner,lr",
        )
    for step in wanted.at:
        run.index_of(step)
    drawn = measures_drawn(run.optimizer["kind"])
    taken = tuple(dict.fromkeys((*drawn, *wanted.measures)))
    searched = {"hessian_top", "preconditioned_sharpness", "lr_headroom"} & {*drawn}
    settings = {one: {"tol": _TOLERANCE} for one in searched}
    # Of several runs, each has the sharpness of its own optimizer.
    others = {"preconditioned_sharpness", "norm_sharpness"} - {*taken}
    settings |= {
        one: {**settings.get(one, {}), **own} for one, own in wanted.settings.items() if one not in others
    }
    values = {**wanted.plain(), "measures": taken, "settings": settings}
    table = measures_along(
        run, source.objective(name), Along(**values), save=source.place(name), progress=source.progress
    )
    return {name: table}


def _draw(panels: Sequence[Shown], look: Look) -> Figure:
    from landscape import render

    if len(panels) > 1:
        raise LandscapeError(
            "a figure holds one panel of kind optimizer", got=len(panels), mend="give several runs to one panel"
        )
    return render.optimizer(panels[0].parts)


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for run, table in shown.parts.items():
        found[f"{run}/step"] = table.steps
        for name, column in table.columns.items():
            found[f"{run}/{name}"] = column.values
    return found


OPTIMIZER = Kind(
    name="optimizer",
    summary="loss, and sharpness with its threshold, as optimizers see them",
    options=OptimizerOptions,
    compute=_compute,
    draw=_draw,
    report=partial(report_of_tables, "optimizer"),
    lines=lines_of_tables,
    numbers=_numbers,
    each=lambda options: True,
    heeds=lambda options: PAGE_OPTIONS,
    deciding=lambda options: options.plain(deciding=True),
    step="measures",
    stored=("landscape/measures", read_kept),
    title="Optimizers (--kind optimizer)",
    unit="value",
    saved="table",
)

"""Branches of one snapshot side by side, over the epochs since they parted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import LandscapeError
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown
from landscape.plots.slices import composed, numbers, onto
from landscape.plots.source import Source
from landscape.values.surface import Surface
from landscape.vocabulary import METRICS, PAGE_OPTIONS, PANEL_OPTIONS, POLICIES, RECALIBRATE, SCALE_OPTIONS, SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.render.panels import Panel
    from landscape.trajectory import Trajectory

SHOWS = ("branch", "distance", "midpoint")
TRUNKS = ("fixed", "moving")


@dataclass(frozen=True)
class BranchOptions(Options):
    """Options of the curves of branches."""

    show: str = option(
        "branch",
        "branch, the metric of each; of each two distance or midpoint, the metric half way between them",
        choices=SHOWS,
    )
    metric: str = option("error", "The metric", choices=METRICS)
    split: str = option("train", "The data", choices=SPLITS)
    bn: str = option(RECALIBRATE, "Normalisation statistics at midpoints", choices=POLICIES)
    trunk: str = option(
        "fixed",
        "The trunk among the runs: fixed, where it was left, or moving, at equal epochs",
        choices=TRUNKS,
    )

    @property
    def field(self) -> str:
        """The field of `branch_values.pair_over_epochs` that is shown of two branches."""
        return "weights_distance" if self.show == "distance" else f"{self.split}_{self.metric}"


def seen_of(pair: Surface, wanted: BranchOptions) -> Surface:
    """Of two branches, the one curve that is wanted; distances with the length of the noise as a line."""
    meta = dict(pair.meta)
    if wanted.show == "distance":
        # A distance is of no split, and of no policy.
        meta = {name: value for name, value in meta.items() if name not in ("splits", "bn")}
        meta["threshold"] = {"value": meta["noise"], "words": "length of the noise"}
    return Surface(pair.x, None, {wanted.field: pair[wanted.field]}, meta=meta)


def _compute(source: Source, wanted: BranchOptions) -> Parts:
    source, trunk = _family(source)
    if wanted.show == "branch":
        return {name: _recorded(run, wanted, source, name) for name, run in source.runs.items()}
    from landscape.plots.branch_values import pair_over_epochs

    found = {}
    for a, b in itertools.combinations(source.runs, 2):
        owner = a if source.runs[b].run_id == trunk.run_id else b
        pair = pair_over_epochs(
            trunk,
            [source.runs[a], source.runs[b]],
            source.objective(owner),
            split=wanted.split,
            bn=wanted.bn,
            moving=wanted.trunk == "moving",
            progress=source.progress,
        )
        found[f"{a} \u2013 {b}"] = seen_of(pair, wanted)
    return found


def _family(source: Source) -> tuple[Source, Trajectory]:
    """The branches that are shown, and the run that they left: of a lone trunk its own branches."""
    if len(source.runs) == 1 and not source.first.parent and source.first.branches:
        trunk = source.first
        return replace(source, runs=dict(trunk.branches)), trunk
    for run in source.bases.values():
        return source, run
    parents = {str(run.parent.get("parent_run_id")) for run in source.runs.values() if run.parent}
    for run in source.runs.values():
        if run.run_id in parents:
            return source, run
    raise LandscapeError(
        "the run that these branched off is not here", mend="give its file, or FILE:BRANCH of one file"
    )


def _recorded(run: Trajectory, wanted: BranchOptions, source: Source, name: str) -> Surface:
    """A metric that a branch recorded, as a curve over the epochs since the branching."""
    field = wanted.field
    if field not in run.metrics:
        raise LandscapeError(f"the branch recorded no {field}", where=run.path, got=", ".join(run.metrics))
    if len(run) < 2:
        raise LandscapeError("a curve along training needs several steps", got=len(run))
    unit = source.objective(name).unit if wanted.metric == "loss" else ""
    meta = {
        "kind": "curve",
        "along": "training",
        "problem": run.problem,
        "seed": run.seed,
        "splits": [wanted.split],
        "dtype": None,
        "axes": [{"label": "epochs since branching"}],
        "units": {wanted.metric: unit},
        "titles": {},
    }
    return Surface(run.epochs, None, {field: np.asarray(run.metrics[field])}, meta=meta)


def _panels(shown: Shown) -> list[Panel]:
    from landscape.render.panels import Panel

    return [Panel(shown.parts, title=shown.title)]


def _draw(panels: Sequence[Shown], look: Look) -> Figure:
    return composed([panel for shown in panels for panel in _panels(shown)])


def _report(shown: Shown) -> Document:
    return {
        "kind": "branches",
        "show": shown.options.show,
        "curves": {
            name: {
                "epochs": curve.x.tolist(),
                **{field: values.tolist() for field, values in curve.fields.items()},
            }
            for name, curve in shown.parts.items()
        },
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    lines = [f"{document['picture']}: {len(document['curves'])} curves over the epochs since branching"]
    for name, curve in document["curves"].items():
        (field, values), *_ = [(key, own) for key, own in curve.items() if key != "epochs"]
        lines.append(f"  {name}: {field.replace('_', ' ')} from {values[0]:.4g} to {values[-1]:.4g}")
    return lines


def _faults(wanted: BranchOptions, runs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield options that do not go together with the runs of a recipe."""
    try:
        trunk = trunk_of(runs)
    except LandscapeError as fault:
        yield "runs", str(fault)
        return
    if wanted.show == "branch" and trunk.name in runs:
        yield "runs", f"'{trunk.name}' is the trunk, no branch; leave it out"
    if wanted.show != "branch" and len(runs) < 2:
        yield "runs", f"two runs have a distance; got {len(runs)}; name another branch"


def trunk_of(runs: Mapping[str, Any]) -> Any:
    """The run of a recipe that all of these branched off at one snapshot; it may be one of them.

    Raises:
        LandscapeError: If there is none.
    """
    starts = {run.base.name: run.base for run in runs.values() if run.kind == "branch" and run.base is not None}
    others = [name for name, run in runs.items() if run.kind != "branch" and name not in starts]
    steps = {run.arguments.get("at", "last") for run in runs.values() if run.kind == "branch"}
    if others or len(starts) != 1 or len(steps) != 1:
        said = f"'{others[0]}' is no branch" if others else "these are not branches of one snapshot"
        raise LandscapeError(said, mend="name runs with the same branch = { of = ..., at = ... }")
    return next(iter(starts.values()))


BRANCHES = Kind(
    name="branches",
    summary="branches of one snapshot over the epochs since they parted",
    options=BranchOptions,
    compute=_compute,
    draw=_draw,
    report=_report,
    lines=_lines,
    numbers=numbers,
    panels=_panels,
    faults=_faults,
    bases=True,
    onto=onto,
    heeds=lambda options: (*PAGE_OPTIONS, *PANEL_OPTIONS, *SCALE_OPTIONS),
    step="pair",
    title="Branches (--kind branches)",
    unit="epoch",
)

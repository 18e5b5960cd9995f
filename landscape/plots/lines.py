"""Lines and curves between two snapshots, and the barriers of many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.forms import STEP, TEXT, WHOLE
from landscape.options import Options, option, redeclared
from landscape.plots.alignment_words import report_of_gains, words_of_gains
from landscape.plots.kind import Document, Kind, Parts, Shown, alone
from landscape.plots.source import Source
from landscape.plots.words import model_lines, number
from landscape.training.settings import Settings
from landscape.vocabulary import PAGE_OPTIONS, POLICIES, SCALE_OPTIONS, SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.probes import AlignmentGains, Barriers, Connection, Interpolation
    from landscape.render.look import Look
    from landscape.trajectory import Snapshot

_DEFINITION = "max over t in [0, 1] of L(t), minus (L(0) + L(1)) / 2"


@dataclass(frozen=True)
class InterpolateOptions(Options):
    """Options of straight lines between snapshots."""

    at: int | str = option("last", "The snapshot of runs whose address names none", form=STEP)
    points: int | None = option(
        None, "Points from one to the other, both counted", form=WHOLE, low=2, unset="51; of a matrix 25"
    )
    extend: float = option(0.0, "Go on at both ends, in units of the distance", low=0)
    bn: str = option(
        "interpolate",
        "Normalisation statistics: interpolate, frozen (those of the first), recalibrate at every point, or all "
        "three in one picture",
        choices=(*POLICIES, "all"),
    )
    align: bool = option(
        False,
        "Bring the second near to the first by their symmetries too: barrier before and after; of a matrix, all "
        "near to one another",
    )
    matrix: bool = option(False, "The barriers between each two of several snapshots")
    dendrogram: bool = option(
        False,
        "Order a matrix by average linkage of its barriers, and draw the tree above it",
        decides=False,
        shows=True,
    )
    split: str | None = option(None, "The data: train or test", form=TEXT, choices=SPLITS, unset="both")
    workers: int = option(1, "So many processes share points and cores", low=1, decides=False)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what is not of a matrix."""
        if self.matrix and self.extend:
            yield "extend", "extend is not of a matrix; leave it out"
        if self.dendrogram and not self.matrix:
            yield "dendrogram", "a tree is of a matrix; pass --barriers (matrix in recipes and Python) too"
        if self.matrix and self.bn == "all":
            yield "bn", "a matrix is of one policy"


@dataclass(frozen=True)
class ConnectOptions(Options):
    """Options of curves of low loss between snapshots (Garipov et al. 2018)."""

    at: int | str = option("last", "The snapshot of runs whose address names none", form=STEP)
    curve: str = option("bezier", "bezier or chain (polygonal)", choices=("bezier", "chain"))
    bends: int = option(1, "Control points between the ends", low=1)
    points: int = option(51, "Points measured along the curve", low=2)
    bn: str | None = option(
        None, "Normalisation statistics", form=TEXT, choices=POLICIES, unset="recalibrate if there is BatchNorm"
    )
    align: bool = option(False, "Bring the second near to the first by their symmetries before the curve begins")
    align_by: str = option("weights", "What units are then matched by", choices=("weights", "activations"))
    seed: int = redeclared(Settings, "seed", help="Draws batches and places on the curve")
    epochs: int = redeclared(Settings, "epochs", 60)
    lr: float = redeclared(Settings, "lr", 0.1)
    batch_size: int = redeclared(Settings, "batch_size")
    momentum: float = redeclared(Settings, "momentum")
    schedule: str = redeclared(Settings, "schedule", "linear")
    warmup_epochs: float = redeclared(Settings, "warmup_epochs")


@dataclass(frozen=True)
class Joined:
    """Lines, barriers or a curve between snapshots.

    Attributes:
        found: Lines, a matrix of barriers, or a curve.
        units: Name of a metric -> its unit.
        statistics: Whether the model has statistics of normalisation.
    """

    found: Any
    units: Mapping[str, str]
    statistics: bool


@dataclass(frozen=True)
class LowCurve:
    """A curve of low loss between two snapshots, and the straight line beside it.

    Attributes:
        kind: ``"bezier"`` or ``"chain"``.
        bends: Control points between the ends.
        curve: Metrics along the curve.
        line: The same along the straight line.
        length: Of the curve.
        gains: What each family of symmetries gained before the curve began; None without alignment.
    """

    kind: str
    bends: int
    curve: Interpolation
    line: Interpolation
    length: float
    gains: AlignmentGains | None = None

    @classmethod
    def of(cls, found: Connection, gains: AlignmentGains | None) -> LowCurve:
        """Take what is shown of a connection."""
        return cls(found.path.kind, len(found.path.bends), found.curve, found.line, found.length, gains)


def ends_of(source: Source, at: int | str, low: int = 2, high: int | None = 2) -> dict[str, Snapshot]:
    """The snapshots that are joined, by name.

    Raises:
        LandscapeError: If there are too few or too many.
    """
    count = len(source.runs)
    if count < low or (high is not None and count > high):
        several = "pass --barriers (matrix in recipes and Python) for those of several"
        mend = several if count > low else "name a second snapshot"
        raise LandscapeError("a line goes through two snapshots", got=count, mend=mend)
    return {name: run[run.index_of(source.steps.get(name, at))] for name, run in source.runs.items()}


def _joined(source: Source, found: Any) -> Parts:
    from landscape.objective.batchnorm import has_statistics

    objective = source.objective()
    return {", ".join(source.names): Joined(found, dict(objective.units), has_statistics(objective.model))}


def _interpolate(source: Source, wanted: InterpolateOptions) -> Parts:
    from landscape import probes
    from landscape.plots.probe_values import interpolate_snapshots

    ends = ends_of(source, wanted.at, 2, None if wanted.matrix else 2)
    given: dict[str, Any] = {} if wanted.split is None else {"splits": (wanted.split,)}
    given |= {"workers": wanted.workers}
    given |= {} if wanted.points is None else {"points": wanted.points}
    if wanted.matrix:
        models = probes.align_all(source.objective(), ends) if wanted.align else ends
        kept: dict[str, Any] = {"save": source.parts, "progress": source.progress}
        found = probes.barriers(source.objective(), models, bn=wanted.bn, **kept, **given)
        aligned = {"aligned": True} if wanted.align else {}
        return _joined(source, replace(found, meta={**found.meta, **aligned}))
    lines = interpolate_snapshots(
        source.objective(),
        ends,
        bn=wanted.bn,
        align=wanted.align,
        extend=wanted.extend,
        save=source.parts,
        progress=source.progress,
        **given,
    )
    return _joined(source, lines)


def _draw_lines(shown: Shown, look: Look) -> Figure:
    from landscape import render

    found, options = shown.first.found, shown.options
    if not options.matrix:
        return render.interpolation(found)
    return render.barriers(found, dendrogram=options.dendrogram)


def _report_lines(shown: Shown) -> Document:
    found = shown.first.found
    if shown.options.matrix:
        return {
            "names": list(found.names),
            "bn": found.bn,
            "points": found.points,
            "barriers": {name: values.tolist() for name, values in found.fields.items()},
            "distance": found.distance.tolist(),
            **({"aligned": True} if "aligned" in found.meta else {}),
        }
    told = [
        {
            "path": curve.path,
            "bn": curve.bn,
            "barrier": curve.barrier,
            "barriers": curve.barriers,
            "distance": curve.distance,
            "ends": {name: [_at(curve, name, 0.0), _at(curve, name, 1.0)] for name in curve.fields},
            **({"buffers": curve.meta["buffers"]} if "buffers" in curve.meta else {}),
        }
        for curve in found
    ]
    return {
        "barrier": told[-1]["barrier"],
        "definition": _DEFINITION,
        "lines": told,
        "t": found[0].t.tolist(),
        "values": [{name: values.tolist() for name, values in curve.fields.items()} for curve in found],
        **{key: found[0].meta[key] for key in ("notes",) if key in found[0].meta},
    }


def _at(curve: Interpolation, name: str, t: float) -> float:
    return float(curve[name][curve.t == t][0])


def _words_of_lines(shown: Shown) -> list[str]:
    joined: Joined = shown.first
    if shown.options.matrix:
        return _matrix_words(joined.found)
    curves: Sequence[Interpolation] = joined.found
    a, b = curves[0].labels
    said = [f"{a} to {b}: distance {curves[0].distance:.4g}, {len(curves[0].t)} points"]
    for curve in curves:
        name = f"barrier, {curve.path}, statistics {curve.bn}d" if len(curves) > 1 else "barrier"
        barriers = ", ".join(f"{field} {_amount(field, curve, joined.units)}" for field in curve.fields)
        said.append(f"  {name.replace('frozend', 'frozen')}: {barriers}")
    return [*said, *model_lines(curves[0].meta), *_hint(joined)]


def _matrix_words(found: Barriers) -> list[str]:
    field = next(iter(found.fields))
    width = max(map(len, found.names))
    aligned = ", after alignment" if "aligned" in found.meta else ""
    said = [f"barriers of the {field.replace('_', ' ')}{aligned}, {found.points} points on each line"]
    for name, row in zip(found.names, found[field], strict=True):
        said.append(f"  {name:<{width}} " + " ".join(f"{value:>9.3g}" for value in row))
    return said


def _hint(joined: Joined) -> list[str]:
    """Where alignment seems to make it worse because statistics were not taken where the weights are."""
    found = {(curve.path, curve.bn): curve.barrier for curve in joined.found}
    higher = [bn for path, bn in found if path == "aligned line" and found[path, bn] > found["line", bn]]
    if not higher or "recalibrate" in {curve.bn for curve in joined.found} or not joined.statistics:
        return []
    why = "between two models activations vary less than statistics of the ends say (Jordan et al. 2023)"
    return [f"  hint     {why}; compare with --bn recalibrate"]


def _amount(field: str, curve: Interpolation, units: Mapping[str, str]) -> str:
    metric = field.partition("_")[2]
    height = curve.barrier_of(field)
    return number(100 * height, "%") if metric == "error" else number(height, units.get(metric, ""))


def _columns_of_lines(shown: Shown) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    from landscape.probes.table import barrier_columns, interpolation_columns

    found = shown.first.found
    if shown.options.matrix:
        return barrier_columns(found), dict(found.meta)
    return interpolation_columns(found), {**found[0].meta, "snapshots": list(found[0].labels)}


def _connect(source: Source, wanted: ConnectOptions) -> Parts:
    from landscape.plots.probe_values import connect_aligned

    ends = ends_of(source, wanted.at)
    a, b = ends.values()
    first, second = ends
    found, _, gains = connect_aligned(
        source.objective(),
        a,
        b,
        wanted.align,
        by=wanted.align_by,
        kind=wanted.curve,
        bends=wanted.bends,
        points=wanted.points,
        bn=wanted.bn,
        settings=Settings.of(wanted),
        labels=(first, second),
        save=source.parts,
        progress=source.progress,
        at_work=source.at_work,
    )
    return _joined(source, LowCurve.of(found, gains))


def _draw_curve(shown: Shown, look: Look) -> Figure:
    from landscape import render

    found: LowCurve = shown.first.found
    return render.interpolation([found.line, found.curve])


def _report_curve(shown: Shown) -> Document:
    found: LowCurve = shown.first.found
    meta = found.curve.meta
    return {
        "barrier": found.curve.barrier,
        "straight_barrier": found.line.barrier,
        "barriers": found.curve.barriers,
        "straight_barriers": found.line.barriers,
        "kind": found.kind,
        "bends": found.bends,
        "bn": found.curve.bn,
        **{key: meta[key] for key in ("buffers", "notes") if key in meta},
        "length": found.length,
        "distance": found.line.distance,
        "t": found.curve.t.tolist(),
        "values": {name: values.tolist() for name, values in found.curve.fields.items()},
        **({} if found.gains is None else {"alignment": report_of_gains(found.gains)}),
    }


def _words_of_the_curve(shown: Shown) -> list[str]:
    found: LowCurve = shown.first.found
    unit, bends = shown.first.units.get("loss", ""), found.bends
    return [
        f"{found.kind} with {bends} bend{'s' * (bends != 1)}: length {found.length:.4g}, straight "
        f"{found.line.distance:.4g}",
        f"  barrier  {number(found.curve.barrier, unit)} along the curve, "
        f"{number(found.line.barrier, unit)} along the straight line",
        *([] if found.gains is None else words_of_gains(found.gains, unit)),
        *model_lines(found.curve.meta),
    ]


def _columns_of_the_curve(shown: Shown) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    from landscape.probes.table import interpolation_columns

    found: LowCurve = shown.first.found
    return interpolation_columns([found.line, found.curve]), dict(found.curve.meta)


def _numbers(kind: Any) -> Any:
    def numbers(shown: Shown) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        for name, values in kind(shown)[0].items():
            own = np.asarray(values)
            if own.dtype.kind in "fiub":
                found[name] = own
        return found

    return numbers


INTERPOLATE = Kind(
    name="interpolate",
    summary="the line between two snapshots and its barrier, or many",
    options=InterpolateOptions,
    compute=_interpolate,
    draw=alone("interpolate", _draw_lines),
    heeds=lambda options: (*PAGE_OPTIONS, *(("vmin", "vmax", "cmap") if options.matrix else SCALE_OPTIONS)),
    report=_report_lines,
    words=_words_of_lines,
    numbers=_numbers(_columns_of_lines),
    columns=_columns_of_lines,
    title="Lines (--kind interpolate)",
    unit="point",
)
CONNECT = Kind(
    name="connect",
    summary="a low-loss curve between two snapshots",
    options=ConnectOptions,
    compute=_connect,
    draw=alone("connect", _draw_curve),
    report=_report_curve,
    words=_words_of_the_curve,
    numbers=_numbers(_columns_of_the_curve),
    columns=_columns_of_the_curve,
    title="Curves of low loss (--kind connect)",
    unit="step",
)

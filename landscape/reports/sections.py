"""Sections of a report: for each a kind of picture, how it is asked for, and what to doubt of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape import plots
from landscape.errors import LandscapeError
from landscape.measures.registry import measure_named
from landscape.measures.stability import stability_threshold, threshold_words
from landscape.plots import Kind, Shown
from landscape.plots.audit_options import AuditOptions
from landscape.plots.optimizers import OptimizerOptions
from landscape.plots.slice_options import Slice, TrajectoryOptions
from landscape.plots.spectra import SpectrumOptions
from landscape.render.labels import field_name, preview_words, split_name
from landscape.render.missing_values import gaps
from landscape.reports.options import ReportOptions
from landscape.trajectory import Trajectory
from landscape.values.audit import Audit
from landscape.values.spectrum import Spectrum

# Kruskal 1964 calls a stress-1 of 0.1 fair.
_FAIR = 0.1
# A plane that holds less of the motion shows less than half of what happened off its edge on.
_HELD = 0.9
# Snapshots at which an optimizer's threshold is looked at, with `fast` and without.
_SNAPSHOTS = (8, 20)
# Measures of the audit with `fast`: those that take a few passes each.
_QUICK = (
    *("hessian_top", "gauss_newton_trace", "sam_sharpness", "filter_normalized_curvature", "fisher_rao_norm"),
    "orbit_min_trace",
)

Doubts = Callable[[Shown, Trajectory], Iterator[str]]


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        title: Above it.
        kind: The kind of picture.
        options: (options of the report, run) -> those of the kind.
        doubts: (panel, run) -> what not to believe of it.
        together: Whether several runs are drawn in one picture.
        words: Whether the lines of the kind stand below the picture.
    """

    title: str
    kind: Kind
    options: Callable[[ReportOptions, Trajectory], Any]
    doubts: Doubts
    together: bool = False
    words: bool = True


def _no_doubts(shown: Shown, run: Trajectory) -> Iterator[str]:
    return iter(())


def _slice_doubts(shown: Shown, run: Trajectory) -> Iterator[str]:
    for surface in shown.parts.values():
        if preview := preview_words(surface.meta):
            yield preview
        for name in surface.fields:
            yield from (f"{field_name(name)}: {gap.label}, not drawn" for gap in gaps(surface, name))
        error = surface.meta.get("dtype_error") or {}
        if "unchecked" in error:
            yield f"the accuracy of {surface.meta.get('dtype')} was not checked: {error['unchecked']}"
        if surface.path is None and (surface.meta.get("plane") or {}).get("kind") == "random":
            moved = ((surface.meta["plane"].get("tensors") or {}).get("moving") or {}).get("numbers")
            if moved:
                yield (
                    f"the surface shows 2 directions of {moved:,}: that it is smooth rules out no sharp direction "
                    "elsewhere, and its width means nothing without the normalisation named below it"
                )


def _path_doubts(shown: Shown, run: Trajectory) -> Iterator[str]:
    yield from _slice_doubts(shown, run)
    for surface in shown.parts.values():
        path, plane = surface.path, surface.meta.get("plane") or {}
        held = plane.get("motion_held")
        if held is not None and held < _HELD:
            yield f"the plane of the path holds {100 * held:.0f} % of the motion: the rest happens off it"
        null = sum((plane.get("null_ratio") or [])[:2])
        share = sum((plane.get("explained_variance_ratio") or [])[:2])
        if null:
            yield (
                f"its two components hold {100 * share:.0f} % of the variance, where a random walk of as many "
                f"snapshots holds {100 * null:.0f} %: a smooth bend alone says little"
            )
        if path is not None:
            gap = np.abs(path.loss - path.plane_loss)
            if np.isfinite(gap).any() and np.nanmax(gap) > np.nanmin(path.loss):
                step = int(path.step[int(np.nanargmax(gap))])
                yield (
                    f"at step {step} the loss drawn under the path differs from the loss of the snapshot by "
                    f"{np.nanmax(gap):.3g}, more than the lowest loss of the run, {np.nanmin(path.loss):.3g}"
                )


def _mds_doubts(shown: Shown, run: Trajectory) -> Iterator[str]:
    for points in shown.parts.values():
        if points.stress > _FAIR:
            yield f"stress {points.stress:.2g}: distances in the map of snapshots are off by about so much"
        if points.negative > 0.01:
            yield f"{100 * points.negative:.0f} % of its eigenvalues are negative: no map fits these distances"


def _spectrum_doubts(shown: Shown, run: Trajectory) -> Iterator[str]:
    found: Spectrum = shown.first
    for name in ("largest", "smallest"):
        if not getattr(found, name).converged:
            yield f"the {name} eigenvalue has not converged, and is not drawn"
    trace, error = found.trace
    if error > 0.2 * abs(trace):
        yield f"the trace of the spectrum is {trace:.3g} ± {error:.2g}: {len(found.densities)} probes are few"
    counts = found.meta.get("examples") or {}
    for split, count in counts.items():
        if isinstance(count, dict) and count.get("used", 0) < count.get("available", 0):
            yield f"the spectrum is of {count['used']:,} of {count['available']:,} {split_name(split)} examples"
    if "derivatives" in found.meta:
        yield str(found.meta["derivatives"])


def _optimizer_doubts(shown: Shown, run: Trajectory) -> Iterator[str]:
    names = {name: column for table in shown.parts.values() for name, column in table.columns.items()}
    for name, column in names.items():
        missing = int(np.isnan(column.values[column.done]).sum())
        if missing:
            yield f"{name}: {missing} of {int(column.done.sum())} values are undefined"


def _audit_doubts(shown: Shown, run: Trajectory) -> Iterator[str]:
    found: Audit = shown.first.audit
    for row in found.rows:
        if row.kind not in ("invariant",):
            reason = f" ({row.reason})" if row.reason else ""
            yield f"{row.title}, {row.verdict}{reason}: {measure_named(row.name).misleads}".rstrip(": ")
    yield from found.notes
    yield from (f"left out of the audit: {one}" for one in found.untried)
    if found.meta.get("examples", 0) < found.meta.get("examples_available", 0):
        yield f"the audit is of {found.meta['examples']:,} of {found.meta['examples_available']:,} examples"


def _optimizer_options(wanted: ReportOptions, run: Trajectory) -> OptimizerOptions:
    count = _SNAPSHOTS[0] if wanted.fast else _SNAPSHOTS[1]
    places = np.unique(np.linspace(0, len(run) - 1, min(count, len(run))).astype(int))
    return OptimizerOptions(at=tuple(int(run.steps[place]) for place in places), seed=wanted.seed)


SECTIONS = (
    Section(
        "Training", plots.metrics, lambda w, run: plots.metrics.options(), _no_doubts, together=True, words=False
    ),
    Section(
        "Surface",
        plots.surface,
        lambda w, run: Slice(at=w.at, points=w.side, seed=w.seed),
        _slice_doubts,
    ),
    Section("Path", plots.trajectory, lambda w, run: TrajectoryOptions(at=w.at, points=w.side), _path_doubts),
    Section("Distances between snapshots", plots.mds, lambda w, run: plots.mds.options(), _mds_doubts),
    Section(
        "Spectrum of the Hessian",
        plots.spectrum,
        lambda w, run: SpectrumOptions(
            at=w.at,
            probes=3 if w.fast else 10,
            lanczos=40 if w.fast else 80,
            subset=w.examples,
            seed=w.seed,
        ),
        _spectrum_doubts,
    ),
    Section(
        "Audit of sharpness measures",
        plots.audit,
        lambda w, run: AuditOptions(at=w.at, seed=w.seed, subset=w.examples, measures=_QUICK if w.fast else None),
        _audit_doubts,
    ),
)
STEPS = Section("Head-room of the learning rate", plots.optimizer, _optimizer_options, _optimizer_doubts)
"""The section of a run that recorded its optimizer's steps."""


def head_room(run: Trajectory, found: Spectrum) -> str:
    """Say how far the largest eigenvalue is from the threshold of a run that recorded no steps.

    Args:
        run: The run.
        found: The spectrum of its Hessian.

    Raises:
        LandscapeError: If its optimizer has no threshold that is known without its steps, or the eigenvalue has
            not converged.
    """
    training = dict(run.training or {})
    exact = stability_threshold(training)
    threshold = exact if exact is not None else stability_threshold({**training, "optimizer": "gd"})
    if threshold is None or training.get("optimizer") not in ("gd", "sgd"):
        optimizer = training.get("optimizer") or "an optimizer that the file does not name"
        raise LandscapeError(
            f"what {optimizer} can follow depends on its steps, which were not recorded",
            mend="train with --record update,preconditioner,lr",
        )
    if not found.largest.converged or not math.isfinite(found.largest.value):
        raise LandscapeError("the largest eigenvalue has not converged")
    value = found.largest.value
    said = (
        f"Gradient descent at this rate and momentum follows valleys up to an eigenvalue of "
        f"{threshold_words(training)} = {threshold:.4g}. The largest here is {value:.4g}, "
        f"{100 * value / threshold:.3g} % of it"
    )
    if value <= 0:
        return f"{said}: no valley limits the rate."
    said += f": a rate {threshold / value:.3g} times as large would reach the edge"
    noise = (
        ""
        if exact is not None
        else (
            " of full batches; with batches of "
            f"{training.get('batch_size', 'an unknown size')} noise sets a lower one, which this does not tell"
        )
    )
    return said + noise + "."

"""Errors, distances and midpoints of branches over the time since they parted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.batchnorm import require_policy
from landscape.params import Tensors, norm, subtract
from landscape.probes.apart_over_time import half_way
from landscape.probes.gauge import Gauge, about
from landscape.trajectory import Snapshot, Trajectory
from landscape.values.probes import Array, Retraining
from landscape.vocabulary import RECALIBRATE

Progress = Callable[[int, int], None]


def examine(
    objective: Objective,
    run: Trajectory,
    *,
    bn: str = "recalibrate",
    splits: Sequence[str] = ("train",),
    moments: int | None = None,
    progress: Progress | None = None,
) -> Retraining:
    """Measure the branches that `retrain` made, over whole splits and at equal epochs.

    Compared are branches of the same start and noise with each other, and each with the control of its start.

    Args:
        objective: That of the branches.
        run: The run of a file of branches.
        bn: The policy for normalisation statistics at midpoints, as in `interpolate`.
        splits: On which data midpoints are measured.
        moments: At how many epochs, evenly spaced with the first and the last among them; None is all.
        progress: Called with (moments done, moments in all).

    Returns:
        Errors and losses of branches and of midpoints, and distances.

    Raises:
        LandscapeError: If there are no finished branches, or they were not recorded at the same epochs.
    """
    require_policy(bn)
    branches = dict(run.branches.items())
    rows = _common_rows(run, branches, moments)
    first = next(iter(branches.values()))
    names = list(branches)
    starts = np.array([branch.parent["parent_step"] for branch in branches.values()], dtype=np.int64)
    told = [branch.parent["perturbation"] or {} for branch in branches.values()]
    noises = [f"{noise['mode']}:{noise['scale']:g}" if noise else "" for noise in told]
    pairs = _pairs(starts, noises)
    gauge = Gauge(objective, splits, recalibrate=bn == RECALIBRATE, between=True)
    moved, between = np.empty((len(names), len(rows))), np.empty((len(pairs), len(rows)))
    midpoints = {name: np.empty((len(pairs), len(rows))) for name in gauge.fields}
    origins = {step: run[run.index_of(step)] for step in dict.fromkeys(starts.tolist())}
    for place, row in enumerate(rows):
        snapshots = [branch[row] for branch in branches.values()]
        for index, snapshot in enumerate(snapshots):
            moved[index, place] = _distance(snapshot, origins[int(starts[index])])
        for index, (i, j) in enumerate(pairs):
            between[index, place], means = half_way(gauge, snapshots[i], snapshots[j], bn)
            for name, value in means.items():
                midpoints[name][index, place] = value
        if progress is not None:
            progress(place + 1, len(rows))
    measured = {f"{split}_{metric}" for split in objective.splits for metric in ("loss", "error")}
    fields = {
        name: np.array([branch.metrics[name][rows] for branch in branches.values()])
        for name in first.metrics
        if name in measured
    }
    kicks = np.array([noise.get("distance", 0.0) for noise in told])
    meta = {**about(objective), "bn": bn, "optimizer": first.training.get("optimizer")}
    epochs: Array = first.epochs[rows]
    return Retraining(
        names,
        starts,
        noises,
        kicks,
        epochs,
        fields,
        moved,
        np.array(pairs).reshape(-1, 2),
        between,
        midpoints,
        meta,
    )


def _common_rows(run: Trajectory, branches: Mapping[str, Trajectory], moments: int | None) -> list[int]:
    """The snapshots that are compared, by their place in every branch."""
    unfinished = [name for name, branch in branches.items() if not branch.finished]
    if not branches or unfinished:
        what = f"branch '{unfinished[0]}' is not finished" if unfinished else "the run has no branches"
        raise LandscapeError(what, where=run.path, mend="landscape probe perturb --retrain makes them")
    first = next(iter(branches.values()))
    for name, branch in branches.items():
        if not np.array_equal(branch.epochs, first.epochs):
            raise LandscapeError(f"branch '{name}' was recorded at other epochs", where=run.path)
    if moments is None or moments >= len(first):
        return list(range(len(first)))
    return sorted({round(k) for k in np.linspace(0, len(first) - 1, max(2, moments))})


def _pairs(starts: np.ndarray, noises: Sequence[str]) -> list[tuple[int, int]]:
    """Branches to be compared: with the control of their start first, then with each other."""
    each = [
        (i, j)
        for i, j in itertools.combinations(range(len(noises)), 2)
        if starts[i] == starts[j] and (noises[i] == noises[j] or not (noises[i] and noises[j]))
    ]
    return sorted(each, key=lambda pair: bool(noises[pair[0]] and noises[pair[1]]))


def _distance(a: Snapshot, b: Snapshot) -> float:
    names = [info.name for info in a.layout.moving()]
    return norm(subtract(_parameters(a), _parameters(b), names))


def _parameters(snapshot: Snapshot) -> Tensors:
    return snapshot.weights

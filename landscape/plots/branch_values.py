"""Branches of one snapshot side by side over the epochs since they parted, as curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape import probes
from landscape.errors import LandscapeError
from landscape.objective.batchnorm import has_statistics
from landscape.surface import Surface
from landscape.trajectory import Snapshot, Trajectory

if TYPE_CHECKING:
    from landscape.objective import Objective

# Words on the axis of a picture for what is measured half way.
_TITLES = {"loss": "loss at midpoints", "error": "error at midpoints", "distance": "distance between the weights"}


def pair_over_epochs(
    trunk: Trajectory,
    pair: Sequence[Trajectory],
    objective: Objective,
    *,
    split: str = "train",
    bn: str = "recalibrate",
    moving: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Surface:
    """Two branches at equal epochs since they left a trunk, or a branch and the snapshot that it left.

    Args:
        trunk: The run that they branched off.
        pair: Two runs; one may be the trunk itself.
        objective: Theirs.
        split: On which data.
        bn: The policy for normalisation statistics half way.
        moving: Take the trunk so many epochs after the snapshot that the other left, instead of at that.
        progress: Called with (epochs done, epochs in all).

    Returns:
        A curve over the epochs: ``weights_distance``, and the loss and the error at midpoints; ``meta["noise"]``
        is the length of the noise that began the longer pushed of the two.

    Raises:
        LandscapeError: If they left other snapshots, or share fewer than two epochs.
    """
    branches = [run for run in pair if run.run_id != trunk.run_id]
    start = _start_of(trunk, branches)
    began = {run.run_id: 0.0 for run in branches}
    if moving:
        began[trunk.run_id] = float(trunk.epochs[trunk.index_of(start.step)])
    since = {run.run_id: run.epochs - began[run.run_id] for run in pair if run.run_id in began}
    epochs = _shared_epochs(pair, since)
    sides = [_at(run, since[run.run_id], epochs) if run.run_id in since else [start] * len(epochs) for run in pair]
    from landscape.probes.lines import Line

    found = probes.apart(objective, *sides, bn=bn, splits=(split,), progress=progress)
    pushed = [Line(start, run[0]).distance for run in branches]
    meta: dict[str, Any] = {
        "kind": "curve",
        "along": "branching",
        "problem": objective.problem,
        "splits": [split],
        "axes": [{"label": "epochs since branching"}],
        "units": dict(objective.units),
        "titles": _TITLES,
        "noise": max(pushed),
    }
    if has_statistics(objective.model):
        meta["bn"] = bn
    return Surface(epochs, None, {"weights_distance": found.distance, **found.midpoints}, meta=meta)


def _start_of(trunk: Trajectory, branches: Sequence[Trajectory]) -> Snapshot:
    """The one snapshot that all branches left."""
    for run in branches:
        if run.parent.get("parent_run_id") != trunk.run_id:
            raise LandscapeError("this is no branch of the trunk", where=run.path, mend=f"it is {trunk.path}")
    steps = sorted({int(run.parent["parent_step"]) for run in branches})
    if len(steps) != 1:
        raise LandscapeError("the branches left other snapshots", where=trunk.path, got=", ".join(map(str, steps)))
    return trunk[trunk.index_of(steps[0])]


def _shared_epochs(pair: Sequence[Trajectory], since: Mapping[str, np.ndarray]) -> np.ndarray:
    """Epochs since the branching at which all have a snapshot."""
    epochs, *others = since.values()
    for other in others:
        epochs = np.intersect1d(epochs, other)
    # Snapshots of a trunk before the branching count nothing.
    epochs = epochs[epochs >= 0]
    if len(epochs) < 2:
        where = ", ".join(str(run.path) for run in pair)
        raise LandscapeError("the branches share fewer than two epochs", where=where, mend="use the same 'every'")
    return epochs


def _at(run: Trajectory, since: np.ndarray, epochs: np.ndarray) -> list[Snapshot]:
    places: Mapping[float, int] = {epoch: place for place, epoch in enumerate(since.tolist())}
    return [run[places[epoch]] for epoch in epochs.tolist()]

"""Probes of recorded runs: from addresses of snapshots to what is found, and the plane that a curve lies in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape import probes, projection
from landscape.errors import LandscapeError
from landscape.files.cells import Cells, Save
from landscape.objective import Objective
from landscape.objective.identity import identity_of
from landscape.params import Weights, resolve
from landscape.plots.addresses import short_name, snapshot_at
from landscape.plots.source import AtWork, Progress, unheard
from landscape.probes import AlignmentGains, Connection, Interpolation
from landscape.probes.gauge import Gauge
from landscape.progress import portion
from landscape.surface import Path, Surface, evaluate, grid
from landscape.training import Settings
from landscape.trajectory import Trajectory
from landscape.vocabulary import POLICIES, RECALIBRATE

# Room around the ends and the bend of a curve, as a share of their extent on either side.
_MARGIN = 0.2


def interpolate_snapshots(
    objective: Objective,
    ends: Mapping[str, Weights],
    *,
    bn: str = "interpolate",
    align: bool = False,
    save: Save = None,
    workers: int = 1,
    progress: Progress | None = None,
    **ways: Any,
) -> list[Interpolation]:
    """The line between two snapshots, under one or all policies for normalisation statistics.

    Args:
        objective: What is measured.
        ends: Name -> weights of the two.
        bn: A policy, or ``"all"``.
        align: Bring the second near to the first by symmetries, which leave its function unchanged; the line
            to it comes after the one without.
        save: A file of finished parts to write and to resume from.
        workers: So many processes share points and cores.
        progress: Called with (work done, work in all).
        **ways: Further arguments of `landscape.probes.interpolate`.

    Returns:
        One curve per policy, then the aligned ones.

    Raises:
        LandscapeError: If the models differ.
    """
    (name, first), (other, second) = ends.items()
    policies = POLICIES if bn == "all" else (bn,)
    lines: list[tuple[str, Any]] = [("line", second)]
    if align:
        lines.append(("aligned line", probes.align(objective, first, second)))
    work = [(path, end, policy) for path, end in lines for policy in policies]
    labels = (name, other)
    told_of = {"of": "interpolate", "bn": policies, "align": align, **ways}
    found = []
    with Cells.open(
        save, lambda: identity_of(objective, {"a": first, "b": second}, objective.splits, **told_of)
    ) as cells:
        for place, (path, end, policy) in enumerate(work):
            how: dict[str, Any] = {"bn": policy, "labels": labels, "path": path, "save": cells, "workers": workers}
            how["progress"] = portion(progress, place, len(work))
            found.append(probes.interpolate(objective, first, end, **how, **ways))
    return found


@dataclass(frozen=True, eq=False)
class Connected:
    """A curve between two snapshots, kept.

    Attributes:
        connection: The curve and its barrier.
        run: Its points as a trajectory; None if they were not kept.
        surface: The plane through the ends and the bend, with the curve as its path; None if not asked for.
        gains: What each family of symmetries gained; None if the ends were not aligned.
    """

    connection: Connection
    run: Trajectory | None
    surface: Surface | None
    gains: AlignmentGains | None = None


def connect_aligned(
    objective: Objective,
    a: Weights,
    b: Weights,
    align: bool,
    by: str = "weights",
    *,
    save: Save = None,
    progress: Progress | None = None,
    at_work: AtWork = unheard,
    **ways: Any,
) -> tuple[Connection, Weights, AlignmentGains | None]:
    """Find a curve from a to b, or to b brought near to a by their symmetries.

    Args:
        objective: What is to stay low.
        a: The weights at 0.
        b: The weights at 1.
        align: Bring b near to a first, which leaves its function unchanged.
        by: What units are matched by then; see `landscape.probes.align`.
        save: A file of finished parts to write and to resume from.
        progress: Called with (work done, work in all) of what is at work.
        at_work: Called with what is at work next, where b is brought near, and what is counted of it.
        **ways: Further arguments of `landscape.probes.connect`.

    Returns:
        The curve, the weights at its end, and what each family of symmetries gained, if they were used.
    """
    if not align:
        return probes.connect(objective, a, b, save=save, progress=progress, **ways), b, None
    settings, splits = ways.get("settings"), ways.get("splits") or objective.splits
    told_of: dict[str, Any] = {name: ways[name] for name in ("kind", "bends", "points", "bn") if name in ways}
    told_of |= {"of": "connect", "align": by, "training": None if settings is None else settings.to_json()}
    with Cells.open(save, lambda: identity_of(objective, {"a": a, "b": b}, splits, **told_of)) as cells:
        at_work("units are matched")
        ends = probes.align_by_family(objective, a, b, by=by)
        end = list(ends.values())[-1]
        at_work("curve", "step")
        found = probes.connect(objective, a, end, save=cells, progress=progress, **ways)
        at_work("lines to each aligned end", "point")
        how: dict[str, Any] = {"points": len(found.line.t), "bn": found.line.bn, "save": cells}
        return found, end, probes.alignment_gains(objective, a, ends, progress=progress, **how)


def connect_snapshots(
    objective: Objective,
    addresses: Sequence[str],
    *,
    save: str | os.PathLike[str] | None = None,
    parts: Save = None,
    overwrite: bool = False,
    plane: int | None = None,
    align: bool = False,
    settings: Settings | None = None,
    progress: Progress | None = None,
    at_work: AtWork = unheard,
    **ways: Any,
) -> Connected:
    """Find a curve between two snapshots along which the loss stays low, and keep it.

    Args:
        objective: What is to stay low.
        addresses: Of the two; see `addresses.run_at`.
        save: A trajectory file for the points of the curve.
        parts: A file of finished parts to write and to resume from.
        overwrite: Replace that file if there is one.
        plane: So many points along each axis of the plane through the ends and the (middle) bend, with the curve
            in it; needs `save`. None draws no plane.
        align: Bring the second near to the first by their symmetries first, which leaves its function unchanged.
        settings: Of the training of the curve.
        progress: Called with (updates done, updates in all); after alignment also with points of lines.
        at_work: As of `connect_aligned`.
        **ways: Further arguments of `landscape.probes.connect`.

    Returns:
        The curve, its trajectory and its plane.

    Raises:
        LandscapeError: If there are not two addresses, the models differ, or the file exists.
    """
    if len(addresses) != 2:
        raise LandscapeError("a curve joins two snapshots", got=len(addresses))
    if save is not None and FilePath(save).exists() and not overwrite:
        raise LandscapeError("the file exists", where=save, mend="pass --overwrite to replace it")
    (run_a, a), (run_b, end) = (snapshot_at(address) for address in addresses)
    labels = (short_name(addresses[0]), short_name(addresses[1]))
    how: dict[str, Any] = {"settings": settings, "labels": labels, "save": parts}
    how |= {"progress": progress, "at_work": at_work}
    connection, b, gains = connect_aligned(objective, a, end, align, **how, **ways)
    if save is None:
        return Connected(connection, None, None, gains)
    ends = [{"run_id": run.run_id, "step": one.step} for run, one in ((run_a, a), (run_b, end))]
    about: dict[str, Any] = {"ends": ends} | ({"aligned": True} if align else {})
    kept = probes.save_path(connection, objective, save, about=about, overwrite=overwrite)
    surface = None if plane is None else _plane_of(objective, connection, kept, a, b, plane, labels)
    return Connected(connection, kept, surface, gains)


def _plane_of(
    objective: Objective,
    connection: Connection,
    run: Trajectory,
    a: Weights,
    b: Weights,
    count: int,
    labels: tuple[str, str],
) -> Surface:
    """The loss over the plane through both ends and the middle bend, and the curve in it."""
    bends = connection.path.bends
    buffers = "frozen" if connection.curve.bn == "frozen" else "interpolate"
    through = projection.plane_through(a, b, {**resolve(a)[1], **bends[len(bends) // 2]}, buffers=buffers)
    axes, marks = through.meta["axes"], through.meta["marks"]
    axes[0]["label"] = f"from {labels[0]} towards {labels[1]}"
    axes[1]["label"] = "orthogonal, towards the bend"
    for mark, label in zip(marks, (*labels, "bend"), strict=True):
        mark["label"] = label
    projected = projection.project_path(through, run)
    x, y = _ranges(marks, projected.coordinates)
    recalibrated = connection.curve.bn == RECALIBRATE
    surface = evaluate(
        objective,
        through,
        grid(count, x=x, y=y),
        bn=RECALIBRATE if recalibrated else None,
        provenance={"problem": objective.problem, "kind": "trajectory"},
    )
    gauge = Gauge(objective, ["train"], ["loss"], recalibrate=recalibrated, between=True)
    walked = Path(
        step=run.steps,
        x=projected.coordinates[:, 0],
        y=projected.coordinates[:, 1],
        off_plane=projected.off_plane,
        loss=connection.curve["train_loss"],
        plane_loss=np.array([gauge.at(through.point(*p))["train_loss"] for p in projected.coordinates.tolist()]),
    )
    return replace(surface, path=walked)


def _ranges(
    marks: Sequence[Mapping[str, Any]], coordinates: NDArray[np.float64]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ranges that show the ends, the bend and the curve with a margin, at least half as high as wide."""
    found = {}
    for axis, name in enumerate("xy"):
        places = [*(float(mark[name]) for mark in marks), *coordinates[:, axis]]
        low, high = min(places), max(places)
        found[name] = (low - _MARGIN * (high - low), high + _MARGIN * (high - low))
    lacking = (found["x"][1] - found["x"][0]) / 2 - (found["y"][1] - found["y"][0])
    if lacking > 0:
        found["y"] = (found["y"][0] - lacking / 2, found["y"][1] + lacking / 2)
    return found["x"], found["y"]

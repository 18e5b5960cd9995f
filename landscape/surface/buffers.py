"""Treatment of buffers on a line or plane: moved, kept, estimated afresh, or recomputed from the weights."""

from __future__ import annotations

from typing import Any

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.batchnorm import statistics_of
from landscape.objective.continuity import require_no_effect, statement
from landscape.projection import Plane
from landscape.surface.task import Task

Points = tuple[tuple[float, ...], ...]


def recomputed(objective: Objective, plane: Plane, recalibrate: int) -> tuple[tuple[str, ...], Points]:
    """The buffers that are recomputed at every point, and the points that are networks with buffers of their own.

    Between networks, and where statistics are re-estimated, buffers that follow from the weights do so
    everywhere. Around one network they are kept, as derivatives there keep them.

    Args:
        objective: Its model tells which buffers follow from the weights.
        plane: Where.
        recalibrate: Examples that statistics are estimated from, or 0.
    """
    if not (plane.between or recalibrate) or not objective.derived:
        return (), ()
    own: Points = ((0.0,) * plane.dims,)
    if plane.meta.get("bn") == "interpolate":
        own = tuple(tuple(float(mark[axis]) for axis in "xy"[: plane.dims]) for mark in plane.meta["marks"])
    return objective.derived, own


def require_line(objective: Objective, plane: Plane, recalibrate: int) -> None:
    """Check that buffers of whole numbers do not differ to any effect where buffers move between networks.

    Raises:
        LandscapeError: If an output changes with one of them.
    """
    if plane.meta.get("bn") != "interpolate" and not (recalibrate and plane.between):
        return
    statistics = set(statistics_of(objective.model))
    for other in plane.others:
        whole = {n: tensor for n, tensor in other.items() if n not in statistics and not plane.layout[n].floating}
        if whole:
            evaluator = objective.evaluator()
            evaluator.load(plane.origin)
            require_no_effect(evaluator, whole)


def require_still(objective: Objective, plane: Plane, what: str) -> None:
    """Check that no buffer is recomputed along a plane whose derivatives are wanted: these hold all buffers.

    Raises:
        LandscapeError: If one is.
    """
    derived, _ = recomputed(objective, plane, 0)
    if derived:
        raise LandscapeError(
            f"'{derived[0]}' follows from the weights and is recomputed at every point of a plane between "
            f"networks, and {what} would not know",
            mend="take a plane around one network",
        )


def about_buffers(task: Task, plane: Plane) -> dict[str, Any]:
    """Describe the treatment of buffers that are no statistics of normalisation, for the meta of a slice."""
    follow = task.objective.derived
    estimated = task.objective.running if task.recalibrate else ()
    buffers = {info.name for info in plane.layout.stored("buffer")}
    moved = {
        name for direction in plane.directions for name in buffers & direction.keys() if direction[name].any()
    }
    kept = [name for other in plane.others for name in other if name not in follow]
    said = {
        "recomputed": task.derived,
        "estimated": estimated,
        "mixed": sorted(moved - {*follow, *estimated}),
        "kept": [*dict.fromkeys([*(() if task.derived else follow), *kept])],
    }
    told = statement(said, statistics_of(task.objective.model))
    return {"buffers": told} if told else {}

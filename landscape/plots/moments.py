"""Animations of slices: a path as it runs over its surface, a surface as training goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.plots.kind import Shown
from landscape.plots.slice_options import COMMON, THROUGH_RUNS, Slice
from landscape.plots.source import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Each is a whole surface to compute.
_MOST = 24


def moments(source: Source, wanted: Slice) -> list[Slice]:
    """The options of a surface at each of at most 24 snapshots, evenly spread up to ``at``; of a path its own.

    Raises:
        LandscapeError: If the plane is not of one snapshot.
    """
    if wanted.kind == "trajectory":
        return [wanted]
    run, wanted = source.only("an animation of a surface"), source.placed(wanted)
    if wanted.snapshots or wanted.plane in (THROUGH_RUNS, COMMON) or wanted.repeats or wanted.shard or wanted.fast:
        raise LandscapeError(
            "an animation is of the plane about each snapshot",
            got=f"plane {wanted.plane}" if wanted.plane else "repeats, shard or fast",
            mend="leave it out, or animate --kind trajectory",
        )
    from landscape.render.animation import evenly

    steps = run.steps[: run.index_of(wanted.at) + 1]
    return [replace(wanted, at=int(steps[place])) for place in evenly(len(steps), _MOST)]


def frames(panels: Sequence[Shown], field: str | None) -> tuple[int, Iterator[NDArray[Any]]]:
    """Count the frames of a path, or of a surface at several moments, and give an iterator that draws them.

    Raises:
        LandscapeError: If nothing moves.
    """
    from landscape.render.animation import count_of, path_frames, surface_frames

    wanted, first = panels[0].options, panels[0].first
    if first.path is not None or first.paths:
        if len(panels[0].parts) > 1 or wanted.view not in ("contour", "levels"):
            raise LandscapeError("an animation is of one map with its path", mend="leave --view and --nearest out")
        return count_of(first), path_frames(first, field, lines=wanted.view == "levels")
    if len(panels) == 1:
        mend = "give a run with several snapshots, not a surface file"
        raise LandscapeError("nothing moves in one moment", mend=mend)
    return len(panels), surface_frames([one.first for one in panels], field, view=wanted.view)

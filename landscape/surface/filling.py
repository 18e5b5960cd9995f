"""Fill a slice: what is missing is computed, in order, and written row by row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from landscape.objective import Estimate, Objective
from landscape.projection import Plane
from landscape.surface.axes import REPEAT
from landscape.surface.engine import Engine
from landscape.surface.store import PartialSurface
from landscape.surface.values import Grid

Progress = Callable[[int, int], None]


def grid_points(grid: Grid) -> list[tuple[float, ...]]:
    """The coordinates (x, y, z, ...) of all points of a grid in one plane, row after row."""
    axes = [axis.tolist() for name, axis in grid.axes.items() if name != REPEAT]
    return [point[::-1] for point in itertools.product(*axes)]


class Centre:
    """The origin of a plane: there the slice is what the unchanged model gives, bit for bit.

    Rewritten passes agree with it to rounding only.

    Args:
        objective: What is evaluated.
        plane: Its origin counts.
        splits: Names of splits.
        metrics: Names of metrics.
    """

    def __init__(self, objective: Objective, plane: Plane, splits: Sequence[str], metrics: Sequence[str]) -> None:
        self._measure = lambda: objective.estimates(plane.origin, splits, metrics)
        self._found: dict[str, Estimate] | None = None

    def estimates(self) -> dict[str, Estimate]:
        """The values there."""
        self._found = self._found or self._measure()
        return self._found


def fill(
    partial: PartialSurface,
    engine_of: Callable[[int], Engine],
    grid: Grid,
    centre: Centre | None,
    progress: Progress | None,
) -> None:
    """Compute what is missing; a row is written when its last point is there.

    Args:
        partial: What is filled.
        engine_of: The engine of a plane, by its number; called when a point of that plane is missing.
        grid: The coordinates.
        centre: Gives the values where all coordinates are 0; None lets the engine give them.
        progress: Called with (points done, points in all).
    """
    points, columns = grid_points(grid), len(grid.x)
    apart = [centre is not None and not any(point) for point in points]
    finished, total = int(partial.done.sum()), partial.done.size
    planes = 1 if grid.repeat is None else len(grid.repeat)
    for plane, missing in enumerate(~partial.done.reshape(planes, -1)):
        if not missing.any():
            continue
        engine = engine_of(plane)
        places = _whole_chunks(missing, apart, engine.chunk)
        computed = engine.evaluate([points[place] for place in places if not apart[place]])
        rows = plane * len(points) // columns
        row = rows + places[0] // columns
        try:
            for place in places:
                if rows + place // columns != row:
                    partial.flush(row)
                    row = rows + place // columns
                there = centre.estimates() if centre is not None and apart[place] else next(computed)
                partial.put(row, place % columns, there)
                finished += int(missing[place])
                if progress is not None:
                    progress(finished, total)
        finally:
            computed.close()
            partial.flush(row)


def _whole_chunks(missing: NDArray[np.bool_], apart: Sequence[bool], chunk: int) -> list[int]:
    """The places to compute, in order: what is missing, and what shares a chunk with it.

    The last bits of a point may depend on its neighbours in a chunk, so a chunk always has the same ones.

    Args:
        missing: Shape (points,).
        apart: Which places belong to no chunk.
        chunk: Places per chunk.
    """
    chunked = [place for place in range(len(missing)) if not apart[place]]
    places = [place for place in range(len(missing)) if apart[place] and missing[place]]
    for start in range(0, len(chunked), chunk):
        together = chunked[start : start + chunk]
        places += together if missing[together].any() else []
    return sorted(places)

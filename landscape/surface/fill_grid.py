"""Fill a slice: what is missing is computed, in order, and written row by row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from landscape.objective import Estimate
from landscape.projection import Plane
from landscape.surface.preview import preview
from landscape.surface.store import PartialSurface
from landscape.surface.task import Task
from landscape.values.grid import REPEAT
from landscape.values.surface import Grid

Progress = Callable[[int, int], None]
Places = Sequence[NDArray[np.int64]]


class Filler(Protocol):
    """Evaluates points of one plane; the last bits of ``group`` points in a row may depend on one another."""

    @property
    def group(self) -> int: ...  # noqa: D102
    def evaluate(self, points: Sequence[tuple[float, ...]]) -> Generator[dict[str, Estimate]]:
        """The estimates at each point, in order."""


def grid_points(grid: Grid) -> list[tuple[float, ...]]:
    """The coordinates (x, y, z, ...) of all points of a grid in one plane, row after row."""
    axes = [axis.tolist() for name, axis in grid.axes.items() if name != REPEAT]
    return [point[::-1] for point in itertools.product(*axes)]


class Centre:
    """The origin of a plane: there the slice is what the unchanged model gives, bit for bit.

    Rewritten passes agree with it to rounding only.

    Args:
        task: What is measured.
        plane: Its origin counts.
    """

    def __init__(self, task: Task, plane: Plane) -> None:
        self._measure = lambda: task.objective.estimates(plane.origin, task.splits, task.metrics)
        self._found: dict[str, Estimate] | None = None

    def estimates(self) -> dict[str, Estimate]:
        """The values there."""
        self._found = self._found or self._measure()
        return self._found


def fill(
    partial: PartialSurface,
    engine_of: Callable[[int], Filler],
    grid: Grid,
    centre: Centre | None,
    progress: Progress | None,
    shard: tuple[int, int] | None = None,
    places: Places | None = None,
) -> None:
    """Compute what is missing; a row is written when its last point is there.

    Args:
        partial: What is filled.
        engine_of: The engine of a plane, by its number; called when a point of that plane is missing.
        grid: The coordinates.
        centre: Gives the values where all coordinates are 0; None lets the engine give them.
        progress: Called with (points done, points in all).
        shard: ``(i, n)`` for only part i of n: every n-th chunk.
        places: Indices along each axis to which this is confined; None is all of them.
    """
    left = ~partial.done
    if places is not None:
        wanted = np.zeros_like(left)
        wanted[np.ix_(*places)] = True
        left &= wanted
    points = grid_points(grid)
    apart = [centre is not None and not any(point) for point in points]
    planes = 1 if grid.repeat is None else len(grid.repeat)
    for plane, missing in enumerate(left.reshape(planes, -1)):
        if missing.any():
            engine = engine_of(plane)
            chosen = _whole_chunks(missing, apart, engine.group, shard or (0, 1))
            if chosen:
                _compute(partial, engine, points, chosen, centre, progress, plane * len(points))


def foretell(
    partial: PartialSurface,
    engine: Filler,
    grid: Grid,
    tolerance: float,
    plane: Plane,
    centre: Centre | None,
    progress: Progress | None,
) -> None:
    """Compute what a preview asks for, but for what the file holds already, and interpolate the rest.

    Args:
        partial: What is filled.
        engine: Evaluates points one by one.
        grid: The coordinates.
        tolerance: The relative error to stay below.
        plane: Its origin and marks are places where something narrow may be.
        centre: As for `fill`.
        progress: Called with (points done, points in all).
    """
    points = grid_points(grid)

    def compute(wanted: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        missing = np.sort(wanted[~partial.done.ravel()[wanted]])
        if len(missing):
            _compute(partial, engine, points, missing.tolist(), centre, progress)
        return {name: values.ravel()[wanted] for name, values in partial.surface.fields.items()}

    names = list(partial.surface.fields)
    judge = next((name for name in names if name.endswith("_loss")), names[0])
    marks = [tuple(mark[axis] for axis in "xy"[: plane.dims]) for mark in plane.meta.get("marks", ())]
    # A share of examples.
    bounds = {name: (0.0, 1.0) for name in names if name.endswith("_error")}
    places = [(0.0,) * plane.dims, *marks]
    made = preview(grid, compute, tolerance, judge=judge, places=places, bounds=bounds)
    partial.fill(made.fields, made.computed, made.report)
    if progress is not None:
        progress(partial.done.size, partial.done.size)


def _compute(
    partial: PartialSurface,
    engine: Filler,
    points: Sequence[tuple[float, ...]],
    places: Sequence[int],
    centre: Centre | None,
    progress: Progress | None,
    first: int = 0,
) -> None:
    """Evaluate places of one plane, which rise, and hand them over row by row; `first` is its first place."""
    columns = partial.done.shape[-1]
    apart = [centre is not None and not any(points[place]) for place in places]
    inner = [points[place] for place, own in zip(places, apart, strict=True) if not own]
    computed = engine.evaluate(inner)
    row = (first + places[0]) // columns
    try:
        for place, own in zip(places, apart, strict=True):
            if (first + place) // columns != row:
                partial.flush(row)
                row = (first + place) // columns
            there = centre.estimates() if centre is not None and own else next(computed)
            partial.put(row, place % columns, there)
            if progress is not None:
                progress(int(partial.done.sum()), partial.done.size)
    finally:
        computed.close()
        partial.flush(row)


def _whole_chunks(
    missing: NDArray[np.bool_], apart: Sequence[bool], chunk: int, shard: tuple[int, int]
) -> list[int]:
    """The places to compute, in order: what is missing, and what shares a chunk with it.

    The last bits of a point may depend on its neighbours in a chunk, so a chunk always has the same ones.

    Args:
        missing: Shape (points,).
        apart: Which places belong to no chunk.
        chunk: Places per chunk.
        shard: Every how many chunks, from which one on; what is apart goes with the first.
    """
    part, parts = shard
    chunked = [place for place in range(len(missing)) if not apart[place]]
    places = [place for place in range(len(missing)) if apart[place] and missing[place] and not part]
    for start in range(part * chunk, len(chunked), parts * chunk):
        together = chunked[start : start + chunk]
        places += together if missing[together].any() else []
    return sorted(places)

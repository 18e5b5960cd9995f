"""The coarse slice that a picture shows first: some points of the final grid, spread over it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from landscape.values.grid import axis_names
from landscape.values.surface import Grid, Surface

# Share of the points that are computed first.
_SHARE = 0.1
# Points along an axis with which a picture shows something.
_FEWEST = 5


def coarse(grid: Grid) -> list[NDArray[np.int64]] | None:
    """The indices along each axis, rows first, of the points that are computed first.

    They are an odd number along each axis, at even distances but for rounding, with both ends and, of an odd
    number of points, the middle.

    Args:
        grid: The final grid.

    Returns:
        The indices; None where so few points show nothing.

    Example:
        >>> [len(places) for places in coarse(Grid(np.linspace(-1, 1, 51), np.linspace(-1, 1, 51)))]
        [15, 15]
    """
    share = _SHARE ** (1 / len(grid.shape))
    # Half a rounding more: 0.1 ** 0.5 squared is more than 0.1.
    counts = [math.floor(count * share + 1e-9) for count in grid.shape]
    counts = [count - 1 + count % 2 for count in counts]
    if min(counts) < _FEWEST:
        return None
    return [
        np.rint(np.linspace(0, length - 1, count)).astype(np.int64)
        for length, count in zip(grid.shape, counts, strict=True)
    ]


def coarse_slice(surface: Surface, places: list[NDArray[np.int64]]) -> Surface:
    """The slice over these points alone; ``meta["coarse"]`` says how many of how many they are.

    Args:
        surface: The slice, in which they are computed.
        places: Indices along each axis, rows first.
    """
    at = np.ix_(*places)
    axes = dict(zip(axis_names(len(places)), reversed(places), strict=True))
    points = math.prod(map(len, places))
    return replace(
        surface,
        x=surface.x[axes["x"]],
        y=None if surface.y is None else surface.y[axes["y"]],
        fields={name: values[at] for name, values in surface.fields.items()},
        standard_errors={name: values[at] for name, values in surface.standard_errors.items()},
        done=np.ones(tuple(map(len, places)), bool),
        meta={**surface.meta, "coarse": {"computed": points, "points": surface.values.size}},
    )

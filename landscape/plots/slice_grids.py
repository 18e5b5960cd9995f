"""Coordinates of a slice: around a path, around snapshots, or as wide as is wanted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landscape.plots.slice_options import Slice
from landscape.projection import Plane, Repeats
from landscape.surface import Grid, grid

# Room around a path or around snapshots, as a share of their extent on either side.
_MARGIN = 0.25
# Li et al. 2018 draw interpolations on [-0.5, 1.5].
_INTERPOLATION_MARGIN = 0.5


def grid_of(plane: Plane | Repeats, places: NDArray[np.float64] | None, wanted: Slice) -> Grid:
    """The grid over a plane: around places in it, around its marks, or as wide as is wanted.

    Args:
        plane: The plane.
        places: Shape (count, 2), coordinates of a path; None where there is none.
        wanted: Points, radius and coordinates.
    """
    if places is not None:
        return grid_around(places, wanted)
    marks = plane.meta.get("marks") if isinstance(plane, Plane) else None
    if marks is None:
        return grid(wanted.points, wanted.radius, x=wanted.x, y=wanted.y, dims=plane.dims)
    if plane.dims == 1:
        half = wanted.radius * (0.5 + _INTERPOLATION_MARGIN)
        return grid(wanted.points, x=(0.5 - half, 0.5 + half) if wanted.x is None else wanted.x, dims=1)
    return grid_around(np.array([[mark["x"], mark["y"]] for mark in marks]), wanted)


def grid_around(places: NDArray[np.float64], wanted: Slice) -> Grid:
    """A grid around places, square in weight space: distances on paper are distances between weights."""
    low, high = places.min(axis=0), places.max(axis=0)
    half = wanted.radius * float((high - low).max()) * (0.5 + _MARGIN)
    x, y = ((float(middle - half), float(middle + half)) for middle in (low + high) / 2)
    return grid(
        wanted.points, x=x if wanted.x is None else wanted.x, y=y if wanted.y is None else wanted.y, dims=2
    )

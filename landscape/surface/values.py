"""Grids and the values of a slice on them: NumPy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError

Array = NDArray[np.float64]

# About 1 GB for a field and its standard error.
_MOST_POINTS = 2**26


@dataclass(frozen=True)
class Grid:
    """The coordinates at which a slice is evaluated.

    Attributes:
        x: Shape (nx,), along the first direction.
        y: Shape (ny,), along the second direction; None on a line.
    """

    x: Array
    y: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(ny, nx) on a plane, (nx,) on a line: rows are y."""
        return (len(self.x),) if self.y is None else (len(self.y), len(self.x))


def axis(points: int, low: float, high: float) -> Array:
    """Evenly spaced coordinates that are exactly symmetric about their middle.

    Args:
        points: How many, at least 2.
        low: The first coordinate.
        high: The last coordinate.

    Returns:
        Shape (points,). With an odd number of points on [-r, r] the middle one is exactly 0.

    Raises:
        LandscapeError: If there are fewer than two points, or the range is empty or not finite.

    Example:
        >>> axis(5, -1.0, 1.0)
        array([-1. , -0.5,  0. ,  0.5,  1. ])
    """
    if not isinstance(points, int | np.integer) or points < 2:
        raise LandscapeError("a grid needs at least 2 points along each axis", got=points, mend="try 51")
    if not (math.isfinite(low) and math.isfinite(high) and low < high and math.isfinite(high - low)):
        raise LandscapeError("the range of an axis must be finite and not empty", got=f"[{low}, {high}]")
    steps = (2 * np.arange(points) - (points - 1)) / (points - 1)
    return (low + high) / 2 + steps * ((high - low) / 2)


def grid(
    points: int | tuple[int, int] = 51,
    radius: float = 1.0,
    *,
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    dims: int = 2,
) -> Grid:
    """A regular grid about the origin of a plane, or over given ranges.

    Args:
        points: Points along each axis, or (nx, ny).
        radius: Half the width of each axis, in units of the directions.
        x: (low, high) of the first axis instead of the radius.
        y: (low, high) of the second axis instead of the radius.
        dims: 2 for a plane, 1 for a line.

    Returns:
        The grid.

    Raises:
        LandscapeError: If the radius is not positive, or an axis has fewer than 2 points.

    Example:
        >>> grid(3, radius=2.0).x
        array([-2.,  0.,  2.])
    """
    if x is None and not (math.isfinite(radius) and radius > 0):
        raise LandscapeError("the radius must be positive and finite", got=radius, mend="try 1")
    if dims not in (1, 2):
        raise LandscapeError("a grid has 1 or 2 dimensions", got=dims)
    counts = tuple(points) if isinstance(points, tuple | list) else (points, points)
    if len(counts) != 2:
        raise LandscapeError("points along the axes", got=points, expected="one number, or (nx, ny)")
    ranges = [_range(given, radius) for given in (x, y)][:dims]
    if math.prod(counts[:dims]) > _MOST_POINTS:
        raise LandscapeError("a grid of so many points does not fit into memory", got=points, mend="try 51")
    return Grid(*(axis(count, *given) for count, given in zip(counts, ranges, strict=False)))


def _range(given: Sequence[float] | None, radius: float) -> tuple[float, float]:
    if given is None:
        return -radius, radius
    if len(given) != 2:
        raise LandscapeError("the range of an axis", got=list(given), expected="(low, high)")
    return float(given[0]), float(given[1])


@dataclass(frozen=True)
class Path:
    """A trajectory seen in a plane.

    Attributes:
        step: Shape (T,), optimizer updates.
        x: Shape (T,), coordinate along the first direction.
        y: Shape (T,), coordinate along the second direction.
        off_plane: Shape (T,), Euclidean distance of the snapshot from the plane.
        loss: Shape (T,), the snapshot's own loss.
        plane_loss: Shape (T,), the loss at its projection into the plane.
    """

    step: NDArray[np.int64]
    x: Array
    y: Array
    off_plane: Array
    loss: Array
    plane_loss: Array


@dataclass(frozen=True)
class Surface:
    """A slice: values on a grid over a plane (2-D) or a line (1-D).

    Attributes:
        x: Shape (nx,), coordinates along the first direction.
        y: Shape (ny,), coordinates along the second; None for a curve.
        fields: ``"<split>_<metric>"`` -> float64 array, (ny, nx) or (nx,): rows are y. NaN is "undefined"
            where `done` is true, and "not computed" where it is false. Means per example; losses in nats
            where they are cross-entropies, errors as a share of 1.
        standard_errors: The same keys and shapes; empty or NaN where there is none.
        done: Which points have their final values.
        computed: Which of these are computed; the others are interpolated (see `preview`). None means all.
        meta: What this is: problem, step, plane, normalisation, seed, units. Plain JSON values.
        path: A trajectory in the same plane, if one goes with it.
    """

    x: Array
    y: Array | None
    fields: Mapping[str, Array]
    standard_errors: Mapping[str, Array] = field(default_factory=dict)
    done: NDArray[np.bool_] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    computed: NDArray[np.bool_] | None = None

    @property
    def values(self) -> Array:
        """The first metric: (ny, nx), or (nx,) for a curve."""
        return next(iter(self.fields.values()))

    def __getitem__(self, name: str) -> Array:
        if name not in self.fields:
            raise LandscapeError(
                f"the surface has no field '{name}'", mend="it has " + ", ".join(sorted(self.fields))
            )
        return self.fields[name]

    @property
    def complete(self) -> bool:
        """Whether every point has its final value."""
        return self.done is None or bool(self.done.all())

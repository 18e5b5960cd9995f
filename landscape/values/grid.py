"""Axes and grids: the coordinates at which a slice is evaluated. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.values.result import Result

Array = NDArray[np.float64]
Coordinates: TypeAlias = "tuple[float, float] | Sequence[float] | Array"

# About 1 GB for a field and its standard error.
_MOST_POINTS = 2**26
# The sum of a middle and a step has at most this many roundings of the larger end.
_ROUNDINGS = 4
REPEAT = "repeat"


def axis_names(count: int) -> list[str]:
    """The names of so many axes: x, y, z, d4, d5, ...

    Example:
        >>> axis_names(4)
        ['x', 'y', 'z', 'd4']
    """
    return [*"xyz"[:count], *(f"d{i}" for i in range(4, count + 1))]


def named_axes(
    x: Array, y: Array | None, more: Sequence[Array] = (), repeat: NDArray[np.int64] | None = None
) -> dict[str, NDArray[Any]]:
    """Name -> coordinates in the order in which arrays have them: repeat, ..., z, y, x."""
    along = [x, *([] if y is None else [y]), *more]
    axes: dict[str, NDArray[Any]] = {} if repeat is None else {REPEAT: repeat}
    return axes | dict(reversed(list(zip(axis_names(len(along)), along, strict=True))))


@dataclass(frozen=True)
class Grid(Result):
    """The coordinates at which a slice is evaluated.

    Attributes:
        x: Shape (nx,), along the first direction; like all axes strictly increasing, not always evenly spaced.
        y: Shape (ny,), along the second direction; None on a line.
        more: Shapes (nz,), ..., along further directions.
        repeat: Shape (K,), the seeds of the planes that the slice is repeated over; None for one plane.

    Raises:
        LandscapeError: If an axis is not a row of at least 2 finite, strictly increasing numbers.

    Example:
        >>> Grid([-1.0, 0.0, 0.5], [0.0, 1.0]).shape
        (2, 3)
    """

    x: Array
    y: Array | None = None
    more: tuple[Array, ...] = ()
    repeat: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.y is None and self.more:
            raise LandscapeError("a grid with further axes needs y", mend="pass y, or leave more out")
        names = axis_names(2 + len(self.more))
        object.__setattr__(self, "x", _checked(self.x, names[0]))
        if self.y is not None:
            object.__setattr__(self, "y", _checked(self.y, names[1]))
        more = tuple(_checked(values, name) for values, name in zip(self.more, names[2:], strict=True))
        object.__setattr__(self, "more", more)
        if math.prod(self.shape) > _MOST_POINTS:
            raise LandscapeError("a grid of so many points does not fit into memory", got=self.shape)

    @property
    def axes(self) -> Mapping[str, NDArray[Any]]:
        """Name -> coordinates in the order in which arrays have them: repeat, ..., z, y, x."""
        return named_axes(self.x, self.y, self.more, self.repeat)

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., nz, ny, nx): rows are y; (nx,) on a line; the number of repeats stands before."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def dims(self) -> int:
        """The number of directions."""
        return 1 if self.y is None else 2 + len(self.more)

    def repeated(self, seeds: Sequence[int]) -> Grid:
        """The same coordinates on several planes, told apart by their seeds."""
        return replace(self, repeat=np.array(seeds, dtype=np.int64))


def _checked(values: Any, name: str) -> Array:
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise LandscapeError("coordinates must be numbers", where=name, got=f"{values!r}") from None
    if found.ndim != 1 or len(found) < 2:
        raise LandscapeError(
            "an axis is a row of at least 2 coordinates", where=name, got=f"an array of shape {found.shape}"
        )
    if not np.isfinite(found).all():
        raise LandscapeError("coordinates must be finite", where=name, got=float(found[~np.isfinite(found)][0]))
    falls = np.flatnonzero(np.diff(found) <= 0)
    if len(falls):
        first = int(falls[0])
        raise LandscapeError(
            "coordinates must increase strictly", where=name, got=f"{found[first + 1]} after {found[first]}"
        )
    return found


def axis(points: int, low: float, high: float) -> Array:
    """Evenly spaced coordinates from one end to the other that are exactly symmetric about their middle.

    Args:
        points: How many, at least 2.
        low: The first coordinate.
        high: The last coordinate.

    Returns:
        Shape (points,). With an odd number of points on [-r, r] the middle one is exactly 0, and so is any
        coordinate of another range that differs from 0 by rounding only.

    Raises:
        LandscapeError: If there are fewer than two points, or the range is empty or not finite.

    Example:
        >>> axis(5, -1.0, 1.0)
        array([-1. , -0.5,  0. ,  0.5,  1. ])
    """
    if not isinstance(points, int | np.integer) or points < 2:
        raise LandscapeError("a grid needs at least 2 points along each axis", got=points, mend="try 51")
    if not (math.isfinite(low) and math.isfinite(high) and low < high and math.isfinite(high - low)):
        raise LandscapeError(
            "the range of an axis must be finite and not empty",
            got=f"[{low}, {high}]",
            mend="give the lower end first, as -1:1",
        )
    steps = (2 * np.arange(points) - (points - 1)) / (points - 1)
    found = (low + high) / 2 + steps * ((high - low) / 2)
    found[[0, -1]] = low, high
    rounding = _ROUNDINGS * np.finfo(np.float64).eps * max(abs(low), abs(high))
    # Only what the ends do not claim: a range may begin or end closer to 0 than this.
    found[1:-1][np.abs(found[1:-1]) < rounding] = 0.0
    return found


def grid(
    points: int | Sequence[int] = 51,
    radius: float = 1.0,
    *,
    x: Coordinates | None = None,
    y: Coordinates | None = None,
    more: Sequence[Coordinates | None] = (),
    dims: int | None = None,
) -> Grid:
    """A grid about the origin of a plane, over given ranges, or at given coordinates.

    Args:
        points: Points along each axis, or (nx, ny, nz, ...), which also says how many axes there are.
        radius: Half the width of each axis, in units of the directions.
        x: Of the first axis instead of the radius: a tuple (low, high), or all coordinates as an array or
            list, strictly increasing; its number of points is then its own.
        y: Of the second axis, likewise.
        more: Of further axes, likewise; None takes the radius.
        dims: The number of axes: 1 for a line, 2 for a plane; by default what the other arguments say, or 2.

    Returns:
        The grid.

    Raises:
        LandscapeError: If the radius is not positive, an axis has fewer than 2 points, or coordinates do not
            increase.

    Example:
        >>> grid(3, radius=2.0).x
        array([-2.,  0.,  2.])
        >>> grid((5, 4, 3)).shape
        (3, 4, 5)
        >>> grid(3, x=[0.0, 0.1, 1.0], y=(0.0, 1.0)).x
        array([0. , 0.1, 1. ])
    """
    several = isinstance(points, Sequence | np.ndarray)
    wanted = _dims(len(points) if several else None, dims, 2 + len(more) if more else 0)  # type: ignore[arg-type]
    counts: list[int] = list(points) if several else [points] * wanted  # type: ignore[arg-type, list-item]
    given = [x, y, *more, *[None] * wanted][:wanted]
    numbers = [n for n, own in zip(counts, given, strict=True) if own is None or _is_range(own)]
    if all(isinstance(n, int | np.integer) for n in numbers) and math.prod(map(int, numbers)) > _MOST_POINTS:
        raise LandscapeError("a grid of so many points does not fit into memory", got=points, mend="try 51")
    axes = [
        _axis(count, own, radius, name) for count, own, name in zip(counts, given, axis_names(wanted), strict=True)
    ]
    return Grid(axes[0], axes[1] if wanted > 1 else None, tuple(axes[2:]))


def _dims(counted: int | None, asked: int | None, ranges: int) -> int:
    """The number of axes, of which the arguments may speak in three places."""
    if asked is not None and asked < 1:
        raise LandscapeError("a grid has at least 1 dimension", where="dims", got=asked)
    found = asked or counted or ranges or 2
    if counted is not None and counted != found:
        raise LandscapeError(
            "points along the axes",
            got=f"{counted} numbers",
            expected=f"one number, or one for each of {found} axes",
        )
    if ranges > found:
        raise LandscapeError("more axes than dimensions", where="more", got=ranges, expected=f"at most {found}")
    return found


def _is_range(own: Coordinates) -> bool:
    return isinstance(own, tuple) and len(own) == 2


def _axis(count: int, own: Coordinates | None, radius: float, name: str) -> Array:
    if own is None:
        if not (math.isfinite(radius) and radius > 0):
            raise LandscapeError("the radius must be positive and finite", got=radius, mend="try 1")
        return axis(count, -radius, radius)
    return axis(count, float(own[0]), float(own[1])) if _is_range(own) else _checked(own, name)

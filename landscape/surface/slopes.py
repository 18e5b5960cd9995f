"""Gradients of a drawn surface: one backward pass per point, seen in the coordinates of the plane."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.curvature import Curvature
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import Tensors, cast
from landscape.projection import Plane
from landscape.surface.companions import GRADIENT_FIELDS
from landscape.values.surface import Array, Grid

# Arrows along each axis, at most: more run into each other on a map of one column.
ARROWS = 16


def gradient_field(
    objective: Objective,
    plane: Plane,
    grid: Grid,
    *,
    split: str = "train",
    arrows: int = ARROWS,
    dtype: torch.dtype | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Array]:
    """The gradient g of the mean loss on some points of a grid, seen from the plane.

    With directions d_i and their inner products G, the slope of the drawn surface along coordinate i is
    s_i = d_i . g, and the projection of the negative gradient into the plane has the coordinates -G^-1 s: what
    gradient descent would do if it could not leave the plane. The two differ where directions are not orthonormal.

    Args:
        objective: What is drawn.
        plane: Where; two directions.
        grid: The grid of the surface.
        split: On which data.
        arrows: So many points along each axis at most, evenly chosen from the grid.
        dtype: ``torch.float32`` or ``torch.float64``; None is the model's own.
        progress: Called with (points done, points in all).

    Returns:
        The arrays of `Surface.gradient`, shape (ny, nx).

    Raises:
        LandscapeError: If there are not two directions, they are parallel, they move what has no gradient, or it
            is not finite.
    """
    if plane.dims != 2 or grid.y is None:
        raise LandscapeError("a gradient field needs a plane", got=f"{plane.dims} directions", expected="2")
    curvature = Curvature(objective, plane.origin, split=split, dtype=dtype)
    directions = torch.stack([flat_direction(curvature, direction) for direction in plane.directions])
    gram = (directions @ directions.T).numpy()
    if np.linalg.matrix_rank(gram, hermitian=True) < plane.dims:
        raise LandscapeError("the directions of the plane are parallel", where="gradient", mend="choose others")
    found = {name: np.full(grid.shape, np.nan) for name in GRADIENT_FIELDS}
    places = [(row, column) for row in some_of(len(grid.y), arrows) for column in some_of(len(grid.x), arrows)]
    for done, (row, column) in enumerate(places, 1):
        curvature.load(point_of(plane, (float(grid.x[column]), float(grid.y[row]))))
        here = _seen(curvature.gradient().double().cpu(), directions, gram)
        for name, value in zip(GRADIENT_FIELDS, here, strict=True):
            found[name][row, column] = value
        if progress is not None:
            progress(done, len(places))
    return found


def _seen(gradient: torch.Tensor, directions: torch.Tensor, gram: Array) -> NDArray[np.float64]:
    slope = (directions @ gradient).numpy()
    step = -np.linalg.solve(gram, slope)
    length = float(gradient.norm())
    inside = float(np.sqrt(max(0.0, -step @ slope)))
    return np.array([*slope, *step, length, inside / length if length > 0 else np.nan])


def some_of(count: int, most: int) -> list[int]:
    """At most so many of the places 0 ... count - 1, evenly spaced and as far from one end as from the other.

    Example:
        >>> some_of(9, 5), some_of(9, 3)
        ([0, 2, 4, 6, 8], [1, 4, 7])
    """
    stride = -(-count // most)
    return list(range((count - 1) % stride // 2, count, stride))


def flat_direction(curvature: Curvature, direction: Tensors) -> torch.Tensor:
    """A direction as a vector of the parameters that have a gradient, float64 on the CPU.

    Raises:
        LandscapeError: If it moves anything else.
    """
    others = [name for name, tensor in direction.items() if name not in curvature.names and bool(tensor.any())]
    if others:
        raise LandscapeError(
            f"the plane moves '{others[0]}', which training does not: its slope is not known from the gradient",
            mend="leave frozen parameters and buffers where they are",
        )
    shaped = curvature.unflatten(torch.zeros(curvature.size))
    return curvature.flatten({name: direction.get(name, zero).cpu() for name, zero in shaped.items()}).double()


def point_of(plane: Plane, coordinates: tuple[float, ...]) -> Tensors:
    """The weights at some coordinates, in float64: whoever takes them rounds once."""
    moved = {name: cast(tensor, torch.float64) for name, tensor in plane.origin.items()}
    for coordinate, direction in zip(coordinates, plane.directions, strict=True):
        for name, tensor in direction.items():
            moved[name] = moved[name] + coordinate * cast(tensor, torch.float64)
    return moved

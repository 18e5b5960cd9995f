"""The plane parallel to another that goes through chosen weights, and the plane that two vectors span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from landscape.errors import LandscapeError
from landscape.params import Held, Tensors, Weights, cast, combine, dot, norm, resolve, scale
from landscape.projection.plane import Plane

# Below this sine of the angle between them two vectors span no plane in float32.
_PARALLEL = 1e-6


def parallel_plane(plane: Plane, weights: Weights) -> tuple[Plane, tuple[float, ...]]:
    """The plane moved until it goes through some weights, which keep their coordinates.

    With P the projection onto the directions, the origin o becomes w - P (w - o): the point of the new plane
    nearest to o. All tensors that the directions do not move, buffers among them, are those of the weights.

    Args:
        plane: The plane.
        weights: Of the same model.

    Returns:
        The moved plane, and the coordinates of the weights in it (those of their projection into the old one).

    Raises:
        LandscapeError: If the directions are parallel, or the weights of another model.

    Example:
        >>> plane = Plane({"w": torch.zeros(3)}, [{"w": torch.tensor([2.0, 0.0, 0.0])}])
        >>> moved, at = parallel_plane(plane, {"w": torch.tensor([1.0, 5.0, 0.0])})
        >>> moved.origin["w"].tolist(), at
        ([0.0, 5.0, 0.0], (0.5,))
    """
    _, held = resolve(weights)
    for name, tensor in plane.origin.items():
        if name not in held or held[name].shape != tensor.shape:
            raise LandscapeError(f"the plane is of another model: tensor '{name}' is missing or misshapen")
    moving = [info.name for info in plane.layout.moving()]
    away = {
        name: _precise(held[name]).to(plane.origin[name].device) - _precise(plane.origin[name]) for name in moving
    }
    own = [{name: direction[name] for name in moving if name in direction} for direction in plane.directions]
    gram = np.array([[dot(a, b) for b in own] for a in own])
    if np.linalg.matrix_rank(gram, hermitian=True) < plane.dims:
        raise LandscapeError("the directions of the plane are parallel", mend="choose others")
    at = np.linalg.solve(gram, [dot(away, direction) for direction in own])
    origin = dict(held)
    for coordinate, direction in zip(at.tolist(), plane.directions, strict=True):
        for name, tensor in direction.items():
            origin[name] = _precise(origin[name]) - coordinate * _precise(tensor)
    rounded = {name: tensor.to(plane.origin[name]) for name, tensor in origin.items()}
    moved = Plane(_like(plane, rounded), plane.directions, kind=plane.kind, meta=plane.meta)
    return moved, tuple(float(coordinate) for coordinate in at)


def _precise(tensor: torch.Tensor) -> torch.Tensor:
    return cast(tensor, torch.float64)


def _like(plane: Plane, tensors: Tensors) -> Weights:
    """Tensors with the layout of a plane."""
    kinds = {
        kind: {info.name: tensors[info.name] for info in plane.layout.stored(kind)}
        for kind in ("parameter", "buffer")
    }
    return Held(plane.layout, kinds["parameter"], kinds["buffer"])


def orthonormal_plane(
    origin: Weights,
    x: Mapping[str, torch.Tensor],
    y: Mapping[str, torch.Tensor],
    *,
    kind: str,
    meta: dict[str, Any],
) -> Plane:
    """The plane through some weights that two vectors span: the first axis along x, the second towards y.

    The second direction is what of y is orthogonal to x (Gram-Schmidt), both have length 1, so that distances on
    paper are distances between weights.

    Args:
        origin: A snapshot, a model, or a name -> tensor dictionary.
        x: Name -> tensor.
        y: Name -> tensor; ``meta["cosine_before"]`` is that of the angle between the two.
        kind: What made it.
        meta: More about it, as plain JSON values.

    Returns:
        A plane in Euclidean units.

    Raises:
        LandscapeError: If a vector is zero, or they are parallel.
    """
    lengths = norm(x), norm(y)
    if min(lengths) == 0:
        raise LandscapeError("one of the two vectors is zero", where=kind, mend="choose another plane")
    precise = [{name: _precise(tensor) for name, tensor in vector.items()} for vector in (x, y)]
    first = scale(precise[0], 1 / lengths[0])
    along = dot(first, precise[1])
    across = combine([(1.0, precise[1]), (-along, first)])
    height = norm(across)
    if height <= _PARALLEL * lengths[1]:
        raise LandscapeError("the two vectors are parallel: they span a line", where=kind, mend="choose others")
    _, own = resolve(origin)
    rounded = [
        {name: tensor.to(own[name]) for name, tensor in direction.items()}
        for direction in (first, scale(across, 1 / height))
    ]
    about = {"equal_aspect": True, "cosine_before": along / lengths[1], **(meta or {})}
    return Plane(origin, rounded, kind=kind, meta=about)

"""Where the snapshots of a trajectory lie in a plane, and how far off it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.params import wide
from landscape.projection.plane import Plane
from landscape.projection.walks import SnapshotMatrix
from landscape.values.grid import axis_names
from landscape.values.result import Tabular


@dataclass(frozen=True)
class Projected(Tabular):
    """Snapshots seen from a plane.

    Attributes:
        coordinates: Shape (T, dims), of the nearest point of the plane, in units of its directions.
        off_plane: Shape (T,), Euclidean distance from the plane over the trained parameters.
        distance: Shape (T,), Euclidean distance from the origin of the plane.
        motion_held: The share of the summed squared distances from the last snapshot that lies along the plane:
            1 of a path in the plane or parallel to it; NaN where it was not measured.
    """

    coordinates: NDArray[np.float64]
    off_plane: NDArray[np.float64]
    distance: NDArray[np.float64]
    motion_held: float = math.nan

    def _table(self) -> Mapping[str, Any]:
        along = dict(zip(axis_names(self.coordinates.shape[1]), self.coordinates.T, strict=True))
        return {**along, "off_plane": self.off_plane, "distance": self.distance}


def project_path(plane: Plane, run: SnapshotMatrix) -> Projected:
    """Project every snapshot of a trajectory into a plane by least squares.

    The weights are read once, in blocks of columns; sums are in float64.

    Args:
        plane: The plane; its directions need not be orthogonal.
        run: The trajectory.

    Returns:
        Coordinates and distances.

    Raises:
        LandscapeError: If the plane is of another model.
    """
    count = len(run)
    products = np.zeros((count, plane.dims))
    gram = np.zeros((plane.dims, plane.dims))
    squares, moved = np.zeros(count), 0.0
    for block in run.column_blocks():
        if block.name not in plane.origin:
            raise LandscapeError(f"the plane is of another model: it has no tensor '{block.name}'")
        part = slice(block.start, block.stop)
        difference = block.values.astype(np.float64) - _flat(plane.origin[block.name])[part]
        squares += np.einsum("tp,tp->t", difference, difference)
        moved += float(((difference - difference[-1]) ** 2).sum())
        rows = [_flat(d[block.name])[part] if block.name in d else None for d in plane.directions]
        basis = np.stack([row if row is not None else np.zeros(block.stop - block.start) for row in rows])
        products += difference @ basis.T
        gram += basis @ basis.T
    if np.linalg.matrix_rank(gram, hermitian=True) < plane.dims:
        raise LandscapeError("the directions of the plane are parallel", mend="choose others")
    coordinates: NDArray[np.float64] = np.linalg.solve(gram, products.T).T.astype(np.float64)
    inside = np.einsum("td,td->t", coordinates, products)
    off_plane = np.sqrt(np.maximum(squares - inside, 0.0))
    along = coordinates - coordinates[-1]
    held = float(np.einsum("td,de,te->", along, gram, along))
    return Projected(coordinates, off_plane, np.sqrt(squares), min(1.0, held / moved) if moved > 0 else 1.0)


def _flat(tensor: Tensor) -> NDArray[np.float64]:
    flat: NDArray[np.float64] = wide(tensor.detach().cpu()).flatten().numpy()
    return flat

"""Where the snapshots of a trajectory lie in a plane, and how far off it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.projection.plane import Plane


class ColumnBlock(Protocol):
    """A range of the elements of one parameter, for all snapshots at once.

    ``values`` has shape (T, stop - start): elements start to stop of the flattened parameter ``name``.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def stop(self) -> int: ...  # noqa: D102
    @property
    def values(self) -> NDArray[np.float64]: ...  # noqa: D102


class SnapshotMatrix(Protocol):
    """The weights of a trajectory as a (T, P) matrix that is read in blocks of columns."""

    @property
    def layout(self) -> Layout: ...  # noqa: D102
    def __len__(self) -> int: ...
    def column_blocks(self) -> Iterator[ColumnBlock]: ...  # noqa: D102


@dataclass(frozen=True)
class Projected:
    """Snapshots seen from a plane.

    Attributes:
        coordinates: Shape (T, dims), of the nearest point of the plane, in units of its directions.
        off_plane: Shape (T,), Euclidean distance from the plane over the trained parameters.
        distance: Shape (T,), Euclidean distance from the origin of the plane.
    """

    coordinates: NDArray[np.float64]
    off_plane: NDArray[np.float64]
    distance: NDArray[np.float64]

    @property
    def motion_held(self) -> float:
        """The share of the summed squared distances from the origin that lies in the plane."""
        total = float((self.distance**2).sum())
        return 1.0 - float((self.off_plane**2).sum()) / total if total > 0 else 1.0


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
    squares = np.zeros(count)
    for block in run.column_blocks():
        if block.name not in plane.origin:
            raise LandscapeError(f"the plane is of another model: it has no tensor '{block.name}'")
        part = slice(block.start, block.stop)
        difference = block.values.astype(np.float64) - _flat(plane.origin[block.name])[part]
        squares += np.einsum("tp,tp->t", difference, difference)
        rows = [_flat(d[block.name])[part] if block.name in d else None for d in plane.directions]
        basis = np.stack([row if row is not None else np.zeros(block.stop - block.start) for row in rows])
        products += difference @ basis.T
        gram += basis @ basis.T
    if np.linalg.matrix_rank(gram, hermitian=True) < plane.dims:
        raise LandscapeError("the directions of the plane are parallel", mend="choose others")
    coordinates = np.linalg.solve(gram, products.T).T
    inside = np.einsum("td,td->t", coordinates, products)
    off_plane = np.sqrt(np.maximum(squares - inside, 0.0))
    return Projected(coordinates.astype(np.float64), off_plane, np.sqrt(squares))


def _flat(tensor: object) -> NDArray[np.float64]:
    flat: NDArray[np.float64] = tensor.detach().cpu().double().flatten().numpy()  # type: ignore[attr-defined]
    return flat

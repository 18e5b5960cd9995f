"""Open whatever file this toolkit wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from landscape.storage import kind_of
from landscape.surface.store import FORMAT as SURFACE_FORMAT
from landscape.surface.store import read_surface
from landscape.trajectory import open_trajectory

if TYPE_CHECKING:
    from landscape.surface.values import Surface
    from landscape.trajectory import Trajectory


def open_file(path: str | os.PathLike[str]) -> Trajectory | Surface:
    """Open a trajectory or a surface, without importing torch and without running any code of the file.

    Args:
        path: An HDF5 file.

    Returns:
        A `Trajectory`, read lazily, or a `Surface`.

    Raises:
        LandscapeError: If the file is missing, damaged, foreign, or of a newer version.
    """
    return read_surface(path) if kind_of(path) == SURFACE_FORMAT else open_trajectory(path)

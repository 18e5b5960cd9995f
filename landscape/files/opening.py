"""Open whatever file this toolkit wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from landscape.measures.table_store import MEASURES, read_table
from landscape.storage import kind_of
from landscape.surface.store import SURFACE, read_surface
from landscape.trajectory import open_trajectory

if TYPE_CHECKING:
    from landscape.trajectory import Trajectory
    from landscape.values.measure_table import Table
    from landscape.values.surface import Surface


def open_file(path: str | os.PathLike[str]) -> Trajectory | Surface | Table:
    """Open a trajectory, a surface or a table of measures: no torch is imported, no code of the file is run.

    Args:
        path: An HDF5 file.

    Returns:
        A `Trajectory`, read lazily, a `Surface`, or a `Table`.

    Raises:
        LandscapeError: If the file is missing, damaged, foreign, or of a newer version.
    """
    kind = kind_of(path)
    if kind == MEASURES.format:
        return read_table(path)
    return read_surface(path) if kind == SURFACE.format else open_trajectory(path)

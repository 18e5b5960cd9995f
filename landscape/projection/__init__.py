"""Directions, normalisations and planes in weight space."""

from landscape.projection.directions import (
    NORMALIZATIONS,
    ONE_D_POLICIES,
    DirectionReport,
    random_direction,
)
from landscape.projection.pca import pca_plane, random_walk_null
from landscape.projection.plane import (
    BUFFER_POLICIES,
    Plane,
    line_through,
    plane_through,
    random_line,
    random_plane,
)
from landscape.projection.projecting import Projected, project_path

__all__ = [
    "BUFFER_POLICIES",
    "NORMALIZATIONS",
    "ONE_D_POLICIES",
    "DirectionReport",
    "Plane",
    "Projected",
    "line_through",
    "pca_plane",
    "plane_through",
    "project_path",
    "random_direction",
    "random_line",
    "random_plane",
    "random_walk_null",
]

"""Directions, normalisations and planes in weight space."""

from landscape.projection.directions import (
    NORMALIZATIONS,
    ONE_D_POLICIES,
    DirectionReport,
    gaussian,
    random_direction,
    stream_of,
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
from landscape.projection.repeats import Repeats, random_lines, random_planes, require_repeats

__all__ = [
    "BUFFER_POLICIES",
    "NORMALIZATIONS",
    "ONE_D_POLICIES",
    "DirectionReport",
    "Plane",
    "Projected",
    "Repeats",
    "gaussian",
    "line_through",
    "pca_plane",
    "plane_through",
    "project_path",
    "random_direction",
    "random_line",
    "random_lines",
    "random_plane",
    "random_planes",
    "random_walk_null",
    "require_repeats",
    "stream_of",
]

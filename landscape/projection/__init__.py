"""Directions, planes, principal components and embeddings of snapshots; torch only where needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy
from landscape.values.embedding import Embedding as Embedding
from landscape.vocabulary import CENTERS as CENTERS
from landscape.vocabulary import DISSIMILARITIES as DISSIMILARITIES
from landscape.vocabulary import NORMALIZATIONS as NORMALIZATIONS
from landscape.vocabulary import ONE_D_POLICIES as ONE_D_POLICIES

_HOME = {
    "BUFFER_POLICIES": "plane",
    "Components": "components",
    "DirectionReport": "directions",
    "DrawnPlane": "plane",
    "Plane": "plane",
    "Projected": "projected",
    "Repeats": "repeats",
    "Separations": "distances",
    "drawn_plane": "plane",
    "line_through": "plane",
    "orthonormal_plane": "parallel",
    "parallel_plane": "parallel",
    "pca_plane": "pca",
    "plane_through": "plane",
    "principal_components": "components",
    "project_path": "projected",
    "random_direction": "directions",
    "random_line": "plane",
    "random_lines": "repeats",
    "random_plane": "plane",
    "random_planes": "repeats",
    "random_walk_null": "nulls",
    "random_walks_null": "nulls",
    "require_repeats": "repeats",
    "separations": "distances",
}
__all__ = ["CENTERS", "DISSIMILARITIES", "NORMALIZATIONS", "ONE_D_POLICIES", "Embedding", *_HOME]

if TYPE_CHECKING:
    from landscape.projection.components import Components as Components
    from landscape.projection.components import principal_components as principal_components
    from landscape.projection.directions import DirectionReport as DirectionReport
    from landscape.projection.directions import random_direction as random_direction
    from landscape.projection.distances import Separations as Separations
    from landscape.projection.distances import separations as separations
    from landscape.projection.nulls import random_walk_null as random_walk_null
    from landscape.projection.nulls import random_walks_null as random_walks_null
    from landscape.projection.parallel import orthonormal_plane as orthonormal_plane
    from landscape.projection.parallel import parallel_plane as parallel_plane
    from landscape.projection.pca import pca_plane as pca_plane
    from landscape.projection.plane import BUFFER_POLICIES as BUFFER_POLICIES
    from landscape.projection.plane import DrawnPlane as DrawnPlane
    from landscape.projection.plane import Plane as Plane
    from landscape.projection.plane import drawn_plane as drawn_plane
    from landscape.projection.plane import line_through as line_through
    from landscape.projection.plane import plane_through as plane_through
    from landscape.projection.plane import random_line as random_line
    from landscape.projection.plane import random_plane as random_plane
    from landscape.projection.projected import Projected as Projected
    from landscape.projection.projected import project_path as project_path
    from landscape.projection.repeats import Repeats as Repeats
    from landscape.projection.repeats import random_lines as random_lines
    from landscape.projection.repeats import random_planes as random_planes
    from landscape.projection.repeats import require_repeats as require_repeats

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

"""Loss landscapes of trained networks, and how far to believe them: the table of contents.

Names are imported when they are first used, so that ``import landscape`` does not import torch.

Example:
    >>> import landscape as ls
    >>> coordinates = ls.grid(51, radius=1.0)
    >>> coordinates.shape
    (51, 51)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape import audit as audit
    from landscape import curvature as curvature
    from landscape import measures as measures
    from landscape import papers as papers
    from landscape import pipeline as pipeline
    from landscape import plots as plots
    from landscape import probes as probes
    from landscape import problems as problems
    from landscape import projection as projection
    from landscape import recipe as recipe
    from landscape import render as render
    from landscape import sharpness as sharpness
    from landscape import study as study
    from landscape import symmetry as symmetry
    from landscape import training as training
    from landscape.errors import LandscapeError as LandscapeError
    from landscape.files.opening import open_file as open
    from landscape.objective import Objective as Objective
    from landscape.objective import next_token_loss as next_token_loss
    from landscape.projection import Plane as Plane
    from landscape.projection import line_through as line_through
    from landscape.projection import pca_plane as pca_plane
    from landscape.projection import plane_through as plane_through
    from landscape.projection import random_line as random_line
    from landscape.projection import random_lines as random_lines
    from landscape.projection import random_plane as random_plane
    from landscape.projection import random_planes as random_planes
    from landscape.projection.mds import mds as mds
    from landscape.surface import Surface as Surface
    from landscape.surface import evaluate as evaluate
    from landscape.surface import grid as grid
    from landscape.trajectory import Recorder as Recorder

__version__ = "0.1.0"

# Name -> (module, name there). A few are not in the table of contents: at home in their room, still found here.
_HOME = {
    "LandscapeError": ("landscape.errors", "LandscapeError"),
    "Objective": ("landscape.objective", "Objective"),
    "Plane": ("landscape.projection", "Plane"),
    "Recorder": ("landscape.trajectory", "Recorder"),
    "Surface": ("landscape.surface", "Surface"),
    "evaluate": ("landscape.surface", "evaluate"),
    "grid": ("landscape.surface", "grid"),
    "line_through": ("landscape.projection", "line_through"),
    "mds": ("landscape.projection.mds", "mds"),
    "next_token_loss": ("landscape.objective", "next_token_loss"),
    "open": ("landscape.files.opening", "open_file"),
    "pca_plane": ("landscape.projection", "pca_plane"),
    "plane_through": ("landscape.projection", "plane_through"),
    "random_line": ("landscape.projection", "random_line"),
    "random_lines": ("landscape.projection", "random_lines"),
    "random_plane": ("landscape.projection", "random_plane"),
    "random_planes": ("landscape.projection", "random_planes"),
}
# The last three are earlier names.
_ROOMS = (
    *("audit", "curvature", "measures", "papers", "plots", "probes", "problems", "projection", "recipe", "render"),
    *("study", "surface", "symmetry", "training", "trajectory", "values", "laboratory", "pipeline", "sharpness"),
)
__all__ = [
    "LandscapeError",
    "Objective",
    "Plane",
    "Recorder",
    "Surface",
    "__version__",
    "audit",
    "curvature",
    "evaluate",
    "grid",
    "line_through",
    "mds",
    "measures",
    "next_token_loss",
    "open",
    "papers",
    "pca_plane",
    "pipeline",
    "plane_through",
    "plots",
    "probes",
    "problems",
    "projection",
    "random_line",
    "random_lines",
    "random_plane",
    "random_planes",
    "recipe",
    "render",
    "sharpness",
    "study",
    "symmetry",
    "training",
    "values",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        module, attribute = _HOME[name]
        return getattr(importlib.import_module(module), attribute)
    if name in _ROOMS:
        return importlib.import_module(f"landscape.{name}")
    raise AttributeError(f"module 'landscape' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)

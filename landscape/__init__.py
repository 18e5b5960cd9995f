"""Loss landscapes of trained networks, and how far to believe them: the table of contents.

Names are imported when they are first used, so that ``import landscape`` does not import torch.

Example:
    >>> import landscape as ls
    >>> coordinates = ls.grid(51, radius=1.0)
    >>> coordinates.shape
    (51, 51)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy as _lazy

if TYPE_CHECKING:
    from landscape import audit as audit
    from landscape import claims as claims
    from landscape import curvature as curvature
    from landscape import explorer as explorer
    from landscape import exports as exports
    from landscape import integrations as integrations
    from landscape import measures as measures
    from landscape import optimizers as optimizers
    from landscape import pages as pages
    from landscape import papers as papers
    from landscape import pipeline as pipeline
    from landscape import plots as plots
    from landscape import probes as probes
    from landscape import problems as problems
    from landscape import projection as projection
    from landscape import recipe as recipe
    from landscape import render as render
    from landscape import reports as reports
    from landscape import sharpness as sharpness
    from landscape import study as study
    from landscape import surface as surface
    from landscape import symmetry as symmetry
    from landscape import training as training
    from landscape import trajectory as trajectory
    from landscape import values as values
    from landscape.errors import LandscapeError as LandscapeError
    from landscape.files.opening import open_file as open
    from landscape.measures.live import watch as watch
    from landscape.objective import Objective as Objective
    from landscape.objective import next_token_loss as next_token_loss
    from landscape.progress import progress_bar as progress_bar
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
    from landscape.surface import read_surface as open_surface
    from landscape.trajectory import Recorder as Recorder
    from landscape.trajectory import Trajectory as Trajectory
    from landscape.trajectory import open_trajectory as open_trajectory

__version__ = "0.2.0"

# Name -> where it is; a few are not in the table of contents: at home in their room, still found here.
_HOME: dict[str, str | tuple[str, str]] = {
    "LandscapeError": "errors",
    "Objective": "objective",
    "Plane": "projection",
    "Recorder": "trajectory",
    "Surface": "surface",
    "Trajectory": "trajectory",
    "evaluate": "surface",
    "grid": "surface",
    "line_through": "projection",
    "mds": ("projection.mds", "mds"),
    "next_token_loss": "objective",
    "open": ("files.opening", "open_file"),
    "open_surface": ("surface.store", "read_surface"),
    "open_trajectory": "trajectory",
    "pca_plane": "projection",
    "plane_through": "projection",
    "progress_bar": "progress",
    "random_line": "projection",
    "random_lines": "projection",
    "random_plane": "projection",
    "random_planes": "projection",
    "watch": ("measures.live", "watch"),
}
_ROOMS = (
    *("audit", "claims", "curvature", "explorer", "exports", "integrations", "measures", "optimizers", "pages"),
    *("papers", "plots", "probes", "problems", "projection"),
    *("recipe", "render", "reports", "study", "surface", "symmetry", "training", "trajectory", "values"),
)
_EARLIER_NAMES = ("laboratory", "pipeline", "sharpness")
__all__ = [
    "LandscapeError",
    "Objective",
    "Plane",
    "Recorder",
    "Surface",
    "Trajectory",
    "__version__",
    "audit",
    "claims",
    "curvature",
    "evaluate",
    "explorer",
    "exports",
    "grid",
    "integrations",
    "line_through",
    "mds",
    "measures",
    "next_token_loss",
    "open",
    "open_surface",
    "open_trajectory",
    "optimizers",
    "pages",
    "papers",
    "pca_plane",
    "pipeline",
    "plane_through",
    "plots",
    "probes",
    "problems",
    "progress_bar",
    "projection",
    "random_line",
    "random_lines",
    "random_plane",
    "random_planes",
    "recipe",
    "render",
    "reports",
    "sharpness",
    "study",
    "surface",
    "symmetry",
    "training",
    "trajectory",
    "values",
    "watch",
]

__getattr__, __dir__ = _lazy(__name__, __all__, _HOME | {name: name for name in (*_ROOMS, *_EARLIER_NAMES)})

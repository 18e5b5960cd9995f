"""Slices: the loss on a grid over a plane or a line. Values and files need no torch; evaluation does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy
from landscape.values.grid import Grid, axis, grid
from landscape.values.surface import Path, Surface

if TYPE_CHECKING:
    from landscape.surface.evaluation import evaluate as evaluate
    from landscape.surface.goldstein import goldstein_directions as goldstein_directions
    from landscape.surface.goldstein import goldstein_surface as goldstein_surface
    from landscape.surface.store import read_surface as read_surface
    from landscape.surface.store import save_surface as save_surface

_HOME = {
    "evaluate": "evaluation",
    "goldstein_directions": "goldstein",
    "goldstein_surface": "goldstein",
    "read_surface": "store",
    "save_surface": "store",
}
__all__ = [
    "Grid",
    "Path",
    "Surface",
    "axis",
    "evaluate",
    "goldstein_directions",
    "goldstein_surface",
    "grid",
    "read_surface",
    "save_surface",
]

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

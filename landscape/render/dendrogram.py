"""Trees of several models by their barriers, drawn above a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from landscape.errors import LandscapeError

if TYPE_CHECKING:
    from landscape.values.probes import Barriers

# The height of the tree, as a share of that of the matrix: enough to tell heights apart.
TREE = 0.35


@dataclass(frozen=True, eq=False)
class Tree:
    """A tree of models.

    Attributes:
        order: Of its leaves, from left to right.
        places: Shape (n - 1, 4): where along the leaves the corners of each join are; leaf i is at i.
        heights: Shape (n - 1, 4): the heights of the same corners.
    """

    order: Sequence[int]
    places: NDArray[np.float64]
    heights: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Tree:
        """Join models by average linkage (UPGMA; Sokal & Michener 1958): two groups at the mean of their barriers.

        Args:
            values: Shape (n, n), symmetric, zero along the diagonal.

        Raises:
            LandscapeError: If one is not finite.
        """
        # It takes a third of a second to import.
        from scipy.cluster.hierarchy import dendrogram, linkage
        from scipy.spatial.distance import squareform

        if not np.isfinite(values).all():
            raise LandscapeError(
                "there is no tree of barriers that are not finite", where="dendrogram", mend="leave it out"
            )
        found = dendrogram(linkage(squareform(values, checks=False), "average"), no_plot=True)
        # Leaves stand at 5, 15, 25, ...
        return cls(found["leaves"], (np.array(found["icoord"]) - 5) / 10, np.array(found["dcoord"]))


def reordered(found: Barriers, order: Sequence[int]) -> Barriers:
    """Return the same barriers with rows and columns in another order."""
    both = np.ix_(order, order)
    fields = {name: values[both] for name, values in found.fields.items()}
    return replace(found, names=tuple(found.names[i] for i in order), fields=fields, distance=found.distance[both])


def draw_tree(ax: Axes, tree: Tree, factor: float) -> None:
    """Draw a tree above the axes of its matrix, its heights times a factor."""
    above = ax.inset_axes((0.0, 1.02, 1.0, TREE))
    for places, heights in zip(tree.places, tree.heights, strict=True):
        above.plot(places, factor * heights, color="0.3", linewidth=1.0)
    above.set_xlim(ax.get_xlim())
    above.set_ylim(bottom=0.0)
    above.set_xticks([])
    above.set_ylabel("mean\nbarrier")
    above.spines[["top", "right", "bottom"]].set_visible(False)

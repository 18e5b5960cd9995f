"""An embedding of snapshots: points whose distances tell how far apart weights are. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.values.grid import axis_names
from landscape.values.result import Tabular

Array = NDArray[np.float64]

_ROWS = 1024


def stress_1(dissimilarities: Array, fitted: Array) -> float:
    """Relative error of the distances in an embedding.

    Over all pairs, with d the distances between points and delta what they stand for:

        stress-1 = sqrt(sum (d - delta)^2 / sum d^2)

    Args:
        dissimilarities: Shape (T, T), delta.
        fitted: Shape (T, T), d.

    Returns:
        0 for a perfect picture; 0 too where all distances are 0, as then are all dissimilarities; inf where all
        points coincide and should not. Kruskal calls 0.05 good, 0.1 fair and 0.2 poor.

    Source:
        Kruskal 1964, "Multidimensional scaling by optimizing goodness of fit", Psychometrika 29, section 3.

    Example:
        >>> stress_1(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [2.0, 0.0]]))
        0.5
    """
    wrong = size = 0.0
    # Some rows at a time: the matrices of many points take gigabytes.
    for start in range(0, len(fitted), _ROWS):
        drawn = fitted[start : start + _ROWS]
        wrong += float(((drawn - dissimilarities[start : start + _ROWS]) ** 2).sum())
        size += float((drawn**2).sum())
    if size > 0:
        return float(np.sqrt(wrong / size))
    return 0.0 if wrong == 0 else float("inf")


def square(pairs: Array) -> Array:
    """Return the symmetric matrix with these entries above its diagonal, row by row, and zeros on it.

    Example:
        >>> square(np.array([1.0, 2.0, 3.0])).tolist()
        [[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]]
    """
    count = (1 + math.isqrt(1 + 8 * len(pairs))) // 2
    found = np.zeros((count, count))
    found[np.triu_indices(count, 1)] = pairs
    return found + found.T


@dataclass(frozen=True)
class Embedding(Tabular):
    """Snapshots as points of a few coordinates, and how far to believe them.

    Attributes:
        coordinates: Shape (T, dims), in the unit of the dissimilarity, centred on 0.
        run: Shape (T,), the number of the run that each snapshot belongs to.
        steps: Shape (T,), optimizer updates.
        names: What the runs are called; a branch is called ``"run/branch"``.
        parents: Number of a run -> the snapshot that it starts from, for branches whose parent is here.
        stress: Kruskal's stress-1; see `stress_1`.
        eigenvalues: Shape (T,), of the double-centred matrix, the largest first; of more than 1,024 snapshots at
            distances that fit into a Euclidean space, only the leading ones.
        share: Shape (dims,), the share of each axis of the classical embedding in the sum of |eigenvalues|.
        negative: The share of negative eigenvalues in that sum: 0 for distances that fit into some Euclidean
            space, and more the less they do.
        distances: Shape (T, T), the dissimilarities.
        fitted: Shape (T, T), the distances between the points.
        metrics: Name -> shape (T,), NaN where a run has none.
        meta: ``dissimilarity``, ``method``, ``layers``, ``problem``, the runs and what else made it, plain values;
            ``stress_error``, a bound on the difference of the stress from that of exact eigenvectors, where these
            are iterated.
    """

    coordinates: Array
    run: NDArray[np.int64]
    steps: NDArray[np.int64]
    names: tuple[str, ...]
    parents: Mapping[int, int]
    stress: float
    eigenvalues: Array
    share: Array
    negative: float
    distances: Array
    fitted: Array
    metrics: Mapping[str, Array] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def dims(self) -> int:
        """The number of coordinates."""
        return int(self.coordinates.shape[1])

    def rows(self, run: int | str) -> NDArray[np.intp]:
        """The snapshots of a run, by its number or name, in order."""
        number = self.names.index(run) if isinstance(run, str) else run
        return np.flatnonzero(self.run == number)

    def shepard(self, every: int = 1) -> tuple[Array, Array]:
        """Return what a Shepard diagram shows: dissimilarity and distance of every pair, each pair once.

        Args:
            every: Leave out all but every so-manyeth pair.
        """
        count = len(self)
        # Pairs are counted along the rows of the upper triangle; row i begins at ends[i].
        ends = np.arange(count) * (2 * count - 1 - np.arange(count)) // 2
        places = np.arange(0, count * (count - 1) // 2, every)
        first = np.searchsorted(ends, places, side="right") - 1
        second = places - ends[first] + first + 1
        return self.distances[first, second], self.fitted[first, second]

    def to_json(self) -> dict[str, Any]:
        """Everything but the two matrices, as plain values."""
        return {
            **self.meta,
            "dims": self.dims,
            "snapshots": len(self),
            "stress": self.stress,
            "share": self.share.tolist(),
            "negative": self.negative,
            "eigenvalues": self.eigenvalues.tolist(),
            "runs": [
                {
                    "name": name,
                    "steps": self.steps[(rows := self.rows(number))].tolist(),
                    "coordinates": self.coordinates[rows].tolist(),
                    "parent": self._parent(number),
                    **{metric: values[rows].tolist() for metric, values in self.metrics.items()},
                }
                for number, name in enumerate(self.names)
            ],
        }

    def _parent(self, run: int) -> dict[str, Any] | None:
        row = self.parents.get(run)
        return None if row is None else {"run": self.names[self.run[row]], "step": int(self.steps[row])}

    def _table(self) -> Mapping[str, Any]:
        along = dict(zip(axis_names(self.dims), self.coordinates.T, strict=True))
        return {"run": [self.names[i] for i in self.run], "step": self.steps, **along, **self.metrics}

"""The merge tree of a map: its minima, the saddles at which their basins join, and which of them are certain.

The order of a basin's life is 0-dimensional persistence of sublevel sets (Edelsbrunner, Letscher and Zomorodian
2002): a component is born at its minimum and dies at the saddle where it meets one with a lower minimum. Points
are joined to their eight neighbours, so that a valley that runs between grid points stays one basin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.values.result import Result
from landscape.values.surface import Array, Surface

Places = NDArray[np.int64]
# The chance that noise alone, at any of the points, makes a basin that counts.
_CHANCE = 0.05
# Roundings of a mean of a few thousand losses, in units of the last place of its type.
_ROUNDINGS = 32


@dataclass(frozen=True)
class MergeTree(Result):
    """Basins of a map in the order of their depth; the first is that of the lowest point.

    Attributes:
        field: The field.
        minima: Shape (K, 2), row and column of each minimum.
        saddles: Shape (K, 2), row and column where each joins a deeper one; of the first, of the highest point.
        bottoms: Shape (K,), values at the minima.
        rims: Shape (K,), values at the saddles; inf where only diverged points lie between.
        errors: Shape (K,), how much of `depths` the errors of the two values explain, see `margin`.
        parents: Shape (K,), the basin that each joins; -1 for the first.
        labels: Shape (ny, nx), the basin of each point, before any is taken for none. A point above the saddle of
            a basin is of the one that the basin joins there.
        margin: Standard errors of each of the two values that count as no difference.
        known: Whether the slice has standard errors of the field; otherwise only rounding is allowed for.
        missing: How many points have no value; they separate no basins.
    """

    field: str
    minima: Places
    saddles: Places
    bottoms: Array
    rims: Array
    errors: Array
    parents: Places
    labels: Places
    margin: float
    known: bool
    missing: int

    @property
    def depths(self) -> Array:
        """Shape (K,): saddle minus minimum, the persistence."""
        return self.rims - self.bottoms

    @property
    def certain(self) -> NDArray[np.bool_]:
        """Shape (K,): which basins are deeper than their error; a map without any is flat within it."""
        return self.depths > self.errors

    @property
    def heirs(self) -> Places:
        """Shape (K,): each basin where it is certain, else the certain one that takes it in; -1 for none."""
        found = np.arange(len(self.parents))
        for basin in range(len(found)):
            while found[basin] >= 0 and not self.certain[found[basin]]:
                found[basin] = self.parents[found[basin]]
        return found

    @property
    def basins(self) -> Places:
        """Shape (ny, nx): the certain basin of each point; -1 for none."""
        found: Places = self.heirs[self.labels]
        return found

    @property
    def at_edge(self) -> NDArray[np.bool_]:
        """Shape (K,): whose minimum lies on the edge of the map, so that the real one may lie beyond."""
        last = np.array(self.labels.shape) - 1
        found: NDArray[np.bool_] = ((self.minima == 0) | (self.minima == last)).any(axis=1)
        return found


def merge_tree(surface: Surface, field: str | None = None) -> MergeTree:
    """The merge tree of a field of a plane.

    A basin counts only if its depth exceeds z (s + m), with s and m the standard errors at its saddle and at its
    minimum: the bound for their difference whatever their correlation, as losses at all points are of the same
    examples. z makes this hold at all points at once with 95 % (Bonferroni), since the minimum and the saddle are
    chosen out of all. The depth of the first basin is the range of the map.

    Args:
        surface: A slice over a plane.
        field: ``"<split>_<metric>"``; by default the first.

    Returns:
        The tree.

    Raises:
        LandscapeError: If the slice is not over one plane, has no such field, or no value of it.

    Example:
        >>> x = np.linspace(-2, 2, 41)
        >>> well = (x**2 - 1) ** 2 + 0.2 * x + x[:, None] ** 2
        >>> tree = merge_tree(Surface(x, x, {"train_loss": well}))
        >>> np.round(x[tree.minima[:, 1]], 3).tolist(), int(tree.certain.sum())
        ([-1.0, 1.0], 2)
    """
    if surface.y is None or surface.more or surface.repeat is not None:
        axes = ", ".join(surface.axes)
        raise LandscapeError("a merge tree is of one plane", got=f"axes {axes}", mend="choose one with .at(...)")
    name = next(iter(surface.fields)) if field is None else field
    values = surface[name]
    unknown = np.isnan(values)
    if not np.isfinite(values).any():
        raise LandscapeError(f"no point has a finite value of {name}: there is no basin")
    errors = surface.standard_errors.get(name)
    known = errors is not None and bool(np.isfinite(errors).any())
    margin = NormalDist().inv_cdf(1 - _CHANCE / (2 * values.size))
    noise = np.nan_to_num(errors, posinf=0.0) if known and errors is not None else np.zeros(values.shape)
    grain = np.finfo("float64" if surface.meta.get("dtype") == "float64" else "float32").eps
    tree = _grown(_bridged(values))
    minima, saddles = tree["minima"], tree["saddles"]
    ends = [(noise.ravel()[at], values.ravel()[at]) for at in (minima, saddles)]
    explained = sum(
        margin * error + _ROUNDINGS * grain * np.abs(np.nan_to_num(value, posinf=0.0)) for error, value in ends
    )
    return MergeTree(
        field=name,
        minima=np.stack(np.unravel_index(minima, values.shape), axis=1),
        saddles=np.stack(np.unravel_index(saddles, values.shape), axis=1),
        bottoms=tree["bottoms"],
        rims=tree["rims"],
        errors=np.asarray(explained),
        parents=tree["parents"],
        labels=tree["labels"].reshape(values.shape),
        margin=margin,
        known=known,
        missing=int(unknown.sum()),
    )


def _bridged(values: Array) -> Array:
    """Values where unknown points have the least value beside them, so that they separate nothing."""
    filled = np.where(values == -np.inf, np.nan, values)
    while (unknown := np.isnan(filled)).any():
        wide = np.pad(np.where(unknown, np.inf, filled), 1, constant_values=np.inf)
        seen = np.pad(~unknown, 1)
        rows, columns = values.shape
        shifts = [(i, j) for i in range(3) for j in range(3)]
        least = np.min([wide[i : i + rows, j : j + columns] for i, j in shifts], axis=0)
        reached = np.any([seen[i : i + rows, j : j + columns] for i, j in shifts], axis=0)
        filled[unknown & reached] = least[unknown & reached]
    return filled


def _grown(values: Array) -> dict[str, Any]:
    """The components of sublevel sets, by union and find over the points in rising order."""
    rows, columns = values.shape
    flat = values.ravel()
    order = np.argsort(flat, kind="stable").tolist()
    root = [-1] * len(order)
    # Of the root of a component: its minimum, which is where it was born.
    died: dict[int, tuple[int, int]] = {}
    born: dict[int, int] = {}
    label = [-1] * len(order)

    def find(point: int) -> int:
        while root[point] != point:
            root[point] = root[root[point]]
            point = root[point]
        return point

    for rank, point in enumerate(order):
        row, column = divmod(point, columns)
        near = {
            find(i * columns + j)
            for i in range(max(row - 1, 0), min(row + 2, rows))
            for j in range(max(column - 1, 0), min(column + 2, columns))
            if root[i * columns + j] >= 0
        }
        if not near:
            root[point], label[point] = point, point
            born[point] = rank
            continue
        elder = min(near, key=lambda one: born[one])
        root[point], label[point] = elder, elder
        for younger in near - {elder}:
            root[younger] = elder
            died[younger] = (point, elder)
    first = order[0]
    # Plateaus make components that die where they are born; they are no basins.
    highest = next((point for point in reversed(order) if math.isfinite(flat[point])), first)
    lasting = [one for one, (saddle, _) in died.items() if flat[saddle] > flat[one]]
    lasting.sort(key=lambda one: (flat[one] - flat[died[one][0]], born[one]))
    place = {first: 0} | {one: rank for rank, one in enumerate(lasting, 1)}

    def kept(one: int) -> int:
        while one not in place:
            one = died[one][1]
        return place[one]

    saddles = [highest, *(died[one][0] for one in lasting)]
    return {
        "minima": np.array([*place], dtype=np.int64),
        "saddles": np.array(saddles, dtype=np.int64),
        "bottoms": flat[[*place]],
        "rims": flat[saddles],
        "parents": np.array([-1, *(kept(died[one][1]) for one in lasting)], dtype=np.int64),
        "labels": np.array([kept(one) for one in label], dtype=np.int64),
    }

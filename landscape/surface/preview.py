"""Previews: few points of a grid are computed, the others interpolated, and the error is measured on the way.

A coarse grid comes first. Then, stage after stage, a few more points are chosen where the spline is likely to be
worst, foretold, computed, compared, and only then added to the spline. What was missed on the last stages is the
error that is reported: those points were kept aside from the splines that foretold them, while the spline that
fills the grid has them too. A preview that does not get there computes everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.surface.polyharmonic import Polyharmonic, distances
from landscape.surface.tune import require_tolerance
from landscape.values.surface import Array, Grid

Indices = NDArray[np.int64]
Compute = Callable[[Indices], Mapping[str, Array]]

# Beyond half of the points little is saved.
_MOST_SHARE = 0.5
# A spline through more takes seconds at each stage.
_MOST_NODES = 2000
# Points along each axis of the coarse grid, drawn towards the ends (0: evenly, 1: as Chebyshev's), where a spline
# has neighbours on one side only.
_COARSE = 9
_CLUSTERING = 0.3
# Points of one stage, by the number of axes; a stage grows with the nodes, so that there are not too many stages.
_BATCH = {1: 4, 2: 12}
_GROWTH_OF_BATCH = 1 / 24
# Every so many points one goes into the largest hole, wherever the error is expected: it may be expected wrongly.
_EXPLORE_EVERY = 6
# So many stages in a row must be foretold within the tolerance. The worst point of a grid is rarely among those
# kept aside, so what is reported is the mean of the worst misses of the stages times the factor (if that is more
# than the largest). The true maximum was up to 1.35 times as large on 47 slices that had no part in choosing these
# numbers, and up to 2.1 times on 178 that had.
_STAGES_KEPT = 4
_FACTOR = 1.5
# A loss in float32 is good to a few roundings of 6e-8: no smaller error is reported.
_FINEST = 1e-6
# The error of a spline in a hole grows about so with the width of the hole: between order 1 of a kink and order 5
# of the kernel.
_ORDER = 3
# Nodes around a point whose left-out errors say how rough the slice is there.
_NEIGHBOURS = 12
# Squares of larger values, or of the inverse of smaller ones, would leave float64 soon.
_LARGEST = 1e100
# Transforms x^p of positive values that are tried, 0 being the logarithm; others are interpolated as they are.
_POWERS = (1.0, 0.25, 0.0)


@dataclass(frozen=True)
class Preview:
    """A slice, partly interpolated.

    Attributes:
        fields: Name -> values in the shape of the grid, exact where computed.
        computed: In the shape of the grid.
        report: tolerance, judge (the field whose error it is), reported_error, kept_aside, computed, points,
            rough; and reason if rough. Plain JSON.
    """

    fields: Mapping[str, Array]
    computed: NDArray[np.bool_]
    report: Mapping[str, Any]


def preview(
    grid: Grid,
    compute: Compute,
    tolerance: float,
    *,
    judge: str | None = None,
    places: Sequence[Sequence[float]] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> Preview:
    """Compute some points of a grid and interpolate the others within a tolerance, or compute all.

    The error is ``|interpolated - true| / true`` where all values are positive, and the share of the range of the
    values otherwise. It is an estimate, not a bound: a feature that lies between all computed points is not seen.

    Args:
        grid: Where values are wanted.
        compute: From flat indices into the grid (rows are y) to the values of each field there.
        tolerance: The relative error to stay below, between 0 and 1.
        judge: The field whose error decides; by default the first. The others are interpolated along.
        places: Coordinates (x,) or (x, y) where something narrow may be: the nearest grid point and its
            neighbours are computed.
        bounds: Field -> what no value of it can be below or above, such as 0 and 1 of an error rate; a spline that
            swings beyond is cut there.

    Returns:
        The values, which of them are computed, and the error.

    Raises:
        LandscapeError: If the tolerance is not between 0 and 1.

    Source:
        Left-out errors: Rippa 1999, Adv. Comput. Math. 11. Judging each stage by values that it has not seen:
        the hierarchical surplus of adaptive sparse grids, Griebel 1998, Computing 61.
    """
    report: dict[str, Any] = {"tolerance": require_tolerance(tolerance), "points": math.prod(grid.shape)}
    axes = [grid.x] if grid.y is None else [grid.y, grid.x]
    mesh = _mesh(axes)
    nodes, around = _coarse(axes, [tuple(reversed(place)) for place in places])
    batch, most = _BATCH[len(axes)], min(_MOST_SHARE * len(mesh), _MOST_NODES)
    if min(grid.shape) < _COARSE or len(nodes) + len(around) + _STAGES_KEPT * batch > most:
        return _whole(grid, compute, report, "the grid is too small for a preview")
    known = _Known(nodes, compute(nodes))
    judge = report["judge"] = judge or next(iter(known.values))
    misses: list[float] = []
    while known.usable:
        try:
            fit = _Fit(mesh, known)
        except np.linalg.LinAlgError:
            return _whole(grid, compute, report, "no spline goes through these coordinates")
        if len(misses) >= _STAGES_KEPT and _error(misses) <= report["tolerance"]:
            return _filled(grid, fit, report, _error(misses), bounds or {})
        wanted = max(batch, int(_GROWTH_OF_BATCH * len(known.nodes)), len(around))
        if len(known.nodes) + wanted > most:
            return _whole(grid, compute, report, _too_rough(len(known.nodes), misses))
        chosen = _choose(fit, judge, wanted, around)
        around = around[:0]
        known = known.joined(chosen, compute(chosen))
        misses.append(fit.miss(judge, known))
    return _whole(grid, compute, report, "some values are not finite, or out of all proportion")


def _error(misses: Sequence[float]) -> float:
    """The error to report for the worst misses of the stages."""
    last = misses[-_STAGES_KEPT:]
    return max(_FACTOR * float(np.mean(last)), *last)


def _too_rough(nodes: int, misses: Sequence[float]) -> str:
    seen = f", the worst of the last ones predicted only to {100 * _error(misses):.2g} %" if misses else ""
    return f"the slice is too rough: {nodes} points computed{seen}"


@dataclass(frozen=True)
class _Known:
    """The points computed so far, in the order in which they were; the last `fresh` ones are new."""

    nodes: Indices
    values: Mapping[str, Array]
    fresh: int = 0
    sizes: tuple[int, ...] = field(default_factory=tuple)

    @property
    def usable(self) -> bool:
        """Return whether all values are finite and their powers stay within float64."""
        sizes = [abs(values) for values in self.values.values()]
        return all(bool(((size == 0) | (size > 1 / _LARGEST) & (size < _LARGEST)).all()) for size in sizes)

    def joined(self, nodes: Indices, values: Mapping[str, Array]) -> _Known:
        both = {name: np.append(held, values[name]) for name, held in self.values.items()}
        return _Known(np.append(self.nodes, nodes), both, len(nodes), (*self.sizes, len(nodes)))


class _Fit:
    """A spline through what is known: each field under the transform that leaves the smallest left-out errors.

    Attributes:
        mesh: The grid.
        known: What it goes through.
        left_out: Field -> what is missed at each node by the spline through the others, in the transform chosen.
    """

    def __init__(self, mesh: Array, known: _Known) -> None:
        self.known, self.mesh = known, mesh
        self._columns = {
            (name, power): values
            for name, values in known.values.items()
            for power in (_POWERS if (values > 0).all() else (1.0,))
        }
        columns = np.stack([_forward(values, power) for (_, power), values in self._columns.items()], axis=1)
        self._spline = Polyharmonic(mesh[known.nodes], columns)
        foretold = columns - self._spline.left_out
        self.left_out: dict[str, Array] = {}
        self._power: dict[str, float] = {}
        least: dict[str, float] = {}
        for column, ((name, power), values) in enumerate(self._columns.items()):
            size = _size(abs(_backward(foretold[:, column], power) - values) / _scale(values))
            if size < least.get(name, math.inf):
                least[name], self._power[name] = size, power
                self.left_out[name] = abs(self._spline.left_out[:, column])

    def at(self, points: Indices) -> dict[str, Array]:
        """Every field at points of the grid, foretold."""
        opinions = self._opinions(points)
        return {name: opinions[name, power] for name, power in self._power.items()}

    def survey(self, name: str) -> tuple[Array, Array | None]:
        """All over the grid: what an error of the transformed value is worth as a relative error of the value.

        And by how much two transforms disagree, relative; there are no two where some value is not positive.
        """
        opinions = self._opinions(np.arange(len(self.mesh)))
        power = self._power[name]
        first, second = (opinions.get((name, other)) for other in _POWERS[-2:])
        if first is None or second is None:
            return np.ones(len(self.mesh)), None
        # A value that is foretold to vanish, or to be negative, has any relative error.
        foretold = np.maximum(opinions[name, power], 1e-9 * self.known.values[name].min())
        slope = np.ones(len(self.mesh)) if power == 0 else foretold**-power / power
        return slope, np.minimum(abs(first - second) / foretold, 1.0)

    def miss(self, name: str, later: _Known) -> float:
        """The largest error of what was foretold for the points that are new."""
        fresh = later.nodes[-later.fresh :]
        scale = np.broadcast_to(_scale(later.values[name]), later.nodes.shape)[-later.fresh :]
        missed = abs(self.at(fresh)[name] - later.values[name][-later.fresh :]) / scale
        return float(missed.max())

    def _opinions(self, points: Indices) -> dict[tuple[str, float], Array]:
        raw = self._spline(self.mesh[points])
        return {key: _backward(raw[:, column], key[1]) for column, key in enumerate(self._columns)}


def _forward(values: Array, power: float) -> Array:
    return np.log(values) if power == 0 else values**power


def _backward(values: Array, power: float) -> Array:
    # Beyond +-700 the exponential leaves float64; a spline may swing that far where a slice is rough.
    if power == 0:
        return np.exp(np.clip(values, -700.0, 700.0))
    return values if power == 1 else np.maximum(values, 0.0) ** (1 / power)


def _scale(values: Array) -> Array | float:
    """Return the scale of errors: the values themselves if all are positive, otherwise their range."""
    return values if (values > 0).all() else float(np.ptp(values)) or 1.0


def _size(error: Array) -> float:
    """Mean square, in which no single point counts for more than an error of 100 %."""
    return float((np.minimum(error, 1.0) ** 2).mean())


def _mesh(axes: Sequence[Array]) -> Array:
    """All grid points, shape (points, axes), with every axis stretched to [-1, 1]."""
    stretched = [2 * (axis - (axis[0] + axis[-1]) / 2) / (axis[-1] - axis[0]) for axis in axes]
    return np.stack([part.ravel() for part in np.meshgrid(*stretched, indexing="ij")], axis=1)


def _coarse(axes: Sequence[Array], places: Sequence[Sequence[float]]) -> tuple[Indices, Indices]:
    """The first nodes, with the points nearest to the places, and the neighbours of these."""
    shape = tuple(len(axis) for axis in axes)
    even = np.linspace(-1.0, 1.0, _COARSE)
    ticks = (1 - _CLUSTERING) * even + _CLUSTERING * np.sin(np.pi * even / 2)
    chosen, around = np.zeros(shape, bool), np.zeros(shape, bool)
    chosen[np.ix_(*(np.unique(np.rint((ticks + 1) / 2 * (count - 1)).astype(int)) for count in shape))] = True
    for place in places:
        if all(axis[0] <= value <= axis[-1] for axis, value in zip(axes, place, strict=True)):
            at = [int(abs(axis - value).argmin()) for axis, value in zip(axes, place, strict=True)]
            chosen[tuple(at)] = True
            around[tuple(slice(max(0, index - 1), index + 2) for index in at)] = True
    return np.flatnonzero(chosen), np.flatnonzero(around & ~chosen)


def _choose(fit: _Fit, judge: str, count: int, given: Indices) -> Indices:
    """The next points.

    Those given first; then in turn where left-out errors are large around a hole, as they weigh on the value
    there, and where two transforms disagree; and some in the largest holes.
    """
    mesh, nodes = fit.mesh, fit.known.nodes
    roughness, gap = _roughness(mesh, nodes, fit.left_out[judge])
    slope, doubt = fit.survey(judge)
    roughness *= slope
    free = np.ones(len(mesh), bool)
    free[nodes] = False
    doubt = roughness if doubt is None else doubt / np.where(free, gap, 1.0) ** _ORDER
    chosen: list[int] = []
    for rank in range(count):
        view = roughness if rank % 2 else doubt
        score = gap if rank % _EXPLORE_EVERY == 1 else view * gap**_ORDER
        chosen.append(int(given[rank]) if rank < len(given) else int(np.where(free, score, -1.0).argmax()))
        free[chosen[-1]] = False
        gap = np.minimum(gap, distances(mesh, mesh[chosen[-1:]])[:, 0])
    return np.array(chosen, dtype=np.int64)


def _roughness(mesh: Array, nodes: Indices, left_out: Array) -> tuple[Array, Array]:
    """At each grid point the left-out errors around it for holes of width 1, and the distance to a node."""
    places = mesh[nodes]
    between = distances(places, places)
    np.fill_diagonal(between, np.inf)
    spacing = between.min(axis=1)
    reach = min(_NEIGHBOURS, len(nodes))
    parts = []
    for part in np.array_split(mesh, 1 + len(mesh) * len(nodes) // 2**24):
        far = distances(part, places)
        near = np.argpartition(far, reach - 1, axis=1)[:, :reach]
        close = np.take_along_axis(far, near, axis=1)
        # A node has itself at distance 0, and is never chosen again.
        weights = 1 / np.maximum(close, 1e-9) ** 2
        weights /= weights.sum(axis=1, keepdims=True)
        error = np.sqrt((weights * left_out[near] ** 2).sum(axis=1))
        parts.append(np.stack([error / (weights * spacing[near]).sum(axis=1) ** _ORDER, close.min(axis=1)]))
    roughness, gap = np.concatenate(parts, axis=1)
    return roughness, gap


def _filled(
    grid: Grid, fit: _Fit, report: dict[str, Any], error: float, bounds: Mapping[str, tuple[float, float]]
) -> Preview:
    """The preview of a spline that has foretold the last stages well enough."""
    known = fit.known
    values = fit.at(np.arange(math.prod(grid.shape)))
    computed = np.zeros(math.prod(grid.shape), bool)
    computed[known.nodes] = True
    for name, all_values in values.items():
        np.clip(all_values, *bounds.get(name, (-np.inf, np.inf)), out=all_values)
        all_values[known.nodes] = known.values[name]
    report |= {
        "reported_error": max(error, min(_FINEST, report["tolerance"])),
        "kept_aside": sum(known.sizes[-_STAGES_KEPT:]),
        "computed": len(known.nodes),
        "rough": False,
    }
    return Preview(_shaped(values, grid), computed.reshape(grid.shape), report)


def _whole(grid: Grid, compute: Compute, report: dict[str, Any], reason: str) -> Preview:
    """All points computed: exactly the slice without a preview."""
    report |= {
        "reported_error": 0.0,
        "kept_aside": 0,
        "computed": report["points"],
        "rough": True,
        "reason": reason,
    }
    values = compute(np.arange(math.prod(grid.shape)))
    return Preview(_shaped(values, grid), np.ones(grid.shape, bool), report)


def _shaped(values: Mapping[str, Array], grid: Grid) -> dict[str, Array]:
    return {name: flat.reshape(grid.shape) for name, flat in values.items()}

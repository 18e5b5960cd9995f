"""Straight lines between models, and the barriers on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.executor import several
from landscape.files.cells import Cells, Save
from landscape.layout import Layout
from landscape.objective import Objective
from landscape.objective.batchnorm import require_policy
from landscape.objective.continuity import differing, statement
from landscape.objective.identity import identity_of
from landscape.params import Tensors, Weights, norm, require_same_shapes, resolve, subtract
from landscape.probes.gauge import Gauge, about
from landscape.values.probes import Array, Barriers, Interpolation
from landscape.vocabulary import RECALIBRATE

Progress = Callable[[int, int], None]


def interpolate(
    objective: Objective,
    a: Weights,
    b: Weights,
    *,
    points: int = 51,
    extend: float = 0.0,
    bn: str = "interpolate",
    splits: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    labels: tuple[str, str] = ("a", "b"),
    path: str = "line",
    save: Save = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Interpolation:
    """Means along (1 - t) a + t b, and the barrier between the two.

    At t = 0 and t = 1 the weights are those of a and b bit for bit, and exchanging the two mirrors the curve
    bit for bit. What does not move (frozen parameters, whole numbers) is that of a.

    Args:
        objective: What is measured.
        a: The weights at 0.
        b: The weights at 1, of the same model.
        points: How many from 0 to 1, both counted; beyond them steps are as long.
        extend: How far the line goes on at both ends, in units of the distance.
        bn: ``"interpolate"`` moves the statistics of normalisation, and other real buffers, with the weights, so
            that both ends are the models themselves; ``"frozen"`` keeps those of a; ``"recalibrate"`` estimates
            running statistics afresh at every point, the ends too, from the first 512 training examples, and moves
            other buffers: each end is its model, recalibrated. Buffers that follow from the weights (the vectors
            of spectral normalisation) are recomputed between the ends under every policy, and at the ends are
            the models' own; ``meta["buffers"]`` says so.
        splits: On which data; None is all.
        metrics: What; None is the loss, and the error where there is one.
        labels: What a and b are called.
        path: What the line is, where it is not just that.
        save: A file of finished parts to write and to resume from.
        workers: So many processes share points and cores; last digits may depend on the threads that each has.
        progress: Called with (points done, points in all).

    Returns:
        The curve; its ``barrier`` is max over t in [0, 1] of L(t), minus (L(0) + L(1)) / 2.

    Raises:
        LandscapeError: If the models differ, an argument is wrong, buffers of whole numbers that differ change
            the output, or the file holds parts of another result.

    Source:
        Li et al. 2018, section 3; the barrier is that of Ainsworth, Hayase & Srinivasa 2023.

    Example:
        >>> interpolate(objective, run_a[-1], run_b[-1], points=51).barrier  # doctest: +SKIP
        1.9
    """
    require_policy(bn)
    axis = line_axis(points, extend)
    gauge = Gauge(objective, splits, metrics, recalibrate=bn == RECALIBRATE, between=True)
    line = Line(a, b, bn, gauge.derived)
    line.require_continuous(gauge)
    settings = {"of": "interpolate", "bn": bn, "metrics": gauge.metrics, "points": points, "extend": extend}
    work = Measuring(gauge, {path: line})
    with (
        Cells.open(save, lambda: identity_of(objective, {"a": a, "b": b}, gauge.splits, **settings)) as cells,
        several(work, workers) as shared,
    ):
        found = cells.results(work, points_on(path, bn, axis), shared)
        fields = gathered(found, gauge.fields, len(axis), progress)
    return Interpolation(axis, fields, bn, path, line.distance, labels, {**about(objective), **line.about(gauge)})


class Along(Protocol):
    """A path through the space of weights."""

    def point(self, t: float) -> Tensors:
        """Return the weights at t."""


@dataclass(frozen=True)
class PathPoint:
    """A point of a path, to be measured.

    Attributes:
        path: What the path is called.
        bn: The policy for normalisation statistics.
        place: The number of the point.
        t: Its coordinate.
    """

    path: str
    bn: str
    place: int
    t: float

    @property
    def key(self) -> str:
        """Key that identifies it in a result."""
        return f"{self.path}/{self.bn}/{self.place}"

    @property
    def title(self) -> str:
        """Where it is."""
        return f"{self.path} at t = {self.t:g}"


def points_on(path: str, bn: str, axis: Array) -> list[PathPoint]:
    """The points of a path at coordinates."""
    return [PathPoint(path, bn, place, t) for place, t in enumerate(axis.tolist())]


@dataclass(frozen=True)
class Measuring:
    """The work on points of paths: means there. At 0 and 1 weights are networks' own.

    Attributes:
        gauge: Measures.
        paths: Name -> path.
    """

    gauge: Gauge
    paths: Mapping[str, Along]

    def __call__(self, task: PathPoint, progress: Progress) -> dict[str, float]:
        """Return ``"<split>_<metric>"`` -> mean at a point."""
        return self.gauge.at(self.paths[task.path].point(task.t), own=task.t in (0.0, 1.0))


def gathered(
    found: Iterator[Mapping[str, float]], fields: Sequence[str], count: int, progress: Progress | None = None
) -> dict[str, Array]:
    """The means at the next points of a path, side by side.

    Args:
        found: Means at one point after the other.
        fields: Their names.
        count: How many points to take.
        progress: Called with (points done, points in all).

    Returns:
        ``"<split>_<metric>"`` -> shape (count,).
    """
    values = {name: np.empty(count) for name in fields}
    for place, means in enumerate(islice(found, count)):
        for name in fields:
            values[name][place] = means[name]
        if progress is not None:
            progress(place + 1, count)
    return values


def line_axis(points: int, extend: float = 0.0) -> Array:
    """Coordinates from -extend to 1 + extend with 0 and 1 exactly among them, symmetric about a half."""
    if points < 2:
        raise LandscapeError("a line needs both ends", where="points", got=points, expected="at least 2")
    if not 0 <= extend < math.inf:
        raise LandscapeError("must not be negative", where="extend", got=f"{extend:g}")
    last = points - 1
    # Rounding: an extension of three steps is three.
    beyond = math.floor(extend * last + 1e-9)
    steps = np.arange(-beyond, last + beyond + 1)
    # k / n and 1 - k / n differ in the last digit: the half beyond 1/2 mirrors the other.
    return np.where(2 * steps <= last, steps / last, 1.0 - (last - steps) / last)


class Line:
    """The points (1 - t) a + t b of two sets of weights.

    Args:
        a: At 0.
        b: At 1.
        bn: The policy for buffers of real numbers.
        derived: Buffers that follow from the weights: at 1 they are those of b under every policy.

    Attributes:
        distance: Between the parameters of the two.

    Raises:
        LandscapeError: If a tensor is missing from one, or has another shape.
    """

    def __init__(self, a: Weights, b: Weights, bn: str = "interpolate", derived: Sequence[str] = ()) -> None:
        layout, self._start = resolve(a)
        self._end = resolve(b)[1]
        require_same_shapes(layout, self._end, "the second model")
        self._bn, self._derived = bn, derived
        self._buffers = differing(self._start, self._end, (info.name for info in layout.stored("buffer")))
        self._moving = moving_names(layout, bn, (self._start, self._end), derived)
        weights = [info.name for info in layout.moving()]
        self.distance = norm(subtract(self._end, self._start, weights))

    def point(self, t: float) -> Tensors:
        """The weights at t."""
        mixed = {name: mix((self._start[name], self._end[name]), (1.0 - t, t)) for name in self._moving}
        return {**self._start, **mixed}

    def require_continuous(self, gauge: Gauge) -> None:
        """Check that buffers of whole numbers do not differ to any effect, unless all buffers are those of a.

        Raises:
            LandscapeError: If an output changes with one of them.
        """
        if self._bn != "frozen":
            kept = [name for name in self._buffers if name not in (*self._moving, *gauge.statistics)]
            gauge.require_continuous(self._start, self._end, kept)

    def about(self, gauge: Gauge) -> dict[str, Any]:
        """Describe the treatment of buffers that are no statistics of normalisation, for the meta of a result."""
        treated = {*self._derived, *gauge.estimated}
        mixed = [n for n in self._buffers if n in self._moving and n not in treated]
        kept = [n for n in self._buffers if n not in self._moving and n not in treated]
        treatments = {"recomputed": self._derived, "estimated": gauge.estimated, "mixed": mixed, "kept": kept}
        said = statement(treatments, gauge.statistics)
        return {"buffers": said} if said else {}


def moving_names(layout: Layout, bn: str, ends: Sequence[Tensors], derived: Sequence[str] = ()) -> list[str]:
    """The tensors that move along a path: trained parameters, and real buffers that differ between its ends.

    Args:
        layout: Of the models.
        bn: Under ``"frozen"`` only those buffers that follow from the weights.
        ends: The weights at both ends.
        derived: The buffers that follow from the weights.
    """
    names = [info.name for info in layout.moving()]
    real = [info.name for info in layout.stored("buffer") if info.floating]
    return names + [name for name in differing(ends[0], ends[-1], real) if bn != "frozen" or name in derived]


def mix(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The sum of shares of tensors; a share of 1 alone gives its tensor bit for bit."""
    used = [(tensor, share) for tensor, share in zip(tensors, shares, strict=True) if share != 0.0]
    if len(used) == 1 and used[0][1] == 1.0:
        return used[0][0]
    # Half-precision weights are rounded once, from a sum in single precision.
    wide = torch.promote_types(tensors[0].dtype, torch.float32)
    total = torch.zeros_like(tensors[0], dtype=wide)
    for tensor, share in used:
        total += tensor.to(wide) * share
    return total.to(tensors[0].dtype)


def barriers(
    objective: Objective,
    models: Mapping[str, Weights],
    *,
    points: int = 25,
    bn: str = "interpolate",
    splits: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    save: Save = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Barriers:
    """The barriers on the lines between each two of several models.

    Args:
        objective: What is measured.
        models: Name -> weights, of the same model.
        points: How many on each line, both ends counted.
        bn: ``"interpolate"``, ``"frozen"`` (which is not symmetric, and refused) or ``"recalibrate"``.
        splits: On which data; None is all.
        metrics: What; None is the loss, and the error where there is one.
        save: A file of finished parts to write and to resume from.
        workers: So many processes share points and cores; last digits may depend on the threads that each has.
        progress: Called with (lines done, lines in all).

    Returns:
        Symmetric matrices with zero along the diagonal.

    Raises:
        LandscapeError: If there are fewer than 2 models, or an argument is wrong.
    """
    if len(models) < 2:
        raise LandscapeError("a matrix compares at least 2 models", got=len(models))
    if require_policy(bn) == "frozen":
        mend = "choose interpolate or recalibrate"
        raise LandscapeError(
            "the statistics of which model? the matrix would not be symmetric", where="bn", mend=mend
        )
    gauge = Gauge(objective, splits, metrics, recalibrate=bn == RECALIBRATE, between=True)
    lines = _Lines(models, bn, gauge.derived)
    for path in lines:
        lines[path].require_continuous(gauge)
    axis = line_axis(points)
    settings = {"of": "barriers", "bn": bn, "metrics": gauge.metrics, "points": points}
    work = Measuring(gauge, lines)
    fields: dict[str, Array] = {}
    distance = np.zeros((len(models), len(models)))
    with (
        Cells.open(save, lambda: identity_of(objective, models, gauge.splits, **settings)) as cells,
        several(work, workers) as shared,
    ):
        found = cells.results(work, [point for path in lines for point in points_on(path, bn, axis)], shared)
        for done, (path, (i, j)) in enumerate(
            zip(lines, itertools.combinations(range(len(models)), 2), strict=True)
        ):
            line = lines[path]
            meta = {**about(objective), **line.about(gauge)}
            measured = gathered(found, gauge.fields, len(axis))
            for name, value in Interpolation(axis, measured, bn, path, line.distance, meta=meta).barriers.items():
                matrix = fields.setdefault(name, np.zeros_like(distance))
                matrix[i, j] = matrix[j, i] = value
            distance[i, j] = distance[j, i] = line.distance
            if progress is not None:
                progress(done + 1, len(lines))
    return Barriers(tuple(models), fields, distance, bn, points, meta)


class _Lines(Mapping[str, Line]):
    """The lines between each two of several models, by name; the one used last is kept."""

    def __init__(self, models: Mapping[str, Weights], bn: str, derived: Sequence[str]) -> None:
        self._models, self._bn, self._derived = models, bn, derived
        self._ends = {f"{a} to {b}": (a, b) for a, b in itertools.combinations(models, 2)}
        self._held: tuple[str, Line] | None = None

    def __getitem__(self, path: str) -> Line:
        if self._held is None or self._held[0] != path:
            a, b = self._ends[path]
            self._held = path, Line(self._models[a], self._models[b], self._bn, self._derived)
        return self._held[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ends)

    def __len__(self) -> int:
        return len(self._ends)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}

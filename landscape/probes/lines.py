"""Straight lines between models, and the barriers on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.files.cells import Cells, Save
from landscape.layout import Layout
from landscape.objective import Objective
from landscape.objective.batchnorm import require_policy
from landscape.objective.continuity import differing, statement
from landscape.objective.identity import identity_of
from landscape.params import Tensors, Weights, norm, require_same_shapes, resolve, subtract
from landscape.probes.gauge import Gauge, about
from landscape.probes.values import Array, Barriers, Interpolation
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
            running statistics anew at every point, the ends too, from the first 512 training examples, and moves
            other buffers: each end is its model, recalibrated. Buffers that follow from the weights (the vectors
            of spectral normalisation) are recomputed between the ends under every policy, and at the ends are
            the models' own; ``meta["buffers"]`` says so.
        splits: On which data; None is all.
        metrics: What; None is the loss, and the error where there is one.
        labels: What a and b are called.
        path: What the line is, where it is not just that.
        save: A file of finished parts to write and to resume from.
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
    with Cells.open(save, lambda: identity_of(objective, {"a": a, "b": b}, gauge.splits, **settings)) as cells:
        fields = measured_along(gauge, axis, line.point, cells, path=path, bn=bn, progress=progress)
    return Interpolation(axis, fields, bn, path, line.distance, labels, {**about(objective), **line.about(gauge)})


def measured_along(
    gauge: Gauge,
    axis: Array,
    point: Callable[[float], Tensors],
    cells: Cells,
    *,
    path: str,
    bn: str,
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Means at points of a path, those that are in cells not again.

    Args:
        gauge: Measures.
        axis: Coordinates of the points; at 0 and 1 the weights are networks' own.
        point: The weights at a coordinate.
        cells: What was measured before.
        path: What the path is called among the cells.
        bn: The policy for normalisation statistics, likewise.
        progress: Called with (points done, points in all).

    Returns:
        ``"<split>_<metric>"`` -> shape of the axis.
    """
    fields = {name: np.empty(len(axis)) for name in gauge.fields}

    def means_at(t: float) -> dict[str, float]:
        return gauge.at(point(t), own=t in (0.0, 1.0))

    for place, t in enumerate(axis.tolist()):
        means = cells.of(f"{path}/{bn}/{place}", partial(means_at, t))
        for name, value in means.items():
            fields[name][place] = value
        if progress is not None:
            progress(place + 1, len(axis))
    return fields


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
        """What became of buffers that are no statistics of normalisation, for the meta of a result."""
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
    names = list(models)
    pairs = list(itertools.combinations(range(len(names)), 2))
    fields: dict[str, Array] = {}
    distance = np.zeros((len(names), len(names)))
    gauge = Gauge(objective, splits, metrics)
    settings = {"of": "barriers", "bn": bn, "metrics": gauge.metrics, "points": points}
    with Cells.open(save, lambda: identity_of(objective, models, gauge.splits, **settings)) as cells:
        for done, (i, j) in enumerate(pairs):
            found = interpolate(
                *(objective, models[names[i]], models[names[j]]),
                points=points,
                bn=bn,
                splits=splits,
                metrics=metrics,
                path=f"{names[i]} to {names[j]}",
                save=cells,
            )
            for name, value in found.barriers.items():
                matrix = fields.setdefault(name, np.zeros_like(distance))
                matrix[i, j] = matrix[j, i] = value
            distance[i, j] = distance[j, i] = found.distance
            if progress is not None:
                progress(done + 1, len(pairs))
    return Barriers(tuple(names), fields, distance, bn, points, found.meta)

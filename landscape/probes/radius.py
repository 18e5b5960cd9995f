"""Distance within which the loss stays low: bracketing and bisection along a direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from landscape.curvature import Curvature, eigenpairs
from landscape.errors import LandscapeError, did_you_mean
from landscape.files.cells import Cells, Save
from landscape.objective import Objective
from landscape.params import Held, Tensors, Weights, from_real, gaussian, norm, resolve, scale
from landscape.probes.gauge import Gauge
from landscape.projection.directions import generator_for, random_direction
from landscape.values.probes import Radius
from landscape.vocabulary import GENERATORS

DIRECTIONS = ("random", "filter", "gradient", "top")
"""Gaussian, Gaussian and filter-normalised, steepest ascent, and the eigenvector of largest curvature."""

# The first step, in units of the norm of the weights, and by how much steps grow.
_FIRST, _GROWTH = 1e-4, 2.0
# Where the loss has not risen so many norms away, the radius is called infinite: far from all that was trained.
_FARTHEST = 1e3
# The relative width of the bracket that bisection ends with: thinner than a line in a picture.
_WIDTH = 1e-3
# The relative residual of the top eigenvector: being off by so much costs a millionth of the curvature.
_TOLERANCE = 1e-3

Progress = Callable[[int, int], None]


def radii(
    objective: Objective,
    weights: Weights,
    *,
    rise: float = 0.1,
    directions: Sequence[str] = DIRECTIONS,
    draws: int = 20,
    seed: int = 0,
    cells: Cells | None = None,
    prefix: str = "",
    generator: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Radius]:
    """The distance from some weights to where the training loss has risen by a given amount.

    Along each direction d of length 1, steps r double from 1e-4 |w| until L(w + r d) - L(w) is at least the
    rise; bisection then finds where it is, to a thousandth. A rise between two steps that has fallen again is
    not seen. Up to 1,000 |w| without a rise, the radius is infinite. Every direction is gone both ways, along d
    and along -d; the radius is the smaller of the two, which on a quadratic around its minimum are alike. Random
    directions are Gaussian over all parameters; filter-normalised ones leave parameters of one dimension where
    they are; the gradient points uphill.

    Args:
        objective: Its training loss is looked at, without the penalty.
        weights: A snapshot, a model, or a name -> tensor dictionary.
        rise: Above 0, in the unit of the loss.
        directions: Some of `DIRECTIONS`.
        draws: How many random directions of each kind.
        seed: Draws them.
        cells: Distances that were found before, and are not looked for again.
        prefix: Of their names among the cells.
        generator: Draws filter-normalised directions; see `landscape.projection.random_direction`.
        progress: Called with (draws done, draws in all).

    Returns:
        Direction -> radii.

    Raises:
        LandscapeError: If the rise is not positive, a direction does not exist, or the loss here is not finite.
    """
    for name in directions:
        if name not in DIRECTIONS:
            raise LandscapeError(f"there is no direction '{name}'", mend=did_you_mean(name, DIRECTIONS))
    if not rise > 0:
        raise LandscapeError("must be above 0", where="rise", got=f"{rise:g}")
    search = _Search(objective, weights, rise)
    held = Cells.open(cells, dict)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in directions}

    def look(name: str, index: int, direction: Callable[[], Tensors]) -> None:
        found[name].append(held.of(f"{prefix}{name}/{index}", lambda: search.both(direction())))

    for index in range(draws):
        for name in (name for name in directions if name in ("random", "filter")):
            look(name, index, partial(_drawn, weights, name, seed, index, generator))
        if progress is not None:
            progress(index + 1, draws)
    if {"gradient", "top"} & set(found):
        curvature = Curvature(objective, weights)

        def top() -> Tensors:
            vectors = eigenpairs(curvature, 1, "largest", _TOLERANCE, seed=seed).vectors
            return curvature.unflatten(vectors[:, 0])

        ways = {"gradient": lambda: curvature.unflatten(curvature.gradient()), "top": top}
        for name in (name for name in ways if name in found):
            look(name, 0, ways[name])
    return {name: _radius(name, ways) for name, ways in found.items()}


def _radius(name: str, ways: Sequence[tuple[float, float]]) -> Radius:
    forward, backward = np.array(ways, dtype=float).reshape(-1, 2).T
    return Radius(name, np.minimum(forward, backward), forward, backward)


def open_cells(
    save: Save, identity: Callable[..., Mapping[str, Any]], weights: Weights, directions: Sequence[str]
) -> tuple[Cells, str]:
    """Finished parts of radii, and the generator of their filter-normalised directions.

    Args:
        save: The file, or cells that are open already.
        identity: Gives everything that decides the numbers; takes ``generator=``.
        weights: That the directions are of.
        directions: Some of `DIRECTIONS`.
    """
    usual = GENERATORS[0]
    chosen = generator_for(resolve(weights)[0], None) if "filter" in directions else usual
    if chosen == usual:
        return Cells.open(save, identity), usual
    # Files from before there was a choice of generators name none.
    cells = Cells.open(save, partial(identity, generator=chosen), former=identity)
    return cells, cells.identity.get("generator", usual if cells.identity else chosen)


def _drawn(weights: Weights, kind: str, seed: int, index: int, generator: str | None) -> Tensors:
    if kind == "filter":
        return random_direction(weights, normalize="filter", seed=seed, index=index, generator=generator)[0]
    layout, tensors = resolve(weights)
    return {info.name: from_real(gaussian(info, seed, index), tensors[info.name]) for info in layout.moving()}


class _Search:
    """Looks for a rise of the loss from one point."""

    def __init__(self, objective: Objective, weights: Weights, rise: float) -> None:
        self._gauge = Gauge(objective, ["train"], ["loss"])
        self._state = resolve(weights)[1]
        self._norm = norm(Held.of(weights).weights)
        self._level = self._loss(self._state) + rise
        if not math.isfinite(self._level):
            raise LandscapeError("the loss here is not finite", mend="choose another step")

    def _loss(self, weights: Mapping[str, Tensor]) -> float:
        return self._gauge.at(weights)["train_loss"]

    def both(self, direction: Mapping[str, Tensor]) -> tuple[float, float]:
        """The distances along a direction and against it."""
        return self.radius(direction), self.radius(scale(direction, -1.0))

    def radius(self, direction: Mapping[str, Tensor]) -> float:
        """The distance along a direction; NaN where it is zero."""
        length = norm(direction)
        if not length > 0:
            return math.nan

        def high(distance: float) -> bool:
            step = {name: t * (distance / length) for name, t in direction.items()}
            # What is undefined there is no place to stay at.
            return not self._loss({**self._state, **_added(self._state, step)}) < self._level

        unit = self._norm or 1.0
        low, distance = 0.0, _FIRST * unit
        while not high(distance):
            low, distance = distance, _GROWTH * distance
            if distance > _FARTHEST * unit:
                return math.inf
        while distance - low > _WIDTH * distance:
            middle = (low + distance) / 2
            low, distance = (low, middle) if high(middle) else (middle, distance)
        return (low + distance) / 2


def _added(state: Mapping[str, Tensor], step: Mapping[str, Tensor]) -> Tensors:
    return {name: state[name] + tensor.to(state[name]) for name, tensor in step.items()}

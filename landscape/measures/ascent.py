"""Climbing: the largest value of a function in a ball, by projected gradient ascent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from landscape.errors import LandscapeError, did_you_mean
from landscape.vocabulary import NORMS

Slope: TypeAlias = Callable[[Tensor], tuple[float, Tensor]]

# A step that fails is cut to a quarter, one that succeeds is doubled; one that was cut so often has arrived.
_CUTS = 24
# Croce & Hein 2020, section 3: the share of steps that must climb, the momentum, the first checkpoint, by how much
# the distance between checkpoints shrinks, and its least share of all iterations.
_CLIMBING, _MOMENTUM, _FIRST, _SHRINK, _LEAST = 0.75, 0.75, 0.22, 0.03, 0.06
# Auto-PGD has arrived where its last quarter adds at most this share of the whole climb, and where the linear
# function with the gradient there promises no more than the second share of it anywhere in the ball.
_LATE, _PROMISED = 0.01, 0.05
# Ascents agree on a height that they reach to within this share of it.
AGREE = 0.05


@dataclass(frozen=True)
class Ball:
    """All u with a norm of at most `radius`.

    Attributes:
        norm: ``"l2"`` or ``"linf"``.
        radius: In the units of u.
    """

    norm: str
    radius: float

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise LandscapeError(f"unknown norm '{self.norm}'", mend=did_you_mean(self.norm, NORMS))
        if not self.radius > 0:
            raise LandscapeError("a radius must be positive", got=self.radius)

    def project(self, u: Tensor) -> Tensor:
        """The nearest point of the ball."""
        if self.norm == "linf":
            return u.clamp(-self.radius, self.radius)
        length = float(u.norm())
        return u * (self.radius / length) if length > self.radius else u

    def steepest(self, gradient: Tensor) -> Tensor:
        """Where in the ball a linear function with this gradient is largest; 0 where the gradient is."""
        if self.norm == "linf":
            return self.radius * gradient.sign()
        length = float(gradient.norm())
        return gradient * (self.radius / length) if length > 0 else torch.zeros_like(gradient)


@dataclass(frozen=True)
class Climb:
    """Where an ascent ended.

    Attributes:
        value: The largest value met.
        at: Where.
        steps: How many gradients were taken.
        arrived: Whether it stopped because nothing higher was near.
    """

    value: float
    at: Tensor
    steps: int
    arrived: bool


def climb(
    slope: Slope,
    ball: Ball,
    start: Tensor,
    iterations: int,
    tolerance: float = 1e-4,
    base: float | None = None,
) -> Climb:
    """Projected gradient ascent with a step length found by trial: no step goes down.

    u <- P(u + t g), t doubled after a step that climbs and quartered after one that does not. With t large a step
    is the best point of the ball for the linear function with this gradient: on a convex quadratic function that
    is power iteration.

    Args:
        slope: A point -> value and gradient there.
        ball: What it stays in.
        start: Where it starts.
        iterations: How many gradients at most.
        tolerance: It has arrived when three steps in a row have raised the value by less than this share of all
            that was climbed.
        base: The value at the centre. Given, it has arrived too where the linear function with the gradient there
            rises by no more than the squared tolerance, as a share of all that was climbed, anywhere in the ball.
            The gap falls with the square of the distance from where no step leads higher.

    Returns:
        The best point met; a value that is not a number is never best.
    """
    here = ball.project(start)
    value, gradient = slope(here)
    first, small, cuts, steps = value, 0, 0, 1
    length = 4 * ball.radius / max(_size(gradient, ball), 1e-300)
    while steps < iterations and small < 3 and cuts < _CUTS and bool(gradient.abs().max() > 0):
        there = ball.project(here + length * gradient)
        arrived = base is not None and _gap(gradient, ball, here) <= tolerance**2 * (value - base)
        if arrived or torch.equal(there, here):
            return Climb(value, here, steps, True)
        found, slope_there = slope(there)
        steps += 1
        # An infinite loss is higher than any other, and has no gradient to go on by.
        if found == float("inf"):
            return Climb(found, there, steps, True)
        if found > value:
            small = small + 1 if found - value <= tolerance * max(found - first, 0.0) else 0
            here, value, gradient = there, found, slope_there
            length, cuts = 2 * length, 0
        else:
            length, cuts = length / 4, cuts + 1
    return Climb(value, here, steps, steps < iterations)


def _gap(gradient: Tensor, ball: Ball, here: Tensor) -> float:
    """Return the most by which the linear function with this gradient exceeds its value here."""
    return float(((ball.steepest(gradient) - here) * gradient).sum())


def _size(gradient: Tensor, ball: Ball) -> float:
    return float(gradient.abs().mean() if ball.norm == "linf" else gradient.norm())


def auto_climb(slope: Slope, ball: Ball, start: Tensor, iterations: int) -> Climb:
    """Auto-PGD: ascent with momentum whose step is halved where it no longer pays.

    Croce & Hein 2020, algorithm 1, with the steepest step of the ball instead of a fixed one.

    Args:
        slope: A point -> value and gradient there.
        ball: What it stays in.
        start: Where it starts.
        iterations: How many gradients.

    Returns:
        The best point met.
    """
    step, before, here = 2.0, ball.project(start), ball.project(start)
    value, gradient = slope(here)
    best = (value, here, gradient)
    check, gap, climbs = _checkpoint(iterations), _checkpoint(iterations), 0
    at_check, bests = (step, value), [value]
    for done in range(1, iterations):
        raised = ball.project(here + step * ball.steepest(gradient))
        weight = 1.0 if done == 1 else _MOMENTUM
        there = ball.project(here + weight * (raised - here) + (1 - weight) * (here - before))
        before, here, last = here, there, value
        value, gradient = slope(here)
        climbs += value > last
        if value > best[0] or best[0] != best[0]:
            best = (value, here, gradient)
        bests.append(best[0])
        if done == check:
            if climbs < _CLIMBING * gap or at_check == (step, best[0]):
                step, (value, here, gradient) = step / 2, best
                before = here
            at_check, climbs = (step, best[0]), 0
            gap = max(1, gap - max(1, round(_SHRINK * iterations)), round(_LEAST * iterations))
            check += gap
    late, climbed = bests[-1] - bests[-1 - len(bests) // 4], bests[-1] - bests[0]
    settled = late <= _LATE * climbed and _gap(best[2], ball, best[1]) <= _PROMISED * climbed
    return Climb(best[0], best[1], iterations, settled)


def _checkpoint(iterations: int) -> int:
    return max(1, round(_FIRST * iterations))


def best_of(climbs: Sequence[Climb], base: float, scale: float = 1.0) -> tuple[Climb, dict[str, Any]]:
    """The highest of several ascents, and how far they disagree.

    Args:
        climbs: From several starts.
        base: The value that is subtracted from each.
        scale: What the differences are multiplied with.

    Returns:
        The best one and plain values: what each found, the share of the best by which the worst falls short, and
        whether a second one came as high (`AGREE`), as far as there are several.
    """
    rises = [scale * (one.value - base) for one in climbs]
    best = max(range(len(rises)), key=lambda at: (rises[at] == rises[at], rises[at]))
    top, low = rises[best], min(rises)
    return climbs[best], {
        "restarts": rises,
        "best_restart": best,
        "agreed": len(rises) < 2 or sorted(rises)[-2] >= top - AGREE * abs(top),
        "disagreement": (top - low) / abs(top) if top and abs(top) != float("inf") else 0.0,
        "gradients": [one.steps for one in climbs],
        "arrived": [one.arrived for one in climbs],
    }

"""Schedules of gamma, the coupling of Entropy-SGD and Replicated-SGD, over a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from landscape.errors import LandscapeError, did_you_mean

GAMMA_SHAPES = ("exponential", "linear", "cosine", "constant")
# Pittorino et al. 2021, code: gamma grows by this factor over a training.
GROWTH = 1e4
# exp of more overflows.
_LARGEST_EXPONENT = 700.0


def growth_rate(growth: float, ticks: int) -> float:
    """The rate gamma_1 at which (1 + gamma_1)^t reaches a factor: growth^(1 / ticks) - 1.

    Args:
        growth: The factor.
        ticks: After how many ticks it is reached.

    Returns:
        gamma_1 per tick.

    Source:
        Pittorino et al. 2021, code.

    Example:
        >>> round(growth_rate(1e4, 100), 7)
        0.0964782
    """
    return float(growth ** (1 / ticks) - 1)


@dataclass(frozen=True)
class GammaSchedule:
    """gamma(t) = gamma_0 f(t), counted in ticks of `period` updates.

    exponential: f = (1 + rate)^t; linear: f = 1 + (growth - 1) t / T; cosine: f = 1 + (growth - 1)
    (1 - cos(pi t / T)) / 2; constant: f = 1. The last two of these stay at `growth` after T ticks.

    Attributes:
        shape: One of `GAMMA_SHAPES`.
        growth: The factor f(T) reached at the end.
        ticks: T; None leaves gamma constant, unless a `rate` is given.
        period: Updates per tick: 1 counts updates, the updates of an epoch count epochs.
        rate: gamma_1 of the exponential, instead of what `growth` and `ticks` say: the ``scoping`` of Chaudhari et
            al. 2017.
        limit: gamma grows no further than this.

    Raises:
        LandscapeError: Naming every value that is wrong.

    Source:
        Pittorino et al. 2021, code: exponential, by update for Entropy-SGD and by epoch for Replicated-SGD.

    Example:
        >>> GammaSchedule("linear", growth=11.0, ticks=10).at(0.5, step=5)
        3.0
    """

    shape: str = "exponential"
    growth: float = GROWTH
    ticks: int | None = None
    period: int = 1
    rate: float | None = None
    limit: float = math.inf

    def __post_init__(self) -> None:
        faults = []
        if self.shape not in GAMMA_SHAPES:
            faults.append(f"unknown shape '{self.shape}', {did_you_mean(self.shape, GAMMA_SHAPES)}")
        for name, low in (("growth", 0.0), ("limit", 0.0)):
            if not getattr(self, name) > low:
                faults.append(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("ticks", "period"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                faults.append(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rate is not None and not (self.rate > -1 and self.shape == "exponential"):
            faults.append(f"a rate is above -1 and of the exponential shape, got {self.rate} of {self.shape}")
        if faults:
            raise LandscapeError("; ".join(faults), where="gamma schedule")

    def at(self, first: float, step: int) -> float:
        """gamma at an update.

        Args:
            first: gamma_0.
            step: The number of the update, from 0.
        """
        return min(first * self._factor(step // self.period), self.limit)

    def _factor(self, tick: int) -> float:
        if self.shape == "constant" or (self.ticks is None and self.rate is None):
            return 1.0
        if self.shape == "exponential":
            rate = growth_rate(self.growth, self.ticks or 1) if self.rate is None else self.rate
            exponent = tick * math.log1p(rate)
            return math.inf if exponent > _LARGEST_EXPONENT else float((1 + rate) ** tick)
        share = min(1.0, tick / (self.ticks or 1))
        risen = share if self.shape == "linear" else (1 - math.cos(math.pi * share)) / 2
        return 1 + (self.growth - 1) * risen

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def gamma_of(group: Mapping[str, Any]) -> float:
    """gamma of a parameter group at its next update; 0 while it waits to be found."""
    if not group["gamma"]:
        return 0.0
    return GammaSchedule(**group["gamma_schedule"]).at(group["gamma"], group["steps"])

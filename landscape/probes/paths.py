"""Curves between two models: Bézier curves and polygonal chains with bends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from landscape.errors import LandscapeError, did_you_mean
from landscape.params import Tensors, norm, subtract
from landscape.probes.lines import mix

KINDS = ("bezier", "chain")


def shares(kind: str, t: float, bends: int) -> list[float]:
    """Return the share of each control point (end, bends, end) at t; they sum to 1.

    A Bézier curve of degree n = bends + 1 has binomial(n, k) t^k (1 - t)^(n - k); a chain goes from each point
    straight to the next, each leg taking 1 / n of the way.

    Args:
        kind: ``"bezier"`` or ``"chain"``.
        t: From 0 to 1.
        bends: How many control points between the ends.

    Returns:
        bends + 2 numbers.

    Source:
        Garipov et al. 2018, "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", section 3.1.

    Example:
        >>> shares("bezier", 0.5, 1), shares("chain", 0.75, 1)
        ([0.25, 0.5, 0.25], [0.0, 0.5, 0.5])
    """
    legs = bends + 1
    if kind == "bezier":
        return [math.comb(legs, k) * t**k * (1 - t) ** (legs - k) for k in range(legs + 1)]
    return [max(0.0, 1.0 - abs(legs * t - k)) for k in range(legs + 1)]


def require_kind(kind: str) -> str:
    """Check the name of a kind of curve.

    Raises:
        LandscapeError: If there is none of this name.
    """
    if kind not in KINDS:
        raise LandscapeError(f"there is no curve '{kind}'", mend=did_you_mean(kind, KINDS))
    return kind


@dataclass(frozen=True, eq=False)
class Path:
    """A curve through weight space.

    Attributes:
        kind: ``"bezier"`` or ``"chain"``.
        controls: The ends, and the bends between them: name -> tensor, buffers included.
        moving: The names of the tensors that move; the others are those of the first end.
    """

    kind: str
    controls: Sequence[Tensors]
    moving: Sequence[str]

    @property
    def bends(self) -> Sequence[Tensors]:
        """The control points between the ends."""
        return self.controls[1:-1]

    def shares(self, t: float) -> list[float]:
        """Return the share of each control point at t."""
        return shares(self.kind, t, len(self.bends))

    def point(self, t: float) -> Tensors:
        """The weights at t; at 0 and 1 those of the ends bit for bit."""
        parts = self.shares(t)
        mixed = {name: mix([control[name] for control in self.controls], parts) for name in self.moving}
        return {**self.controls[0], **mixed}

    def length(self, points: int = 65) -> float:
        """The Euclidean length, of so many points joined by straight lines."""
        places = [self.point(k / (points - 1)) for k in range(points)]
        return sum(norm(subtract(b, a, self.moving)) for a, b in itertools.pairwise(places))

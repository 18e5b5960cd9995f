"""Two runs side by side: how far apart they are, and what lies half way between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.batchnorm import require_policy
from landscape.params import Weights
from landscape.probes.gauge import Gauge
from landscape.probes.lines import Line
from landscape.values.probes import Apart
from landscape.vocabulary import RECALIBRATE

Progress = Callable[[int, int], None]


def apart(
    objective: Objective,
    a: Sequence[Weights],
    b: Sequence[Weights],
    *,
    bn: str = "recalibrate",
    splits: Sequence[str] = ("train",),
    progress: Progress | None = None,
) -> Apart:
    """The distance |a_k - b_k| and the means at (a_k + b_k) / 2, for each two that belong together.

    Args:
        objective: What is measured half way.
        a: Snapshots, models or name -> tensor dictionaries.
        b: As many, each of the same moment as the one of `a`.
        bn: The policy for normalisation statistics half way, as in `interpolate`.
        splits: On which data.
        progress: Called with (moments done, moments in all).

    Returns:
        Distances and means, one for each two.

    Raises:
        LandscapeError: If there are not as many of both, or their tensors differ in shape.

    Source:
        Liao & Poggio 2017, section 5: mid-points of branches at equal epochs.
    """
    if len(a) != len(b):
        raise LandscapeError("moments come in pairs", where="apart", got=f"{len(a)} and {len(b)}")
    require_policy(bn)
    gauge = Gauge(objective, splits, recalibrate=bn == RECALIBRATE, between=True)
    distance = np.empty(len(a))
    midpoints = {name: np.empty(len(a)) for name in gauge.fields}
    for place, (one, other) in enumerate(zip(a, b, strict=True)):
        distance[place], means = half_way(gauge, one, other, bn)
        for name, value in means.items():
            midpoints[name][place] = value
        if progress is not None:
            progress(place + 1, len(a))
    return Apart(distance, midpoints, bn)


def half_way(gauge: Gauge, a: Weights, b: Weights, bn: str) -> tuple[float, dict[str, float]]:
    """The distance between two sets of weights, and the means at their midpoint."""
    line = Line(a, b, bn, gauge.derived)
    return line.distance, gauge.at(line.point(0.5))

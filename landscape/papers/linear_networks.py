"""Learning coefficients of two linear layers by Markov chains, and the closed form of Aoyagi & Watanabe 2005."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.measures import measure
from landscape.problems import build
from landscape.problems.catalogue import LinearNetworkOptions
from landscape.problems.toys import learning_coefficient
from landscape.values.experiment import Experiment, Series

_MEASURE = "local_learning_coefficient"
_EXAMPLES = 10_000
# Where valleys cross chains need paths longer than at regular minima.
_CHAINS = {"n": float(_EXAMPLES), "draws": 800, "burn_in": 300, "leapfrog": 32}


def coefficients_over_width(*_: Any) -> Experiment:
    """Learning coefficients of the map 0 from 3 to 3 numbers, over hidden units."""
    widths = range(1, 6)
    return _beside(
        "3 inputs, 3 outputs, rank 0", "hidden units", widths, [LinearNetworkOptions(3, one, 3) for one in widths]
    )


def coefficients_over_rank(*_: Any) -> Experiment:
    """Learning coefficients of maps from 4 to 4 numbers through 2 hidden units, over their rank."""
    ranks = range(3)
    return _beside(
        "4 inputs, 2 hidden units, 4 outputs",
        "rank",
        ranks,
        [LinearNetworkOptions(4, 2, 4, rank=one) for one in ranks],
    )


def _beside(title: str, label: str, x: Sequence[int], networks: Sequence[LinearNetworkOptions]) -> Experiment:
    """Estimates beside lambda and, at this temperature, lambda - (m - 1) / log(n beta)."""
    place, exact = np.array(x, dtype=np.float64), [learning_coefficient(one) for one in networks]
    shift = math.log(_EXAMPLES / math.log(_EXAMPLES))
    found = [_estimate(one) for one in networks]
    value, error = (np.array(column) for column in zip(*found, strict=True))
    return Experiment(
        title,
        label,
        "local learning coefficient",
        (
            Series("Aoyagi & Watanabe", place, np.array([one for one, _ in exact]), line=True),
            Series("at this temperature", place, np.array([one - (m - 1) / shift for one, m in exact]), line=True),
            Series("estimate", place, value, error),
        ),
        about=f"n = {_EXAMPLES:,}, 4 chains",
    )


def _estimate(options: LinearNetworkOptions) -> tuple[float, float]:
    objective = build("toy-linear-network", vars(options))
    one = measure(objective, objective.model, [_MEASURE], settings={_MEASURE: _CHAINS})[_MEASURE]
    return one.value, math.nan if one.standard_error is None else one.standard_error

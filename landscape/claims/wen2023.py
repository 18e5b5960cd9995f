"""Claims of Wen, Li & Ma 2023."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import RECALLED, Claim, Numbers, Paper, Reading, below, equal, more

_RECIPE = "wen2023-parity"
# Numbers are stored in float32.
_ROUNDING = 1e-5
_WITHOUT, _WITH, _NORMALISED, _FOUND, _LOSS = range(5)


def _least(panel: int, kind: str) -> Callable[[Numbers], Reading]:
    """Read how far the traces of a kind of network are from the least possible, relatively."""

    def read(numbers: Numbers) -> Reading:
        x, y = (numbers[f"{panel}/{kind}/{entry}"] for entry in "xy")
        line, least = (numbers[f"{panel}/least possible/{entry}"] for entry in "xy")
        # Of sqrt(d + 1) between the points of the line: a power law nearly.
        form = np.exp(np.interp(np.log(x), np.log(line), np.log(least)))
        return below(float(np.abs(y / form - 1).max()), 1e-3)

    return read


def _memoriser_fails(numbers: Numbers) -> Reading:
    return equal(float(numbers[f"{_LOSS}/memoriser with biases/y"].mean()), 1.0, within=_ROUNDING)


def _found_generalise(numbers: Numbers) -> Reading:
    """The largest error of what is found from half of the corners."""
    return below(float(numbers[f"{_LOSS}/no biases, largest/y"][-1]), 0.05, otherwise=0)


def _found_flat(numbers: Numbers) -> Reading:
    return below(float(numbers[f"{_FOUND}/no biases/y"][-1]), 1.05, otherwise=0)


def _found_fail(numbers: Numbers) -> Reading:
    y, error = (numbers[f"{_LOSS}/biases/{entry}"][-2] for entry in ("y", "error"))
    return more(float(y), 1.96 * float(error), than=0.5)


_NETWORKS = "Parity of two bits, d / 2 examples, d from 4 to 128"
_TRACES = f"{_NETWORKS}: trace by automatic differentiation beside the least possible, largest relative distance."
_SEARCHED = "8 bits, 20 units, 8 searches for the least trace under the constraint of fit"

PAPER = Paper(
    "wen2023",
    "K. Wen, Z. Li, T. Ma, Sharpness Minimization Algorithms Do Not Only Minimize Sharpness To Achieve Better "
    "Generalization, NeurIPS 2023, arXiv 2307.11007. Closed forms are derived here.",
    (
        Claim(
            "Without biases the network that knows the parity is as flat as any that fits the examples",
            f"scenario 1; {RECALLED}",
            _TRACES,
            _RECIPE,
            _least(_WITHOUT, "parity network"),
            exact=True,
        ),
        Claim(
            "With biases it is so too",
            f"scenario 2; {RECALLED}",
            _TRACES,
            _RECIPE,
            _least(_WITH, "parity network"),
            exact=True,
        ),
        Claim(
            "With biases a network that knows only the examples is as flat",
            "abstract, scenario 2",
            _TRACES,
            _RECIPE,
            _least(_WITH, "memoriser"),
            exact=True,
        ),
        Claim(
            "That network does not generalise",
            "abstract, scenario 2",
            "8 bits, 16 to 64 examples: mean squared error on all other corners; 1 is that of the output 0.",
            _RECIPE,
            _memoriser_fails,
            exact=True,
        ),
        Claim(
            "With outputs of hidden units divided by their norm the memoriser is as flat as any",
            "abstract, scenario 3",
            _TRACES,
            _RECIPE,
            _least(_NORMALISED, "memoriser"),
            exact=True,
        ),
        Claim(
            "So is the network that knows the parity, where outputs are divided by their norm",
            "abstract, scenario 3",
            _TRACES,
            _RECIPE,
            _least(_NORMALISED, "parity network"),
            exact=True,
        ),
        Claim(
            "Without biases few examples, no more than bits, can be known by heart at the least trace too",
            "derived here",
            _TRACES,
            _RECIPE,
            _least(_WITHOUT, "memoriser"),
            exact=True,
        ),
        Claim(
            "Without biases a search with many examples reaches the least trace",
            "derived here",
            f"{_SEARCHED}, 128 of 256 corners: trace over the least possible, the mean; at most 1.05.",
            _RECIPE,
            _found_flat,
        ),
        Claim(
            "Without biases flatness implies generalisation: all that is found generalises",
            "abstract, scenario 1",
            f"{_SEARCHED}, 128 of 256 corners: mean squared error on the others, the largest; at most 0.05.",
            _RECIPE,
            _found_generalise,
        ),
        Claim(
            "With biases seeking flatness fails to generalise",
            "abstract, scenario 2",
            f"{_SEARCHED}, 64 of 256 corners: mean squared error on the others, the mean; above 0.5. The paper "
            "trains by SAM.",
            _RECIPE,
            _found_fail,
        ),
        Claim(
            "With normalisation sharpness minimisation still generalises",
            "abstract, scenario 3",
            "Needs training by SAM on one example at a time.",
        ),
    ),
)

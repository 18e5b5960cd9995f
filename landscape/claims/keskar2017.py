"""Claims of Keskar et al. 2017."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import RECALLED, Array, Claim, Numbers, Paper, Reading, mean_of, more

_RECIPE = "keskar2017-batch-size"


def _last(numbers: Numbers, panel: int, entry: str, size: int) -> Array:
    return np.array([numbers[f"{panel}/batches of {size}, {run}/{entry}"][-1] for run in (1, 2, 3)])


def _sharper(panel: int) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        small, large = (np.log(_last(numbers, panel, "train_keskar_sharpness", size)) for size in (20, 500))
        return more(*mean_of(large - small))

    return read


def _generalisation(numbers: Numbers) -> Reading:
    small, large = (100 * _last(numbers, 2, "test_error", size) for size in (20, 500))
    return more(*mean_of(large - small))


_OURS = "Fully connected network on 1,000 digits, 3,000 steps with batches of 20 and of 500, three seeds"

PAPER = Paper(
    "keskar2017",
    "N. S. Keskar, D. Mudigere, J. Nocedal, M. Smelyanskiy, P. T. P. Tang, On Large-Batch Training for Deep "
    "Learning: "
    "Generalization Gap and Sharp Minima, ICLR 2017, arXiv 1609.04836.",
    (
        Claim(
            "Large batches end at sharper minima than small ones",
            "abstract",
            f"{_OURS}: log of the sharpness of large over that of small batches, seed by seed. Small "
            "batches also end at the smaller training loss.",
            _RECIPE,
            _sharper(0),
        ),
        Claim(
            "Large batches have the higher test error",
            "abstract",
            f"{_OURS}: test error of large less that of small batches, in %.",
            _RECIPE,
            _generalisation,
        ),
        Claim(
            "Sharpness in random subspaces tells the same",
            RECALLED,
            f"{_OURS}: the same in a random subspace of 100 dimensions.",
            _RECIPE,
            _sharper(1),
        ),
        Claim(
            "Warm-starting large batches from small-batch weights closes the gap",
            RECALLED,
            "Needs large-batch trainings from the snapshots of small-batch ones.",
        ),
    ),
)

"""Claims of Lau et al. 2023."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import RECALLED, Claim, Numbers, Paper, Reading, equal

_RECIPE = "lau2023-quadratic"


def _coefficient(run: str, panel: int, true: float) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        values = numbers[f"{panel}/{run}/train_local_learning_coefficient"]
        return equal(float(values[-1]), true, within=0.1)

    return read


def _farthest(numbers: Numbers) -> Reading:
    """The ratio to the closed form that is farthest from 1."""
    found, exact = (
        np.concatenate([numbers[f"{panel}/{name}/y"] for panel in (0, 1)])
        for name in ("estimate", "Aoyagi & Watanabe")
    )
    ratios = found / exact
    return equal(float(ratios[np.abs(ratios - 1).argmax()]), 1.0, within=0.1)


PAPER = Paper(
    "lau2023",
    "E. Lau, Z. Furman, G. Wang, D. Murfet, S. Wei, The Local Learning Coefficient: A Singularity-Aware "
    "Complexity Measure, "
    "2023, arXiv 2308.12108.",
    (
        *(
            Claim(
                f"At a regular minimum of {size} dimensions the coefficient is {size / 2:g}, whatever the "
                "curvatures",
                RECALLED,
                "Quadratic function with curvatures from 0.1 to 2, n = 1,000,000: the estimate by chains.",
                _RECIPE,
                _coefficient(f"d = {size}", 0, size / 2),
                exact=True,
            )
            for size in (2, 4, 8)
        ),
        Claim(
            "At a degenerate minimum it is less than half the dimension: 1/2 on a valley in two dimensions",
            RECALLED,
            "(theta1 theta2 - 1)^2 at the end of gradient descent, n = 300: the estimate by chains.",
            _RECIPE,
            _coefficient("valley", 1, 0.5),
            exact=True,
        ),
        Claim(
            "Estimates agree with the coefficients of deep linear networks up to 100 million parameters",
            RECALLED,
            "Eight networks of two linear layers, up to 30 weights, at a minimum where the set of minima crosses "
            "itself, n = 10,000: the ratio to the coefficient of Aoyagi & Watanabe 2005 that is farthest from 1.",
            "lau2023-linear-networks",
            _farthest,
        ),
        Claim(
            "Optimizers differ in the coefficient of the ResNets that they find",
            RECALLED,
            "Needs ResNet-18 on CIFAR-10 trained by several optimizers.",
        ),
    ),
)

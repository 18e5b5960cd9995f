"""Claims of Liao & Poggio 2017."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import RECALLED, Claim, Numbers, Paper, Reading, above, below, equal, more
from landscape.claims.liao2017_maps import CLAIMS
from landscape.claims.shapes import barrier, between

_BASINS, _RELU, _FIT = "liao2017-basins", "liao2017-polynomial", "liao2017-relu"
_FLAT = "liao2017-flat"
_PAIRS = ("branch 1 – branch 2", "branch 1 – control", "branch 2 – control")


def _no_errors(numbers: Numbers) -> Reading:
    errors = [between(numbers, line, "train_error")[1] for line in ("0/branch 1 – branch 2", "1/trunk – branch 1")]
    return below(max(float(own[-1]) for own in errors), 0.0)


def _one_basin(numbers: Numbers) -> Reading:
    return below(barrier(numbers, "0/branch 1 – branch 2"), 1e-3)


def _trunk_basin(numbers: Numbers) -> Reading:
    return below(barrier(numbers, "1/trunk – branch 1"), 1e-3)


def _independent(numbers: Numbers) -> Reading:
    inner = barrier(numbers, "0/branch 1 – branch 2")
    return more(barrier(numbers, "2/trunk – other start"), than=max(inner, 0.1))


def _independent_error(numbers: Numbers) -> Reading:
    return more(barrier(numbers, "3/trunk – other start", "train_error"), than=0.1)


def _apart(numbers: Numbers) -> Reading:
    ratios = [numbers[f"5/{pair}/weights_distance"] for pair in _PAIRS]
    return more(min(float(own[-1] / own[0]) for own in ratios), than=1.0)


def _midpoints(numbers: Numbers) -> Reading:
    losses = [numbers[f"4/{pair}/train_loss"] for pair in _PAIRS]
    # The trunk's own loss, where the branches leave it.
    _, trunk = between(numbers, "1/trunk – branch 1", "train_loss")
    return below(max(float(own.max()) for own in losses) / float(trunk[0]), 1.05)


def _degree_ten(numbers: Numbers) -> Reading:
    return below(float(numbers["1/degree 10/train_error"][-1]), 0.01)


def _degenerate(panel: int) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        sizes = numbers[f"{panel}/Hessian/y"]
        equations = float(numbers[f"{panel}/examples times outputs/x"][0])
        return above(float((sizes < 1e-4).mean()), 1 - equations / len(sizes))

    return read


def _equations_only(panel: int) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        sizes = numbers[f"{panel}/Gauss-Newton/y"]
        equations = float(numbers[f"{panel}/examples times outputs/x"][0])
        return above(float((sizes < 1e-12).mean()), 1 - equations / len(sizes))

    return read


def _fit(numbers: Numbers) -> Reading:
    """The largest error of degree 10 over that of degree 2."""
    largest = numbers["0/largest/y"]
    return below(float(largest[-1] / largest[0]), 0.5)


def _as_relu(numbers: Numbers) -> Reading:
    test = [100 * float(numbers[f"2/{run}/test_error"][-1]) for run in ("degree 10", "ReLU")]
    # Two standard errors of the difference of two shares of 360 examples.
    shares = np.array(test) / 100
    error = 200 * float(np.sqrt((shares * (1 - shares) / 360).sum()))
    return equal(test[0], test[1], within=0.0, error=error)


_BRANCHED = (
    "Six-layer network on 2,000 images of CIFAR-10, trained to zero error, perturbed by 0.01 of the mean |w| and "
    "trained on by gradient descent for 40 epochs"
)
_TINY = "The same network of width 2 (890 weights) on 20 images, trained to zero error"
_POLYNOMIAL = "Digits, two hidden layers of 64, ReLU or its polynomial fit of degree 10, 60 epochs of SGD"

PAPER = Paper(
    "liao2017",
    "Q. Liao, T. Poggio, Theory II: Landscape of the Empirical Risk in Deep Learning, CBMM Memo 66, 2017, arXiv "
    "1703.09833.",
    (
        Claim(
            "Copies perturbed by a hundredth of the mean weight stay at zero training error under gradient "
            "descent",
            "abstract",
            f"{_BRANCHED}: largest training error at the end of a branch.",
            _BASINS,
            _no_errors,
        ),
        Claim(
            "Their weights move apart by more than the perturbation",
            RECALLED,
            f"{_BRANCHED}: distance between copies at the end over that at the start, the least of three pairs.",
            _BASINS,
            _apart,
        ),
        Claim(
            "Copies stay in one basin: no barrier between them",
            RECALLED,
            f"{_BRANCHED}: rise of the loss above the straight line between two branches.",
            _BASINS,
            _one_basin,
        ),
        Claim(
            "They stay in the basin that they left",
            RECALLED,
            f"{_BRANCHED}: rise of the loss above the straight line from trunk to branch.",
            _BASINS,
            _trunk_basin,
        ),
        Claim(
            "Averages of two branches have a loss no higher than where they parted",
            RECALLED,
            f"{_BRANCHED}: largest loss of a midpoint over that of the trunk.",
            _BASINS,
            _midpoints,
        ),
        Claim(
            "Between independent runs the loss rises",
            RECALLED,
            f"{_BRANCHED}; another seed: rise of the loss on the line between the two.",
            _BASINS,
            _independent,
        ),
        Claim(
            "So does the training error",
            RECALLED,
            f"{_BRANCHED}; another seed: rise of the training error on the line between the two.",
            _BASINS,
            _independent_error,
        ),
        *CLAIMS,
        Claim(
            "The ReLU is near a polynomial, the nearer the higher its degree",
            "abstract",
            "Legendre expansion on [−1, 1]: largest error of degree 10 over that of degree 2; at most a half.",
            _FIT,
            _fit,
            exact=True,
        ),
        Claim(
            "A network whose ReLU is replaced by a polynomial of degree 10 fits the training data",
            RECALLED,
            f"{_POLYNOMIAL}: last training error of the polynomial network.",
            _RELU,
            _degree_ten,
        ),
        Claim(
            "It does as well as the ReLU network on test data",
            RECALLED,
            f"{_POLYNOMIAL}: test error in %, beside that of ReLU; the error is two standard errors of the "
            "difference.",
            _RELU,
            _as_relu,
        ),
        Claim(
            "Copies stay at zero training error through 400 epochs of gradient descent on 50,000 images",
            "abstract",
            "The recipe liao2017-basins has that size with --paper-size; it was not run here.",
        ),
        *(
            Claim(
                f"Minima of zero error are degenerate ({how})",
                "abstract",
                f"{_TINY}: share of Hessian eigenvalues below 1e-4 of the largest, beside the least share of flat "
                "directions, 1 less equations over weights; cross-entropy leaves residuals, which curve.",
                _FLAT,
                _degenerate(panel),
            )
            for panel, how in enumerate(("ReLU", "polynomial of degree 10"))
        ),
        *(
            Claim(
                f"More weights than equations leave directions along which no output changes ({how})",
                "abstract",
                f"{_TINY}: share of Gauss-Newton eigenvalues below 1e-12 of the largest, beside 1 less equations "
                "over weights; counted after the Hessian's.",
                _FLAT,
                _equations_only(panel),
                exact=True,
            )
            for panel, how in enumerate(("ReLU", "polynomial of degree 10"))
        ),
        Claim(
            "Minima of higher error are generically not degenerate",
            "abstract",
            "Needs stationary points of higher error, which no run met.",
        ),
    ),
)

"""Claims of Liao & Poggio 2017."""

from __future__ import annotations

import numpy as np

from landscape.claims.claim import RECALLED, Array, Claim, Numbers, Paper, Reading, below, equal, more

_BASINS, _MDS, _RELU, _FIT = "liao2017-basins", "liao2017-mds", "liao2017-polynomial", "liao2017-relu"
_PAIRS = ("branch 1 – branch 2", "branch 1 – control", "branch 2 – control")


def _between(numbers: Numbers, line: str, entry: str) -> tuple[Array, Array]:
    """Places between the ends of a line, and values there."""
    x, values = numbers[f"{line}/x"], numbers[f"{line}/{entry}"]
    inside = (x >= -1e-6) & (x <= 1 + 1e-6)
    return x[inside], values[inside]


def _barrier(numbers: Numbers, line: str, entry: str = "train_loss") -> float:
    """The most that values rise above the straight line from end to end."""
    x, values = _between(numbers, line, entry)
    return float((values - ((1 - x) * values[0] + x * values[-1])).max())


def _no_errors(numbers: Numbers) -> Reading:
    errors = [
        _between(numbers, line, "train_error")[1] for line in ("0/branch 1 – branch 2", "1/trunk – branch 1")
    ]
    return below(max(float(own[-1]) for own in errors), 0.0)


def _one_basin(numbers: Numbers) -> Reading:
    return below(_barrier(numbers, "0/branch 1 – branch 2"), 1e-3)


def _trunk_basin(numbers: Numbers) -> Reading:
    return below(_barrier(numbers, "1/trunk – branch 1"), 1e-3)


def _independent(numbers: Numbers) -> Reading:
    inner = _barrier(numbers, "0/branch 1 – branch 2")
    return more(_barrier(numbers, "2/trunk – other start"), than=max(inner, 0.1))


def _independent_error(numbers: Numbers) -> Reading:
    return more(_barrier(numbers, "3/trunk – other start", "train_error"), than=0.1)


def _apart(numbers: Numbers) -> Reading:
    ratios = [numbers[f"5/{pair}/weights_distance"] for pair in _PAIRS]
    return more(min(float(own[-1] / own[0]) for own in ratios), than=1.0)


def _midpoints(numbers: Numbers) -> Reading:
    losses = [numbers[f"4/{pair}/train_loss"] for pair in _PAIRS]
    # The trunk's own loss, where the branches leave it.
    _, trunk = _between(numbers, "1/trunk – branch 1", "train_loss")
    return below(max(float(own.max()) for own in losses) / float(trunk[0]), 1.05)


def _ends(numbers: Numbers) -> list[int]:
    run = numbers["0/all layers/run"]
    return [int(np.flatnonzero(run == which)[-1]) for which in np.unique(run)]


def _distances(numbers: Numbers) -> Array:
    """Between the ends of runs: the trunk, five that branch off its end, two of other starts."""
    at = _ends(numbers)
    return numbers["0/all layers/distances"][np.ix_(at, at)]


def _apart_from_others(numbers: Numbers) -> Reading:
    between = _distances(numbers)
    branches = between[1:6, 1:6]
    return more(float(between[:6, 6:].min() / branches.max()), than=2.0)


def _noise_keeps(numbers: Numbers) -> Reading:
    between = _distances(numbers)
    plain, noisy = between[1:4, 1:4][np.triu_indices(3, 1)], between[4:6, 1:4]
    return equal(float(noisy.mean() / plain.mean()), 1.0, within=0.25)


def _parallel_runs_fit(numbers: Numbers) -> Reading:
    return below(float(numbers["0/all layers/train_error"][_ends(numbers)[1:]].max()), 0.0)


def _degree_ten(numbers: Numbers) -> Reading:
    return below(float(numbers["1/degree 10/train_error"][-1]), 0.01)


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
_EIGHT = (
    "Eight runs of the same network: a trunk, five runs from its end, two of other seeds; chords between weights"
)
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
        Claim(
            "Parallel runs from one point end near each other, and far from runs of other initial weights",
            RECALLED,
            f"{_EIGHT}: least distance to a run of another start over the largest between runs of one.",
            _MDS,
            _apart_from_others,
        ),
        Claim(
            "Small noise at the start of a parallel run changes little: it ends as far off as runs without noise",
            RECALLED,
            f"{_EIGHT}: mean distance of noisy from plain runs over that between plain runs.",
            _MDS,
            _noise_keeps,
        ),
        Claim(
            "All runs reach zero training error: no bad local minimum is met",
            RECALLED,
            f"{_EIGHT}: largest training error at the end of a run.",
            _MDS,
            _parallel_runs_fit,
        ),
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
            "Branches of full-batch gradient descent at epochs 0, 10, 50 and 200 with noise of a quarter of the "
            "spread",
            RECALLED,
            "Needs 200 epochs of full-batch gradient descent on CIFAR-10 with branches.",
        ),
        Claim(
            "Perturbed copies of the weights after 5 and after 30 epochs of SGD settle in basins of their own",
            RECALLED,
            "Needs 60 epochs of SGD and 400 of gradient descent on 50,000 images, four repeats.",
        ),
        Claim(
            "Copies stay at zero training error through 400 epochs of gradient descent on 50,000 images",
            "abstract",
            "The recipe figures/large/liao2017-basins-400.toml is of that length; it was not run here.",
        ),
        Claim(
            "Minima of zero error are degenerate, those of higher error generically are not",
            "abstract",
            "Needs the rank of the Hessian at stationary points of both kinds.",
        ),
    ),
)

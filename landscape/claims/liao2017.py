"""Claims of Liao & Poggio 2017."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from landscape.claims.claim import (
    RECALLED,
    Array,
    Claim,
    Numbers,
    Paper,
    Reading,
    above,
    below,
    equal,
    mean_of,
    more,
    ranked,
)
from landscape.values.embedding import square

_BASINS, _MDS, _RELU, _FIT = "liao2017-basins", "liao2017-mds", "liao2017-polynomial", "liao2017-relu"
_FLAT = "liao2017-flat"
_GD, _GD_MAP, _LOCAL, _LOCAL_MAP = (
    "liao2017-batch-gd",
    "liao2017-batch-gd-mds",
    "liao2017-local",
    "liao2017-local-mds",
)
# Panels of the map of twelve stages.
_STAGES, _EUCLIDEAN, _WITH_OTHERS = 0, 4, 5
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


def _ends(numbers: Numbers, panel: str) -> Array:
    """Distances between the ends of the runs of a map."""
    run = numbers[f"{panel}/run"]
    at = [int(np.flatnonzero(run == which)[-1]) for which in np.unique(run)]
    return square(numbers[f"{panel}/distances"])[np.ix_(at, at)]


# Of the twelve stages: places of the runs without noise, and of those with. The start of all is before them, the two
# runs of other initial weights after them.
_PLAIN, _NOISY = (1 + offset + np.arange(48).reshape(12, 4) for offset in (0, 48))


def _apart_from_others(numbers: Numbers) -> Reading:
    between = _ends(numbers, f"{_WITH_OTHERS}/all layers")
    last = [*_PLAIN[-1], *_NOISY[-1]]
    return more(float(between[np.ix_(last, [97, 98])].min() / between[np.ix_(last, last)].max()), than=2.0)


def _noise_keeps(numbers: Numbers) -> Reading:
    between = _ends(numbers, f"{_STAGES}/all layers")
    ratios = [
        between[np.ix_(noisy, plain)].mean() / between[np.ix_(plain, plain)][np.triu_indices(4, 1)].mean()
        for plain, noisy in zip(_PLAIN, _NOISY, strict=True)
    ]
    ratio, error = mean_of(ratios)
    return equal(ratio, 1.0, within=0.25, error=error)


def _last_errors(numbers: Numbers, panel: str, rows: ArrayLike | None = None) -> Array:
    """Training errors at the ends of runs."""
    run = numbers[f"{panel}/run"]
    wanted = np.unique(run) if rows is None else np.asarray(rows)
    return np.array([numbers[f"{panel}/train_error"][np.flatnonzero(run == which)[-1]] for which in wanted])


def _parallel_runs_fit(numbers: Numbers) -> Reading:
    last = _last_errors(numbers, f"{_STAGES}/all layers", [*_PLAIN[-1], *_NOISY[-1]])
    return below(float(last.max()), 0.0)


def _maps_agree(numbers: Numbers) -> Reading:
    chords, euclidean = (
        _ends(numbers, f"{panel}/all layers")[np.triu_indices(97, 1)] for panel in (_STAGES, _EUCLIDEAN)
    )
    return above(ranked(chords, euclidean).number, 0.9)


def _gd_fits(numbers: Numbers) -> Reading:
    return below(float(_last_errors(numbers, "0/all layers").max()), 0.0)


def _half_way(numbers: Numbers, panel: int, epoch: int) -> Array:
    return numbers[f"{panel}/trunk \u2013 epoch {epoch}/train_error"]


def _late_branches_stay(numbers: Numbers) -> Reading:
    return below(float(_half_way(numbers, 3, 200).max()), 0.01)


def _early_branches_leave(numbers: Numbers) -> Reading:
    return more(float(_half_way(numbers, 0, 0)[-1]), than=max(0.1, float(_half_way(numbers, 3, 200)[-1])))


def _later_is_nearer(numbers: Numbers) -> Reading:
    last = [
        float(numbers[f"{4 + place}/trunk \u2013 epoch {epoch}/weights_distance"][-1])
        for place, epoch in enumerate((0, 10, 50, 200))
    ]
    return more(float(min(a / b for a, b in itertools.pairwise(last))), than=1.0)


_COPIES = {"M_5": (3, 6), "M_30": (4, 7), "final": (5, 8)}


def _between_copies(numbers: Numbers, which: str) -> float:
    """The least rise of the loss on two lines between copies."""
    pairs = zip(_COPIES[which], ("1", "3"), ("2", "4"), strict=True)
    return min(_barrier(numbers, f"{panel}/{which}, {a} \u2013 {which}, {b}") for panel, a, b in pairs)


def _own_basins(which: str) -> Callable[[Numbers], Reading]:
    return lambda numbers: more(
        _between_copies(numbers, which), than=max(0.01, 2 * _between_copies(numbers, "final"))
    )


def _final_basin(numbers: Numbers) -> Reading:
    pairs = zip(_COPIES["final"], ("1", "3"), ("2", "4"), strict=True)
    return below(max(_barrier(numbers, f"{panel}/final, {a} \u2013 final, {b}") for panel, a, b in pairs), 1e-3)


def _earlier_is_farther(numbers: Numbers) -> Reading:
    between = _ends(numbers, "0/all layers")[1:, 1:]
    spread = [float(between[4 * k : 4 * k + 4, 4 * k : 4 * k + 4].max()) for k in range(3)]
    return more(min(a / b for a, b in itertools.pairwise(spread)), than=1.0)


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
_MANY = (
    "Twelve stages of eight parallel runs of 10 epochs of the same network of width 8 on 500 images, and two runs of "
    "other seeds; chords between weights at the ends of runs"
)
_FULL = (
    "The same network of width 8 on 300 images, 400 epochs of full-batch gradient descent, branches at epochs 0, 10, "
    "50 and 200 with noise of 0.25 of the standard deviation of each layer"
)
_VIEWS = (
    "The same network of width 8 on 300 images: weights after 5, 30 and 60 epochs of SGD, four copies each with noise "
    "of 0.01 of the mean |w|, 100 epochs of gradient descent"
)
_TINY = "The same network of width 2 (894 weights) on 20 images, trained to zero error"
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
            f"{_MANY}: least distance of the last stage to a run of another start over the largest within it.",
            _MDS,
            _apart_from_others,
        ),
        Claim(
            "Small noise at the start of a parallel run changes little: it ends as far off as runs without noise",
            RECALLED,
            f"{_MANY}: mean distance of noisy from plain runs over that between plain runs, mean over stages.",
            _MDS,
            _noise_keeps,
        ),
        Claim(
            "All runs reach zero training error: no bad local minimum is met",
            RECALLED,
            f"{_MANY}: largest training error at the end of a run of the last stage.",
            _MDS,
            _parallel_runs_fit,
        ),
        Claim(
            "Euclidean distances give much the same picture as cosines",
            RECALLED,
            f"{_MANY}: rank correlation of all distances by the two; at least 0.9.",
            _MDS,
            _maps_agree,
        ),
        Claim(
            "Full-batch gradient descent meets no bad local minimum, wherever it branches",
            "abstract",
            f"{_FULL}: largest training error at the end of trunk and branches.",
            _GD_MAP,
            _gd_fits,
        ),
        Claim(
            "A branch that leaves late stays in the trunk's basin: models half way have no error",
            RECALLED,
            f"{_FULL}: largest training error half way from the trunk to the branch of epoch 200; at most 0.01.",
            _GD,
            _late_branches_stay,
        ),
        Claim(
            "A branch that leaves at the beginning ends in another basin",
            RECALLED,
            f"{_FULL}: last training error half way from the trunk to the branch of epoch 0.",
            _GD,
            _early_branches_leave,
        ),
        Claim(
            "The later a branch leaves, the nearer to the trunk it ends",
            RECALLED,
            f"{_FULL}: last distance from the trunk, over that of the next later branch; the least ratio of three.",
            _GD,
            _later_is_nearer,
        ),
        Claim(
            "Perturbed copies of the weights after 5 epochs of SGD settle in basins of their own",
            RECALLED,
            f"{_VIEWS}: rise of the loss between two copies, the lesser of two pairs, against twice that of epoch 60.",
            _LOCAL,
            _own_basins("M_5"),
        ),
        Claim(
            "So do those after 30 epochs",
            RECALLED,
            f"{_VIEWS}: rise of the loss between two copies, the lesser of two pairs, against twice that of epoch 60.",
            _LOCAL,
            _own_basins("M_30"),
        ),
        Claim(
            "Perturbed copies of the final weights stay in one basin",
            "abstract",
            f"{_VIEWS}: rise of the loss between two copies of epoch 60, the larger of two pairs.",
            _LOCAL,
            _final_basin,
        ),
        Claim(
            "The earlier the weights that are copied, the farther apart the copies end",
            RECALLED,
            f"{_VIEWS}: largest chord between copies, over that of the next later epoch; the lesser ratio of two.",
            _LOCAL_MAP,
            _earlier_is_farther,
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
                f"{_TINY}: share of Gauss-Newton eigenvalues below 1e-12 of the largest, beside 1 less equations over "
                "weights; counted after the Hessian's.",
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

"""Claims of Liao & Poggio 2017 about maps of runs, branches of gradient descent and local views."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from landscape.claims.claim import (
    RECALLED,
    Array,
    Claim,
    Numbers,
    Reading,
    above,
    below,
    equal,
    mean_of,
    more,
    ranked,
)
from landscape.claims.shapes import barrier
from landscape.values.embedding import square

_MDS, _LAYERS, _NOISE = "liao2017-mds", "liao2017-mds-layers", "liao2017-sgd-gd"
_GD, _GD_MAP, _LOCAL, _LOCAL_MAP = (
    "liao2017-batch-gd",
    "liao2017-batch-gd-mds",
    "liao2017-local",
    "liao2017-local-mds",
)
# Panels of the map of twelve stages.
_STAGES, _EUCLIDEAN, _WITH_OTHERS = 0, 4, 5


def _ends(numbers: Numbers, panel: str) -> Array:
    """Distances between the ends of the runs of a map."""
    run = numbers[f"{panel}/run"]
    at = [int(np.flatnonzero(run == which)[-1]) for which in np.unique(run)]
    return square(numbers[f"{panel}/distances"])[np.ix_(at, at)]


# Of the twelve stages: places of the runs without noise, and of those with. The start of all is before them, the
# two runs of other initial weights after them.
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


def _layers_agree(numbers: Numbers) -> Reading:
    upper = np.triu_indices(97, 1)
    every = _ends(numbers, "0/all layers")[upper]
    layers = {name.split("/")[1] for name in numbers.arrays} - {"all layers"}
    return above(min(ranked(_ends(numbers, f"0/{layer}")[upper], every).number for layer in layers), 0.8)


def _gd_fits(numbers: Numbers) -> Reading:
    return below(float(_last_errors(numbers, "0/all layers").max()), 0.0)


def _half_way(numbers: Numbers, panel: int, epoch: int) -> Array:
    return numbers[f"{panel}/trunk \u2013 epoch {epoch}/train_error"]


def _both_fit(numbers: Numbers) -> Reading:
    errors = [numbers[f"0/{how}/train_error"].max() for how in ("SGD", "gradient descent")]
    return below(float(max(errors)), 0.0)


def _bears_noise(numbers: Numbers) -> Reading:
    at = int(np.argmin(np.abs(numbers["0/SGD/sigmas"] - 0.3)))
    rises = [numbers[f"0/{how}/rise"][:, at] for how in ("gradient descent", "SGD")]
    return more(*mean_of(rises[0] - rises[1]))


def _late_branches_stay(numbers: Numbers) -> Reading:
    return below(float(_half_way(numbers, 3, 200).max()), 0.01)


def _early_branches_leave(numbers: Numbers) -> Reading:
    return more(float(_half_way(numbers, 0, 0)[-1]), than=max(0.1, float(_half_way(numbers, 3, 200)[-1])))


def _later_is_nearer(numbers: Numbers) -> Reading:
    last = np.array(
        [
            numbers[f"{4 + place}/trunk \u2013 epoch {epoch}/weights_distance"][-1]
            for place, epoch in enumerate((0, 10, 50, 200))
        ]
    )
    return more(float((last[:-1] / last[1:]).min()), than=1.0)


_COPIES = {"M_5": (3, 6), "M_30": (4, 7), "final": (5, 8)}


def _between_copies(numbers: Numbers, which: str) -> float:
    """The least rise of the loss on two lines between copies."""
    pairs = zip(_COPIES[which], ("1", "3"), ("2", "4"), strict=True)
    return min(barrier(numbers, f"{panel}/{which}, {a} \u2013 {which}, {b}") for panel, a, b in pairs)


def _own_basins(which: str) -> Callable[[Numbers], Reading]:
    return lambda numbers: more(
        _between_copies(numbers, which), than=max(0.01, 2 * _between_copies(numbers, "final"))
    )


def _final_basin(numbers: Numbers) -> Reading:
    pairs = zip(_COPIES["final"], ("1", "3"), ("2", "4"), strict=True)
    return below(max(barrier(numbers, f"{panel}/final, {a} \u2013 final, {b}") for panel, a, b in pairs), 1e-3)


def _earlier_is_farther(numbers: Numbers) -> Reading:
    between = _ends(numbers, "0/all layers")[1:, 1:]
    spread = np.array([between[4 * k : 4 * k + 4, 4 * k : 4 * k + 4].max() for k in range(3)])
    return more(float((spread[:-1] / spread[1:]).min()), than=1.0)


_MANY = (
    "Twelve stages of eight parallel runs of 10 epochs of the same network of width 8 on 500 images, and "
    "two runs of other seeds; chords between weights at the ends of runs"
)
_FULL = (
    "The same network of width 8 on 300 images, 400 epochs of full-batch gradient descent, branches at "
    "epochs 0, 10, 50 and 200 with noise of 0.25 of the standard deviation of each layer"
)
_TWO = "The same network of width 8 on 300 images, three seeds, 60 epochs of SGD and 400 of gradient descent"
_VIEWS = (
    "The same network of width 8 on 300 images: weights after 5, 30 and 60 epochs of SGD, four copies "
    "each with noise of 0.01 of the mean |w|, 100 epochs of gradient descent"
)

CLAIMS = (
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
        "Single layers give much the same picture as all together",
        RECALLED,
        f"{_MANY}: rank correlation of distances in a layer with those of all layers, the least of all; at least "
        "0.8.",
        _LAYERS,
        _layers_agree,
    ),
    Claim(
        "Full-batch gradient descent meets no bad local minimum, wherever it branches",
        "abstract",
        f"{_FULL}: largest training error at the end of trunk and branches.",
        _GD_MAP,
        _gd_fits,
    ),
    Claim(
        "Batch gradient descent and SGD from the same weights both reach zero training error",
        "abstract",
        f"{_TWO}: largest training error at the end.",
        _NOISE,
        _both_fit,
    ),
    Claim(
        "The minima of SGD bear more noise on the weights than those of batch gradient descent",
        "comparison of ours",
        f"{_TWO}: rise of the training error in % at σ = 0.3, gradient descent less SGD.",
        _NOISE,
        _bears_noise,
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
)

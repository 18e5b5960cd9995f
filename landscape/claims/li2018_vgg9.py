"""Claims of Li et al. 2018 about VGG-9."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import Claim, Numbers, Reading, more
from landscape.claims.shapes import outward_rises, share_of_plane, test_gap, width

_VGG9, _VGG_PATHS = "li2018-vgg9", "li2018-vgg9-paths"


def _vgg_flatter(numbers: Numbers) -> Reading:
    small, large = outward_rises(numbers, "0/SGD, small – SGD, large")
    return more(large - small)


def _vgg_sharper(numbers: Numbers) -> Reading:
    small, large = outward_rises(numbers, "1/SGD, decay, small – SGD, decay, large")
    return more(small - large)


def _vgg_filter(numbers: Numbers) -> Reading:
    return more(width(numbers, "2/SGD, small") / width(numbers, "2/SGD, large"), than=1.0)


def _vgg_filter_decay(numbers: Numbers) -> Reading:
    return more(width(numbers, "3/SGD, decay, small") / width(numbers, "3/SGD, decay, large"), than=1.0)


def _vgg_errs(how: str) -> Callable[[Numbers], Reading]:
    return lambda numbers: test_gap(numbers, 4, f"{how}, large", f"{how}, small", 1000)


def _walk(snapshots: int) -> float:
    """Share of the variance of a random walk of so many points in its first two components, by closed form."""
    strength = 1 / np.sin(np.pi * np.arange(1, snapshots) / (2 * snapshots)) ** 2
    return float(strength[:2].sum() / strength.sum())


def _beyond_walk(numbers: Numbers) -> Reading:
    runs = [
        f"{how}, {batch}" for how in ("SGD", "SGD, decay", "Adam", "Adam, decay") for batch in ("small", "large")
    ]
    gaps = [share_of_plane(numbers, run) - _walk(len(numbers[f"0/{run}/path_x"])) for run in runs]
    return more(min(gaps))


def _vgg_decay_turns(numbers: Numbers) -> Reading:
    return more(share_of_plane(numbers, "SGD, small") - share_of_plane(numbers, "SGD, decay, small"))


def _vgg_batch_straightens(numbers: Numbers) -> Reading:
    return more(share_of_plane(numbers, "SGD, decay, large") - share_of_plane(numbers, "SGD, decay, small"))


_VGG = "VGG-9 of width 8 on 500 images of CIFAR-10, 30 epochs, batches of 25 and 400, decay 0 and 0.005"
_ERROR = "last test error, large less small batch, in %, with two standard errors"

CLAIMS = (
    Claim(
        "VGG-9, no decay: on the line between them small batches look flatter",
        "section 3, figure 2",
        f"{_VGG}: rise of the loss a fraction 0.3 beyond the large batch, less that beyond the small one.",
        _VGG9,
        _vgg_flatter,
    ),
    Claim(
        "VGG-9, weight decay: the same picture is turned round",
        "section 3, figure 2",
        f"{_VGG}: rise of the loss a fraction 0.3 beyond the small batch, less that beyond the large one.",
        _VGG9,
        _vgg_sharper,
    ),
    Claim(
        "VGG-9, no decay: with filter normalisation small batches are flatter",
        "section 5, figure 3",
        f"{_VGG}: width at 0.1 above the least loss, small over large batch.",
        _VGG9,
        _vgg_filter,
    ),
    Claim(
        "VGG-9, weight decay: with filter normalisation small batches are flatter",
        "section 5, figure 3",
        f"{_VGG}: width at 0.1 above the least loss, small over large batch.",
        _VGG9,
        _vgg_filter_decay,
    ),
    *(
        Claim(
            f"VGG-9, {how}: small batches have the lower test error ({small} against {large} %)",
            "section 3, table 1",
            f"{_VGG}: {_ERROR}.",
            _VGG9,
            _vgg_errs(how),
        )
        for how, small, large in (
            ("SGD", 7.37, 11.07),
            ("SGD, decay", 6.0, 10.19),
            ("Adam", 7.44, 10.91),
            ("Adam, decay", 7.8, 9.52),
        )
    ),
    Claim(
        "VGG-9: paths lie in fewer dimensions than a random walk",
        "section 7; the walk is ours",
        f"{_VGG}: share of the variance in two components less that of a walk of as many steps, the least of "
        "eight runs.",
        _VGG_PATHS,
        _beyond_walk,
    ),
    Claim(
        "VGG-9, small batches of SGD: two components hold more without weight decay (85 against 40 %)",
        "section 7, figure 9",
        f"{_VGG}: share without decay, less that with it.",
        _VGG_PATHS,
        _vgg_decay_turns,
    ),
    Claim(
        "VGG-9, SGD with weight decay: two components hold more of the path of large batches (94 against 40 %)",
        "section 7, figure 9",
        f"{_VGG}: share of large batches, less that of small ones.",
        _VGG_PATHS,
        _vgg_batch_straightens,
    ),
)

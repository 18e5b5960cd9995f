"""Claims of Li et al. 2018 about ResNet-56 and VGG-9."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import Claim, Numbers, Reading, more
from landscape.claims.shapes import minima, outward_rises, share_of_plane, width

_DEPTH, _WIDE, _VGG9, _VGG_PATHS = "li2018-resnet56", "li2018-wide", "li2018-vgg9", "li2018-vgg9-paths"


def _chaos(numbers: Numbers, rough: str, smooth: str) -> Reading:
    """Local minima of one plane beyond those of another."""
    one, other = (minima(numbers[f"0/{name}/train_loss"]) for name in (rough, smooth))
    return more(float(one - other))


def _test_gap(numbers: Numbers, panel: int, worse: str, better: str, examples: int) -> Reading:
    """Difference of two last test errors in %, with two standard errors."""
    shares = np.array([float(numbers[f"{panel}/{name}/test_error"][-1]) for name in (worse, better)])
    error = 200 * float(np.sqrt((shares * (1 - shares) / examples).sum()))
    return more(100 * float(shares[0] - shares[1]), error)


def _turns_chaotic(numbers: Numbers) -> Reading:
    return _chaos(numbers, "without skip connections", "with skip connections")


def _deep_trains_less(numbers: Numbers) -> Reading:
    last = [float(numbers[f"1/{which} skip connections/train_loss"][-1]) for which in ("without", "with")]
    return more(last[0] / last[1], than=1.0)


def _deep_errs_more(numbers: Numbers) -> Reading:
    return _test_gap(numbers, 2, "without skip connections", "with skip connections", 500)


def _wide_is_smooth(numbers: Numbers) -> Reading:
    return _chaos(numbers, "narrow", "wide")


def _wide_errs_less(numbers: Numbers) -> Reading:
    return _test_gap(numbers, 2, "narrow", "wide", 500)


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
    return lambda numbers: _test_gap(numbers, 4, f"{how}, large", f"{how}, small", 1000)


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


_DEEP = "ResNet-56 of width 4 on 500 images of CIFAR-10, 20 epochs of rate 0.02, 11 x 11 points"
_NARROW = (
    "ResNet-56 without skip connections of widths 4 and 8 on 500 images, 20 epochs of rate 0.02, 11 x 11 points"
)
_VGG = "VGG-9 of width 8 on 500 images of CIFAR-10, 30 epochs, batches of 25 and 400, decay 0 and 0.005"
_ERROR = "last test error, large less small batch, in %, with two standard errors"

CLAIMS = (
    Claim(
        "At 56 layers the landscape without skip connections turns chaotic",
        "section 6, figure 5",
        f"{_DEEP}: local minima of the grid, without less with skip connections.",
        _DEPTH,
        _turns_chaotic,
    ),
    Claim(
        "At 56 layers training without skip connections ends at a higher loss (0.192 against 0.004)",
        "section 6, table 2",
        f"{_DEEP}: last training loss, without over with skip connections.",
        _DEPTH,
        _deep_trains_less,
    ),
    Claim(
        "At 56 layers skip connections lower the test error (from 13.31 to 5.89 %)",
        "section 6, table 2",
        f"{_DEEP}: last test error, without less with skip connections, in %, with two standard errors.",
        _DEPTH,
        _deep_errs_more,
    ),
    Claim(
        "Wider networks without skip connections are less chaotic",
        "section 6.3, figure 6",
        f"{_NARROW}: local minima of the grid, narrow less wide.",
        _WIDE,
        _wide_is_smooth,
    ),
    Claim(
        "Twice the width lowers the test error without skip connections (from 13.31 to 10.26 %)",
        "section 6.3, figure 6",
        f"{_NARROW}: last test error, narrow less wide, in %, with two standard errors.",
        _WIDE,
        _wide_errs_less,
    ),
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

"""Claims of Li et al. 2018."""

from __future__ import annotations

import numpy as np

from landscape.claims.claim import Array, Claim, Numbers, Paper, Reading, below, equal, more
from landscape.claims.li2018_depth import CLAIMS as DEPTH
from landscape.claims.li2018_vgg9 import CLAIMS as VGG9
from landscape.claims.shapes import minima, outward_rises, share_of_plane, width

_BATCHES, _SKIPS = "li2018-small-large-batch", "li2018-skip-connections"
_DIRECTIONS, _PATHS, _RATIO = "li2018-ten-directions", "li2018-sgd-paths", "li2018-convexity"


def _flatter(numbers: Numbers) -> Reading:
    small, large = outward_rises(numbers, "0/small batch – large batch")
    return more(large - small)


def _sharper(numbers: Numbers) -> Reading:
    small, large = outward_rises(numbers, "1/small batch, decay – large batch, decay")
    return more(small - large)


def _filter(numbers: Numbers) -> Reading:
    return more(width(numbers, "2/small batch") / width(numbers, "2/large batch"), than=1.0)


def _filter_decay(numbers: Numbers) -> Reading:
    return more(width(numbers, "3/small batch, decay") / width(numbers, "3/large batch, decay"), than=1.0)


def _plane(numbers: Numbers, which: str) -> Array:
    return numbers[f"0/{which} skip connections/train_loss"]


def _smooth(numbers: Numbers) -> Reading:
    return equal(float(max(minima(_plane(numbers, which)) for which in ("with", "without"))), 1.0, within=0.0)


def _trained_less(numbers: Numbers) -> Reading:
    centres = [_plane(numbers, which)[10, 10] for which in ("without", "with")]
    return more(float(centres[0] / centres[1]), than=1.0)


def _sharper_without(numbers: Numbers) -> Reading:
    rises = []
    for which in ("without", "with"):
        loss = _plane(numbers, which)
        ring = np.concatenate([loss[8:13, [8, 12]].ravel(), loss[[8, 12], 9:12].ravel()])
        rises.append(ring.mean() - loss[10, 10])
    return more(float(rises[0] / rises[1]), than=1.0)


def _spread(numbers: Numbers, panel: int) -> float:
    """Standard deviation over directions of the logarithm of the loss, half way out."""
    x, loss = numbers[f"{panel}/small batch/x"], numbers[f"{panel}/small batch/train_loss"]
    return float(np.log(loss[:, np.argmin(np.abs(x - x[-1] / 2))]).std(ddof=1))


def _repeatable(numbers: Numbers) -> Reading:
    return below(_spread(numbers, 0), 0.2)


def _two_dimensions(numbers: Numbers) -> Reading:
    return more(min(share_of_plane(numbers, run) for run in ("small batch", "small batch, decay")), than=0.4)


def _decay_turns(numbers: Numbers) -> Reading:
    return more(share_of_plane(numbers, "small batch") - share_of_plane(numbers, "small batch, decay"))


def _ratios(numbers: Numbers) -> Array:
    return np.abs(numbers["0/network/train_hessian_ratio"])


def _convex(numbers: Numbers) -> Reading:
    ratio = _ratios(numbers)
    middle = tuple(slice(side // 4, side - side // 4) for side in ratio.shape)
    return below(float(np.median(ratio[middle])), 0.1)


def _not_convex_far(numbers: Numbers) -> Reading:
    ratio = _ratios(numbers)
    rim = np.concatenate([ratio[0], ratio[-1], ratio[:, 0], ratio[:, -1]])
    middle = ratio[tuple(slice(side // 4, side - side // 4) for side in ratio.shape)]
    return more(float(np.median(rim) / np.median(middle)), than=1.0)


_CNN = (
    "Convolutional network with batch normalisation on digits, 50 epochs, batches of 32 and 512, decay 0 and 0.005"
)
_RESNET = "ResNet-20 of width 8 on 2,000 images of CIFAR-10, 12 epochs, 21 x 21 points"

PAPER = Paper(
    "li2018",
    "H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS "
    "2018, "
    "arXiv 1712.09913.",
    (
        Claim(
            "On the line between them, without weight decay, small batches look flatter than large ones",
            "section 3, figure 2",
            f"{_CNN}: rise of the loss a fraction 0.3 beyond the large batch, less that beyond the small one.",
            _BATCHES,
            _flatter,
        ),
        Claim(
            "With weight decay the same picture is turned round: small batches look sharper",
            "section 3, figure 2",
            f"{_CNN}: rise of the loss a fraction 0.3 beyond the small batch, less that beyond the large one.",
            _BATCHES,
            _sharper,
        ),
        Claim(
            "With filter normalisation small batches are flatter without decay",
            "section 5, figure 3",
            f"{_CNN}: width at 0.1 above the least loss, small over large batch.",
            _BATCHES,
            _filter,
        ),
        Claim(
            "With filter normalisation small batches are flatter with decay too",
            "section 5, figure 3",
            f"{_CNN}: width at 0.1 above the least loss, small over large batch.",
            _BATCHES,
            _filter_decay,
        ),
        Claim(
            "At 20 layers the landscape is smooth with and without skip connections",
            "section 6, figure 5",
            f"{_RESNET}: local minima of the grid, the larger number of the two.",
            _SKIPS,
            _smooth,
        ),
        Claim(
            "Without skip connections training ends at a higher loss",
            "section 6, table 2",
            f"{_RESNET}: training loss without over with skip connections.",
            _SKIPS,
            _trained_less,
        ),
        Claim(
            "Without skip connections minima are sharper in filter-normalised planes",
            "section 6",
            f"{_RESNET}: mean rise of the loss on a square of half side 0.2, without over with.",
            _SKIPS,
            _sharper_without,
        ),
        Claim(
            "Ten filter-normalised directions give nearly the same curve",
            "appendix, repeatability",
            f"{_CNN.split(',')[0]}, batches of 32: standard deviation over directions of log loss at half the "
            "radius; at "
            "most 0.2.",
            _DIRECTIONS,
            _repeatable,
        ),
        Claim(
            "Paths of SGD lie in few dimensions: 40 to 90 % of their variance in two",
            "section 7",
            f"{_CNN.split(',')[0]}, batches of 32: share of the variance in the plane, the least of two runs; a "
            "random walk "
            "has 0.76.",
            _PATHS,
            _two_dimensions,
        ),
        Claim(
            "Two components hold more of the path without weight decay than with it",
            "section 7, figure 9",
            f"{_CNN.split(',')[0]}, batches of 32: share without decay, less that with 0.005.",
            _PATHS,
            _decay_turns,
        ),
        Claim(
            "Where the surface looks convex, negative eigenvalues are small beside positive ones",
            "section 6, convexity maps",
            "Digits, 2 hidden layers of 32: |least / largest eigenvalue|, median of the inner half of a plane; "
            "at most 0.1.",
            _RATIO,
            _convex,
        ),
        Claim(
            "Farther out there are large negative eigenvalues",
            "section 6, convexity maps",
            "The same map: median on its rim over that of its inner half.",
            _RATIO,
            _not_convex_far,
        ),
        *VGG9,
        *DEPTH,
        Claim(
            "DenseNet-121 has a nearly convex surface",
            "section 6, figure 7",
            "Needs DenseNet-121 trained on CIFAR-10.",
        ),
    ),
)

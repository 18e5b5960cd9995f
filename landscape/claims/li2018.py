"""Claims of Li et al. 2018."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import Array, Claim, Numbers, Paper, Reading, below, equal, more

_BATCHES, _SKIPS = "li2018-small-large-batch", "li2018-skip-connections"
_DIRECTIONS, _PATHS, _RATIO = "li2018-ten-directions", "li2018-sgd-paths", "li2018-convexity"
_DEPTH, _WIDE, _VGG9, _VGG_PATHS = "li2018-resnet56", "li2018-wide", "li2018-vgg9", "li2018-vgg9-paths"
_RISE = 0.1
# Of the distance between the two networks: how far beyond each end the loss is taken.
_OUTWARD = 0.3


def _width(numbers: Numbers, name: str) -> float:
    """The width over which the loss is less than 0.1 above its least value."""
    x, loss = numbers[f"{name}/x"], numbers[f"{name}/train_loss"]
    fine = np.linspace(x[0], x[-1], 2001)
    return float((np.interp(fine, x, loss) < loss.min() + _RISE).mean() * (x[-1] - x[0]))


def _ends(numbers: Numbers, panel: str) -> tuple[float, float]:
    """Rise of the loss outward of the small and of the large batch."""
    x, loss = numbers[f"{panel}/x"], numbers[f"{panel}/train_loss"]
    at = np.interp([-_OUTWARD, 0.0, 1.0, 1 + _OUTWARD], x, loss)
    return float(at[0] - at[1]), float(at[3] - at[2])


def _flatter(numbers: Numbers) -> Reading:
    small, large = _ends(numbers, "0/small batch – large batch")
    return more(large - small)


def _sharper(numbers: Numbers) -> Reading:
    small, large = _ends(numbers, "1/small batch, decay – large batch, decay")
    return more(small - large)


def _filter(numbers: Numbers) -> Reading:
    return more(_width(numbers, "2/small batch") / _width(numbers, "2/large batch"), than=1.0)


def _filter_decay(numbers: Numbers) -> Reading:
    return more(_width(numbers, "3/small batch, decay") / _width(numbers, "3/large batch, decay"), than=1.0)


def _plane(numbers: Numbers, which: str) -> Array:
    return numbers[f"0/{which} skip connections/train_loss"]


def _minima(loss: Array) -> int:
    """Points of a grid that are lower than their eight neighbours."""
    padded = np.pad(loss, 1, constant_values=np.inf)
    rows, columns = loss.shape
    around = [
        padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dy, dx) != (0, 0)
    ]
    return int((loss < np.min(around, axis=0)).sum())


def _smooth(numbers: Numbers) -> Reading:
    return equal(float(max(_minima(_plane(numbers, which)) for which in ("with", "without"))), 1.0, within=0.0)


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


def _share(numbers: Numbers, run: str) -> float:
    """The share of the variance of a path that its plane holds; a little less, since the plane is not centred."""
    x, y, off = (numbers[f"0/{run}/path_{entry}"] for entry in ("x", "y", "off_plane"))
    inside = float(x.var() + y.var())
    return inside / (inside + float((off**2).mean()))


def _two_dimensions(numbers: Numbers) -> Reading:
    return more(min(_share(numbers, run) for run in ("small batch", "small batch, decay")), than=0.4)


def _decay_turns(numbers: Numbers) -> Reading:
    return more(_share(numbers, "small batch") - _share(numbers, "small batch, decay"))


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


def _chaos(numbers: Numbers, rough: str, smooth: str) -> Reading:
    """Local minima of one plane beyond those of another."""
    one, other = (_minima(numbers[f"0/{name}/train_loss"]) for name in (rough, smooth))
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
    small, large = _ends(numbers, "0/SGD, small – SGD, large")
    return more(large - small)


def _vgg_sharper(numbers: Numbers) -> Reading:
    small, large = _ends(numbers, "1/SGD, decay, small – SGD, decay, large")
    return more(small - large)


def _vgg_filter(numbers: Numbers) -> Reading:
    return more(_width(numbers, "2/SGD, small") / _width(numbers, "2/SGD, large"), than=1.0)


def _vgg_filter_decay(numbers: Numbers) -> Reading:
    return more(_width(numbers, "3/SGD, decay, small") / _width(numbers, "3/SGD, decay, large"), than=1.0)


def _vgg_errs(how: str) -> Callable[[Numbers], Reading]:
    return lambda numbers: _test_gap(numbers, 4, f"{how}, large", f"{how}, small", 1000)


def _walk(snapshots: int) -> float:
    """Share of the variance of a random walk of so many points in its first two components, by closed form."""
    strength = 1 / np.sin(np.pi * np.arange(1, snapshots) / (2 * snapshots)) ** 2
    return float(strength[:2].sum() / strength.sum())


def _beyond_walk(numbers: Numbers) -> Reading:
    runs = [f"{how}, {batch}" for how in ("SGD", "SGD, decay", "Adam", "Adam, decay") for batch in ("small", "large")]
    gaps = [_share(numbers, run) - _walk(len(numbers[f"0/{run}/path_x"])) for run in runs]
    return more(min(gaps))


def _vgg_decay_turns(numbers: Numbers) -> Reading:
    return more(_share(numbers, "SGD, small") - _share(numbers, "SGD, decay, small"))


def _vgg_batch_straightens(numbers: Numbers) -> Reading:
    return more(_share(numbers, "SGD, decay, large") - _share(numbers, "SGD, decay, small"))


_CNN = (
    "Convolutional network with batch normalisation on digits, 50 epochs, batches of 32 and 512, decay 0 and 0.005"
)
_RESNET = "ResNet-20 of width 8 on 2,000 images of CIFAR-10, 12 epochs, 21 x 21 points"
_DEEP = "ResNet-56 of width 8 on 500 images of CIFAR-10, 20 epochs of rate 0.02, 11 x 11 points"
_NARROW = "ResNet-56 without skip connections of widths 4 and 16 on 500 images, 20 epochs of rate 0.02, 11 x 11 points"
_VGG = "VGG-9 of width 8 on 500 images of CIFAR-10, 30 epochs, batches of 25 and 400, decay 0 and 0.005"
_ERROR = "last test error, large less small batch, in %, with two standard errors"

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
            "Four times the width lowers the test error without skip connections (from 13.31 to 9.69 %)",
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
        Claim(
            "At 110 layers the landscape without skip connections is chaotic",
            "section 6, figure 5",
            "Needs ResNet-110 trained on CIFAR-10 for 300 epochs.",
        ),
        Claim(
            "DenseNet-121 has a nearly convex surface",
            "section 6, figure 7",
            "Needs DenseNet-121 trained on CIFAR-10.",
        ),
    ),
)

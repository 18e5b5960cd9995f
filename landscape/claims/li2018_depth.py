"""Claims of Li et al. 2018 about ResNet-56, without skip connections and wider."""

from __future__ import annotations

from landscape.claims.claim import Claim, Numbers, Reading, more
from landscape.claims.shapes import minima, test_gap

_SKIPS, _WIDTHS = "li2018-resnet56", "li2018-wide"
_WITH, _WITHOUT = "with skip connections", "without skip connections"
_SETTING = "ResNet-56, 2,000 images of CIFAR-10, 20 epochs, batches of 32, one seed, 15 x 15 points on 250 images"


def _more_minima(numbers: Numbers, more_of: str, than_of: str) -> Reading:
    counts = [minima(numbers[f"0/{run}/train_loss"]) for run in (more_of, than_of)]
    return more(float(counts[0] - counts[1]))


CLAIMS = (
    Claim(
        "At 56 and 110 layers the landscape without skip connections turns chaotic",
        "section 6, figure 5",
        f"{_SETTING}, width 8: local minima of the grid without skip connections, less those with them.",
        _SKIPS,
        lambda numbers: _more_minima(numbers, _WITHOUT, _WITH),
    ),
    Claim(
        "At 56 layers the test error is higher without skip connections",
        "section 6, table 2",
        f"{_SETTING}, width 8: test error on 1,000 images without skip connections, less that with them, in %.",
        _SKIPS,
        lambda numbers: test_gap(numbers, 2, _WITHOUT, _WITH, 1000),
    ),
    Claim(
        "Wider networks without skip connections are less chaotic",
        "section 6.3, figure 6",
        f"{_SETTING}: local minima of the grid at width 8, less those at width 16.",
        _WIDTHS,
        lambda numbers: _more_minima(numbers, "narrow", "wide"),
    ),
    Claim(
        "Wider networks without skip connections generalise better",
        "section 6.3, figure 6",
        f"{_SETTING}: test error on 1,000 images at width 8, less that at width 16, in %.",
        _WIDTHS,
        lambda numbers: test_gap(numbers, 2, "narrow", "wide", 1000),
    ),
)

"""Claims of Li et al. 2018 about ResNet-56, without skip connections and wider."""

from __future__ import annotations

from collections.abc import Callable

from landscape.claims.claim import Claim, Numbers, Reading, above
from landscape.claims.shapes import minima, test_gap

_SKIPS, _WIDTHS = "li2018-resnet56", "li2018-wide"
_WITH, _WITHOUT = "with skip connections", "without skip connections"
_SETTING = "ResNet-56, 2,000 images of CIFAR-10, 20 epochs, batches of 32, one seed"
# More minima that count as chaos: one or two may be the grid's.
_CHAOS = 5


def _calmer(calm: str, wild: str) -> Callable[[Numbers], Reading]:
    """Number of local minima that one surface has more than another."""

    def read(numbers: Numbers) -> Reading:
        few, many = (minima(numbers[f"0/{run}/train_loss"]) for run in (calm, wild))
        return above(float(many - few), _CHAOS, otherwise=0)

    return read


CLAIMS = (
    Claim(
        "At 56 and 110 layers the landscape without skip connections turns chaotic",
        "section 6, figure 5",
        f"{_SETTING}, width 8: local minima of 15 x 15 points without skip connections, less those with them; "
        f"{_CHAOS} more would be chaos.",
        _SKIPS,
        _calmer(_WITH, _WITHOUT),
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
        f"{_SETTING}, width 8 and 16: local minima of 15 x 15 points of the narrow network, less those of the "
        f"wide one; {_CHAOS} fewer would be less chaos.",
        _WIDTHS,
        _calmer("wide", "narrow"),
    ),
    Claim(
        "Wider networks without skip connections generalise better",
        "section 6.3, figure 6",
        f"{_SETTING}, width 8 and 16: test error on 1,000 images of the narrow network, less that of the wide "
        "one, in %.",
        _WIDTHS,
        lambda numbers: test_gap(numbers, 2, "narrow", "wide", 1000),
    ),
)

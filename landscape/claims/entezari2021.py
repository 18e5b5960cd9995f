"""Claims of Entezari et al. 2021 and Ainsworth et al. 2023."""

from __future__ import annotations

from landscape.claims.claim import RECALLED, Claim, Numbers, Paper, Reading, below, more

_NARROW, _WIDE = "entezari2021-narrow", "entezari2021-wide"


def _barriers(numbers: Numbers, entry: str = "train_loss") -> tuple[float, float]:
    """The barriers of the straight and of the aligned line: the most above the mean of both ends."""
    values = numbers[f"0/{entry}"].reshape(2, -1)
    heights = values.max(axis=1) - (values[:, 0] + values[:, -1]) / 2
    return float(heights[0]), float(heights[1])


def _there(numbers: Numbers) -> Reading:
    return more(_barriers(numbers)[0], than=0.1)


def _lower(numbers: Numbers) -> Reading:
    line, aligned = _barriers(numbers)
    return more(line / aligned if aligned > 0 else float("inf"), than=1.0)


def _gone(numbers: Numbers) -> Reading:
    return below(_barriers(numbers)[1], 0.05)


def _gone_test_error(numbers: Numbers) -> Reading:
    return below(100 * _barriers(numbers, "test_error")[1], 1.0)


def _setting(units: int, what: str) -> str:
    return f"Two fully connected networks with 2 layers of {units} on digits, different seeds: {what}."


PAPER = Paper(
    "entezari2021",
    "R. Entezari, H. Sedghi, O. Saukh, B. Neyshabur, The Role of Permutation Invariance in Linear Mode "
    "Connectivity of Neural "
    "Networks, ICLR 2022, arXiv 2110.06296; S. K. Ainsworth, J. Hayase, S. Srinivasa, Git Re-Basin, ICLR 2023.",
    (
        Claim(
            "Between independent networks there is a barrier",
            RECALLED,
            _setting(16, "training loss on the line above the mean of its ends"),
            _NARROW,
            _there,
        ),
        Claim(
            "Permuting the units of one lowers it (narrow)",
            RECALLED,
            _setting(16, "barrier before over barrier after matching"),
            _NARROW,
            _lower,
        ),
        Claim(
            "Permuting the units of one lowers it (wide)",
            RECALLED,
            _setting(512, "barrier before over barrier after matching"),
            _WIDE,
            _lower,
        ),
        Claim(
            "In wide networks no barrier is left: all solutions are in one basin up to permutations",
            "conjecture",
            _setting(512, "barrier of the training loss after matching; at most 0.05"),
            _WIDE,
            _gone,
        ),
        Claim(
            "No barrier of the test error is left in wide networks",
            "conjecture",
            _setting(512, "barrier of the test error after matching, in %; at most 1"),
            _WIDE,
            _gone_test_error,
        ),
        Claim(
            "In narrow networks matching leaves a barrier",
            RECALLED,
            _setting(16, "barrier of the training loss after matching"),
            _NARROW,
            lambda numbers: more(_barriers(numbers)[1], than=0.05),
        ),
        Claim(
            "Deeper networks have higher barriers",
            RECALLED,
            "Needs networks of several depths at one width.",
        ),
        Claim(
            "ResNet-20 of 32 times the width has no barrier after matching",
            RECALLED,
            "Needs such networks trained on CIFAR-10.",
        ),
    ),
)

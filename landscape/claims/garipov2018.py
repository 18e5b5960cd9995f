"""Claims of Garipov et al. 2018."""

from __future__ import annotations

from landscape.claims.claim import RECALLED, Array, Claim, Numbers, Paper, Reading, below, more

_RECIPE = "garipov2018-curve"


def _lines(numbers: Numbers, entry: str) -> Array:
    """Values on the straight line and along the curve, a row each."""
    return numbers[f"0/{entry}"].reshape(2, -1)


def _straight(numbers: Numbers) -> Reading:
    line = _lines(numbers, "train_loss")[0]
    return more(float(line.max() - (line[0] + line[-1]) / 2), than=0.1)


def _curve(numbers: Numbers) -> Reading:
    line, curve = _lines(numbers, "train_loss")
    return below(float(curve.max() / line.max()), 0.1)


def _test(numbers: Numbers) -> Reading:
    curve = 100 * _lines(numbers, "test_error")[1]
    return below(float(curve.max() - (curve[0] + curve[-1]) / 2), 1.0)


def _no_higher(numbers: Numbers) -> Reading:
    curve = _lines(numbers, "train_error")[1]
    return below(100 * float(curve.max()), 0.5)


_OURS = "Two fully connected networks on digits, a Bezier curve of one bend trained for 40 epochs"

PAPER = Paper(
    "garipov2018",
    "T. Garipov, P. Izmailov, D. Podoprikhin, D. Vetrov, A. G. Wilson, Loss Surfaces, Mode Connectivity, and "
    "Fast Ensembling "
    "of DNNs, NeurIPS 2018, arXiv 1802.10026.",
    (
        Claim(
            "On the straight line between two networks the loss is high",
            RECALLED,
            f"{_OURS}: training loss on the line above the mean of its ends.",
            _RECIPE,
            _straight,
        ),
        Claim(
            "A curve of one bend joins them at low loss",
            RECALLED,
            f"{_OURS}: largest training loss on the curve over that on the line; at most a tenth.",
            _RECIPE,
            _curve,
        ),
        Claim(
            "The training error stays near zero along the curve",
            RECALLED,
            f"{_OURS}: largest training error on the curve, in %; at most 0.5.",
            _RECIPE,
            _no_higher,
        ),
        Claim(
            "The test error on the curve is nearly that of its ends",
            RECALLED,
            f"{_OURS}: largest test error on the curve above the mean of its ends, in %; at most 1.",
            _RECIPE,
            _test,
        ),
        Claim(
            "Ensembles along the curve beat its ends",
            RECALLED,
            "Needs predictions along the curve, averaged.",
        ),
    ),
)

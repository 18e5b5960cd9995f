"""Claims of Cohen et al. 2021."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import Array, Claim, Numbers, Paper, Reading, above, below, equal, more

_PLAIN, _MOMENTUM = "cohen2021-edge-of-stability", "cohen2021-momentum"
_RATES = (0.045, 0.06, 0.1)
_MOMENTUM_RATES = (0.05, 0.1)
# Steps between the first rise of the eigenvalue and the fit of the data.
_EDGE = (100, 300)


def _sharpness(numbers: Numbers, rate: float) -> Array:
    return numbers[f"0/rate {rate:g}/train_hessian_top"]


def _rise(numbers: Numbers) -> Reading:
    peaks = [_sharpness(numbers, rate).max() / _sharpness(numbers, rate)[0] for rate in _RATES]
    return more(min(peaks), than=1.0)


def _crossing(numbers: Numbers) -> Reading:
    return above(min(_sharpness(numbers, rate).max() * rate / 2 for rate in _RATES), 1.0)


def _edge(numbers: Numbers) -> Reading:
    medians = []
    for rate in _RATES:
        steps = numbers[f"0/rate {rate:g}/x"]
        inside = (steps >= _EDGE[0]) & (steps <= _EDGE[1])
        medians.append(float(np.median(_sharpness(numbers, rate)[inside])) * rate / 2)
    return equal(float(np.mean(medians)), 1.0, within=0.1, error=float(np.ptp(medians)) / 2)


def _loss(numbers: Numbers, rate: float) -> Array:
    return numbers[f"1/rate {rate:g}/train_loss"]


def _unsteady(numbers: Numbers) -> Reading:
    return more(min(float((np.diff(_loss(numbers, rate)) > 0).mean()) for rate in _RATES))


def _falls(numbers: Numbers) -> Reading:
    return below(max(float(_loss(numbers, rate)[-1] / _loss(numbers, rate)[0]) for rate in _RATES), 0.1)


def _end(numbers: Numbers) -> Reading:
    return below(max(_sharpness(numbers, rate)[-1] * rate / 2 for rate in _RATES), 1.0)


def _threshold(rate: float) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        return above(_sharpness(numbers, rate).max() * rate / (2 + 2 * 0.9), 1.0, otherwise=0)

    return read


def _beyond_plain(numbers: Numbers) -> Reading:
    return above(min(_sharpness(numbers, rate).max() * rate / 2 for rate in _MOMENTUM_RATES), 1.0)


_OURS = "Digits, 4 hidden layers of 32, cross-entropy, full-batch gradient descent at three rates for 600 steps"
_HEAVY = "The same network, heavy-ball momentum 0.9, two rates, 300 steps"

PAPER = Paper(
    "cohen2021",
    "J. Cohen, S. Kaur, Y. Li, J. Z. Kolter, A. Talwalkar, Gradient Descent on Neural Networks Typically Occurs "
    "at the "
    "Edge of Stability, ICLR 2021, arXiv 2103.00065.",
    (
        Claim(
            "The largest eigenvalue of the Hessian rises while gradient descent trains (progressive sharpening)",
            "section 3",
            f"{_OURS}: its peak over its value at the start, the least of the rates.",
            _PLAIN,
            _rise,
        ),
        Claim(
            "It rises until it exceeds 2 / learning rate",
            "section 3",
            f"{_OURS}: its peak times rate / 2, the least of the rates.",
            _PLAIN,
            _crossing,
        ),
        Claim(
            "It then stays near 2 / learning rate",
            "section 3",
            f"{_OURS}: median of eigenvalue times rate / 2 over steps 100 to 300, mean of the rates; the error "
            "is half "
            "their range.",
            _PLAIN,
            _edge,
        ),
        Claim(
            "At the edge the training loss does not fall at every step",
            "section 3",
            f"{_OURS}: share of recorded steps over which it rises, the least of the rates.",
            _PLAIN,
            _unsteady,
        ),
        Claim(
            "Over long times the loss falls all the same",
            "section 3",
            f"{_OURS}: last loss over the first, the largest of the rates.",
            _PLAIN,
            _falls,
        ),
        Claim(
            "With cross-entropy the eigenvalue falls below 2 / learning rate at the end of training",
            "appendix",
            f"{_OURS}: last eigenvalue times rate / 2, the largest of the rates.",
            _PLAIN,
            _end,
        ),
        *(
            Claim(
                f"With heavy-ball momentum b the eigenvalue rises to (2 + 2 b) / learning rate (rate {rate:g})",
                "appendix",
                f"{_HEAVY}: its peak over that threshold.",
                _MOMENTUM,
                _threshold(rate),
            )
            for rate in _MOMENTUM_RATES
        ),
        Claim(
            "With momentum it exceeds 2 / learning rate, where plain gradient descent would diverge",
            "appendix",
            f"{_HEAVY}: its peak times rate / 2, the least of the rates.",
            _MOMENTUM,
            _beyond_plain,
        ),
        Claim(
            "The same holds for the square loss, transformers and ResNets",
            "appendices",
            "Needs these networks, and thousands of steps on 5,000 images of CIFAR-10.",
        ),
        Claim(
            "SGD acclimates to its rate and batch size at eigenvalues below 2 / learning rate",
            "section 6",
            "Needs an eigenvalue after every few steps of SGD at several batch sizes.",
        ),
    ),
)

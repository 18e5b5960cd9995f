"""Claims of Cohen et al. 2024."""

from __future__ import annotations

import numpy as np

from landscape.claims.claim import Array, Claim, Numbers, Paper, Reading, below, equal

_RECIPE = "cohen2024-central-flow"
_LOSS, _SHARPNESS, _DISTANCE = 0, 1, 2


def _series(numbers: Numbers, panel: int, name: str) -> Array:
    return numbers[f"{panel}/{name}/y"]


def _second_half(values: Array) -> Array:
    return values[len(values) // 2 :]


def _mean_loss(numbers: Numbers) -> Reading:
    descent = _second_half(_series(numbers, _LOSS, "gradient descent, mean"))
    ratio = _second_half(_series(numbers, _LOSS, "central flow, predicted mean")) / descent
    return equal(float(ratio.mean()), 1.0, within=0.05)


def _distance(numbers: Numbers) -> Reading:
    gone = _series(numbers, _DISTANCE, "central flow")[-1] / _series(numbers, _DISTANCE, "gradient flow")[-1]
    return below(float(gone), 0.5)


def _held(numbers: Numbers) -> Reading:
    edge = _series(numbers, _SHARPNESS, "2 / rate")
    return equal(
        float(np.median(_second_half(_series(numbers, _SHARPNESS, "central flow") / edge))), 1.0, within=0.01
    )


def _falls(numbers: Numbers) -> Reading:
    return below(float(np.diff(_series(numbers, _LOSS, "central flow")).max()), 0.0)


_OURS = (
    "Digits, two hidden layers of 16 with tanh, square loss on 300 examples, full-batch gradient descent, every "
    "step recorded"
)

PAPER = Paper(
    "cohen2024",
    "J. Cohen, A. Damian, A. Talwalkar, J. Z. Kolter, J. D. Lee, Understanding Optimization in Deep Learning with "
    "Central Flows, ICLR 2025, arXiv 2410.24206.",
    (
        Claim(
            "The central flow predicts the loss of gradient descent averaged over its oscillation",
            "section 3",
            f"{_OURS}: predicted over measured mean, over the second half.",
            _RECIPE,
            _mean_loss,
        ),
        Claim(
            "The mean path of gradient descent stays near its central flow, and leaves gradient flow",
            "section 3",
            f"{_OURS}: distance from the central flow over that from gradient flow, at the end.",
            _RECIPE,
            _distance,
        ),
        Claim(
            "Once it has risen there, the central flow keeps the sharpness at 2 / learning rate",
            "section 3",
            f"{_OURS}: median over the second half of the flow's largest eigenvalue times rate / 2.",
            _RECIPE,
            _held,
        ),
        Claim(
            "Along the central flow the loss falls at every step, though along gradient descent it does not",
            "section 3",
            f"{_OURS}: largest change over ten steps.",
            _RECIPE,
            _falls,
        ),
        Claim(
            "RMSProp and Adam have central flows too, which adapt to curvature",
            "sections 4 and 5",
            "Needs the flow of the preconditioner beside that of the weights.",
        ),
    ),
)

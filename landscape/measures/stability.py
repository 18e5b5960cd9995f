"""The edge of stability: how sharp a valley gradient descent can follow at its learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def stability_threshold(training: Mapping[str, Any]) -> float | None:
    """The largest Hessian eigenvalue at which gradient descent on a quadratic does not diverge.

    With learning rate r and momentum b: 2 / r without momentum, (2 + 2 b) / r with Polyak's (heavy ball), and
    (2 + 2 b) / (r (1 + 2 b)) with Nesterov's. A penalty (w / 2) |theta|^2 adds w to every eigenvalue of what is
    descended, so that w is taken off.

    Args:
        training: Settings of a run, as a trajectory holds them.

    Returns:
        The threshold; None where the run is not full-batch gradient descent at a constant, known rate.

    Source:
        Cohen, Kaur, Li, Kolter & Talwalkar 2021, "Gradient descent on neural networks typically occurs at the edge
        of stability"; the momenta follow from the roots of the recursion on a parabola.

    Example:
        >>> stability_threshold({"optimizer": "gd", "lr": 0.1, "momentum": 0.0})
        20.0
        >>> stability_threshold({"optimizer": "gd", "lr": 0.1, "momentum": 0.5})
        30.0
        >>> stability_threshold({"optimizer": "adam", "lr": 0.1}) is None
        True
    """
    rate, momentum = training.get("lr"), training.get("momentum", 0.0)
    constant = training.get("schedule", "constant") == "constant" and not training.get("warmup_epochs")
    if training.get("optimizer") != "gd" or not rate or not constant:
        return None
    threshold = (2 + 2 * momentum) / rate
    if training.get("nesterov"):
        threshold /= 1 + 2 * momentum
    return float(threshold - training.get("weight_decay", 0.0))


def threshold_words(training: Mapping[str, Any]) -> str:
    """Name the threshold of a run for a legend.

    Example:
        >>> threshold_words({"momentum": 0.9})
        '(2 + 2·0.9) / learning rate'
    """
    momentum = training.get("momentum", 0.0)
    above = f"(2 + 2·{momentum:g})" if momentum else "2"
    below = f"((1 + 2·{momentum:g}) learning rate)" if momentum and training.get("nesterov") else "learning rate"
    return f"{above} / {below}" + (" − weight decay" if training.get("weight_decay") else "")

"""Stability thresholds of optimizers: the curvature at which the steps of each diverge on a parabola. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# Optimizers whose threshold is known, and whose preconditioner is a positive diagonal matrix.
DIAGONAL = ("adam", "nadam", "radam", "rmsprop", "adagrad", "adafactor")
# Those whose steps have a fixed length in a norm of their own.
NORMED = ("sign", "muon")
KINDS = ("sgd", *DIAGONAL, *NORMED, "sam", "entropy-sgd", "replicated-sgd")

# An edge is sought up to this many times 1 / rate, and then halved in as often.
_FARTHEST, _HALVINGS = 1e6, 80

Settings = Mapping[str, float]


def threshold(
    kind: str, settings: Settings, *, gradient_norm: float | None = None, dual_norm: float | None = None
) -> float | None:
    """Sharpness above which the steps of an optimizer grow on a parabola of constant curvature.

    The sharpness is the largest eigenvalue of P^-1 (H + w): H the Hessian of the mean loss, w the coefficient of a
    coupled weight decay, P the optimizer's own preconditioner (the identity for the SGD family). With learning
    rate r, momentum b and decoupled weight decay d:

    - ``sgd``: (2 + 2 b) / (r (1 - dampening)); Nesterov's momentum (2 + 2 b) / (r (1 + 2 b));
    - ``adam``, ``radam``: (2 - r d) (1 + b) / ((1 - b) r), which is 38 / r for b = 0.9 and d = 0;
    - ``nadam``: (2 - r d) (1 + b) / (r (c (1 + b) + m (1 - b))), c and m the weights that the step gives to the
      gradient and to its average;
    - ``rmsprop``: (2 + 2 b) / r; ``adagrad``, ``adafactor``: (2 - r d) / r;
    - ``sam``: t (sqrt(1 + 2 T / t) - 1) with t = |g| / (2 rho) and T the threshold of its SGD: curvature l acts as
      l + rho l^2 / |g|;
    - ``sign``, ``muon``: 2 |g|* / r in the optimizer's own norm, |g|* the dual norm of the gradient: below, no
      step along the steepest direction raises the loss. Momentum is not part of this theory;
    - ``entropy-sgd``: where the recursion of walk and update reaches spectral radius 1, without noise;
    - ``replicated-sgd``: T less the coupling, where the replicas leave each other.

    Args:
        kind: One of `KINDS`; of others no threshold is known.
        settings: Name -> number, as `landscape.optimizers.Step` holds them.
        gradient_norm: |g|, which SAM's threshold depends on.
        dual_norm: |g|* for ``sign`` and ``muon``.

    Returns:
        The threshold; None where none is known.

    Source:
        Cohen et al. 2021 (SGD) and 2022 (Adam); Long & Bartlett 2023 (SAM); Islamov et al. 2026 (norms); the
        others follow from the roots of the recursion on a parabola.

    Example:
        >>> round(threshold("adam", {"lr": 0.001, "beta1": 0.9}))
        38000
        >>> threshold("sgd", {"lr": 0.1, "momentum": 0.5, "nesterov": 1.0})
        15.0
    """
    rate = settings.get("lr", 0.0)
    if not rate > 0 or settings.get("maximize", 0.0):
        return None
    if kind in NORMED:
        return None if dual_norm is None else 2 * dual_norm / rate
    if kind == "sam":
        return _sam(settings, gradient_norm)
    simple: dict[str, Callable[[Settings], float]] = {
        "sgd": _sgd,
        "adam": _averaged,
        "radam": _averaged,
        "nadam": _nadam,
        "rmsprop": lambda own: (2 + 2 * own.get("momentum", 0.0)) / own["lr"],
        "adagrad": _plain,
        "adafactor": _plain,
        "entropy-sgd": _entropy,
        "replicated-sgd": _replicated,
    }
    return simple[kind](settings) if kind in simple else None


def threshold_words(kind: str, settings: Settings) -> str:
    """Name the threshold of an optimizer for a legend.

    Example:
        >>> threshold_words("adam", {"lr": 0.001, "beta1": 0.9})
        '38/lr'
    """
    if kind in NORMED:
        return "2 |g|* / lr"
    if kind == "sam":
        return f"SAM's threshold at radius {settings.get('rho', 0.0):g}"
    found = threshold(kind, settings)
    if found is None:
        return "no threshold known"
    return f"{found * settings['lr']:.4g}/lr"


def _plain(own: Settings) -> float:
    return (2 - own["lr"] * _decoupled(own)) / own["lr"]


def _decoupled(own: Settings) -> float:
    return own.get("weight_decay", 0.0) if own.get("decoupled", 0.0) else 0.0


def _sgd(own: Settings) -> float:
    momentum = own.get("momentum", 0.0)
    edge = (2 + 2 * momentum) / own["lr"]
    if momentum and own.get("nesterov", 0.0):
        return edge / (1 + 2 * momentum)
    # The first gradient enters a buffer undamped, but that is forgotten.
    return edge / (1 - own.get("dampening", 0.0)) if momentum else edge


def _averaged(own: Settings) -> float:
    momentum = own.get("beta1", 0.0)
    return _plain(own) * (1 + momentum) / (1 - momentum)


def _nadam(own: Settings) -> float:
    momentum = own["beta1"]
    weight = own["gradient_share"] * (1 + momentum) + own["momentum_share"] * (1 - momentum)
    return _plain(own) * (1 + momentum) / weight


def _sam(own: Settings, gradient_norm: float | None) -> float | None:
    edge, radius = _sgd(own), own.get("rho", 0.0)
    if not radius:
        return edge
    if gradient_norm is None or own.get("adaptive", 0.0):
        return None
    if own.get("weight_decay", 0.0):
        # The penalty is no part of the ascent: it acts on what the ascent leaves.
        edge -= own["weight_decay"]
    half = gradient_norm / (2 * radius)
    # The same as half (sqrt(1 + 2 edge / half) - 1), which loses digits where the radius is small.
    found = 2 * edge / (1 + math.sqrt(1 + 2 * edge / half)) if half else 0.0
    return found + own.get("weight_decay", 0.0)


def _replicated(own: Settings) -> float:
    pull = own.get("gamma", 0.0) * (1 if own.get("half", 0.0) else 2)
    every = round(own.get("coupling_every", 1))
    if own.get("replicas", 1) < 2 or not pull:
        return _sgd(own)
    if every == 1:
        return _sgd(own) - pull

    def radius(curvature: float) -> float:
        free, tied = (_descent(own, curvature + more) for more in (0.0, pull))
        return _radius(np.linalg.matrix_power(free, every - 1) @ tied)

    return _edge(radius, own["lr"])


def _entropy(own: Settings) -> float:
    if not own.get("L", 0.0):
        return _sgd(own)
    scale = own["gamma"] if own.get("scale_by_gamma", 0.0) else 1.0
    outer, decay = {**own, "lr": own["lr"] * scale}, own.get("weight_decay", 0.0)
    inner = own.get("inner_weight_decay", math.nan)
    inner = decay if math.isnan(inner) else inner

    def radius(curvature: float) -> float:
        return _radius(_descent(outer, 1 - _walked(own, curvature - decay + inner) + decay))

    return _edge(radius, own["lr"]) if scale else math.inf


def _walked(own: Settings, curvature: float) -> float:
    """The average of a noiseless walk from w = 1 on a parabola, its weight decay within the curvature."""
    anchor = point = mean = 1.0
    velocity, momentum = 0.0, own.get("inner_momentum", 0.0)
    for _ in range(round(own["L"])):
        pull, direction = own["gamma"] * (point - anchor), curvature * point
        inside = bool(own.get("coupling_in_momentum", 1.0))
        direction += pull if inside else 0.0
        if momentum:
            velocity = momentum * velocity + direction
            direction = direction + momentum * velocity if own.get("inner_nesterov", 0.0) else velocity
        point -= own["inner_lr"] * (direction + (0.0 if inside else pull))
        mean = own["average"] * mean + (1 - own["average"]) * point
    return mean


def _descent(own: Settings, curvature: float) -> np.ndarray[Any, Any]:
    """One step of SGD on a parabola: (w, buffer) -> (w, buffer)."""
    rate, momentum = own["lr"], own.get("momentum", 0.0)
    kept = np.array([curvature * (1 - own.get("dampening", 0.0) if momentum else 1.0), momentum])
    step = np.array([curvature, 0.0]) + momentum * kept if own.get("nesterov", 0.0) else kept
    return np.array([[1.0, 0.0] - rate * step, kept])


def _radius(matrix: np.ndarray[Any, Any]) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def _edge(radius: Callable[[float], float], rate: float) -> float:
    """The least curvature from which on a recursion grows."""
    # Finer than any recursion of a few dozen steps turns.
    grid = np.geomspace(1e-6, _FARTHEST, 6001) / rate
    beyond = [curvature for curvature in grid if radius(float(curvature)) > 1 + 1e-9]
    if not beyond:
        return math.inf
    high = float(beyond[0])
    low = high / (grid[1] / grid[0])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if radius(middle) > 1 + 1e-9 else (middle, high)
    return high

"""Recognition of optimizers: which kind each is, its settings as numbers, and its preconditioner."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.vocabulary import ADJUSTMENTS

# Classes of torch and of this package by name.
_OURS = {
    "SAM": "sam",
    "EntropySGD": "entropy-sgd",
    "ReplicatedSGD": "replicated-sgd",
    "SGD": "sgd",
    "Adam": "adam",
    "NAdam": "nadam",
    "RAdam": "radam",
    "RMSprop": "rmsprop",
    "Adagrad": "adagrad",
    "Adafactor": "adafactor",
    "Muon": "muon",
}
# Classes of others, which have the same update everywhere.
_THEIRS = {"lion": "sign", "signsgd": "sign", "signum": "sign"}
_ROOTS = ("torch", "landscape")

# Settings that a step depends on, by kind; others are left out.
_DESCENT = ("lr", "momentum", "dampening", "nesterov", "weight_decay", "maximize")
_ADAPTIVE = ("lr", "beta1", "beta2", "eps", "weight_decay", "decoupled", "maximize")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "sgd": _DESCENT,
    "sam": (*_DESCENT, "rho", "adaptive", "eta"),
    "entropy-sgd": (
        *(*_DESCENT, "L", "inner_lr", "inner_momentum", "inner_nesterov", "inner_weight_decay", "average"),
        *("gamma", "scale_by_gamma", "coupling_in_momentum"),
    ),
    "replicated-sgd": (*_DESCENT, "gamma", "half", "replicas", "coupling_every"),
    "adam": _ADAPTIVE,
    "radam": _ADAPTIVE,
    "nadam": (*_ADAPTIVE, "gradient_share", "momentum_share"),
    "rmsprop": ("lr", "alpha", "eps", "momentum", "weight_decay", "maximize"),
    "adagrad": ("lr", "eps", "weight_decay", "maximize"),
    "adafactor": ("lr", "beta2_decay", "d", "weight_decay", "decoupled", "maximize"),
    "sign": ("lr", "beta1", "beta2", "momentum", "weight_decay", "decoupled"),
    "muon": ("lr", "momentum", "nesterov", "weight_decay", "decoupled", "adjustment"),
    "unknown": ("lr", "momentum", "weight_decay"),
}


def kind_of(optimizer: torch.optim.Optimizer) -> str:
    """The kind of an optimizer, or ``"unknown"``: a class of another's, or one that overrides the step.

    Example:
        >>> kind_of(torch.optim.AdamW([torch.zeros(1)]))
        'adam'
    """
    own = inspect.unwrap(type(optimizer).step)
    name = type(optimizer).__name__.lower().removesuffix("8bit").removesuffix("32bit")
    if name in _THEIRS:
        return _THEIRS[name]
    for base in type(optimizer).__mro__:
        if base.__module__.split(".")[0] in _ROOTS and base.__name__ in _OURS:
            return _OURS[base.__name__] if inspect.unwrap(base.step) is own else "unknown"  # type: ignore[attr-defined]
    return "unknown"


def names_of(kind: str) -> tuple[str, ...]:
    """Names of the settings of a kind."""
    return _NAMES[kind]


def settings_of(optimizer: torch.optim.Optimizer, kind: str, group: Mapping[str, Any]) -> dict[str, float]:
    """The settings of a parameter group before a step, as numbers; NaN where there is none."""
    known = dict(group)
    betas = known.get("betas", (math.nan, math.nan))
    known |= {"beta1": known.get("beta1", betas[0]), "beta2": betas[-1]}
    known |= {"decoupled": _is_decoupled(kind, known)}
    if kind == "muon":
        known["adjustment"] = ADJUSTMENTS.index(known.get("adjust_lr_fn") or "original")
    if kind in ("entropy-sgd", "replicated-sgd"):
        known |= {"L": optimizer.defaults.get("L"), "replicas": optimizer.defaults.get("replicas")}
        # That of the coming step: it grows on a schedule, and is None until it is found.
        known["gamma"] = getattr(optimizer, "gamma", 0.0)
        if known.get("average_on") == "new":
            known["average"] = 1 - known["average"]
    if kind == "sign" and math.isnan(known["beta1"]):
        known["beta1"] = known.get("momentum", 0.0)
    return {name: _number(known.get(name)) for name in _NAMES[kind]}


def _is_decoupled(kind: str, group: Mapping[str, Any]) -> bool:
    return kind in ("adafactor", "sign", "muon") or bool(group.get("decoupled_weight_decay", False))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def completed(
    optimizer: torch.optim.Optimizer, kind: str, group: Mapping[str, Any], settings: Mapping[str, float]
) -> dict[str, float]:
    """The settings of a group, with what only the state after the step says."""
    state: Mapping[str, Any] = next(
        (optimizer.state[one] for one in group["params"] if one in optimizer.state), {}
    )
    if kind == "adagrad" and "step" in state:
        return {**settings, "lr": settings["lr"] / (1 + (float(state["step"]) - 1) * group["lr_decay"])}
    if kind == "nadam" and "step" in state:
        step, rate = float(state["step"]), group["momentum_decay"]
        mu, after = (settings["beta1"] * (1 - 0.5 * 0.96 ** (one * rate)) for one in (step, step + 1))
        product = float(state["mu_product"])
        shares = {"gradient_share": (1 - mu) / (1 - product), "momentum_share": after / (1 - product * after)}
        return {**settings, **shares}
    return dict(settings)


def preconditioner_of(
    optimizer: torch.optim.Optimizer, kind: str, group: Mapping[str, Any], parameter: Tensor, before: Tensor
) -> Tensor:
    """The diagonal of P by which a step divided: -lr P^-1 (average of gradients) less decoupled decay.

    Args:
        optimizer: After the step.
        kind: Which.
        group: That of the parameter.
        parameter: The parameter, with the gradient that the step took.
        before: The parameter before the step.
    """
    state = optimizer.state.get(parameter, {})
    if not state:
        return torch.ones_like(before)
    found = _DIAGONALS[kind](group, state, parameter, before)
    return found.to(before.dtype)


Maker = Callable[[Mapping[str, Any], Mapping[str, Any], Tensor, Tensor], Tensor]


def _adam(group: Mapping[str, Any], state: Mapping[str, Any], _one: Tensor, _before: Tensor) -> Tensor:
    """Adam's P = (sqrt(v / (1 - b2^t)) + eps) (1 - b1^t), for the average of gradients as it is kept."""
    first, second = (float(beta) for beta in group["betas"])
    time = float(state["step"])
    square = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
    return ((square / (1 - second**time)).sqrt() + group["eps"]) * (1 - first**time)


def _nadam(group: Mapping[str, Any], state: Mapping[str, Any], _one: Tensor, _before: Tensor) -> Tensor:
    time = float(state["step"])
    found: Tensor = (state["exp_avg_sq"] / (1 - group["betas"][1] ** time)).sqrt() + group["eps"]
    return found


def _radam(group: Mapping[str, Any], state: Mapping[str, Any], _one: Tensor, before: Tensor) -> Tensor:
    first, second = (float(beta) for beta in group["betas"])
    time = float(state["step"])
    corrected = 1 - second**time
    longest = 2 / (1 - second) - 1
    length = longest - 2 * time * second**time / corrected
    if length <= 5:
        return torch.full_like(before, 1 - first**time)
    share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    scale = (1 - first**time) / (share * corrected) ** 0.5
    found: Tensor = (state["exp_avg_sq"].sqrt() + group["eps"]) * scale
    return found


def _rmsprop(group: Mapping[str, Any], state: Mapping[str, Any], _one: Tensor, _before: Tensor) -> Tensor:
    square = state["square_avg"]
    if group["centered"]:
        square = square - state["grad_avg"] ** 2
    found: Tensor = square.sqrt() + group["eps"]
    return found


def _adagrad(group: Mapping[str, Any], state: Mapping[str, Any], _one: Tensor, _before: Tensor) -> Tensor:
    found: Tensor = state["sum"].sqrt() + group["eps"]
    return found


def _adafactor(group: Mapping[str, Any], state: Mapping[str, Any], one: Tensor, before: Tensor) -> Tensor:
    """The diagonal that its factors stand for, with the size of the weights and the clipping of the step."""
    least, floor = group["eps"]
    least = torch.finfo(before.dtype).eps if least is None else least
    if "row_var" in state:
        rows, columns = state["row_var"], state["col_var"]
        square = rows @ columns / rows.mean(dim=-2, keepdim=True).clamp(min=least)
    else:
        square = state["variance"]
    found = square.clamp(min=least * least).sqrt()
    rate = min(group["lr"], 1 / float(state["step"]) ** 0.5)
    scale = max(floor, float(before.norm()) / before.numel() ** 0.5) * rate
    if one.grad is not None:
        scale /= max(1.0, float((one.grad / found).norm()) / (before.numel() ** 0.5 * group["d"]))
    return found * (float(group["lr"]) / scale)


_DIAGONALS: Mapping[str, Maker] = {
    "adam": _adam,
    "nadam": _nadam,
    "radam": _radam,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adafactor": _adafactor,
}

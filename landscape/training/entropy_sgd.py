"""Entropy-SGD: descent on the local entropy, whose gradient a short walk estimates."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from landscape.training.descent import Closure, complete, descend, evaluate, refuse, trained
from landscape.training.gamma import GammaSchedule, gamma_of
from landscape.vocabulary import AVERAGES, WALK_NOISES


class EntropySGD(torch.optim.SGD):
    """Descent on the local entropy: w <- w - lr gamma (w - mu), mu the average of a walk tied to w.

    The walk starts at w' = mu = w and does L times, with gradients of fresh minibatches,

        d  = grad loss(w') + gamma (w' - w) + weight decay w'          (then momentum, if any)
        w' <- w' - inner_lr d + sqrt(2 inner_lr) noise N(0, 1)
        mu <- average mu + (1 - average) w'

    Defaults are those of the authors' code; where codes and papers differ there is an argument. With L = 0 the
    updates are those of `torch.optim.SGD`, bit for bit.

    Args:
        params: Tensors, or groups of them; a group may have its own values of all arguments but L and seed.
        lr: Learning rate of the outer updates.
        L: Steps of the walk, each of which calls the closure.
        momentum: Of the outer updates, as in `torch.optim.SGD`.
        dampening: Of the outer updates, as in `torch.optim.SGD`.
        weight_decay: Of the outer updates, as in `torch.optim.SGD`.
        nesterov: Of the outer updates, as in `torch.optim.SGD`.
        inner_lr: Step size of the walk.
        inner_momentum: Of the walk; it starts at rest with every walk.
        inner_nesterov: Whether that is Nesterov's.
        inner_weight_decay: Of the walk; None is `weight_decay`.
        noise: Size of the noise.
        noise_convention: ``"code"`` adds sqrt(2 inner_lr) noise N(0, 1) to w', as both codes do, ``"paper"``
            sqrt(inner_lr) noise N(0, 1), as the formula of the paper.
        average: Weight of the average mu.
        average_on: ``"old"``: mu <- average mu + (1 - average) w'; ``"new"``: the two weights swapped.
        gamma: gamma_0. None finds it: it is 0 in the first updates, and at the end of the walk of update number
            `gamma_after` becomes the loss there over |w - w'|^2 / 2.
        gamma_after: Updates before that.
        gamma_schedule: How gamma grows; by default it does not.
        scale_by_gamma: Whether the outer update is lr gamma (w - mu), as the authors do, or lr (w - mu).
        coupling_in_momentum: Whether gamma (w' - w) is part of what the walk's momentum gathers, as the authors
            do, or is added behind.
        seed: Draws the noise, together with the number of the update.

    Raises:
        LandscapeError: Naming every argument that is wrong.

    Source:
        Chaudhari et al. 2017, algorithm 1, and code (github.com/ucla-vision/entropy-sgd); Pittorino et al. 2021,
        section 3, and code.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        >>> optimizer = EntropySGD([w], lr=1.0, L=5, gamma=0.5, noise=0.0, scale_by_gamma=False)
        >>> def closure():  # a quadratic of curvature 1
        ...     optimizer.zero_grad()
        ...     loss = (w**2).sum() / 2
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item()
        0.5
        >>> round(w.item(), 11)  # mu
        0.78393734375
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        *,
        L: int = 5,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        inner_lr: float = 0.1,
        inner_momentum: float = 0.0,
        inner_nesterov: bool = True,
        inner_weight_decay: float | None = None,
        noise: float = 1e-4,
        noise_convention: str = "code",
        average: float = 0.75,
        average_on: str = "old",
        gamma: float | None = None,
        gamma_after: int = 1,
        gamma_schedule: GammaSchedule | None = None,
        scale_by_gamma: bool = True,
        coupling_in_momentum: bool = True,
        seed: int = 0,
    ) -> None:
        own: dict[str, Any] = {
            "inner_lr": inner_lr,
            "inner_momentum": inner_momentum,
            "inner_nesterov": inner_nesterov,
            "inner_weight_decay": inner_weight_decay,
            "noise": noise,
            "noise_convention": noise_convention,
            "average": average,
            "average_on": average_on,
            "gamma": gamma,
            "gamma_after": gamma_after,
            "gamma_schedule": (gamma_schedule or GammaSchedule(shape="constant")).to_json(),
            "scale_by_gamma": scale_by_gamma,
            "coupling_in_momentum": coupling_in_momentum,
            "steps": 0,
        }
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov)
        complete(self, own)
        self.defaults |= {"L": L, "seed": seed}
        for group in self.param_groups:
            refuse("EntropySGD", _faults(L, group))

    @property
    def L(self) -> int:
        """Steps of the walk."""
        return int(self.defaults["L"])

    @property
    def gamma(self) -> float:
        """gamma of the next update, in the first group; 0 while it waits to be found."""
        return gamma_of(self.param_groups[0])

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One update of the weights.

        Args:
            closure: Clears the gradients, computes loss and gradients of the next minibatch, returns the loss. It
                is called L times, once if L is 0.

        Returns:
            The loss at w.

        Raises:
            LandscapeError: If there is no closure.
        """
        first = last = evaluate(closure, "EntropySGD")
        if self.L:
            walk = _Walk(self)
            walk.move()
            for _ in range(self.L - 1):
                last = evaluate(closure, "EntropySGD")
                walk.move()
            found = self._found_gamma(float(last), walk)
            walk.end()
        self._descend()
        for group in self.param_groups:
            group["steps"] += 1
            if self.L and group["gamma"] is None:
                group["gamma"] = found
        return first

    def _found_gamma(self, loss: float, walk: _Walk) -> float | None:
        if self.param_groups[0]["steps"] < self.param_groups[0]["gamma_after"]:
            return None
        distance = walk.squared_distance()
        return loss / (0.5 * distance) if distance > 0 else None

    def _descend(self) -> None:
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            if self.L and group["scale_by_gamma"]:
                group["lr"] = group["lr"] * gamma_of(group)
        try:
            descend(self)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


class _Walk:
    """The walk of one update: w' is in the parameters, its anchor w and average mu are here."""

    def __init__(self, optimizer: EntropySGD) -> None:
        self._optimizer = optimizer
        self._anchor: dict[Tensor, Tensor] = {}
        self._mean: dict[Tensor, Tensor] = {}
        self._velocity: dict[Tensor, Tensor] = {}
        self._generators: dict[torch.device, torch.Generator] = {}

    def move(self) -> None:
        """One step with the gradients that are there."""
        for group, w in trained(self._optimizer):
            anchor = self._anchor.setdefault(w, w.clone())
            mean = self._mean.setdefault(w, anchor.clone())
            w.sub_(self._direction(group, w, anchor), alpha=group["inner_lr"])
            factor = math.sqrt((2 if group["noise_convention"] == "code" else 1) * group["inner_lr"])
            if group["noise"]:
                w.add_(self._draw(w), alpha=factor * group["noise"])
            old = group["average"] if group["average_on"] == "old" else 1 - group["average"]
            mean.mul_(old).add_(w, alpha=1 - old)

    def _direction(self, group: dict[str, Any], w: Tensor, anchor: Tensor) -> Tensor:
        if w.grad is None:
            return torch.zeros_like(w)
        pull, direction = gamma_of(group) * (w - anchor), w.grad.clone()
        if group["coupling_in_momentum"]:
            direction += pull
        decay = group["inner_weight_decay"]
        direction.add_(w, alpha=group["weight_decay"] if decay is None else decay)
        if group["inner_momentum"]:
            velocity = self._velocity.setdefault(w, torch.zeros_like(w))
            velocity.mul_(group["inner_momentum"]).add_(direction)
            direction = (
                direction.add(velocity, alpha=group["inner_momentum"])
                if group["inner_nesterov"]
                else velocity.clone()
            )
        return direction if group["coupling_in_momentum"] else direction + pull

    def _draw(self, w: Tensor) -> Tensor:
        if w.device not in self._generators:
            text = f"noise/{self._optimizer.defaults['seed']}/{self._optimizer.param_groups[0]['steps']}"
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
            self._generators[w.device] = torch.Generator(w.device).manual_seed(seed)
        return torch.randn(w.shape, generator=self._generators[w.device], dtype=w.dtype, device=w.device)

    def squared_distance(self) -> float:
        """|w - w'|^2 over all parameters."""
        return sum(float((w - anchor).double().square().sum()) for w, anchor in self._anchor.items())

    def end(self) -> None:
        """Put the parameters back to w, and w - mu into their gradients."""
        for w, anchor in self._anchor.items():
            w.copy_(anchor)
            w.grad = anchor - self._mean[w]


def _faults(L: int, group: dict[str, Any]) -> list[str]:
    rules = {
        "inner_lr": group["inner_lr"] > 0,
        "inner_momentum": 0 <= group["inner_momentum"] < 1,
        "noise": group["noise"] >= 0,
        "average": 0 <= group["average"] <= 1,
        "gamma": group["gamma"] is None or group["gamma"] >= 0,
        "gamma_after": group["gamma_after"] >= 0,
        "average_on": group["average_on"] in AVERAGES,
        "noise_convention": group["noise_convention"] in WALK_NOISES,
    }
    faults = [f"{name} cannot be {group[name]!r}" for name, right in rules.items() if not right]
    return faults if L >= 0 else [f"L cannot be {L!r}", *faults]

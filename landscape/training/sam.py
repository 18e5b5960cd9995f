"""Sharpness-aware minimisation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import ParamsT

from landscape.training.descent import Closure, complete, descend, evaluate, refuse, trained

# Added to the norm by Foret et al. 2021, code.
_TINY = 1e-12


class SAM(torch.optim.SGD):
    """SGD with the gradient at the worst point nearby: w <- w - lr grad L(w + e).

    e = rho g / |g| with g = grad L(w), the norm over all groups together. Adaptive (ASAM): e = rho T^2 g / |T g|
    with T = |w| + eta, elementwise. Momentum and weight decay are those of `torch.optim.SGD`, at w; the penalty
    takes no part in e. With rho = 0 the updates are those of `torch.optim.SGD`. Running statistics of
    normalisation layers are those of the first pass, at w, as in the authors' code: the second one leaves them
    alone.

    Args:
        params: Tensors, or groups of them; a group may have its own `lr`, `rho`, `momentum` and so on.
        lr: Learning rate.
        rho: The radius.
        adaptive: Whether the ball is scaled by the weights.
        eta: Keeps the adaptive ball from being flat where weights are 0.
        momentum: As in `torch.optim.SGD`.
        dampening: As in `torch.optim.SGD`.
        weight_decay: As in `torch.optim.SGD`.
        nesterov: As in `torch.optim.SGD`.

    Raises:
        LandscapeError: If rho or eta are negative.

    Source:
        Foret, Kleiner, Mobahi & Neyshabur 2021, section 2; adaptive: Kwon, Kim, Park & Choi 2021, section 3.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = SAM([w], lr=0.1, rho=0.5)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (w**2).sum() / 2
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item()
        12.5
        >>> [round(value, 4) for value in w.tolist()]  # w - 0.1 (1 + 0.5 / 5) w
        [2.67, 3.56]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        *,
        rho: float = 0.05,
        adaptive: bool = False,
        eta: float = 0.01,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        negative = {"rho": rho, "eta": eta}
        refuse("SAM", [f"{name} must not be negative, got {v}" for name, v in negative.items() if not v >= 0])
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov)
        complete(self, {"rho": rho, "adaptive": adaptive, "eta": eta})

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One update.

        Args:
            closure: Clears the gradients, computes loss and gradients, returns the loss. It is called twice, and
                must take the same examples.

        Returns:
            The loss at w.

        Raises:
            LandscapeError: If there is no closure.
        """
        loss = evaluate(closure, "SAM")
        if any(group["rho"] for group in self.param_groups):
            before = [(parameter, parameter.clone()) for _, parameter in trained(self)]
            self._climb()
            with held_statistics():
                evaluate(closure, "SAM")
            for parameter, value in before:
                parameter.copy_(value)
        descend(self)
        return loss

    def _climb(self) -> None:
        scaled = [(group, w, _scale(group, w), w.grad) for group, w in trained(self) if w.grad is not None]
        norm = sum(float((scale * grad).double().square().sum()) for _, _, scale, grad in scaled) ** 0.5
        for group, parameter, scale, grad in scaled:
            parameter.add_(scale * scale * grad, alpha=group["rho"] / (norm + _TINY))


@contextmanager
def held_statistics() -> Iterator[None]:
    """Put back the running statistics of all normalisation layers that run within."""
    held: dict[nn.Module, dict[str, Tensor]] = {}

    def remember(module: nn.Module, _inputs: Any) -> None:
        if isinstance(module, _NormBase) and module.training and module not in held:
            held[module] = {name: buffer.clone() for name, buffer in module.named_buffers(recurse=False)}

    handle = register_module_forward_pre_hook(remember)
    try:
        yield
    finally:
        handle.remove()
        with torch.no_grad():
            for module, buffers in held.items():
                for name, buffer in buffers.items():
                    module.get_buffer(name).copy_(buffer)


def _scale(group: dict[str, Any], parameter: Tensor) -> Tensor:
    return parameter.abs() + group["eta"] if group["adaptive"] else torch.ones_like(parameter)

"""Muon: steps of fixed spectral norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from landscape.errors import did_you_mean
from landscape.training.descent import Closure, refuse
from landscape.vocabulary import ADJUSTMENTS

# The quintic of Jordan et al. 2024: its singular values end between 0.7 and 1.2, in five iterations.
_QUINTIC, _ITERATIONS = (3.4445, -4.7750, 2.0315), 5
_TINY = 1e-7


class Muon(torch.optim.Optimizer):
    """Steps along the nearest orthogonal matrix to the average of gradients: w <- w - lr s U V^T.

    The average is m <- b m + (1 - b) g, with Nesterov's (1 - b) g + b m in its place; U V^T of it is found by
    Newton-Schulz iterations, s is a factor for the shape. Tensors of one dimension take the sign instead, which is
    the same in the norm of the largest entry; of convolutions the matrix is (filters, all else). Matrices are
    updated as by `torch.optim.Muon`, which takes no others, but for its bfloat16.

    Args:
        params: Tensors, or groups of them.
        lr: Learning rate: the spectral norm of a step before the factor.
        momentum: b.
        nesterov: Whether it is Nesterov's.
        weight_decay: Decoupled.
        adjust_lr_fn: The factor s of an (A, B) matrix: ``"original"`` sqrt(max(1, A / B)), ``"match_rms_adamw"``
            0.2 sqrt(max(A, B)), ``"spectral_unclamped"`` sqrt(A / B), or ``"none"``.

    Raises:
        LandscapeError: Naming every argument that is wrong.

    Source:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", and code.

    Example:
        >>> w = torch.nn.Parameter(torch.zeros(2, 2))
        >>> optimizer = Muon([w], lr=1.0, momentum=0.0)
        >>> w.grad = torch.tensor([[3.0, 0.0], [0.0, -0.1]])
        >>> optimizer.step()
        >>> bool((w.detach().abs().diag() > 0.6).all())  # both directions count alike
        True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.02,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        adjust_lr_fn: str = "original",
    ) -> None:
        rules = {"lr": lr >= 0, "momentum": 0 <= momentum < 1, "weight_decay": weight_decay >= 0}
        given = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        faults = [f"{name} cannot be {given[name]!r}" for name, right in rules.items() if not right]
        if adjust_lr_fn not in ADJUSTMENTS:
            faults.append(f"unknown adjustment '{adjust_lr_fn}', {did_you_mean(adjust_lr_fn, ADJUSTMENTS)}")
        refuse("Muon", faults)
        super().__init__(params, {**given, "nesterov": nesterov, "adjust_lr_fn": adjust_lr_fn})

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One update.

        Args:
            closure: Clears the gradients, computes loss and gradients, returns the loss; None where they are.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    self._move(group, w, w.grad)
        return loss

    def _move(self, group: dict[str, Any], w: Tensor, grad: Tensor) -> None:
        state = self.state[w]
        mean = state.setdefault("momentum_buffer", torch.zeros_like(w))
        mean.lerp_(grad, 1 - group["momentum"])
        along = grad.lerp(mean, group["momentum"]) if group["nesterov"] else mean
        w.mul_(1 - group["lr"] * group["weight_decay"])
        if w.ndim < 2:
            w.sub_(along.sign(), alpha=group["lr"])
            return
        matrix = along.reshape(len(w), -1)
        w.sub_(
            orthogonalised(matrix).reshape(w.shape), alpha=group["lr"] * adjustment(group["adjust_lr_fn"], matrix)
        )


def adjustment(kind: str, matrix: Tensor) -> float:
    """The factor that the rate gets for a shape."""
    rows, columns = matrix.shape
    factors = {
        "original": max(1.0, rows / columns) ** 0.5,
        "match_rms_adamw": 0.2 * max(rows, columns) ** 0.5,
        "spectral_unclamped": (rows / columns) ** 0.5,
    }
    return factors.get(kind, 1.0)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T, by Newton-Schulz iterations."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / x.norm().clamp(min=_TINY)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.T

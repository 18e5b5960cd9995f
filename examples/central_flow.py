"""The central flow of gradient descent (Cohen et al. 2024) beside the real path: ``python examples/central_flow.py OUT.png``.

At the edge of stability gradient descent swings along the top eigenvector u of the Hessian, S = 2 / rate, and follows on
average dw/dt = -rate (grad L + grad S s^2 / 2): s^2 is the mean square of the swing, which keeps S from growing,
s^2 = -2 grad S . grad L / |grad S|^2 where that is positive. The loss is on average L(w) + S s^2 / 2. Here one eigenvalue is at
the edge; where a second comes near, the flow needs a matrix in place of s^2, and the script ends there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jvp

from landscape.render.style import ONE_COLUMN, Sheet

_WIDTH, _RATE, _STEPS = 12, 0.25, 400
# Of an eigenvalue at the edge; steps of the mean that the real path is compared by.
_CLOSE, _MEAN = 0.97, 40


@dataclass
class Path:
    """Numbers along a path, one per step of gradient descent."""

    loss: list[float] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    swing: list[float] = field(default_factory=list)


class Problem:
    """A small network in float64, its square loss and derivatives as functions of one vector of weights."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self._model = torch.nn.Sequential(
            torch.nn.Linear(1, _WIDTH), torch.nn.Tanh(), torch.nn.Linear(_WIDTH, 1)
        ).double()
        self._shapes = {name: one.shape for name, one in self._model.named_parameters()}
        self._x = torch.linspace(-1.5, 1.5, 24, dtype=torch.float64)[:, None]
        self._y = torch.sin(2.5 * self._x) + 0.1 * torch.randn(24, 1, generator=generator, dtype=torch.float64)
        self.start = torch.cat([one.detach().flatten() for one in self._model.parameters()])

    def loss(self, w: Tensor) -> Tensor:
        """The mean squared error."""
        parts = w.split([shape.numel() for shape in self._shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}
        return (functional_call(self._model, named, (self._x,)) - self._y).square().mean()

    def top(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The two largest eigenvalues of the Hessian, and the top eigenvector."""
        values, vectors = torch.linalg.eigh(hessian(self.loss)(w))
        return values[[-1, -2]], vectors[:, -1]

    def slope_of_sharpness(self, w: Tensor, u: Tensor) -> Tensor:
        """The gradient of u.H(w) u with u held."""

        def curvature(at: Tensor) -> Tensor:
            return u @ jvp(grad(self.loss), (at,), (u,))[1]

        return grad(curvature)(w)


def descend(problem: Problem, rate: float, steps: int) -> Path:
    """Gradient descent."""
    path, w = Path(), problem.start.clone()
    for _ in range(steps):
        path.loss.append(problem.loss(w).item())
        path.sharpness.append(problem.top(w)[0][0].item())
        w = w - rate * grad(problem.loss)(w)
    return path


def flow(problem: Problem, rate: float, steps: int, parts: int = 2) -> Path:
    """The central flow, in so many parts of a step; it ends where a second eigenvalue comes near the edge."""
    path, w, edge = Path(), problem.start.clone(), 2 / rate
    for _ in range(steps):
        for part in range(parts):
            (sharpness, second), u = problem.top(w)
            if second > _CLOSE * edge:
                return path
            slope, turn = grad(problem.loss)(w), problem.slope_of_sharpness(w, u)
            free = sharpness - rate / parts * turn @ slope
            # As much as keeps the sharpness at the edge over this part.
            square = ((free - edge) * parts / (rate / 2 * turn.square().sum())).clamp(min=0)
            if part == 0:
                path.loss.append((problem.loss(w) + sharpness * square / 2).item())
                path.sharpness.append(sharpness.item())
                path.swing.append(square.item())
            w = w - rate / parts * (slope + square / 2 * turn)
    return path


def smoothed(values: list[float]) -> np.ndarray:
    """Means over a window; nothing at the ends."""
    return np.convolve(values, np.full(_MEAN, 1 / _MEAN), mode="valid")


def main(picture: str) -> None:
    """Follow both, say how they differ, and draw them."""
    problem = Problem()
    real, central = descend(problem, _RATE, _STEPS), flow(problem, _RATE, _STEPS)
    count = len(central.loss)
    at = np.arange(count - _MEAN + 1) + (_MEAN - 1) / 2
    means = {name: smoothed(getattr(real, name)[:count]) for name in ("loss", "sharpness")}
    own = {name: smoothed(getattr(central, name)) for name in means}
    edged = smoothed(central.swing) > 0
    off = {name: np.abs(own[name] / means[name] - 1)[edged] for name in means}
    print(f"{int(edged.sum())} of {count} steps at the edge, 2 / rate = {2 / _RATE:g}")
    for name, one in off.items():
        print(f"time-averaged {name}: off by {100 * np.median(one):.2g} % in the median, {100 * one.max():.2g} % at most")
    sheet = Sheet.grown(ONE_COLUMN, 3.4)
    with sheet.styled():
        upper, lower = sheet.subplots(2, 1, sharex=True)
        for ax, name in ((upper, "loss"), (lower, "sharpness")):
            ax.plot(getattr(real, name)[:count], color="0.75", lw=0.6, label="gradient descent")
            ax.plot(at, means[name], color="0.3", label=f"its mean over {_MEAN} steps")
            ax.plot(getattr(central, name), "--", label="central flow")
            ax.set_ylabel(name)
            ax.spines[["top", "right"]].set_visible(False)
        upper.set_yscale("log")
        upper.legend(loc="upper right")
        lower.axhline(2 / _RATE, color="0.6", lw=0.8, ls=":")
        lower.set_xlabel("step")
    sheet.savefig(picture)


if __name__ == "__main__":
    main(sys.argv[1])

"""Experiments on the orbit of a network under rescaling of its layers (Dinh et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.curvature import Curvature, SymmetricOperator, dense, eigenpairs
from landscape.errors import LandscapeError
from landscape.measures import measure
from landscape.measures.congruence import scaled
from landscape.objective import Objective
from landscape.params import resolve
from landscape.trajectory import Trajectory
from landscape.values.experiment import Experiment, Series

Array = NDArray[np.float64]

_ALPHAS: Array = np.float64(2.0) ** np.arange(-4, 5)
_LINE: Array = np.geomspace(_ALPHAS[0], _ALPHAS[-1], 101)
# Where eigenvalues are too expensive for all.
_FEW: Array = _ALPHAS[::2]
# Of the ball that is cut with a random subspace of so many dimensions.
_RADIUS, _DIMENSIONS = 0.5, 10
# Of theorem 5: how large eigenvalues are to be made.
_LARGE: Array = np.geomspace(1e2, 1e6, 5)


class _Network:
    """The end of a run of a network of linear layers without biases, and its layers from the input."""

    def __init__(self, run: Trajectory, objective: Objective) -> None:
        self.objective = objective
        self.weights: dict[str, Tensor] = {name: t.double() for name, t in run[-1].weights.items()}
        self.layers = list(self.weights)
        self.counts = [self.weights[name].numel() for name in self.layers]

    def scaled(self, factors: Mapping[str, float]) -> dict[str, Tensor]:
        return {name: tensor * factors.get(name, 1.0) for name, tensor in self.weights.items()}

    def at(self, alpha: float) -> dict[str, Tensor]:
        """T_alpha: the first layer times alpha, the last divided."""
        return self.scaled({self.layers[0]: alpha, self.layers[-1]: 1 / alpha})

    def curvature(self, weights: Mapping[str, Tensor]) -> Curvature:
        return Curvature(self.objective, dict(weights), dtype=torch.float64)

    def hessian(self, weights: Mapping[str, Tensor]) -> Array:
        return np.asarray(dense(self.curvature(weights)).numpy())

    def multipliers(self, factors: Mapping[str, float]) -> Array:
        """The diagonal of D: a gradient is divided by what its weight is multiplied with."""
        return np.concatenate(
            [np.full(self.weights[name].numel(), 1 / factors.get(name, 1.0)) for name in self.layers]
        )


def _top(matrix: Array) -> float:
    return float(np.linalg.eigvalsh(matrix)[-1])


def hessian_on_the_orbit(run: Trajectory, objective: Objective) -> Experiment:
    """Largest eigenvalue and trace along the orbit, recomputed, beside those of D H D (theorems 3 and 4)."""
    network = _Network(run, objective)
    before = network.hessian(network.at(1.0))
    first, last = network.layers[0], network.layers[-1]

    def moved(alpha: float) -> Array:
        d = network.multipliers({first: alpha, last: 1 / alpha})
        return before * np.outer(d, d)

    again = [network.hessian(network.at(float(alpha))) for alpha in _ALPHAS]
    counts = np.cumsum(network.counts)
    blocks = np.split(np.diag(before), counts[:-1])
    trace = [float(block.sum()) for block in blocks]
    line = trace[0] / _LINE**2 + trace[-1] * _LINE**2 + sum(trace[1:-1])
    forms = np.array([_top(moved(float(alpha))) for alpha in _ALPHAS])
    return Experiment(
        "Hessian on the orbit",
        "α (first layer times α, last divided)",
        "curvature (log scale)",
        (
            Series("trace, closed form", _LINE, line, line=True),
            Series("trace", _ALPHAS, np.array([float(np.trace(own)) for own in again])),
            Series("largest eigenvalue of DHD", _ALPHAS, forms, line=True),
            Series("largest eigenvalue", _ALPHAS, np.array([_top(own) for own in again])),
        ),
        "xy",
        "Hessians recomputed in float64 at every α",
    )


def gradient_on_the_orbit(run: Trajectory, objective: Objective) -> Experiment:
    """Norm of the gradient along the orbit, recomputed, beside that of the gradient times D (theorems 3 and 6)."""
    network = _Network(run, objective)
    parts = np.split(network.curvature(network.at(1.0)).gradient().numpy(), np.cumsum(network.counts)[:-1])
    squares = [float((part**2).sum()) for part in parts]
    line = np.sqrt(squares[0] / _LINE**2 + squares[-1] * _LINE**2 + sum(squares[1:-1]))
    again = [
        float(np.linalg.norm(network.curvature(network.at(float(alpha))).gradient().numpy())) for alpha in _ALPHAS
    ]
    return Experiment(
        "gradient on the orbit",
        "α (first layer times α, last divided)",
        "norm of the gradient (log scale)",
        (Series("closed form", _LINE, line, line=True), Series("recomputed", _ALPHAS, np.array(again))),
        "xy",
    )


def many_large_eigenvalues(run: Trajectory, objective: Objective) -> Experiment:
    """Number of eigenvalues above M at the point of the orbit that theorem 5 names, beside its bound."""
    network = _Network(run, objective)
    before = network.hessian(network.at(1.0))
    values = np.linalg.eigvalsh(before)
    # Eigenvalues below are rounding.
    positive = values[values > values[-1] * 1e-7]
    smallest = int(np.argmin(network.counts))
    found = []
    for large in _LARGE:
        beta = 1.01 * math.sqrt(large / float(positive[0]))
        power = len(network.layers) - 1
        factors = {
            name: beta**power if place == smallest else 1 / beta for place, name in enumerate(network.layers)
        }
        d = network.multipliers(factors)
        found.append(float((np.linalg.eigvalsh(before * np.outer(d, d)) > large).sum()))
    bound = np.full(len(_LARGE), float(len(positive) - min(network.counts)))
    none = np.array([float((values > large).sum()) for large in _LARGE])
    return Experiment(
        "how many eigenvalues exceed M",
        "M",
        "eigenvalues above M",
        (
            Series("bound of theorem 5", _LARGE, bound, line=True),
            Series("at the point named", _LARGE, np.array(found)),
            Series("before", _LARGE, none),
        ),
        "x",
        f"rank {len(positive)} of {len(values)} parameters, smallest layer {min(network.counts)}",
    )


def sharpness_in_any_ball(run: Trajectory, objective: Objective) -> Experiment:
    """Sharpness that a ball of any radius epsilon holds at alpha = epsilon / |first layer| (section 4.3).

    The ball then holds the point whose first layer is zero, where the network is constant: its loss, without
    biases ln C, gives (ln C - L) / (1 + L) at least.
    """
    network = _Network(run, objective)
    first = network.layers[0]
    norm = float(network.weights[first].norm())
    epsilons = np.geomspace(1e-6, 1e-1, 6)
    found = []
    for epsilon in epsilons:
        here = network.at(float(epsilon) / norm)
        there = {**here, first: torch.zeros_like(here[first])}
        low, high = (objective.value(_as_model(objective, own)) for own in (here, there))
        found.append((high - low) / (1 + low))
    low = objective.value(_as_model(objective, network.at(1.0)))
    classes = network.weights[network.layers[-1]].shape[0]
    bound = np.full(len(epsilons), (math.log(classes) - low) / (1 + low))
    return Experiment(
        "ε-sharpness in a ball of any radius",
        "radius ε",
        "rise of the loss / (1 + loss)",
        (
            Series("(ln C − L) / (1 + L)", epsilons, bound, line=True),
            Series("at a point of the ball", epsilons, np.array(found)),
        ),
        "x",
        f"training loss {low:.3g}, {classes} classes",
    )


def sharpness_in_subspaces(run: Trajectory, objective: Objective) -> Experiment:
    """Sharpness in balls cut with random subspaces, along the orbit: the paper leaves it open."""
    network = _Network(run, objective)
    series = []
    alphas = _ALPHAS[::2]
    for name, subspace in (("whole space", None), (f"random subspace of {_DIMENSIONS}", _DIMENSIONS)):
        settings = {"epsilon": _RADIUS, "restarts": 2, "iterations": 40, "subspace": subspace}
        values = [
            measure(
                objective,
                _as_model(objective, network.at(float(alpha))),
                ["epsilon_sharpness"],
                settings={"epsilon_sharpness": settings},
            )["epsilon_sharpness"].value
            for alpha in alphas
        ]
        series.append(Series(name, alphas, np.array(values)))
    return Experiment(
        f"ε-sharpness on the orbit, ε = {_RADIUS:g}",
        "α (first layer times α, last divided)",
        "rise of the loss / (1 + loss)",
        tuple(series),
        "xy",
    )


def _as_model(objective: Objective, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the types of the model."""
    own = dict(objective.model.named_parameters())
    return {name: tensor.to(own[name].dtype) for name, tensor in weights.items()}


class _Blocks:
    """The end of a run of a residual network, on the orbit of its blocks.

    Between the two convolutions of a block stand batch normalisation and a ReLU: gain and shift times alpha and
    the second convolution divided by it are the same function, running statistics and all.
    """

    def __init__(self, run: Trajectory, objective: Objective) -> None:
        self.objective = objective
        # Running statistics are part of the function.
        self.weights = resolve(run[-1])[1]
        ends = {".bn1.weight": 1, ".bn1.bias": 1, ".conv2.weight": -1}
        self.powers = {name: power for name in self.weights for end, power in ends.items() if name.endswith(end)}
        if not self.powers:
            raise LandscapeError("no residual blocks with batch normalisation", mend="take cifar10-resnet20")

    def at(self, alpha: float) -> Curvature:
        moved = {
            name: t * alpha ** self.powers[name] if name in self.powers else t for name, t in self.weights.items()
        }
        return Curvature(self.objective, moved)

    def multipliers(self, curvature: Curvature, alpha: float) -> Tensor:
        """The diagonal of D."""
        parts = {name: self.weights[name] for name in curvature.names}
        return curvature.flatten(
            {name: torch.full_like(t, alpha ** -self.powers.get(name, 0)) for name, t in parts.items()}
        )


def _on_blocks(title: str, label: str, series: tuple[Series, ...]) -> Experiment:
    return Experiment(
        title,
        "α (gains and shifts times α, second convolutions divided)",
        label,
        series,
        "xy",
        "all blocks at once",
    )


def hessian_of_residual_blocks(run: Trajectory, objective: Objective) -> Experiment:
    """Largest eigenvalue on the orbit of residual blocks with batch normalisation, beside that of D H D."""
    blocks = _Blocks(run, objective)
    before = blocks.at(1.0)
    again = [_largest(blocks.at(float(alpha))) for alpha in _FEW]
    forms = [_largest(scaled(before, blocks.multipliers(before, float(alpha)))) for alpha in _FEW]
    return _on_blocks(
        "Hessian of a residual network",
        "largest eigenvalue (log scale)",
        (Series("of DHD", _FEW, np.array(forms), line=True), Series("recomputed", _FEW, np.array(again))),
    )


def _largest(operator: SymmetricOperator) -> float:
    return float(eigenpairs(operator, tol=1e-3, max_products=200).values[0])


def gradient_of_residual_blocks(run: Trajectory, objective: Objective) -> Experiment:
    """Norm of the gradient and loss on the orbit of residual blocks with batch normalisation."""
    blocks = _Blocks(run, objective)
    before = blocks.at(1.0)
    gradient = before.gradient()
    line = [float((gradient * blocks.multipliers(before, float(alpha))).norm()) for alpha in _LINE]
    moved = [blocks.at(float(alpha)) for alpha in _ALPHAS]
    return _on_blocks(
        "gradient and loss of a residual network",
        "norm, nats (log scale)",
        (
            Series("norm of the gradient, closed form", _LINE, np.array(line), line=True),
            Series("norm of the gradient", _ALPHAS, np.array([float(own.gradient().norm()) for own in moved])),
            Series("loss", _ALPHAS, np.array([own.value() for own in moved])),
        ),
    )

"""Objectives with closed forms, and a short way to take one measure, for the tests of measures."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from landscape.measures.computation import Measured, measure
from landscape.objective import Objective
from landscape.problems.toys import half_squared_error


def take(
    objective, weights, name, *, seed=0, dtype=torch.float64, parameters=None, split="train", **settings
) -> Measured:
    return measure(
        objective,
        weights,
        [name],
        seed=seed,
        dtype=dtype,
        parameters=parameters,
        split=split,
        settings={name: settings},
    )[name]


def quadratic_of(matrix: torch.Tensor, offset: float = 0.0, at: torch.Tensor | None = None):
    """L = offset + (w - at)^T matrix (w - at) / 2 as an objective, and a model at its minimum, 0 unless told."""
    size = len(matrix)
    values, vectors = torch.linalg.eigh(matrix.double())
    rows = (vectors * (values.clamp_min(0) * size).sqrt()).T
    centre = torch.zeros(size, dtype=torch.float64) if at is None else at.double()
    # Two examples per row, one on either side, leave a loss at the minimum.
    x = torch.cat([rows, rows])
    away = math.sqrt(2 * offset)
    y = torch.cat([rows @ centre + away, rows @ centre - away])[:, None]
    model = nn.Linear(size, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(centre[None])
    return Objective(model, loss=half_squared_error, train=(x, y)), model


def spread_matrix(size: int, low: float, high: float, seed: int = 0) -> torch.Tensor:
    """A positive matrix with eigenvalues evenly spaced in the logarithm and random eigenvectors."""
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    return (rotation * torch.logspace(math.log10(low), math.log10(high), size, dtype=torch.float64)) @ rotation.T


def confident_classes(classes: int, loss: float = 0.01):
    """A bias-free two-layer ReLU network with one example and one hidden unit per class, and its loss."""
    model = nn.Sequential(
        nn.Linear(classes, classes, bias=False), nn.ReLU(), nn.Linear(classes, classes, bias=False)
    ).double()
    score = math.log((classes - 1) / math.expm1(loss))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.copy_(math.sqrt(score) * torch.eye(classes, dtype=torch.float64))
    x, y = torch.eye(classes, dtype=torch.float64), torch.arange(classes)
    return Objective(model, loss=F.cross_entropy, train=(x, y)), model


def rescaled(model: nn.Module, alpha: float) -> dict[str, torch.Tensor]:
    """The same function of a network of two layers: the first and its biases times alpha, the second divided."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, last = [name for name, tensor in state.items() if tensor.ndim > 1]
    state[first] *= alpha
    if f"{first.removesuffix('weight')}bias" in state:
        state[f"{first.removesuffix('weight')}bias"] *= alpha
    state[last] /= alpha
    return state


def hidden_net(seed: int = 0, count: int = 40) -> tuple[Objective, nn.Module]:
    """A ReLU network of two layers with biases on random data, float32."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    x, y = torch.randn(count, 5, generator=generator), torch.randint(0, 3, (count,), generator=generator)
    return Objective(model, loss=F.cross_entropy, train=(x, y)), model


class Drawn:
    """Random numbers of a chain in tests."""

    def __init__(self, seed, size):
        self._random, self._size = np.random.default_rng(seed), size

    def normal(self):
        return torch.from_numpy(self._random.standard_normal(self._size))

    def uniform(self):
        return float(self._random.random())

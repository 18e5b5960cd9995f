"""Five small nets with their dense matrices of curvature, made by torch.func alone in float64.

With torch 2.14 torch.func gives wrong second derivatives of `layer_norm` with a weight (wrong by 40 % where finite
differences and a second backward pass agree to all digits), so here it meets plain arithmetic in its place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from conftest import make_convnet
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.objective import Objective


def _layer_norm(x: Tensor, shape: tuple[int, ...], weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    assert len(shape) == 1
    rest = x - x.mean(-1, keepdim=True)
    return rest / (rest.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight + bias


@contextmanager
def elementary() -> Iterator[None]:
    """Kernels that torch.func differentiates twice rightly."""
    with sdpa_kernel(SDPBackend.MATH), patch.object(F, "layer_norm", _layer_norm):
        yield


class Block(nn.Module):
    """A transformer block over vectors, with a class from its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(x).mean(1))


@dataclass(frozen=True)
class Case:
    """A model in float64, its data and its loss.

    Attributes:
        name: Of the case.
        model: In evaluation mode.
        x: Inputs.
        y: Targets.
        loss: The mean over a batch.
    """

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    loss: Callable[..., Tensor]

    @functools.cached_property
    def objective(self) -> Objective:
        return Objective(self.model, loss=self.loss, train=(self.x, self.y), weight_decay=0.1)

    @functools.cached_property
    def weights(self) -> Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])

    def output(self, flat: Tensor) -> Tensor:
        parts, start = {}, 0
        for name, parameter in self.model.named_parameters():
            parts[name] = flat[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        return functional_call(self.model, parts, (self.x,))

    def mean(self, flat: Tensor) -> Tensor:
        return self.loss(self.output(flat), self.y)

    @functools.cached_property
    def gradient(self) -> Tensor:
        with elementary():
            return jacrev(self.mean)(self.weights).detach()

    @functools.cached_property
    def hessian(self) -> Tensor:
        with elementary():
            return jacrev(jacrev(self.mean))(self.weights).detach()

    @functools.cached_property
    def jacobians(self) -> Tensor:
        """Shape (examples, outputs, P)."""
        with elementary():
            return jacrev(self.output)(self.weights).detach()

    @functools.cached_property
    def gauss_newton(self) -> Tensor:
        return torch.einsum("ncp,ncd,ndq->pq", self.jacobians, self._between(), self.jacobians) / len(self.x)

    def _between(self) -> Tensor:
        """The Hessian of an example's loss by its outputs, shape (examples, outputs, outputs)."""
        scores = self.output(self.weights).detach()
        if self.loss is F.cross_entropy:
            p = scores.softmax(1)
            return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        outputs = scores.shape[1]
        return (2 / outputs * torch.eye(outputs, dtype=torch.float64)).expand(len(scores), -1, -1)

    @functools.cached_property
    def empirical_fisher(self) -> Tensor:
        def each(flat: Tensor) -> Tensor:
            shares = self.loss(self.output(flat), self.y, reduction="none")
            return shares if shares.ndim == 1 else shares.mean(1)

        with elementary():
            gradients = jacrev(each)(self.weights).detach()
        return gradients.T @ gradients / len(self.x)


def _seeded(model: nn.Module, scale: float = 0.6) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


def _case(name: str) -> Case:
    generator = torch.Generator().manual_seed(5)

    def inputs(*shape: int) -> Tensor:
        return torch.randn(11, *shape, generator=generator, dtype=torch.float64)

    classes = torch.randint(0, 3, (11,), generator=generator)
    relu = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    tanh = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    smooth = nn.Sequential(nn.Linear(3, 8), nn.Softplus(), nn.Linear(8, 2))
    made: dict[str, tuple[nn.Module, Tensor, Tensor, Callable[..., Tensor]]] = {
        "mlp": (_seeded(relu), inputs(4), classes, F.cross_entropy),
        "cnn": (make_convnet(), inputs(1, 4, 4), classes, F.cross_entropy),
        "tanh": (_seeded(tanh), inputs(4), classes, F.cross_entropy),
        "transformer": (_seeded(Block()), inputs(3, 4), classes, F.cross_entropy),
        "regression": (_seeded(smooth), inputs(3), inputs(2), F.mse_loss),
    }
    model, x, y, loss = made[name]
    return Case(name, model.double().eval(), x, y, loss)


NAMES = ("mlp", "cnn", "tanh", "transformer", "regression")


@functools.cache
def case(name: str) -> Case:
    """A case by its name; made once."""
    return _case(name)


class Matrix:
    """A dense matrix as an operator, which counts its products."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.size = len(matrix)
        self.products = 0

    def __matmul__(self, other: Tensor) -> Tensor:
        self.products += 1 if other.ndim == 1 else other.shape[1]
        return self.matrix @ other

"""Networks whose flattest point is known by other means."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.objective import Objective
from landscape.params import resolve
from landscape.symmetry import Symmetries, find


class Residual(nn.Module):
    """Two blocks on a stream of channels, then a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3)
        self.first, self.second = (nn.Conv2d(3, 5, 3, padding=1, bias=False) for _ in range(2))
        self.back, self.again = (nn.Conv2d(5, 3, 3, padding=1, bias=False) for _ in range(2))
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = x + self.back(F.relu(self.first(x)))
        x = F.relu(x + self.again(F.relu(self.second(x))))
        return self.head(x.mean((2, 3)))


def mlp(*widths: int, bias: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise(widths):
        layers += [nn.Linear(into, out, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def normed() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-2), nn.ReLU()),
        *(nn.Conv2d(4, 3, 2), nn.BatchNorm2d(3, eps=1e-2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)),
    )


class Stream(nn.Module):
    """Channels that a normalisation meets through filters of their own, and a head without it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.own = nn.Conv2d(1, 4, 3, bias=False), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.norm, self.back, self.head = nn.BatchNorm2d(4, eps=1e-2), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head((x + self.back(torch.tanh(self.norm(self.own(x))))).mean((2, 3)))


def silent() -> nn.Sequential:
    """A network in which a channel was constant in training."""
    model = normed()
    model[1].register_buffer("running_var", torch.tensor([0.0, 1.0, 2.0, 0.5]))
    return model


MODELS = {
    "two layers": (lambda: mlp(4, 6, 3, bias=False), (4,)),
    "three layers with biases": (lambda: mlp(4, 6, 5, 3), (4,)),
    "residual": (Residual, (1, 5, 5)),
    "batch normalisation": (normed, (1, 5, 5)),
    "two scales of one variance": (Stream, (1, 5, 5)),
    "a variance of 0": (silent, (1, 5, 5)),
}


def made(name: str, seed: int = 0) -> tuple[Objective, Symmetries]:
    """A network in float64 with weights, biases and statistics of all sizes, and its symmetries."""
    torch.manual_seed(seed)
    build, shape = MODELS[name]
    model = build().double().eval()
    for tensor_name, tensor in resolve(model)[1].items():
        if tensor_name.endswith("running_var"):
            tensor[tensor > 0] = tensor[tensor > 0].uniform_(0.05, 3.0)
        elif tensor.ndim == 1 and tensor.is_floating_point():
            tensor.normal_()
    x = torch.randn(30, *shape, dtype=torch.float64)
    outputs = model(x[:1]).shape[1]
    objective = Objective(model, loss=F.cross_entropy, train=(x, torch.randint(0, outputs, (30,))))
    return objective, find(model, x[:4])

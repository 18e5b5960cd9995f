"""Small models whose derivatives torch gets wrong, lacks, or takes of another function; and some it gets right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint


class Scaled(torch.autograd.Function):
    """x^3 / 3 with a backward that is wrong by a tenth."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3 / 3

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Tensor:
        return 1.1 * given[0] * ctx.saved_tensors[0] ** 2


class HalfSecond(Scaled):
    """x^3 / 3 with a right backward whose own derivative lacks a half."""

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return given[0] * x * x.detach()


class Once(Scaled):
    """x^3 / 3 with a backward that cannot be differentiated."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor) -> Tensor:
        return given[0] * ctx.saved_tensors[0] ** 2


class Right(Scaled):
    """x^3 / 3, all right."""

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Tensor:
        return given[0] * ctx.saved_tensors[0] ** 2


class Straight(torch.autograd.Function):
    """Rounding to a grid whose backward is the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x * 8) / 8

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Tensor:
        return given[0]


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Quantised(nn.Linear):
    """A linear layer with weights on a grid, and the gradient of one without."""

    def forward(self, x: Tensor) -> Tensor:
        rounded = self.weight + ((self.weight * 16).round() / 16 - self.weight).detach()
        return F.linear(x, rounded, self.bias)


class FakeQuantised(nn.Linear):
    """The same by torch's own operation."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, torch.fake_quantize_per_tensor_affine(self.weight, 0.01, 0, -128, 127), self.bias)


class Checkpointed(nn.Module):
    """Two blocks under checkpoints."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b):
            x = checkpoint(lambda given, layer=layer: layer(given).tanh(), x, use_reentrant=self.reentrant)
        return self.c(x)


class Detached(nn.Module):
    """A network whose output has a part without a gradient."""

    def __init__(self, detach: bool = True) -> None:
        super().__init__()
        self.body, self.head, self.detach = nn.Linear(4, 5), nn.Linear(5, 3), detach

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x).tanh()
        target = hidden.detach() if self.detach else hidden
        return self.head(hidden) + 0.1 * target.mean(1, keepdim=True) * self.head.weight.sum(1)


class Words(nn.Module):
    """An embedding with sparse gradients."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.head = kind, nn.Linear(4, 3)
        if kind == "bag":
            self.words: nn.Module = nn.EmbeddingBag(9, 4, sparse=True)
        else:
            self.words = nn.Embedding(9, 4, sparse=kind == "module")

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "bag":
            return self.head(self.words(x).tanh())
        found = F.embedding(x, self.words.weight, sparse=True) if self.kind == "function" else self.words(x)
        return self.head(found.mean(1).tanh())


def layered(make: Callable[[], nn.Module], width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), make(), nn.Linear(width, 3))


def through(function: Any) -> nn.Module:
    return layered(lambda: Apply(function.apply))


def quantised(layer: type[nn.Linear]) -> nn.Module:
    return nn.Sequential(layer(4, 5), nn.Tanh(), nn.Linear(5, 3))


def old_weight_norm() -> nn.Module:
    return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.utils.weight_norm(nn.Linear(5, 3)))


def new_weight_norm() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Linear(4, 5)), nn.Tanh(), weight_norm(nn.Linear(5, 3), dim=1))


def encoder() -> nn.Module:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(torch.stack([x, x.roll(1, 1), -x], 1))[:, 0])

    return Encoder()


def attention(bias: bool = False) -> nn.Module:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.head, self.bias = nn.Linear(4, 12), nn.Linear(4, 3), nn.Parameter(torch.randn(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(torch.stack([x, x.roll(1, 1), -x], 1)).chunk(3, -1)
            mask = self.bias if bias else None
            return self.head(F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], mask)[:, 0, 0])

    return Heads()


# Name -> model, all of whose derivatives are right as they are.
RIGHT: dict[str, Callable[[], nn.Module]] = {
    "tanh": lambda: layered(nn.Identity),
    "right function": lambda: through(Right),
    "layer norm": lambda: layered(lambda: nn.LayerNorm(5)),
    "layer norm without weight": lambda: layered(lambda: nn.LayerNorm(5, elementwise_affine=False)),
    "group norm": lambda: layered(lambda: nn.GroupNorm(2, 6), 6),
    "rms norm": lambda: layered(lambda: nn.RMSNorm(5)),
    "batch norm": lambda: layered(lambda: nn.BatchNorm1d(5)),
    "encoder layer": encoder,
    "attention": attention,
    "attention with a learned bias": lambda: attention(bias=True),
    "plain checkpoint": lambda: Checkpointed(False),
    "no detached part": lambda: Detached(False),
}
# Name -> (model, the attribute of `Derivatives` that mends it).
CURED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "reentrant checkpoint": (lambda: Checkpointed(True), "unchecked"),
    "weight norm by a hook": (old_weight_norm, "plain"),
    "weight norm by a parametrization": (new_weight_norm, "plain"),
    "wrong second derivative": (lambda: through(HalfSecond), "differenced"),
    "no second derivative": (lambda: through(Once), "differenced"),
}
# Name -> (model, words of the refusal).
REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "wrong backward": (lambda: through(Scaled), "^2: .*'Scaled' is not the derivative of its forward"),
    "detached part": (Detached, "part of the loss is detached"),
    "rounded activations": (lambda: through(Straight), "moves in jumps .rounding or quantisation"),
    "quantised weights": (
        lambda: nn.Sequential(Quantised(4, 5), nn.Tanh(), nn.Linear(5, 3)),
        "0: .*moves in jumps",
    ),
    "fake quantised weights": (lambda: nn.Sequential(FakeQuantised(4, 5), nn.Tanh(), nn.Linear(5, 3)), "in jumps"),
}

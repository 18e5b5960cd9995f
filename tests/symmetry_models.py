"""Models of many kinds, small, with weights in general position; and models put together at random."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.problems.convnets import cnn6, digits_cnn, vgg9
from landscape.problems.mlp import mlp
from landscape.problems.resnet import ResNet
from landscape.problems.transformer import Transformer

with warnings.catch_warnings():
    # They warn while they are imported; their warnings are theirs to mend.
    warnings.simplefilter("ignore")
    import torchvision
    import transformers


class TiedAutoencoder(nn.Module):
    """One matrix used twice, the second time transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 5))
        self.bias = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.relu(F.linear(x, self.weight, self.bias)), self.weight.t())


def gpt2() -> nn.Module:
    sizes = {"vocab_size": 40, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(bos_token_id=0, eos_token_id=0, **sizes))


def llama() -> nn.Module:
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 1}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(bos_token_id=0, eos_token_id=0, max_position_embeddings=16, **heads, **sizes)
    )


def vit() -> nn.Module:
    sizes = {"image_size": 16, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24}
    return torchvision.models.VisionTransformer(num_classes=5, **sizes)


def vgg11() -> nn.Module:
    """torchvision's, with narrower linear layers: those of the original have 120 million weights."""
    model = torchvision.models.vgg11(num_classes=10)
    model.classifier[0] = nn.Linear(512 * 49, 16)
    model.classifier[3] = nn.Linear(16, 16)
    model.classifier[6] = nn.Linear(16, 10)
    return model


def images(size: int, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, size, size)


def tokens(kinds: int = 40) -> Tensor:
    return torch.randint(0, kinds, (2, 6))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "digits-mlp": (lambda: mlp(64, 12, 2, 10), lambda: torch.randn(4, 64)),
    "mlp-leaky": (lambda: mlp(6, 9, 3, 4, nonlinearity="leaky-relu"), lambda: torch.randn(4, 6)),
    "mlp-tanh": (lambda: mlp(6, 9, 2, 4, nonlinearity="tanh"), lambda: torch.randn(4, 6)),
    "toy-hyperbola": (
        lambda: nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)),
        lambda: torch.ones(1, 1),
    ),
    "digits-cnn": (lambda: digits_cnn(4), lambda: images(8, 1)),
    "cifar10-cnn6": (lambda: cnn6(4), lambda: images(32)),
    "cifar10-vgg9": (lambda: vgg9(4), lambda: images(32)),
    "cifar10-resnet20": (lambda: ResNet(20, 4), lambda: images(8)),
    "cifar10-resnet20-noskip": (lambda: ResNet(20, 4, skip=False), lambda: images(8)),
    "text-transformer": (lambda: Transformer(1, 16, 2, 8), lambda: tokens(256)),
    "untied-transformer": (lambda: Transformer(1, 16, 2, 8, tied=False, nonlinearity="relu"), lambda: tokens(256)),
    "torchvision-resnet18": (lambda: torchvision.models.resnet18(num_classes=10), lambda: images(32)),
    "torchvision-vgg11": (vgg11, lambda: images(32)),
    "torchvision-vit": (vit, lambda: images(16)),
    "gpt2": (gpt2, tokens),
    "llama": (llama, tokens),
    "tied": (TiedAutoencoder, lambda: torch.randn(3, 5)),
    "multi-head": (lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), lambda: torch.randn(2, 3, 8)),
}
LARGE = ("torchvision-resnet18", "torchvision-vgg11")


def shake(model: nn.Module, seed: int = 0) -> nn.Module:
    """No weight 0 or equal to another, statistics that differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and "inv_freq" not in name:
                noise = torch.randn(tensor.shape, generator=generator)
                if name.endswith("running_var"):
                    tensor.mul_(torch.exp(0.5 * noise))
                else:
                    tensor.add_((0.1 if tensor.ndim < 2 else 0.02) * noise)
    return model.eval()


def build(name: str, seed: int = 0) -> tuple[nn.Module, Any]:
    """A model of the table and an example input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make, inputs = MODELS[name]
        return shake(make(), seed), inputs()


WIDTH = 6


class RandomNet(nn.Module):
    """Layers, shared layers, functional calls, sums, products, concatenations and reshapes in a random order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)

        def pick(count: int) -> int:
            return int(torch.randint(0, count, (), generator=draw))

        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=pick(2) == 0) for _ in range(8))
        self.wide = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(3))
        self.norms = nn.ModuleList([nn.BatchNorm1d(WIDTH, eps=1e-2), nn.LayerNorm(WIDTH), nn.BatchNorm1d(WIDTH)])
        self.free = nn.ParameterList(nn.Parameter(torch.randn(WIDTH, WIDTH)) for _ in range(3))
        self.gains = nn.ParameterList(nn.Parameter(torch.rand(WIDTH) + 0.5) for _ in range(3))
        self.convolution = nn.Conv1d(2, 3, 2, padding=1)
        self.head = nn.Linear(WIDTH, 3)
        self.program = [(_STEPS[pick(len(_STEPS))], pick(1000), pick(1000)) for _ in range(9)]

    def forward(self, x: Tensor) -> Tensor:
        pool = [x, self.layers[0](x)]
        for step, i, j in self.program:
            pool.append(step(self, pool[-1 - i % min(3, len(pool))], pool[j % len(pool)], i))
        return self.head(pool[-1]) + 0.1 * self.head(pool[-2])


def _plain(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return F.relu(net.layers[i % 8](a))


def _activation(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return (torch.relu, F.leaky_relu, torch.tanh, torch.abs, F.silu, F.hardtanh)[i % 6](net.layers[i % 7](a))


def _functional(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return torch.relu(a @ net.free[i % 3]) if i % 2 else F.linear(a, net.free[i % 3])


def _sum(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return torch.relu(a + b)


def _difference(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return a - 0.5 * b


def _gate(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return torch.sigmoid(a) * b if i % 2 else a * net.gains[i % 3]


def _concatenated(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return torch.relu(net.wide[i % 3](torch.cat([a, b], -1)))


def _halves(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    first, second = net.wide[i % 3](torch.cat([b, a], -1)).chunk(2, -1)
    return torch.cat([torch.relu(first), second], -1)


def _normalised(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return net.norms[i % 3](a)


def _reshaped(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    cut = a.view(-1, 2, 3)
    return (
        cut.transpose(1, 2).reshape(-1, WIDTH),
        cut.flip(1).flatten(1),
        a.roll(1, -1),
        a[:, [3, 1, 5, 0, 2, 4]],
    )[i % 4]


def _pooled(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    pairs = a.unflatten(1, (3, 2))
    best = pairs.amax(2) if i % 2 else pairs.mean(2)
    return torch.cat([best, b[:, :3]], 1)


def _convolved(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return F.max_pool1d(torch.relu(net.convolution(a.view(-1, 2, 3))), 2).flatten(1)


def _attention(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    q, k, v = (F.linear(part, net.free[n]).view(1, -1, 2, 3).transpose(1, 2) for n, part in enumerate((a, b, a)))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, WIDTH)


def _centred(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    return a - a.mean(-1, keepdim=True) if i % 2 else a / (1 + b.square().mean(-1, keepdim=True))


def _in_place(net: RandomNet, a: Tensor, b: Tensor, i: int) -> Tensor:
    made = net.layers[i % 8](a)
    made += b
    return F.relu(made, inplace=True)


_STEPS = (
    *(_plain, _plain, _activation, _functional, _sum, _difference, _gate, _concatenated, _halves, _normalised),
    *(_reshaped, _pooled, _convolved, _attention, _centred, _in_place),
)

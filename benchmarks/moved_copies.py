"""Copies moved by random elements of all symmetries, aligned back: ``python -m benchmarks.moved_copies``.

Twelve architectures, shrunk, with random weights in general position. A copy that alignment brings back has the
weights of the original up to rounding, and no barrier lies between the two.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import machine
from landscape.params import Tensors
from landscape.problems.resnet import ResNet
from landscape.problems.transformer import Transformer
from landscape.symmetry import Symmetries, find

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers
    from torchvision import models

_PAGE = Path(__file__).parent / "COPIES.md"
# Random elements of each architecture; the worst counts.
_SEEDS = (1, 2, 3)
_EXAMPLES, _POINTS, _VOCABULARY, _LENGTH, _CLASSES = 64, 11, 40, 8, 5
# Of the weights, to see what it does to the loss.
_ROUNDINGS = 8
# What counts as back, relative to the norm of the weights: float32 leaves 1e-7.
_BACK = 1e-5
_SIZES = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 16,
    "pad_token_id": None,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


class _Lstm(nn.Module):
    """Two recurrent layers between a table and a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(_VOCABULARY, 8), nn.Linear(12, _CLASSES)
        self.recurrent = nn.LSTM(8, 12, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.head(self.recurrent(self.table(tokens))[0])
        return found


def _language(name: str, head: str, **config: Any) -> nn.Module:
    made: nn.Module = getattr(transformers, name + head)(
        getattr(transformers, f"{name}Config")(**(_SIZES | config))
    )
    return made


def _convnext() -> nn.Module:
    block = models.convnext.CNBlockConfig
    return models.convnext.ConvNeXt([block(8, 16, 2), block(16, None, 2)], num_classes=_CLASSES)


def _mobilenet() -> nn.Module:
    blocks = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]]
    return models.MobileNetV2(num_classes=_CLASSES, width_mult=0.25, inverted_residual_setting=blocks)


def _swin() -> nn.Module:
    return models.SwinTransformer([2, 2], 8, [2, 2], [2, 4], [2, 2], num_classes=_CLASSES)


# Name -> a model, and the length of the sides of the images that it takes, or None for tokens.
ARCHITECTURES: Mapping[str, tuple[Callable[[], nn.Module], int | None]] = {
    "GPT-2": (partial(_language, "GPT2", "LMHeadModel"), None),
    "Llama": (partial(_language, "Llama", "ForCausalLM", num_key_value_heads=2), None),
    "Qwen 3": (partial(_language, "Qwen3", "ForCausalLM", num_key_value_heads=2, head_dim=4), None),
    "Gemma": (partial(_language, "Gemma", "ForCausalLM", num_key_value_heads=1, head_dim=4), None),
    "BERT": (partial(_language, "Bert", "ForMaskedLM"), None),
    "ViT": (lambda: models.VisionTransformer(16, 4, 2, 2, 16, 24, num_classes=_CLASSES), 16),
    "Swin": (_swin, 16),
    "ConvNeXt": (_convnext, 16),
    "MobileNet 2": (_mobilenet, 32),
    "ResNet-20": (lambda: ResNet(20, 4), 16),
    "LSTM": (_Lstm, None),
    "text-transformer": (lambda: Transformer(2, 16, 2, _LENGTH), None),
}


@dataclass(frozen=True)
class Return:
    """A copy that was moved and aligned.

    Attributes:
        before: Distance of the moved copy from the original, relative to the norm of the original.
        after: The same of the aligned copy.
        barrier: max L(t) - (L(0) + L(1)) / 2 on the line from the original to the aligned copy, in nats.
        error: Its standard error over examples and what rounding explains, added in squares.
        moved_barrier: The barrier to the moved copy.
        seconds: Of one core, of the alignment.
    """

    before: float
    after: float
    barrier: float
    error: float
    moved_barrier: float
    seconds: float

    @property
    def is_back(self) -> bool:
        """Return whether nothing but rounding is left."""
        return self.after <= _BACK and self.barrier <= self.error


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A model in general position (random weights, none 0 or equal to another), and inputs."""
    make, side = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        x = (
            torch.randint(0, _VOCABULARY, (_EXAMPLES, _LENGTH))
            if side is None
            else torch.randn(_EXAMPLES, 3, side, side)
        )
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim < 2:
                    parameter.add_(0.1 * torch.randn_like(parameter))
                else:
                    parameter.copy_(torch.randn_like(parameter) * parameter[0].numel() ** -0.5)
            # Statistics of these inputs, where there are any.
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None
            model.train()(x)
    return model.eval(), x


def returned(model: nn.Module, x: Tensor, symmetries: Symmetries, seed: int) -> Return:
    """Move a copy by a random element of everything that was found, and align it with the original."""
    own = {name: tensor.clone() for name, tensor in symmetries.complete(model).items()}
    moved = symmetries.random(own, seed)
    start = time.process_time()
    back = symmetries.align(own, moved)
    seconds = time.process_time() - start
    losses = _losses(model, x)
    barrier, sampling = _barrier(losses, own, back)
    # The original and the moved copy are both of float32, and what alignment begins with.
    error = math.hypot(sampling, _rounding(losses, own) + _rounding(losses, moved))
    return Return(_apart(own, moved), _apart(own, back), barrier, error, _barrier(losses, own, moved)[0], seconds)


def _apart(a: Tensors, b: Tensors) -> float:
    real = [name for name, tensor in a.items() if tensor.is_floating_point()]
    apart, norm = (
        sum(float(one.double().square().sum()) for one in several)
        for several in ((a[name].double() - b[name].double() for name in real), (a[name] for name in real))
    )
    return float((apart / norm) ** 0.5)


def _losses(model: nn.Module, x: Tensor) -> Callable[[Tensors], Tensor]:
    """The loss of each example as a function of weights; labels are what the model itself finds likeliest."""

    def scores(weights: Tensors) -> Tensor:
        with torch.no_grad():
            found: Any = torch.func.functional_call(model, weights, (x,))
        return (found if isinstance(found, Tensor) else found.logits).flatten(0, -2)

    labels = scores({}).argmax(-1)

    def losses(weights: Tensors) -> Tensor:
        each = F.cross_entropy(scores(weights), labels, reduction="none")
        return each.double().reshape(len(x), -1).mean(1)

    return losses


def _barrier(losses: Callable[[Tensors], Tensor], a: Tensors, b: Tensors) -> tuple[float, float]:
    """The barrier between two sets of weights, and its standard error over examples."""

    def between(name: str, t: float) -> Tensor:
        return torch.lerp(a[name], b[name], t) if a[name].is_floating_point() else a[name]

    line = torch.stack([losses({name: between(name, t / (_POINTS - 1)) for name in a}) for t in range(_POINTS)])
    heights = line - (line[0] + line[-1]) / 2
    top = heights[int(heights.mean(1).argmax())]
    sampling = float(top.std()) / len(top) ** 0.5
    return float(top.mean()), sampling


def _rounding(losses: Callable[[Tensors], Tensor], weights: Tensors) -> float:
    """The most that the last bit of all weights, up or down at random, does to the mean loss."""
    source = torch.Generator().manual_seed(0)
    own = losses(weights).mean()
    return max(abs(float(losses(_rounded(weights, source)).mean() - own)) for _ in range(_ROUNDINGS))


def _rounded(weights: Tensors, source: torch.Generator) -> Tensors:
    """Weights whose last bit went up or down at random, or stayed."""
    eps = torch.finfo(torch.float32).eps
    return {
        name: tensor * (1 + eps * torch.randint(-1, 2, tensor.shape, generator=source))
        if tensor.is_floating_point()
        else tensor
        for name, tensor in weights.items()
    }


def _row(name: str) -> str:
    model, x = made(name)
    start = time.process_time()
    symmetries = find(model, x[:4])
    seconds = time.process_time() - start
    units: Counter[str] = Counter()
    for one in symmetries.generators:
        units[one.kind] += one.units
    found = [returned(model, x, symmetries, seed) for seed in _SEEDS]
    worst = max(found, key=lambda one: (not one.is_back, one.after))
    cells = [
        name,
        f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        ", ".join(f"{kind} {count}" for kind, count in units.items()),
        f"{sum(one.dimension for one in symmetries.generators):,}",
        f"{worst.before:.2f}",
        f"{worst.after:.1e}",
        f"{worst.moved_barrier:.3f}",
        f"{worst.barrier:.1e} ± {worst.error:.1e}",
        f"{seconds:.1f} and {max(one.seconds for one in found):.1f}",
        "yes" if all(one.is_back for one in found) else "**no**",
    ]
    return "| " + " | ".join(cells) + " |"


_HEAD = f"""# Moved copies brought back

Made by `python -m benchmarks.moved_copies`; do not edit. Small networks with random weights in float32; of each,
{len(_SEEDS)} copies, moved by random elements of all symmetries found together (`symmetries.random`) and aligned
with the original (`symmetries.align`). The worst of the copies is shown.

- *found*: kinds of symmetries, and of how many units; *parameters*: continuous ones, the sum over kinds, which
  overlap.
- *before*, *after*: Euclidean distance from the original, relative to its norm.
- *barrier before*, *after*: max L(t) - (L(0) + L(1)) / 2 on the line to the original over {_POINTS} points,
  in nats, of {_EXAMPLES} random inputs, labelled by the network itself; behind ± the standard error over inputs
  and what rounding explains, added in squares: the most that the last bit of all weights, up or down at random,
  does to the loss of the original in {_ROUNDINGS} draws, and the same of the moved copy.
- *seconds* of one core: of finding the symmetries, and of one alignment.
- *back*: distance at most {_BACK:g} and a barrier within its error, of every copy.

| architecture | weights | found | parameters | before | after | barrier before | barrier after | seconds | back |
|---|---|---|---|---|---|---|---|---|---|
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Move, align, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=_PAGE)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = [_row(name) for name in ARCHITECTURES]
    told = machine.describe()
    versions = f"{told['versions'].partition(', numpy')[0]}, transformers {transformers.__version__}"
    page = _HEAD + "\n".join(rows) + f"\n\n{told['date']}, {versions}.\n"
    given.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

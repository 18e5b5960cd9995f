"""Data on the kinks of a network: where they lie exactly on one, derivatives are those of one side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.curvature.passes import Batch, Passes
from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.objective import Objective
from landscape.objective.dispatch import DispatchMode
from landscape.params import Weights, resolve
from landscape.values.result import Result

# Operations with a kink at 0.
_AT_ZERO = ("relu", "leaky_relu", "_prelu_kernel", "threshold", "clamp_min", "clamp", "abs", "rrelu")
# Examples that are looked at, and all of them up to so many numbers, examples x parameters: two passes each.
_EXAMPLES, _NUMBERS = 256, 10**7
# Weights are moved by so many units in the last place of their type, but by so much at least.
_UNITS, _LEAST = 4, 1e-12
# Of generic weights hardly one in a million values lies so near to a kink; fewer than three are chance.
_CHANCE, _FEWEST = 1e-5, 3


@dataclass(frozen=True)
class Kinks(Result):
    """Values before a kink that rounding the weights carries over it.

    Attributes:
        count: How many.
        total: Of how many.
        examples: Of how many examples, the first ones.
        available: How many there are.
    """

    count: int
    total: int
    examples: int = 0
    available: int = 0

    @property
    def met(self) -> bool:
        """Return whether these are more than chance."""
        return self.count >= max(_FEWEST, _CHANCE * self.total)

    @property
    def note(self) -> str:
        """Meaning of the kinks for derivatives, in a sentence; an empty text where nothing was met."""
        if not self.met:
            return ""
        of = "" if self.examples == self.available else f" of the first {self.examples} examples"
        return (
            f"{self.count} of {self.total} values{of} lie exactly on a kink of the network: derivatives there are "
            "those of one side, and what is made of them is not the curvature of the loss nearby"
        )


class _Signs(DispatchMode):
    """Notes on which side of its kink every value lies."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.split("::")[-1].rstrip("_") in _AT_ZERO:
            self.met.append((args[0] > 0).flatten().cpu())
        return func(*args, **(kwargs or {}))


def kinks(
    objective: Objective, weights: Weights, split: str = "train", parameters: str | Sequence[str] | None = None
) -> Kinks:
    """Count the values before a kink that change sides when the weights are rounded otherwise.

    All examples are looked at where that is quick, and otherwise the first 256.

    Args:
        objective: Model, data and loss.
        weights: Where: a snapshot, a model, or a name -> tensor dictionary.
        split: Which data.
        parameters: Globs that choose some parameters, see `Layout.select`.

    Returns:
        The numbers; none of none where the model cannot be run in float64.
    """
    try:
        passes = Passes(objective, weights, split, parameters, torch.float64, None)
        sides = []
        for sign in (1, -1):
            passes.load(_moved(resolve(weights)[1], objective.layout, sign))
            examples = 0
            with passes.kernels(), torch.no_grad(), _Signs() as signs:
                for batch in _looked_at(passes):
                    passes.loss_of(batch)
                    examples += batch.examples
            sides.append(signs.met)
    except (LandscapeError, RuntimeError):
        return Kinks(0, 0)
    changed = sum(
        int((one != other).sum()) for one, other in zip(*sides, strict=False) if one.shape == other.shape
    )
    available = passes.evaluator.data(split).count
    return Kinks(changed, sum(one.numel() for one in sides[0]), examples, available)


def _looked_at(passes: Passes) -> Iterator[Batch]:
    """All micro-batches, or one of the first examples."""
    count = passes.evaluator.data(passes.split).count
    if not passes.evaluator.streamed and count * passes.vectors.size <= _NUMBERS:
        yield from passes.batches()
    else:
        yield passes.trial(min(_EXAMPLES, passes.evaluator.batch_size))


def _moved(tensors: Mapping[str, Tensor], layout: Layout, sign: int) -> dict[str, Tensor]:
    """Weights rounded at random in the type that the model holds them in, or the other way round."""
    source, moved = torch.Generator().manual_seed(0), {}
    known = {info.name for info in layout}
    for name, tensor in tensors.items():
        moved[name] = tensor
        if tensor.is_floating_point():
            own = getattr(torch, layout[name].dtype) if name in known else tensor.dtype
            size = max(_UNITS * torch.finfo(own).eps, _LEAST)
            signs = 2.0 * torch.randint(0, 2, tensor.shape, generator=source, dtype=torch.float64) - 1.0
            moved[name] = tensor.double() * (1 + sign * size * signs).to(tensor.device)
    return moved

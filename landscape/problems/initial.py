"""Initial weights drawn from a generator of their own: the global random state is neither read nor moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError

ModelT = TypeVar("ModelT", bound=nn.Module)

# He et al. 2015, section 2.2: the variance that keeps the forward signal of a rectifier is 2 / fan-in.
_GAIN = 2.0
# Radford et al. 2018, section 4.1: embeddings are drawn from N(0, 0.02).
_EMBEDDING_STD = 0.02

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


def construct(make: Callable[[], ModelT], seed: int) -> ModelT:
    """A model at the initial weights of a seed, whatever the global random state.

    Args:
        make: Makes the model; what it draws is thrown away.
        seed: Draws the weights.

    Returns:
        The model, in training mode.
    """
    with torch.random.fork_rng(devices=[]):
        model = make()
    return initialise(model, seed)


def initialise(model: ModelT, seed: int) -> ModelT:
    """Draw all parameters of a model afresh and reset its statistics, in place.

    Weights of linear and convolutional layers are N(0, 2 / fan_in), embeddings N(0, 0.02^2), biases 0;
    normalisation layers multiply by 1 and add 0, with running mean 0 and variance 1. A tensor that
    several layers share is drawn once, by the first.

    Args:
        model: A model of linear, convolutional, embedding and normalisation layers.
        seed: Draws the weights.

    Returns:
        The same model.

    Raises:
        LandscapeError: If a parameter belongs to another kind of layer.

    Source:
        He et al. 2015, section 2.2.

    Example:
        >>> model = initialise(nn.Linear(3, 2), seed=0)
        >>> model.bias.tolist()
        [0.0, 0.0]
    """
    generator = torch.Generator().manual_seed(seed)
    drawn: set[int] = set()
    with torch.no_grad():
        for prefix, module in model.named_modules():
            own = dict(module.named_parameters(recurse=False))
            fresh = {name: parameter for name, parameter in own.items() if id(parameter) not in drawn}
            drawn.update(id(parameter) for parameter in own.values())
            _draw(module, fresh, generator, prefix or type(module).__name__)
    return model


def _draw(module: nn.Module, fresh: dict[str, Tensor], generator: torch.Generator, where: str) -> None:
    if isinstance(module, _NORMS):
        module.reset_parameters()
    elif isinstance(module, _WEIGHTED):
        if "weight" in fresh:
            fan_in = fresh["weight"][0].numel()
            fresh["weight"].normal_(0.0, (_GAIN / fan_in) ** 0.5, generator=generator)
        if "bias" in fresh:
            fresh["bias"].zero_()
    elif isinstance(module, nn.Embedding):
        if "weight" in fresh:
            fresh["weight"].normal_(0.0, _EMBEDDING_STD, generator=generator)
    elif fresh:
        raise LandscapeError(
            f"no rule to draw the parameters {', '.join(fresh)}",
            where=where,
            got=type(module).__name__,
            expected="linear, convolutional, embedding and normalisation layers",
        )

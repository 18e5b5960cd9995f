"""Targets that depend on a few directions of the input, to be learnt by two-layer homogeneous networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import LandscapeError
from landscape.problems.catalogue import MultiIndexOptions
from landscape.problems.initial import construct
from landscape.problems.problem import Parts, Source

Array = NDArray[np.float64]

# Of every name in `catalogue.LINKS`.
_LINKS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda t: np.maximum(t, 0),
    "abs": np.abs,
    "linear": lambda t: t,
    "square": np.square,
    "cube": lambda t: t**3,
    "tanh": np.tanh,
    "sine": np.sin,
}


@dataclass(frozen=True)
class MultiIndex:
    """One draw of the data.

    Attributes:
        directions: Shape (indices, dim), orthonormal rows.
        train: Inputs, shape (n, dim) or (n, dim + 1) with the entry 1 last, and noisy targets, shape (n,).
        test: Likewise, without noise.
    """

    directions: Array
    train: tuple[Array, Array]
    test: tuple[Array, Array]


def draw_multi_index(options: MultiIndexOptions) -> MultiIndex:
    """Directions and examples: y = sum_i link(u_i . x) + noise, x of N(0, I).

    Args:
        options: The options of the problem.

    Raises:
        LandscapeError: If there are more directions than dimensions.

    Example:
        >>> draw_multi_index(MultiIndexOptions(dim=5, train_size=7)).train[0].shape
        (7, 6)
    """
    if options.indices > options.dim:
        raise LandscapeError(
            "more directions than dimensions", where="multi-index", got=options.indices, expected=options.dim
        )
    random = np.random.default_rng([options.data_seed, options.dim])
    directions = np.linalg.qr(random.normal(size=(options.dim, options.indices)))[0].T

    def examples(count: int, noise: float) -> tuple[Array, Array]:
        x = random.normal(size=(count, options.dim))
        y = _LINKS[options.link](x @ directions.T).sum(axis=1) + noise * random.normal(size=count)
        return (np.column_stack([x, np.ones(count)]) if options.bias else x), y

    return MultiIndex(directions, examples(options.train_size, options.noise), examples(options.test_size, 0.0))


class Power(nn.Module):
    """max(t, 0)^degree, homogeneous of that degree."""

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.degree = degree

    def forward(self, t: Tensor) -> Tensor:
        """Elementwise."""
        return functional.relu(t) ** self.degree if self.degree > 1 else functional.relu(t)

    def extra_repr(self) -> str:
        """The degree."""
        return str(self.degree)


def make_multi_index(options: MultiIndexOptions, seed: int, source: Source) -> Parts:
    """The parts of ``multi-index``."""
    drawn = draw_multi_index(options)
    inputs = drawn.train[0].shape[1]

    def student() -> nn.Sequential:
        first, last = nn.Linear(inputs, options.width, bias=False), nn.Linear(options.width, 1, bias=False)
        return nn.Sequential(first, Power(options.degree), last)

    train, test = (
        (torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32)[:, None]))
        for x, y in (drawn.train, drawn.test)
    )
    return Parts(construct(student, seed), functional.mse_loss, train, test, unit="")

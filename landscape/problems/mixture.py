"""Two Gaussian clusters in many dimensions, to be told apart by a hyperplane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from landscape.problems.catalogue import MixtureOptions
from landscape.problems.initial import construct
from landscape.problems.problem import Parts, Source
from landscape.problems.toys import half_squared_error


@dataclass(frozen=True)
class Mixture:
    """One draw of the mixture.

    Attributes:
        centre: Shape (N,), v, entries N(0, 1); the clusters are about +- v / sqrt(N).
        train: Inputs, shape (alpha N, N), and labels, shape (alpha N,), -1 or 1.
        test: Likewise, shape (test_size, N) and (test_size,).
    """

    centre: NDArray[np.float64]
    train: tuple[NDArray[np.float64], NDArray[np.float64]]
    test: tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_mixture(options: MixtureOptions) -> Mixture:
    """The centre of the clusters and examples x = y v / sqrt(N) + sqrt(delta) z, z of N(0, 1), P(y = 1) = rho.

    Args:
        options: The options of the problem.

    Source:
        Mignacco et al. 2020, arXiv 2002.11544; Baldassi et al. 2020, arXiv 2010.14761.

    Example:
        >>> draw_mixture(MixtureOptions(dim=10, alpha=3.0)).train[0].shape
        (30, 10)
    """
    random = np.random.default_rng([options.data_seed, options.dim])
    centre = random.normal(size=options.dim)

    def examples(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        y = np.where(random.random(count) < options.rho, 1.0, -1.0)
        noise = random.normal(size=(count, options.dim))
        return y[:, None] * centre / np.sqrt(options.dim) + np.sqrt(options.delta) * noise, y

    return Mixture(centre, examples(max(1, round(options.alpha * options.dim))), examples(options.test_size))


class Scores(nn.Module):
    """One number s as the scores (-s/2, s/2) of two classes, whose cross-entropy is log(1 + exp(-y s))."""

    def forward(self, s: Tensor) -> Tensor:
        """Shape (n, 1) -> (n, 2)."""
        return torch.cat([-s / 2, s / 2], dim=1)


def half_squared_margin(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(s - y)^2 / 2 with s the difference of the scores of classes 1 and 0, and y = -1 or 1."""
    return half_squared_error(output[:, 1] - output[:, 0], 2.0 * target - 1, reduction=reduction)


def make_mixture(options: MixtureOptions, seed: int, source: Source) -> Parts:
    """The parts of ``gaussian-mixture``."""
    drawn = draw_mixture(options)
    model = construct(lambda: nn.Sequential(nn.Linear(options.dim, 1, bias=options.bias), Scores()), seed)
    train, test = (
        (torch.from_numpy(x.astype(np.float32)), torch.from_numpy((y > 0).astype(np.int64)))
        for x, y in (drawn.train, drawn.test)
    )
    square = options.loss == "square"
    loss = half_squared_margin if square else functional.cross_entropy
    return Parts(model, loss, train, test, unit="" if square else "nats")

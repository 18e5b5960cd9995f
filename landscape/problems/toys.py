"""Problems whose landscapes have closed forms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import LandscapeError
from landscape.problems.catalogue import HyperbolaOptions, LinearNetworkOptions, QuadraticOptions
from landscape.problems.initial import construct
from landscape.problems.problem import Parts, Source


@dataclass(frozen=True)
class Quadratic:
    """The function L(theta) = offset + 1/2 (theta - minimiser)^T hessian (theta - minimiser).

    Attributes:
        hessian: Shape (dim, dim), float64, symmetric.
        minimiser: Shape (dim,), float64.
        offset: The least value.
        eigenvalues: Shape (dim,), float64, the curvatures, rising.
        eigenvectors: Shape (dim, dim), float64, the direction of each in its column.
    """

    hessian: np.ndarray
    minimiser: np.ndarray
    offset: float
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray

    def value(self, theta: np.ndarray) -> float:
        """L at theta of shape (dim,)."""
        step = np.asarray(theta, dtype=np.float64) - self.minimiser
        return float(self.offset + 0.5 * step @ self.hessian @ step)


def quadratic(options: QuadraticOptions) -> Quadratic:
    """The closed form of ``toy-quadratic``.

    The curvatures are spaced evenly in the logarithm between ``low`` and ``high``, or evenly between them
    where one is 0; their directions are a random rotation, the minimiser is N(0, 1).

    Args:
        options: The options of the problem.

    Returns:
        The function, in float64.

    Example:
        >>> form = quadratic(QuadraticOptions(dim=3, low=1.0, high=4.0))
        >>> form.eigenvalues.tolist()
        [1.0, 2.0, 4.0]
    """
    random = np.random.default_rng([options.data_seed, options.dim])
    rotation, _ = np.linalg.qr(random.normal(size=(options.dim, options.dim)))
    low, high = sorted((options.low, options.high))
    space = np.geomspace if low > 0 else np.linspace
    eigenvalues = space(low, high, options.dim)
    return Quadratic(
        hessian=(rotation * eigenvalues) @ rotation.T,
        minimiser=random.normal(size=options.dim),
        offset=options.offset,
        eigenvalues=eigenvalues,
        eigenvectors=rotation,
    )


def learning_coefficient(options: LinearNetworkOptions) -> tuple[float, int]:
    """Learning coefficient and its multiplicity of ``toy-linear-network`` at the start.

    With widths M, H, N, rank r and s = M + H + N + r: where none of H + r, M + r, N + r exceeds the sum of the
    other two widths, (2 (H + r)(M + N) + 2 M N - (H + r)^2 - M^2 - N^2) / 8 with multiplicity 1 if s is even, and
    1/8 more with multiplicity 2 if it is odd; otherwise (H M - H r + N r) / 2 where M + H < N + r, the same with M
    and N exchanged where N + H < M + r, and M N / 2 where M + N < H + r.

    Returns:
        The coefficient and the multiplicity.

    Source:
        Aoyagi & Watanabe 2005, Stochastic complexities of reduced rank regression, main theorem.

    Example:
        >>> [learning_coefficient(LinearNetworkOptions(3, hidden, 3))[0] for hidden in (3, 5, 7)]
        [3.5, 4.5, 4.5]
    """
    m, h, n, r = options.inputs, options.hidden, options.outputs, options.rank
    if m + h < n + r:
        return (h * m - h * r + n * r) / 2, 1
    if n + h < m + r:
        return (h * n - h * r + m * r) / 2, 1
    if m + n < h + r:
        return m * n / 2, 1
    odd = (m + h + n + r) % 2
    return (2 * (h + r) * (m + n) + 2 * m * n - (h + r) ** 2 - m * m - n * n + odd) / 8, 1 + odd


def half_squared_error(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Half the squared difference, in the manner of `torch.nn.functional.mse_loss`."""
    return 0.5 * functional.mse_loss(output, target, reduction=reduction)


def make_hyperbola(options: HyperbolaOptions, seed: int, source: Source) -> Parts:
    """(theta1 theta2 - 1)^2 as the squared error of a chain of two weights on the example 1 -> 1."""

    def chain() -> nn.Sequential:
        return nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))

    model = construct(chain, seed)
    with torch.no_grad():
        for parameter, start in zip(model.parameters(), (options.start1, options.start2), strict=True):
            parameter.fill_(start)
    return Parts(model, functional.mse_loss, (torch.ones(1, 1), torch.ones(1, 1)), unit="")


def make_linear_network(options: LinearNetworkOptions, seed: int, source: Source) -> Parts:
    """Half the squared Frobenius distance |B A - C|^2, C with ones on the first places of its diagonal.

    A and B have ones there too, and zeros elsewhere: the minimum at which the set of minima is most singular.
    """
    m, h, n, rank = options.inputs, options.hidden, options.outputs, options.rank
    if rank > min(m, h, n):
        raise LandscapeError(
            "the rank is larger than a width",
            where="toy-linear-network",
            got=rank,
            expected=f"at most {min(m, h, n)}",
        )
    model = construct(
        lambda: nn.Sequential(nn.Linear(m, h, bias=False), nn.Linear(h, n, bias=False)), seed
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()[range(rank), range(rank)] = 1.0
    # The loss is a mean over examples and outputs.
    x = torch.eye(m, dtype=torch.float64) * (m * n) ** 0.5
    y = torch.zeros(m, n, dtype=torch.float64)
    y[range(rank), range(rank)] = (m * n) ** 0.5
    return Parts(model, half_squared_error, (x, y), unit="")


def make_quadratic(options: QuadraticOptions, seed: int, source: Source) -> Parts:
    """Linear regression on two examples per direction of curvature, one above the plane and one below.

    With inputs a_i = sqrt(dim * lambda_i) q_i and targets a_i . c +- s, the mean over the 2 dim examples of
    half the squared error is 1/2 (theta - c)^T H (theta - c) + s^2 / 2, so s = sqrt(2 offset).
    """
    form = quadratic(options)
    dtype = getattr(torch, options.dtype)
    rows = (form.eigenvectors * np.sqrt(options.dim * form.eigenvalues)).T
    spread = np.sqrt(2 * options.offset)
    targets = np.concatenate([rows @ form.minimiser + spread, rows @ form.minimiser - spread])
    x = torch.from_numpy(np.concatenate([rows, rows])).to(dtype)
    y = torch.from_numpy(targets[:, None]).to(dtype)
    model = construct(lambda: nn.Linear(options.dim, 1, bias=False), seed).to(dtype)
    return Parts(model, half_squared_error, (x, y), unit="")

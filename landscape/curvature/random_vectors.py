"""Random vectors that probe a matrix, and the sums over them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.curvature.matrix import SymmetricOperator
from landscape.errors import LandscapeError
from landscape.values.result import Result

# Vectors are held in float64 as long as a set of them takes less; beyond, in the type of the operator.
_WIDE_BYTES = 2**29


@dataclass(frozen=True)
class Estimate(Result):
    """A number that random probes estimated, or that was computed exactly.

    Attributes:
        value: The number.
        standard_error: Of the value; 0 where it is exact.
        products: Products with one vector that it took.
        method: How it was found.
    """

    value: float
    standard_error: float
    products: int
    method: str


def vector_type(operator: SymmetricOperator, columns: int) -> torch.dtype:
    """The element type in which so many vectors are held."""
    own: torch.dtype = getattr(operator, "dtype", torch.float64)
    device = device_of(operator)
    if device.type == "mps" or operator.size * columns * 8 > _WIDE_BYTES:
        return own
    return torch.float64


def device_of(operator: SymmetricOperator) -> torch.device:
    """Where the operator computes; its vectors are kept there."""
    device: torch.device = getattr(operator, "device", torch.device("cpu"))
    return device


def generator_of(seed: int) -> torch.Generator:
    """A stream of random numbers, drawn on the CPU so that all devices meet the same."""
    return torch.Generator().manual_seed(seed)


def normal(operator: SymmetricOperator, columns: int, generator: torch.Generator) -> Tensor:
    """Standard normal vectors, shape (P, columns)."""
    drawn = torch.randn(columns, operator.size, generator=generator, dtype=vector_type(operator, columns))
    return drawn.to(device_of(operator)).T


def signs(operator: SymmetricOperator, columns: int, generator: torch.Generator) -> Tensor:
    """Vectors of random signs (Rademacher), shape (P, columns)."""
    drawn = torch.randint(0, 2, (columns, operator.size), generator=generator, dtype=torch.int8)
    return (2 * drawn - 1).to(device_of(operator), vector_type(operator, columns)).T


def mean_and_error(samples: Tensor) -> tuple[float, float]:
    """The mean of independent samples, shape (n,), and its standard error."""
    wide = samples.double()
    return float(wide.mean()), float(wide.std()) / math.sqrt(len(wide))


def require_samples(samples: int, fewest: int) -> None:
    """Check a number of products.

    Raises:
        LandscapeError: If there are too few to tell an error from.
    """
    if samples < fewest:
        raise LandscapeError(
            "too few products to tell the error", where="samples", got=samples, expected=f"{fewest} at least"
        )


def orthonormal(columns: Tensor) -> Tensor:
    """An orthonormal basis of what columns span, shape (P, up to K): directions that are rounding are left out."""
    basis, triangle = torch.linalg.qr(columns)
    sizes = triangle.diagonal().abs()
    # A direction that is left over from the others by rounding alone says nothing.
    kept = sizes > len(columns) ** 0.5 * torch.finfo(columns.dtype).eps * sizes.max()
    return basis[:, kept]

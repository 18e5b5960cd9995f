"""Symmetric matrices that are known by their products, and writing one out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from landscape.errors import LandscapeError

# A dense matrix of float64 takes 0.5 GiB at this size.
_DENSE_LIMIT = 8192
# Columns of a dense matrix that are worked on at once.
_DENSE_COLUMNS = 256


class SymmetricOperator(Protocol):
    """Anything that multiplies vectors by a symmetric matrix of `size` rows; every algorithm here takes it."""

    @property
    def size(self) -> int: ...  # noqa: D102
    def __matmul__(self, other: Tensor) -> Tensor: ...


def dense(operator: SymmetricOperator, progress: Callable[[int], None] | None = None) -> Tensor:
    """The matrix of an operator, made symmetric, shape (P, P), float64.

    Args:
        operator: Multiplies vectors.
        progress: Called with the number of columns done.

    Raises:
        LandscapeError: If it has more than 8,192 rows.
    """
    if operator.size > _DENSE_LIMIT:
        raise LandscapeError(
            "the matrix is too large to be written out",
            where="dense",
            got=f"{operator.size:,} rows",
            expected=f"{_DENSE_LIMIT:,} at most",
            mend="select fewer parameters, or use products with it",
        )
    blocks = []
    for start in range(0, operator.size, _DENSE_COLUMNS):
        stop = min(start + _DENSE_COLUMNS, operator.size)
        blocks.append(operator @ identity_columns(operator, start, stop))
        if progress is not None:
            progress(stop)
    matrix = torch.cat(blocks, 1).double()
    return (matrix + matrix.T) / 2


def identity_columns(operator: SymmetricOperator, start: int, stop: int) -> Tensor:
    """Columns of the identity, shape (P, stop - start), float64, on the CPU."""
    columns = torch.zeros(operator.size, stop - start, dtype=torch.float64)
    columns[torch.arange(start, stop), torch.arange(stop - start)] = 1.0
    return columns

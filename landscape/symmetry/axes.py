"""Dimensions of a tensor along which units lie: one of its own, or several taken as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from landscape.values.result import Result

# Numbers that are moved at once where there is no room for a second copy.
_PIECE = 2**20


@dataclass(frozen=True)
class Joint(Result):
    """Several dimensions of a tensor taken as one, the last changing fastest.

    The inputs of a convolution in groups lie along its groups, a part of the first dimension, and the second one.

    Attributes:
        shape: That of the tensor, some of whose dimensions may be cut in two.
        owners: For each dimension of `shape` the one of the tensor that it is or is a part of.
        dims: Which dimensions of `shape`.
    """

    shape: tuple[int, ...]
    owners: tuple[int, ...]
    dims: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self.shape[dim] for dim in self.dims)


Dim: TypeAlias = "int | Joint"


def joint(shape: Sequence[int], dims: Sequence[int], groups: int = 1) -> Joint:
    """Dimensions of a tensor as one; with groups its first one is cut, and counts as two."""
    if groups == 1:
        return Joint(tuple(shape), tuple(range(len(shape))), tuple(dims))
    cut = (groups, shape[0] // groups, *shape[1:])
    return Joint(cut, (0, *range(len(shape))), tuple(dims))


def length(shape: Sequence[int], dim: Dim) -> int:
    """The number of places along a dimension."""
    return len(dim) if isinstance(dim, Joint) else shape[dim]


def leading(tensor: Tensor, dim: Dim, before: int = 0) -> Tensor:
    """A tensor with a dimension first.

    Args:
        tensor: Any.
        dim: The dimension.
        before: Dimensions of the tensor that lie in front of those counted, as of a batch; they come behind.
    """
    if not isinstance(dim, Joint):
        return tensor.movedim(dim + before, 0)
    cut = tensor.reshape(*tensor.shape[:before], *dim.shape)
    return cut.movedim([one + before for one in dim.dims], list(range(len(dim.dims)))).flatten(
        0, len(dim.dims) - 1
    )


def restored(along: Tensor, dim: Dim, shape: Sequence[int], before: int = 0) -> Tensor:
    """The tensor, of a shape, that `leading` made of it."""
    if not isinstance(dim, Joint):
        return along.movedim(0, dim + before).contiguous()
    sizes = [dim.shape[one] for one in dim.dims]
    cut = along.reshape(*sizes, *along.shape[1:])
    return cut.movedim(list(range(len(sizes))), [one + before for one in dim.dims]).reshape(tuple(shape))


def place_along(indices: Sequence[Tensor], dim: Dim) -> Tensor:
    """The place along a dimension of elements whose places along each dimension of the tensor are known."""
    if not isinstance(dim, Joint):
        return indices[dim]
    total = torch.zeros((), dtype=torch.int64)
    for one in dim.dims:
        owner = dim.owners[one]
        step = math.prod(
            size for other, size in enumerate(dim.shape) if other > one and dim.owners[other] == owner
        )
        total = total * dim.shape[one] + indices[owner] // step % dim.shape[one]
    return total


def multiplied(tensor: Tensor, dim: Dim, factors: Tensor, *, owned: bool = False) -> Tensor:
    """A tensor, if `owned` itself, with the slices along a dimension multiplied by factors, shape (length,)."""
    if isinstance(dim, Joint):
        along = leading(tensor, dim)
        return restored(along * factors.reshape(-1, *(1,) * (along.ndim - 1)), dim, tensor.shape)
    along = factors.reshape(-1, *(1,) * (tensor.ndim - dim - 1))
    return tensor.mul_(along) if owned else tensor * along


def reordered(tensor: Tensor, dim: int, order: Tensor, *, owned: bool = False) -> Tensor:
    """A tensor, if `owned` itself, with the slices along a dimension in another order, shape (length,)."""
    if not owned or tensor.numel() <= _PIECE:
        return tensor.index_select(dim, order)
    other = max((one for one in range(tensor.ndim) if one != dim), key=lambda one: tensor.shape[one])
    for part in tensor.split(max(1, _PIECE * tensor.shape[other] // tensor.numel()), other):
        part.copy_(part.index_select(dim, order))
    return tensor


def places_of(shape: Sequence[int]) -> tuple[Tensor, ...]:
    """For each dimension, the place of each element along it."""
    return tuple(
        torch.arange(length).reshape(-1, *(1,) * (len(shape) - dim - 1)).expand(tuple(shape))
        for dim, length in enumerate(shape)
    )

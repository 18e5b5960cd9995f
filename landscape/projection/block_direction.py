"""Random directions by block through weights, or through the parts of them that a process holds.

Of a tensor that is spread over processes (FSDP2, tensor parallelism) each draws the blocks of its own part; norms
are those of the whole tensor, the same sums in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import TensorInfo
from landscape.params import Tensors
from landscape.projection.blocks import BlockTensor, flat_of
from landscape.wrappers import axis_of, first_of, gathered, is_sharded


class BlockDirection(Mapping[str, Tensor]):
    """A random direction that holds factors of filters only; its tensors are drawn whenever they are asked for.

    Args:
        infos: The tensors that training moves.
        weights: Name -> tensor; held, not copied, and unmoved while the direction is read as a mapping.
        normalize: As for `random_direction`.
        seed: Draws it.
        index: The number of the direction.
        still: Names of tensors that do not move.

    Attributes:
        tensors: Name -> the share of each tensor that is drawn.
    """

    def __init__(
        self, infos: list[TensorInfo], weights: Tensors, normalize: str, seed: int, index: int, still: set[str]
    ) -> None:
        self._names, self._weights = dict.fromkeys(info.name for info in infos), weights
        drawn = [info for info in infos if info.name not in still]
        self.tensors = {i.name: share_of(i, weights[i.name], normalize, seed, index) for i in drawn}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self:
            raise KeyError(name)
        weight = self._weights[name]
        return self.tensors[name].whole(weight) if name in self.tensors else torch.zeros_like(weight)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def moving(self) -> set[str]:
        """The names of the tensors that it moves."""
        return {name for name, own in self.tensors.items() if own.moves}

    def cosine(self, other: BlockDirection) -> float:
        """The cosine with another direction of the same tensors, summed in float64 span by span."""
        sums = np.zeros(3)
        for name, own in self.tensors.items():
            flat = flat_of(self._weights[name])
            parted = np.zeros(3)
            for start, stop in own.spans(len(flat)):
                here = flat[start - own.start : stop - own.start]
                a, b = (one.part(start, stop, here).double() for one in (own, other.tensors[name]))
                parted += [float(a @ b), float(a @ a), float(b @ b)]
            sums += _over_all(self._weights[name], parted)
        return float(sums[0] / np.sqrt(sums[1] * sums[2]))


@dataclass(frozen=True)
class ColumnTensor(BlockTensor):
    """The share of one tensor of which this process holds a slice of the second axis.

    Attributes:
        low: The first number of a row that it holds.
        high: The one after the last.
    """

    low: int = 0
    high: int = 0

    def part(self, start: int, stop: int, weight: Tensor) -> Tensor:
        """The direction at a span of flat indices into what this process holds: whole rows are drawn, and cut."""
        held, row = self.high - self.low, self.info.numbers // self.info.shape[0]
        first, last = start // held, -(-stop // held)
        rows = self._scaled(first * row, last * row, weight.device).view(-1, row)
        numbers = rows[:, self.low : self.high].reshape(-1)[start - first * held : stop - first * held]
        if self.normalize == "weight":
            numbers = numbers * weight.to(numbers.dtype)
        return numbers.to(weight.dtype)


def share_of(info: TensorInfo, weight: Tensor, normalize: str, seed: int, index: int) -> BlockTensor:
    """The share of a tensor, or of the part of it in this process: norms are those of the whole tensor."""
    if not is_sharded(weight):
        return BlockTensor.of(info, weight, normalize, seed, index)
    cut: Any = weight
    axis, first = _cut_of(info, cut)
    held, row = cut.to_local(), info.numbers // max(1, info.shape[0] if info.shape else 1)
    if axis is None:
        return BlockTensor.of(info, held, normalize, seed, index)
    rows = normalize == "filter" and len(info.shape) > 1 and info.filter_axis == 0
    if axis == 0 and (rows or normalize in ("none", "weight")):
        return BlockTensor.of(info, held, normalize, seed, index, start=first * row)
    # Filters that shards cut are gathered once, so that their norms are the same sums in the same order.
    whole = BlockTensor.of(info, gathered(weight), normalize, seed, index)
    if axis == 0:
        return replace(whole, start=first * row)
    inner = row // info.shape[1]
    return ColumnTensor(**vars(whole), low=first * inner, high=(first + held.shape[1]) * inner)


def _cut_of(info: TensorInfo, weight: Any) -> tuple[int | None, int]:
    """Axis along which a tensor is spread over processes (None if each has all) and where the part begins."""
    axis = axis_of(info.name, weight)
    if axis not in (None, 0, 1) or info.complex:
        raise LandscapeError(
            f"'{info.name}' is spread otherwise than by rows or columns of real numbers",
            got=f"axis {axis} of {info.dtype}",
        )
    return axis, 0 if axis is None else first_of(weight, axis)


def _over_all(weight: Any, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up over the processes that hold parts of a tensor, in the order of their ranks."""
    if not is_sharded(weight) or weight.placements[0].is_replicate():
        return sums
    group = weight.device_mesh.get_group()
    parted: list[Any] = [None] * weight.device_mesh.size()
    torch.distributed.all_gather_object(parted, sums, group)
    return np.sum(parted, axis=0)

"""Random directions addressed by block: any part of one is drawn by itself, and none is ever stored.

The standard normal numbers of a tensor come in blocks of 65,536 flat indices, each from a generator of its own:
SFC64 (NumPy), seeded through `numpy.random.SeedSequence` by seed, tensor, index of the direction and number of the
block. They are float32 where the weights have no more digits than that, else float64; all arithmetic is in the
same type, and norms are sums of float64 by block.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.layout import TensorInfo
from landscape.params import from_real, real_view
from landscape.wrappers import own_part

BLOCK = 65_536
"""Numbers of a tensor that one generator draws."""
# Blocks at hand at one time: 4 MB in float32, which caches hold, and enough for threads to share.
_AT_ONCE = 16


class Numbers(Protocol):
    """Standard normal numbers of one tensor by flat index; ``double`` says whether they are float64."""

    @property
    def double(self) -> bool: ...  # noqa: D102
    def read(self, start: int, stop: int) -> NDArray[np.floating[Any]]:
        """The numbers at flat indices from `start` up to `stop`."""


@dataclass(frozen=True)
class NormalStream:
    """Standard normal numbers of one tensor.

    Attributes:
        name: The name of the tensor.
        size: How many numbers it has.
        seed: A number that is not negative.
        index: The number of the direction.
        double: Whether they are float64.

    Example:
        >>> stream = NormalStream("w", 200_000, seed=0)
        >>> bool((stream.read(0, 200_000)[70_000:70_005] == stream.read(70_000, 70_005)).all())
        True
    """

    name: str
    size: int
    seed: int
    index: int = 0
    double: bool = False

    @property
    def dtype(self) -> Any:
        """The type of the numbers."""
        return np.float64 if self.double else np.float32

    @functools.cached_property
    def _key(self) -> tuple[int, ...]:
        digits = hashlib.sha256(self.name.encode()).digest()[:16]
        return tuple(int.from_bytes(digits[at : at + 4], "little") for at in range(0, 16, 4))

    def _draw(self, number: int, out: NDArray[np.floating[Any]]) -> None:
        source = np.random.SeedSequence(self.seed, spawn_key=(*self._key, self.index, number))
        np.random.Generator(np.random.SFC64(source)).standard_normal(out=out, dtype=self.dtype)

    def held(self) -> Numbers:
        """The same with all numbers in memory."""
        return _HeldNumbers(self.read(0, self.size), self.double)

    def read(self, start: int, stop: int) -> NDArray[np.floating[Any]]:
        """The numbers at flat indices from `start` up to `stop`, drawn in torch's number of threads."""
        first, last = start // BLOCK, -(-stop // BLOCK)
        low = first * BLOCK
        drawn = np.empty(min(last * BLOCK, self.size) - low, dtype=self.dtype)
        _each(
            lambda number: self._draw(number, drawn[number * BLOCK - low : (number + 1) * BLOCK - low]),
            range(first, last),
        )
        return drawn[start - low : stop - low]


@dataclass(frozen=True)
class _HeldNumbers:
    """Numbers that are in memory for as long as they are needed several times."""

    numbers: NDArray[np.floating[Any]]
    double: bool

    def read(self, start: int, stop: int) -> NDArray[np.floating[Any]]:
        return self.numbers[start:stop]


def _each(work: Callable[[int], None], numbers: range) -> None:
    """Work on several blocks in threads: drawing releases the lock of the interpreter."""
    threads = min(torch.get_num_threads(), len(numbers))
    if threads <= 1:
        for number in numbers:
            work(number)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, numbers))


def parts(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut flat indices into spans that end at blocks, small enough to be at hand at one time."""
    while start < stop:
        end = min(stop, (start // BLOCK + _AT_ONCE) * BLOCK)
        yield start, end
        start = end


@dataclass(frozen=True)
class _Filters:
    """The filters of a tensor by flat index of its real numbers.

    Attributes:
        count: How many there are.
        row: Numbers in a row of the first axis.
        per_group: For filters along the second axis, how many of them a group has; 0 for rows.
        fan: Rows per group.
        rest: Numbers of a filter in a row, for filters along the second axis.
    """

    count: int
    row: int
    per_group: int = 0
    fan: int = 0
    rest: int = 0

    @classmethod
    def of(cls, info: TensorInfo, whole: bool) -> _Filters:
        """Those of a tensor, which is one filter as a `whole`."""
        if whole or len(info.shape) <= 1:
            return cls(1, max(1, info.numbers))
        row = max(1, math.prod(info.real_shape[1:]))
        if info.filter_axis == 0:
            return cls(info.shape[0], row)
        fan, per_group = info.shape[0] // info.filter_groups, info.shape[1]
        return cls(info.filter_groups * per_group, row, per_group, fan, row // per_group)

    def at(self, start: int, stop: int) -> NDArray[np.int64]:
        """The filter of each flat index, for filters along the second axis."""
        flat = np.arange(start, stop)
        return flat // self.row // self.fan * self.per_group + flat % self.row // self.rest

    def add(self, sums: NDArray[np.float64], squares: NDArray[np.float64], start: int) -> None:
        """Add the squares of a block to the sums of their filters."""
        stop = start + len(squares)
        if self.per_group:
            sums += np.bincount(self.at(start, stop), squares, self.count)
            return
        first, last = start // self.row, (stop - 1) // self.row + 1
        edges = np.maximum(np.arange(first, last) * self.row - start, 0)
        sums[first:last] += np.add.reduceat(squares, edges)

    def scale(self, numbers: Tensor, factors: Tensor, start: int) -> None:
        """Multiply the numbers of a span by the factors of their filters, in place."""
        stop = start + len(numbers)
        if self.per_group:
            numbers.mul_(factors[torch.from_numpy(self.at(start, stop)).to(factors.device)])
            return
        # A row that began before, whole rows, and one that goes on.
        first, last = min(stop, -(-start // self.row) * self.row), stop // self.row * self.row
        if start < first:
            numbers[: first - start].mul_(factors[start // self.row])
        if first < last:
            rows = factors[first // self.row : last // self.row]
            numbers[first - start : last - start].view(-1, self.row).mul_(rows[:, None])
        if max(first, last) < stop:
            numbers[max(first, last) - start :].mul_(factors[last // self.row])


def _squares(
    filters: _Filters, read: Callable[[int, int], NDArray[np.floating[Any]]], start: int, stop: int
) -> NDArray[np.float64]:
    """The squared norm of each filter over a span: float64 sums by block, added in the order of the blocks."""
    sums = np.zeros(filters.count)
    for low, high in parts(start, stop):
        numbers = read(low, high)
        edges = [low, *range((low // BLOCK + 1) * BLOCK, high, BLOCK), high]
        for first, last in itertools.pairwise(edges):
            block = numbers[first - low : last - low].astype(np.float64)
            filters.add(sums, np.square(block, out=block), first)
    return sums


@dataclass(frozen=True)
class BlockTensor:
    """The share of one tensor in a random direction.

    Attributes:
        info: The tensor.
        numbers: Drawn for it.
        normalize: How they are scaled.
        factors: Of each filter, in the type of the numbers; None where nothing is scaled by filter.
        moves: Whether any number differs from 0.
        start: The flat index (of real numbers) at which the part in this process begins.
    """

    info: TensorInfo
    numbers: Numbers
    normalize: str
    factors: Tensor | None
    moves: bool
    start: int = 0

    @classmethod
    def of(
        cls,
        info: TensorInfo,
        weight: Tensor,
        normalize: str,
        seed: int,
        index: int,
        *,
        held: bool = False,
        start: int = 0,
    ) -> BlockTensor:
        """The share of a tensor, whose norms are taken of its weights span by span.

        Args:
            info: The tensor.
            weight: Its weights, or whole rows of them where filters are rows.
            normalize: How the numbers are scaled.
            seed: Draws them.
            index: The number of the direction.
            held: Draw them once and keep them.
            start: The flat index (of real numbers) at which the weights given begin.
        """
        double = weight.dtype in (torch.float64, torch.complex128)
        stream = NormalStream(info.name, info.numbers, seed, index, double)
        numbers: Numbers = stream.held() if held else stream
        if normalize == "none" or not info.numbers:
            return cls(info, numbers, normalize, None, info.numbers > 0, start)
        flat = flat_of(weight)
        if normalize == "weight":
            return cls(info, numbers, normalize, None, bool(flat.any()), start)
        filters, stop = _Filters.of(info, normalize == "layer"), start + len(flat)
        # What stays is allocated before what goes: behind it, it would cut the room that the next tensor needs.
        factors = torch.empty(filters.count, dtype=torch.float64 if double else torch.float32)
        wanted = _squares(filters, lambda low, high: _numpy(flat[low - start : high - start], double), start, stop)
        present = _squares(filters, numbers.read, start, stop)
        tiny = np.finfo(np.float64).tiny
        ratios = np.where(present > 0, np.sqrt(wanted) / np.sqrt(np.maximum(present, tiny)), 0.0)
        factors.numpy()[:] = ratios
        return cls(info, numbers, normalize, factors, bool(ratios.any()), start)

    def spans(self, count: int) -> Iterator[tuple[int, int]]:
        """Cut as many numbers as this process holds into spans for `part`."""
        return parts(self.start, self.start + count)

    def part(self, start: int, stop: int, weight: Tensor) -> Tensor:
        """The direction at a span of flat indices (of real numbers), in the type of the weights.

        Args:
            start: Where the span begins.
            stop: Where it ends.
            weight: The unmoved weights there, as real numbers; says type and device.
        """
        numbers = self._scaled(start, stop, weight.device)
        if self.normalize == "weight":
            numbers = numbers * weight.to(numbers.dtype)
        return numbers.to(weight.dtype)

    def _scaled(self, start: int, stop: int, device: torch.device) -> Tensor:
        numbers = torch.from_numpy(self.numbers.read(start, stop)).to(device)
        if self.factors is not None:
            numbers = numbers.clone() if isinstance(self.numbers, _HeldNumbers) else numbers
            _Filters.of(self.info, self.normalize == "layer").scale(numbers, self.factors.to(device), start)
        return numbers

    def whole(self, weight: Tensor) -> Tensor:
        """The direction at all of the tensor, shaped like its weights."""
        flat = flat_of(weight)
        made = torch.empty_like(flat)
        for start, stop in parts(0, self.info.numbers):
            made[start:stop] = self.part(start, stop, flat[start:stop])
        return from_real(made.view(self.info.real_shape), weight)


def flat_of(weight: Tensor) -> Tensor:
    """Real numbers of weights in one row; of those spread over processes the part in this one."""
    return real_view(own_part(weight.detach())).reshape(-1)


def _numpy(weight: Tensor, double: bool) -> NDArray[np.floating[Any]]:
    return weight.to(torch.float64 if double else torch.float32).cpu().numpy()

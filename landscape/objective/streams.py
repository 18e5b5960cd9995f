"""Data that do not fit into memory: read anew, batch by batch, at every point."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler, Subset

from landscape.errors import LandscapeError
from landscape.objective.data import Batches, Source, Split
from landscape.objective.loaders import (
    as_batch,
    counting,
    joined,
    own_random_state,
    require_order,
    require_same,
)
from landscape.objective.tree import Tree

# Of a Dataset without a loader, and where no other size is asked for.
_BATCH = 256
# Any number: data drawn at random are then others than from the state at hand.
_OTHER = 20_240_229


@dataclass(frozen=True)
class Streamed:
    """The examples of one split, read through a loader whenever they are needed.

    A dataset with places is read in micro-batches of the size asked for, put together by the loader's own
    ``collate_fn``; one that can only be iterated gives the loader's batches, cut where they are larger. Threads
    read by turns, since datasets are seldom made for several.

    Attributes:
        loader: Where the examples come from.
        where: The name of the loader in messages.
        paired: Whether a batch is a pair (inputs, targets).
        count: The number of examples.
        targets: The targets of all examples, which are kept; an empty tuple where batches are not paired.
        cuts: Whether micro-batches of any size can be read.
        device: Where batches go.
        dtype: The type of real numbers they are given; None leaves them.
        channels_last: Whether images get the channels innermost.
        turn: Held while a batch is read.
    """

    loader: DataLoader[Any]
    where: str
    paired: bool
    count: int
    targets: Tree
    cuts: bool
    device: torch.device
    dtype: torch.dtype | None
    channels_last: bool
    turn: threading.Lock

    def to(self, device: torch.device, dtype: torch.dtype | None, channels_last: bool = False) -> Streamed:
        """The same, with batches going to a device, in a type and layout; see `Split.to`."""
        return replace(self, device=device, dtype=dtype, channels_last=channels_last)

    def batches(self, size: int) -> Iterator[Split]:
        """Micro-batches in order, read as they are asked for."""
        for raw in self._read(size):
            yield from self._moved(raw).batches(size if self.cuts else max(1, raw.count))

    def _moved(self, split: Split) -> Split:
        return split.to(self.device, self.dtype, self.channels_last)

    def _read(self, size: int) -> Iterator[Split]:
        own = not self.cuts or _has_own_batches(self.loader)
        loader = self.loader if own else self._loader(self.loader.dataset, size)
        batches: Iterator[Any] | None = None
        while True:
            with self.turn, own_random_state():
                batches = iter(counting(loader)) if batches is None else batches
                batch = next(batches, None)
            if batch is None:
                return
            yield as_batch(batch, self.where, self.paired)

    def _loader(self, dataset: Dataset[Any], size: int) -> DataLoader[Any]:
        return DataLoader(
            dataset, batch_size=size, collate_fn=self.loader.collate_fn, num_workers=self.loader.num_workers
        )

    def take(self, index: Tensor) -> Split | Batches:
        """Some examples, read into memory; see `Split.take`. Batches that stay whole are taken whole.

        Args:
            index: Shape (n,), int64, rising.
        """
        if not self.cuts or _has_own_batches(self.loader):
            return joined(self._sift(index))
        chosen: Dataset[Any] = Subset(self.loader.dataset, index.tolist())
        with self.turn, own_random_state():
            loader = counting(self._loader(chosen, _BATCH))
            return joined([as_batch(batch, self.where, self.paired) for batch in loader])

    def _sift(self, index: Tensor) -> list[Split]:
        """Some examples of data that come in one order only."""
        kept, start = [], 0
        for part in self._read(_BATCH):
            inside = index[(index >= start) & (index < start + part.count)] - start
            if len(inside):
                kept.append(part.take(inside) if part.cuts and self.cuts else part)
            start += part.count
        return kept

    def part(self, start: int, stop: int) -> Split | Batches:
        """The examples from `start` up to `stop`, read into memory, on the device."""
        taken = self.take(torch.arange(start, min(stop, self.count)))
        return taken.to(self.device, self.dtype, self.channels_last)

    def first(self, examples: int) -> Split:
        """The first examples as one batch, read into memory, on the device."""
        return self._moved(next(self._read(examples)).part(0, examples))

    def default_batch_size(self) -> int:
        """A micro-batch size that suits most models on a CPU, no more than the loader's own."""
        own = self.loader.batch_size or _BATCH
        return min(own, self.first(2).default_batch_size()) if self.cuts else own

    def digest(self) -> str:
        """The SHA-256 of all examples in order, read once more."""
        sha = hashlib.sha256()
        for part in self._read(_BATCH):
            whole = [part] if not part.cuts else (part.part(place, place + 1) for place in range(part.count))
            for one in whole:
                sha.update(one.digest().encode())
        return sha.hexdigest()


def as_stream(source: Any, name: str, paired: bool = True) -> Streamed:
    """Data that are read at every point instead of being held.

    They are read once here, for their number and targets.

    Args:
        source: A Dataset or DataLoader, as in `loaders.as_split`.
        name: The name of the split, for messages.
        paired: Whether a batch is a pair (inputs, targets).

    Returns:
        The split.

    Raises:
        LandscapeError: If the data change from one pass to the next, are empty, or are no dataset.
    """
    where = f"the {name} loader"
    if isinstance(source, Dataset):
        source = DataLoader(source, batch_size=_BATCH)
    if not isinstance(source, DataLoader):
        raise LandscapeError(
            "only a Dataset or a DataLoader can be streamed", where=f"the {name} data", got=type(source).__name__
        )
    require_order(source, where)
    own = _has_own_batches(source)
    made = Streamed(source, where, paired, 0, (), False, torch.device("cpu"), None, False, threading.Lock())
    first: Split | None = None
    targets, cuts = [], not own
    for part in made._read(_BATCH):
        if first is None:
            first, cuts = part, cuts or part.cuts
        cuts = cuts and (not own or part.cuts)
        targets.append(Split(part.targets, part.targets, part.examples) if paired else Split((), (), part.count))
    if first is None:
        raise LandscapeError("yields nothing", where=where)
    with _other_random_state():
        again = next(made._read(_BATCH))
    require_same(first, again, where)
    count = sum(part.count for part in targets)
    return replace(made, count=count, targets=joined(targets).targets if paired else (), cuts=cuts)


@contextmanager
def _other_random_state() -> Iterator[None]:
    """Random states that are not those of other passes, as those of a later pass may be."""
    with own_random_state():
        random.seed(_OTHER)
        np.random.seed(_OTHER)  # noqa: NPY002
        torch.default_generator.manual_seed(_OTHER)
        yield


def in_own_batches(data: Streamed) -> Streamed:
    """The same data in the batches of their loader."""
    return replace(data, cuts=False)


def _has_own_batches(loader: DataLoader[Any]) -> bool:
    """Return whether examples come in the loader's own order and batches: without places, or by a sampler."""
    plain = type(loader.sampler) is SequentialSampler and type(loader.batch_sampler) is BatchSampler
    return isinstance(loader.dataset, IterableDataset) or not plain


def made_size(split: Source) -> int | None:
    """The size of the batches that the user's loader makes."""
    if isinstance(split, Split):
        return split.made[0] if split.made else None
    return split.loader.batch_size if isinstance(split, Streamed) else split.default_batch_size()

"""Data of a split, collected once and kept resident: no loader runs while a landscape is drawn."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.objective.tree import Tree, concatenate, is_plain, leaves, tree_map
from landscape.params import cast, to_bytes

# Without a measurement: so many input numbers per micro-batch keep a layer's activations near the caches.
_ELEMENTS_PER_MICRO_BATCH = 2**18
# A token stands for a vector of about this many numbers once it is embedded.
_NUMBERS_PER_TOKEN = 64


class Source(Protocol):
    """The examples of one split, wherever they are kept."""

    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def targets(self) -> Tree: ...  # noqa: D102
    @property
    def cuts(self) -> bool: ...  # noqa: D102
    def to(self, device: torch.device, dtype: torch.dtype | None, channels_last: bool = False) -> Source: ...  # noqa: D102
    def take(self, index: Tensor) -> Source: ...  # noqa: D102
    def part(self, start: int, stop: int) -> Source: ...  # noqa: D102
    def first(self, examples: int) -> Split: ...  # noqa: D102
    def batches(self, size: int) -> Iterator[Split]: ...  # noqa: D102
    def default_batch_size(self) -> int: ...  # noqa: D102
    def digest(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Split:
    """The examples of one split, or of one batch of it.

    Attributes:
        inputs: A tree of tensors, examples along the first axis of each; or, where `examples` is given, a batch
            of any structure, which stays whole.
        targets: Likewise; an empty tuple where the loss takes whole batches.
        examples: The number of examples of a batch that stays whole; None where the first axis tells.
        made: The sizes of the batches it was put together from, where a loader of the user's made them.
    """

    inputs: Tree
    targets: Tree
    examples: int | None = None
    made: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[Tree]:
        """Inputs, then targets."""
        return iter((self.inputs, self.targets))

    @property
    def count(self) -> int:
        """The number of examples."""
        return self.examples if self.examples is not None else leaves(self.inputs)[0].shape[0]

    @property
    def cuts(self) -> bool:
        """Return whether it can be cut into micro-batches."""
        return self.examples is None

    def to(self, device: torch.device, dtype: torch.dtype | None, channels_last: bool = False) -> Split:
        """On a device, with real numbers in the given type (None leaves them) and complex ones in its counterpart.

        Args:
            device: Where.
            dtype: The type of real numbers.
            channels_last: Lay images out with the channels innermost, which convolutions on a CPU like
                (1.3 to 5 times faster in trials); the numbers are the same.
        """

        def move(tensor: Tensor) -> Tensor:
            return cast(tensor.to(device), dtype)

        def lay_out(tensor: Tensor) -> Tensor:
            moved = move(tensor)
            is_image = channels_last and moved.ndim == 4 and moved.is_floating_point()
            return moved.contiguous(memory_format=torch.channels_last) if is_image else moved

        return self._with(tree_map(lay_out, self.inputs), tree_map(move, self.targets))

    def clone(self) -> Split:
        """The same in memory of its own."""
        return self.map(lambda tensor: tensor.clone(memory_format=torch.preserve_format))

    def map(self, function: Callable[[Tensor], Tensor]) -> Split:
        """Apply a function to every tensor."""
        return self._with(tree_map(function, self.inputs), tree_map(function, self.targets))

    def tensors(self) -> list[Tensor]:
        """All tensors, those of the inputs first."""
        return [*leaves(self.inputs), *leaves(self.targets)]

    def _with(self, inputs: Tree, targets: Tree) -> Split:
        return Split(inputs, targets, self.examples, self.made)

    def take(self, index: Tensor) -> Split:
        """Some examples, in the order of their numbers.

        Args:
            index: Shape (n,), int64.
        """

        def choose(tensor: Tensor) -> Tensor:
            return tensor[index.to(tensor.device)]

        return Split(tree_map(choose, self.inputs), tree_map(choose, self.targets))

    def part(self, start: int, stop: int) -> Split:
        """The examples from `start` up to `stop`; views, not copies. A batch that stays whole is given whole."""
        if not self.cuts:
            return self
        cut = slice(start, stop)
        return Split(tree_map(lambda t: t[cut], self.inputs), tree_map(lambda t: t[cut], self.targets))

    def first(self, examples: int) -> Split:
        """The first examples as one batch."""
        return self.part(0, examples)

    def batches(self, size: int) -> Iterator[Split]:
        """Micro-batches in order; views, not copies."""
        for start in range(0, self.count, size if self.cuts else max(1, self.count)):
            yield self.part(start, start + size)

    def default_batch_size(self) -> int:
        """A micro-batch size that suits most models on a CPU."""
        per_example = sum(
            tensor[0].numel() * (1 if tensor.is_floating_point() else _NUMBERS_PER_TOKEN)
            for tensor in leaves(self.inputs)
            if tensor.ndim and len(tensor)
        )
        return max(32, min(8192, _ELEMENTS_PER_MICRO_BATCH // max(1, per_example)))

    def digest(self) -> str:
        """The SHA-256 of all examples in order."""
        sha = hashlib.sha256()
        for tensor in self.tensors():
            sha.update(f"{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
            sha.update(to_bytes(tensor))
        return sha.hexdigest()


@dataclass(frozen=True)
class Batches:
    """The examples of one split in batches that stay as a loader of the user's made them.

    Attributes:
        parts: The batches in order.
    """

    parts: tuple[Split, ...]
    cuts = False

    @property
    def count(self) -> int:
        """The number of examples."""
        return sum(part.count for part in self.parts)

    @property
    def targets(self) -> Tree:
        """The targets of all examples as one tree if they can be joined, else a list of those of the batches."""
        trees = [part.targets for part in self.parts]
        try:
            return concatenate(trees) if all(map(is_plain, trees)) else trees
        except (RuntimeError, ValueError):
            return trees

    def to(self, device: torch.device, dtype: torch.dtype | None, channels_last: bool = False) -> Batches:
        """On a device, in a type and layout; see `Split.to`."""
        return Batches(tuple(part.to(device, dtype, channels_last) for part in self.parts))

    def take(self, index: Tensor) -> Batches:
        """The whole batches in which some examples lie, given by the numbers of the examples, rising."""
        chosen, start = [], 0
        for part in self.parts:
            if bool(((index >= start) & (index < start + part.count)).any()):
                chosen.append(part)
            start += part.count
        return Batches(tuple(chosen))

    def part(self, start: int, stop: int) -> Batches:
        """The batches that begin from `start` up to `stop`."""
        begins = itertools.accumulate((part.count for part in self.parts), initial=0)
        return Batches(
            tuple(part for begin, part in zip(begins, self.parts, strict=False) if start <= begin < stop)
        )

    def first(self, examples: int) -> Split:
        """The first batch, whatever its size."""
        return self.parts[0]

    def batches(self, size: int) -> Iterator[Split]:
        """The batches in order."""
        yield from self.parts

    def default_batch_size(self) -> int:
        """The size of the largest batch."""
        return max(part.count for part in self.parts)

    def digest(self) -> str:
        """The SHA-256 of all batches in order."""
        return hashlib.sha256("".join(part.digest() for part in self.parts).encode()).hexdigest()


def draw(split: Source, n: int, seed: int, name: str) -> Source:
    """Examples of a split, drawn without replacement; see `Objective.subset`.

    Args:
        split: The data.
        n: How many, at least 2.
        seed: Draws them.
        name: The name of the split, for the draw and for messages.

    Returns:
        The examples, in the order of the data; of batches that stay whole, random ones until there are so many.

    Raises:
        LandscapeError: If n is less than 2, or more than there are.
    """
    if not isinstance(n, int) or n < 2:
        raise LandscapeError("a subset needs at least 2 examples, or its error is unknown", where="subset", got=n)
    if n > split.count:
        raise LandscapeError(
            f"the {name} split has {split.count:,} examples only",
            where="subset",
            got=f"{n:,}",
            mend="take fewer, or leave that split out",
        )
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16]
    stream = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
    if isinstance(split, Batches):
        order = np.argsort(stream.random(len(split.parts)), kind="stable")
        ends = np.cumsum([split.parts[place].count for place in order])
        kept = np.sort(order[: int(np.searchsorted(ends, n)) + 1])
        return Batches(tuple(split.parts[place] for place in kept))
    kept = np.sort(np.argsort(stream.random(split.count), kind="stable")[:n])
    return split.take(torch.from_numpy(kept))

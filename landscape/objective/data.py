"""Data of a split, collected once and kept resident: no loader runs while a landscape is drawn."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from landscape.errors import LandscapeError
from landscape.params import cast, to_bytes

Tree: TypeAlias = Any  # a tensor, or a tuple, list or dictionary of trees

# Without a measurement: so many input numbers per micro-batch keep a layer's activations near the caches.
_ELEMENTS_PER_MICRO_BATCH = 2**18
# A token stands for a vector of about this many numbers once it is embedded.
_NUMBERS_PER_TOKEN = 64


def tree_map(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Apply a function to every tensor of a tree of tuples, lists and dictionaries."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: tree_map(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(tree_map(function, value) for value in tree)
    raise LandscapeError("data must be tensors", got=type(tree).__name__, mend="collate it into tensors first")


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order."""
    found: list[Tensor] = []
    tree_map(lambda tensor: found.append(tensor) or tensor, tree)  # type: ignore[func-returns-value]
    return found


class Source(Protocol):
    """The examples of one split, wherever they are kept."""

    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def targets(self) -> Tree: ...  # noqa: D102
    def to(self, device: torch.device, dtype: torch.dtype | None, channels_last: bool = False) -> Source: ...  # noqa: D102
    def take(self, index: Tensor) -> Split: ...  # noqa: D102
    def part(self, start: int, stop: int) -> Split: ...  # noqa: D102
    def batches(self, size: int) -> Iterator[tuple[Tree, Tree]]: ...  # noqa: D102
    def default_batch_size(self) -> int: ...  # noqa: D102
    def digest(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Attributes:
        inputs: A tensor, or a tuple or dictionary of tensors, examples along the first axis.
        targets: Likewise; an empty tuple where the loss takes whole batches.
    """

    inputs: Tree
    targets: Tree

    @property
    def count(self) -> int:
        """The number of examples."""
        return leaves(self.inputs)[0].shape[0]

    def to(self, device: torch.device, dtype: torch.dtype | None, channels_last: bool = False) -> Split:
        """On a device, with real numbers in the given type (None leaves them).

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

        return Split(tree_map(lay_out, self.inputs), tree_map(move, self.targets))

    def take(self, index: Tensor) -> Split:
        """Some examples, in the order of their numbers.

        Args:
            index: Shape (n,), int64.
        """

        def choose(tensor: Tensor) -> Tensor:
            return tensor[index.to(tensor.device)]

        return Split(tree_map(choose, self.inputs), tree_map(choose, self.targets))

    def part(self, start: int, stop: int) -> Split:
        """The examples from `start` up to `stop`; views, not copies."""
        cut = slice(start, stop)
        return Split(tree_map(lambda t: t[cut], self.inputs), tree_map(lambda t: t[cut], self.targets))

    def batches(self, size: int) -> Iterator[tuple[Tree, Tree]]:
        """Micro-batches in order; views, not copies."""
        for start in range(0, self.count, size):
            part = self.part(start, start + size)
            yield part.inputs, part.targets

    def default_batch_size(self) -> int:
        """A micro-batch size that suits most models on a CPU."""
        per_example = sum(
            tensor[0].numel() * (1 if tensor.is_floating_point() else _NUMBERS_PER_TOKEN)
            for tensor in leaves(self.inputs)
        )
        return max(32, min(8192, _ELEMENTS_PER_MICRO_BATCH // max(1, per_example)))

    def digest(self) -> str:
        """The SHA-256 of all examples in order."""
        sha = hashlib.sha256()
        for tensor in (*leaves(self.inputs), *leaves(self.targets)):
            sha.update(f"{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
            sha.update(to_bytes(tensor))
        return sha.hexdigest()


def as_split(source: Any, name: str, paired: bool = True) -> Split:
    """Collect data into a resident split.

    Args:
        source: A pair (inputs, targets), a `torch.utils.data.Dataset` of such pairs, a DataLoader over
            one that neither shuffles nor drops, or a Split. Where batches are not paired: a tensor, a tuple or
            dictionary of tensors, or a Dataset or DataLoader of these.
        name: The name of the split, for messages.
        paired: Whether a batch is a pair (inputs, targets), or goes to the loss as it is.

    Returns:
        The split.

    Raises:
        LandscapeError: If the data change from one pass to the next, are empty, or are not tensors.
    """
    if isinstance(source, Split):
        split = source
    elif isinstance(source, DataLoader):
        split = _from_loader(source, name, paired)
    elif not paired and _of_tensors(source):
        split = Split(_tidy(source), ())
    elif paired and isinstance(source, tuple | list) and len(source) == 2:
        split = Split(_tidy(source[0]), _tidy(source[1]))
    elif isinstance(source, Dataset) or hasattr(source, "__getitem__"):
        split = _from_loader(DataLoader(source, batch_size=256), name, paired)
    else:
        raise LandscapeError(
            f"the {name} data are of a kind that cannot be read",
            got=type(source).__name__,
            expected="(inputs, targets) tensors, a Dataset or a DataLoader",
        )
    counts = {tensor.shape[0] if tensor.ndim else 0 for tensor in (*leaves(split.inputs), *leaves(split.targets))}
    if len(counts) != 1:
        raise LandscapeError(f"inputs and targets of the {name} data differ in length", got=sorted(counts))
    if split.count == 0:
        raise LandscapeError(f"the {name} data are empty")
    return split


def _of_tensors(source: Any) -> bool:
    """Whether this is a tensor, or a tuple, list or dictionary of tensors."""
    if isinstance(source, Mapping):
        source = tuple(source.values())
    parts = source if isinstance(source, tuple | list) else (source,)
    return bool(parts) and all(isinstance(part, Tensor) for part in parts)


def _tidy(tree: Tree) -> Tree:
    return tree_map(lambda tensor: tensor.detach(), tree)


@contextmanager
def own_random_state() -> Iterator[None]:
    """Leave the random states as they were: a loader draws from them, and so may a dataset."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002


def require_order(loader: DataLoader[Any], where: str) -> None:
    """Check that a loader gives all examples of its dataset in the same order at every pass.

    Raises:
        LandscapeError: If it shuffles or drops examples.
    """
    if isinstance(loader.sampler, RandomSampler | WeightedRandomSampler):
        raise LandscapeError(
            "shuffles, so the same weights would meet other examples at every point",
            where=where,
            mend="pass shuffle=False, or the Dataset itself",
        )
    if loader.drop_last and loader.batch_size and len(loader.dataset) % loader.batch_size:  # type: ignore[arg-type]
        raise LandscapeError(
            "drops the last examples", where=where, mend="pass drop_last=False, or the Dataset itself"
        )


@own_random_state()
def _from_loader(loader: DataLoader[Any], name: str, paired: bool) -> Split:
    where = f"the {name} loader"
    require_order(loader, where)
    batches = [as_pair(batch, where, paired) for batch in loader]
    if not batches:
        raise LandscapeError("yields nothing", where=where)
    require_same(batches[0], as_pair(next(iter(loader)), where, paired), where)
    return joined([Split(*batch) for batch in batches], where)


def as_pair(batch: Any, where: str, paired: bool) -> tuple[Tree, Tree]:
    """A batch as (inputs, targets); without targets where it is not paired.

    Raises:
        LandscapeError: If it is no pair and should be one.
    """
    if not paired:
        return batch, ()
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise LandscapeError(
            "must yield pairs (inputs, targets)",
            where=where,
            got=type(batch).__name__,
            mend="or give a loss of (model, batch), which takes batches as they are",
        )
    return batch[0], batch[1]


def require_same(batch: tuple[Tree, Tree], again: tuple[Tree, Tree], where: str) -> None:
    """Check that a batch is the same when it is read again.

    Raises:
        LandscapeError: If it is not.
    """
    pairs = zip(leaves(batch), leaves(again), strict=True)
    if not all(torch.equal(left, right) for left, right in pairs):
        raise LandscapeError(
            "gives other examples on a second pass (random augmentation or sampling)",
            where=where,
            mend="pass a dataset without augmentation",
        )


def joined(parts: Sequence[Split], where: str) -> Split:
    """Some batches as one.

    Raises:
        LandscapeError: If they differ in shape beyond the number of examples.
    """
    try:
        return Split(_concatenate([p.inputs for p in parts]), _concatenate([p.targets for p in parts]))
    except RuntimeError as error:
        raise LandscapeError(
            "its batches differ in shape, and so cannot be held together",
            where=where,
            mend="pad all to one length, or pass stream=True",
        ) from error


def _concatenate(trees: list[Tree]) -> Tree:
    first = trees[0]
    if isinstance(first, Mapping):
        return {key: _concatenate([tree[key] for tree in trees]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(_concatenate([tree[i] for tree in trees]) for i in range(len(first)))
    return torch.cat([tree.detach() for tree in trees])


def draw(split: Source, n: int, seed: int, name: str) -> Split:
    """Examples of a split, drawn without replacement; see `Objective.subset`.

    Args:
        split: The data.
        n: How many, at least 2.
        seed: Draws them.
        name: The name of the split, for the draw and for messages.

    Returns:
        The examples, in the order of the data.

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
    kept = np.sort(np.argsort(stream.random(split.count), kind="stable")[:n])
    return split.take(torch.from_numpy(kept))

"""Data read once from what a user has: tensors, datasets and loaders."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from landscape.errors import LandscapeError
from landscape.objective.data import Batches, Split
from landscape.objective.tree import Tree, concatenate, constants, is_plain, leaves, tree_map

# Of a Dataset without a loader.
_BATCH = 256


def as_split(source: Any, name: str, paired: bool = True) -> Split | Batches:
    """Collect data into a resident split.

    Args:
        source: A pair (inputs, targets), a `torch.utils.data.Dataset` of such pairs, a DataLoader over
            one that neither shuffles nor drops, or a Split. Where batches are not paired: a tensor, a tuple or
            dictionary of tensors, or a Dataset or DataLoader of these.
        name: The name of the split, for messages.
        paired: Whether a batch is a pair (inputs, targets), or goes to the loss as it is.

    Returns:
        The split; in the batches of its loader where they cannot be joined along a first axis of examples.

    Raises:
        LandscapeError: If the data change from one pass to the next, are empty, or are not tensors.
    """
    if isinstance(source, Split | Batches):
        split = source
    elif isinstance(source, DataLoader):
        split = _from_loader(source, name, paired)
    elif not paired and _of_tensors(source):
        split = Split(_tidy(source), ())
    elif paired and isinstance(source, tuple | list) and len(source) == 2:
        split = Split(_tidy(source[0]), _tidy(source[1]))
    elif isinstance(source, Dataset) or hasattr(source, "__getitem__"):
        split = _from_loader(DataLoader(source, batch_size=_BATCH), name, paired, own=False)
    else:
        raise LandscapeError(
            f"the {name} data are of a kind that cannot be read",
            got=type(source).__name__,
            expected="(inputs, targets) tensors, a Dataset or a DataLoader",
        )
    if isinstance(split, Split) and not leaves(split.inputs):
        got = next(constants(split.inputs), None)
        raise LandscapeError("data must be tensors", got=type(got).__name__, mend="collate it into tensors first")
    if isinstance(split, Split) and split.cuts:
        _require_one_length(split, name)
    if split.count == 0:
        raise LandscapeError(f"the {name} data are empty")
    return split


def _require_one_length(split: Split, name: str) -> None:
    lengths = lengths_of(split)
    if len(lengths) != 1:
        raise LandscapeError(
            f"inputs and targets of the {name} data differ in length",
            got=sorted(lengths),
            mend="put the examples along the first axis of every tensor, or pass a DataLoader, whose batches are "
            "taken as they are",
        )


def lengths_of(split: Split) -> set[int]:
    """The lengths of the first axes of all tensors; 0 for tensors that have none."""
    return {tensor.shape[0] if tensor.ndim else 0 for tensor in split.tensors()}


def _of_tensors(source: Any) -> bool:
    """Return whether this is a tensor, or a tuple, list or dictionary of tensors, and perhaps constants."""
    return is_plain(source) and not isinstance(source, str) and bool(leaves(source))


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


class Collated(NamedTuple):
    """A batch, and how many examples were put together in it."""

    examples: int
    batch: Any


def counting(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The same loader, telling how many examples each batch has: it yields `Collated` where that is known."""
    if type(loader) is not DataLoader or loader.batch_sampler is None:
        return loader
    other = copy.copy(loader)
    plain = loader.collate_fn
    other.collate_fn = lambda examples: Collated(len(examples), plain(examples))
    return other


def as_batch(given: Any, where: str, paired: bool) -> Split:
    """Make a batch of what a loader yields; it stays whole unless the first axis of every tensor is its examples.

    Raises:
        LandscapeError: If it is no pair and should be one.
    """
    known, batch = (given.examples, given.batch) if isinstance(given, Collated) else (None, given)
    split = Split(*as_pair(batch, where, paired))
    lengths = lengths_of(split)
    if len(lengths) == 1 and known in (None, *lengths) and all(map(is_plain, split)) and 0 not in lengths:
        return split
    if known is None:
        ends = {tensor.shape[0] if tensor.ndim else 0 for tensor in leaves(split.targets)}
        # A batch counts as one where nothing tells of examples.
        known = ends.pop() if len(ends) == 1 and 0 not in ends else 1
    return replace(split, examples=known)


@own_random_state()
def _from_loader(loader: DataLoader[Any], name: str, paired: bool, own: bool = True) -> Split | Batches:
    where = f"the {name} loader"
    require_order(loader, where)
    loader = counting(loader)
    batches = [as_batch(batch, where, paired).map(torch.Tensor.detach) for batch in loader]
    if not batches:
        raise LandscapeError("yields nothing", where=where)
    require_same(batches[0], as_batch(next(iter(loader)), where, paired), where)
    made = tuple(batch.count for batch in batches) if own else ()
    return joined(batches, made)


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


def require_same(batch: Split, again: Split, where: str) -> None:
    """Check that a batch is the same when it is read again.

    Raises:
        LandscapeError: If it is not.
    """
    one, other = batch.tensors(), again.tensors()
    if len(one) != len(other) or not all(map(torch.equal, one, other)):
        raise LandscapeError(
            "gives other examples on a second pass (random augmentation or sampling)",
            where=where,
            mend="pass a dataset without augmentation",
        )


def joined(parts: Sequence[Split], made: tuple[int, ...] = ()) -> Split | Batches:
    """Some batches as one if they can be joined and cut anew, else as they are.

    Args:
        parts: The batches in order.
        made: Their sizes, where a loader of the user's made them.
    """
    if all(part.cuts for part in parts):
        try:
            inputs, targets = (concatenate(list(trees)) for trees in zip(*parts, strict=True))
            return Split(inputs, targets, made=made)
        except (RuntimeError, ValueError):
            pass
    return Batches(tuple(replace(part, examples=part.count) for part in parts))


def in_batches(split: Split, size: int | None) -> Batches:
    """The examples in batches that stay whole.

    Args:
        split: The examples.
        size: Of each batch but the last; None takes those in which the user's loader made them.
    """
    count = split.count
    sizes = split.made if size is None else [min(size, count - start) for start in range(0, count, size)]
    ends = list(itertools.accumulate(sizes))
    pairs = zip([0, *ends[:-1]], ends, strict=True)
    return Batches(tuple(replace(split.part(start, end), examples=end - start, made=()) for start, end in pairs))

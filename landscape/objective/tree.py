"""Batches of any structure: nested containers and objects of tensors."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from landscape.errors import LandscapeError

# A tensor, a constant, or a container or object that holds trees.
Tree: TypeAlias = Any

_CONSTANTS = (str, bytes, bool, int, float, complex, np.generic, torch.dtype, torch.device, torch.Size)


def tree_map(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Apply a function to every tensor of a tree; what holds them keeps its type, constants stay.

    Args:
        function: Tensor -> tensor.
        tree: A tensor; a tuple, named tuple, list, mapping or data class of trees; an object whose attributes are
            trees; a constant.

    Returns:
        A new tree; nothing of the old one is changed.

    Raises:
        LandscapeError: If it holds something that is not a tensor but should be one, a NumPy array say.
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if tree is None or isinstance(tree, _CONSTANTS):
        return tree
    if isinstance(tree, PackedSequence):
        # The lengths of its steps are always on the CPU.
        parts = (tree.data, tree.batch_sizes, tree.sorted_indices, tree.unsorted_indices)
        data, sizes, order, back = (part if part is None else function(part) for part in parts)
        return PackedSequence(data, sizes.cpu(), order, back)  # type: ignore[union-attr, arg-type]
    if isinstance(tree, Mapping):
        return _mapping(function, tree)
    if isinstance(tree, tuple | list):
        mapped = [tree_map(function, value) for value in tree]
        return type(tree)._make(mapped) if hasattr(tree, "_make") else type(tree)(mapped)
    return _object(function, tree)


def _mapping(function: Callable[[Tensor], Tensor], tree: Mapping[Any, Tree]) -> Tree:
    mapped = {key: tree_map(function, value) for key, value in tree.items()}
    if type(tree) is dict or not hasattr(tree, "__setitem__"):
        return mapped
    made: Any = copy.copy(tree)
    for key, value in mapped.items():
        made[key] = value
    return made


def _object(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """A shallow copy of an object with its attributes mapped."""
    if isinstance(tree, np.ndarray) or not _attributes(tree):
        raise LandscapeError("data must be tensors", got=type(tree).__name__, mend="collate it into tensors first")
    if hasattr(tree, "apply") and hasattr(tree, "to"):
        # Graphs of PyTorch Geometric keep their tensors in stores of their own.
        return copy.copy(tree).apply(function)
    made = copy.copy(tree)
    for name in _attributes(tree):
        value = getattr(tree, name)
        if _holds_tensors(value):
            # Frozen data classes forbid the plain way.
            object.__setattr__(made, name, tree_map(function, value))
    return made


def _attributes(tree: Tree) -> list[str]:
    slots = [name for kind in type(tree).__mro__ for name in _names(getattr(kind, "__slots__", ()))]
    own = list(getattr(tree, "__dict__", {}))
    return [name for name in (*own, *slots) if not name.startswith("__") and hasattr(tree, name)]


def _names(slots: str | Sequence[str]) -> Sequence[str]:
    return (slots,) if isinstance(slots, str) else slots


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return any(map(_holds_tensors, value))
    return isinstance(value, Tensor) or dataclasses.is_dataclass(value)


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order."""
    found: list[Tensor] = []
    tree_map(lambda tensor: found.append(tensor) or tensor, tree)  # type: ignore[func-returns-value]
    return found


def constants(tree: Tree) -> Iterator[Any]:
    """The constants of a tree of plain containers, in order."""
    if isinstance(tree, Mapping):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list) and not isinstance(tree, PackedSequence):
        for part in tree:
            yield from constants(part)
    elif tree is None or isinstance(tree, _CONSTANTS):
        yield tree


def is_plain(tree: Tree) -> bool:
    """Return whether a tree is made of tensors and constants in tuples, lists, mappings and data classes alone."""
    if isinstance(tree, PackedSequence):
        return False
    if isinstance(tree, Mapping):
        return all(map(is_plain, tree.values()))
    if isinstance(tree, tuple | list):
        return all(map(is_plain, tree))
    if dataclasses.is_dataclass(tree):
        return all(is_plain(getattr(tree, field.name)) for field in dataclasses.fields(tree))
    return tree is None or isinstance(tree, (Tensor, *_CONSTANTS))


def concatenate(trees: Sequence[Tree]) -> Tree:
    """Trees of one structure as one, joined along the first axis of every tensor.

    Raises:
        RuntimeError: If shapes differ beyond the first axis.
        ValueError: If structures or constants differ.
    """
    columns = [leaves(tree) for tree in trees]
    if len({len(column) for column in columns}) != 1 or len({repr(list(constants(tree))) for tree in trees}) != 1:
        raise ValueError("trees of different structure")
    joined = iter([torch.cat([tensor.detach() for tensor in parts]) for parts in zip(*columns, strict=True)])
    return tree_map(lambda _: next(joined), trees[0])


def forward(model: Callable[..., Any], inputs: Tree) -> Any:
    """Call a model on inputs: a plain tuple or list as positional, a mapping as named arguments."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list) and not hasattr(inputs, "_fields"):
        return model(*inputs)
    return model(inputs)

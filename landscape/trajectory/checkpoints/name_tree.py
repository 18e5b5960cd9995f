"""Dotted names as a tree, and the best alignment of two such trees where wrappers stand between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]

# What wrappers put into names: DataParallel, DistributedDataParallel and AveragedModel; torch.compile; activation
# checkpointing; FSDP, now and before torch 2.
WRAPPERS = ("module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_fpw_module")
# No module is nested deeper; a file must not choose how deep a recursion goes.
_DEEPEST = 100


@dataclass
class Node:
    """A part of dotted names, with what comes behind it.

    Attributes:
        children: Next part -> its node.
        name: The whole name of the tensor that ends here; None if none does.
        shape: The shape of that tensor.
    """

    children: dict[str, Node] = field(default_factory=dict)
    name: str | None = None
    shape: Shape = ()


@dataclass(frozen=True)
class Alignment:
    """Names of one tree with their names in another.

    Attributes:
        pairs: (name, target, whether their shapes are the same); no name and no target comes twice.
    """

    pairs: tuple[tuple[str, str, bool], ...] = ()

    @property
    def targets(self) -> dict[str, str]:
        """Name -> target."""
        return {name: target for name, target, _ in self.pairs}

    @property
    def score(self) -> tuple[int, int]:
        """How many shapes fit, and how many names."""
        return sum(fits for _, _, fits in self.pairs), len(self.pairs)


def tree_of(spelled: Mapping[str, str], shapes: Mapping[str, Shape]) -> Node:
    """The tree of some names.

    Args:
        spelled: Name -> how it is written in the tree.
        shapes: Name -> shape.
    """
    root = Node()
    for name, text in spelled.items():
        node = root
        for part in text.split(".", _DEEPEST):
            node = node.children.setdefault(part, Node())
        node.name, node.shape = name, shapes[name]
    return root


def nodes_at(root: Node, parts: Sequence[str]) -> Iterator[Node]:
    """The nodes at a path, whatever wrappers stand in it."""
    if not parts:
        yield root
        return
    for part, child in root.children.items():
        if part == parts[0]:
            yield from nodes_at(child, parts[1:])
        elif part in WRAPPERS:
            yield from nodes_at(child, parts)


def align(found: Node, model: Node) -> Alignment:
    """Names of a checkpoint under those of a model, as they are but for wrappers on either side.

    A part that both have is taken as it is, unless more tensors fit without it: a submodule that is called
    ``module`` stays, and a wrapper in front of it goes.

    Args:
        found: The tree of the checkpoint.
        model: The tree of the model.

    Returns:
        The alignment in which most shapes fit; the first of several, with the fewest wrappers taken away.
    """
    return _align(found, model, {})


def _align(found: Node, model: Node, known: dict[tuple[int, int], Alignment]) -> Alignment:
    key = (id(found), id(model))
    if key not in known:
        direct = _children(found, model, known)
        choices = [direct]
        for wrapper in WRAPPERS:
            inner = [
                _align(found.children[wrapper], model, known) if wrapper in found.children else None,
                _align(found, model.children[wrapper], known) if wrapper in model.children else None,
            ]
            choices += [_union(one, direct) for one in inner if one is not None and one.pairs]
        # The first of those that are best.
        known[key] = max(choices, key=lambda one: one.score)
    return known[key]


def _children(found: Node, model: Node, known: dict[tuple[int, int], Alignment]) -> Alignment:
    pairs: list[tuple[str, str, bool]] = []
    if found.name is not None and model.name is not None:
        pairs.append((found.name, model.name, found.shape == model.shape))
    for part, child in found.children.items():
        if part in model.children:
            pairs += _align(child, model.children[part], known).pairs
    return Alignment(tuple(pairs))


def _union(first: Alignment, second: Alignment) -> Alignment:
    """The pairs of the first, and those of the second that repeat neither a name nor a target."""
    names, targets = ({pair[side] for pair in first.pairs} for side in (0, 1))
    rest = (pair for pair in second.pairs if pair[0] not in names and pair[1] not in targets)
    return Alignment((*first.pairs, *rest))

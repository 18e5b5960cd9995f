"""Cells of units: those that occur alike everywhere, and so can be exchanged or mixed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.symmetry import operations
from landscape.symmetry.labels import ANY, FIXED, distinct, grouped, ranks, thinned

if TYPE_CHECKING:
    from landscape.symmetry.units import Units

# These may move elements along one axis as their places along others say; what moves along one axis alone moves
# the elements of all units alike where labels do not change along it.
_UNLIKE = ("index", "as_strided")


def cells_of(walk: Units) -> list[list[int]]:
    """Units that occur alike everywhere, as lists of their labels; none of fewer than two.

    Where a unit has several elements of a tensor, these are taken for those of another unit in the order in
    which they lie there. So what moves elements must move those of all units alike, too.
    """
    met = [np.zeros((4, 0), np.int64)]
    for number, held in enumerate(_everywhere(walk)):
        found, inverse = distinct(held)
        counts = inverse.reshape(-1).bincount(minlength=len(found))
        met.append(torch.stack([found.abs(), torch.full_like(found, number), found.sign(), counts]).numpy())
    for number, (moved, orders) in enumerate(_reordered(walk), 1):
        met.append(np.stack([moved, np.full_like(moved, -number), np.ones_like(moved), orders]))
    units, *rest = np.concatenate(met, 1)
    order = np.argsort(units, kind="stable")
    labels, starts = np.unique(units[order], return_index=True)
    keys = np.ascontiguousarray(np.stack(rest, 1)[order])
    cells: dict[bytes, list[int]] = {}
    for unit, start, end in zip(labels.tolist(), starts.tolist(), [*starts[1:].tolist(), len(units)], strict=True):
        if unit not in (FIXED, ANY):
            cells.setdefault(keys[start:end].tobytes(), []).append(unit)
    return [units for units in cells.values() if len(units) > 1]


def _reordered(walk: Units) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield what each operation that moves elements makes of their order; see `_orders`."""
    for number, call in walk.moves:
        labels = walk.env[number]
        if not isinstance(labels, Tensor):
            continue
        small = labels if call.op in _UNLIKE else thinned(labels)[0][0]
        if _has_several(walk, small):
            places = torch.arange(small.numel()).reshape(small.shape).expand(labels.shape)
            for source in operations.replayed(walk, call, {number: places}):
                yield _orders(walk, small, source if call.op in _UNLIKE else thinned(source)[0][0])
    for labels, source in walk.lists:
        if _has_several(walk, labels):
            yield _orders(walk, labels, source)


def _has_several(walk: Units, labels: Tensor) -> bool:
    """Return whether a unit has several elements."""
    found, inverse = distinct(walk.resolved(labels).abs())
    counts = inverse.reshape(-1).bincount(minlength=len(found))
    return bool((counts[(found != FIXED) & (found != ANY)] > 1).any())


def _orders(walk: Units, labels: Tensor, source: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The units met, and for each a number that says in which order its elements come out."""
    found, units = distinct(walk.resolved(labels).reshape(-1).abs())
    coming = source.reshape(-1)
    there = units[coming]
    ends = there.bincount(minlength=len(found)).cumsum(0)
    ordered = ranks(units, len(found))[coming][grouped(there, len(found))]
    data, size = ordered.numpy().tobytes(), ordered.element_size()
    limits = [0, *(size * ends).tolist()]
    orders = [hash(data[start:end]) for start, end in pairwise(limits)]
    met = np.diff(limits) > 0
    return found.numpy()[met], np.array(orders, np.int64)[met]


def _everywhere(walk: Units) -> Iterator[Tensor]:
    """Yield the labels of all tensors, and of the rows that must not be mixed; each once."""
    held = [labels for labels in walk.env.values() if isinstance(labels, Tensor)]
    held += [labels for _, _, labels in walk.labelled()]
    for rows in walk.apart:
        held += list(rows)
    seen: set[bytes] = set()
    for labels in held:
        small = walk.found(thinned(labels)[0][0])
        # Activations of one stream are labelled alike many times over.
        content = small.numpy().tobytes()
        if content not in seen:
            seen.add(content)
            yield small

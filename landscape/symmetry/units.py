# The methods of a walk are explained where `Walk` declares them.
# ruff: noqa: D102
"""Permutations and changes of basis: which units can take each other's places, and which can be mixed.

Every element of an activation or a weight bears the label of the unit that it belongs to. A linear map makes new
units, sums and products join those at the same place, and what treats two units differently tells them apart.
Units that occur alike everywhere can be exchanged; where only linear operations meet them, any invertible matrix
can mix them, and what multiplies them takes its inverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.symmetry import operations
from landscape.symmetry.labels import (
    ANY,
    FIXED,
    Norm,
    Origin,
    Part,
    Ways,
    compact,
    distinct,
    grouped,
    pairs,
    ranks,
    thinned,
    varies,
)
from landscape.symmetry.recording import Trace
from landscape.symmetry.shadows import Walk

# These may move elements along one axis as their places along others say; what moves along one axis alone moves
# the elements of all units alike where labels do not change along it.
_UNLIKE = ("index", "as_strided")


class Units(Walk):
    """The walk that finds exchangeable units, or (``linear``) units that can be mixed.

    A negative label is that of the dual: where units are mixed by a matrix, it is by its inverse, transposed.

    Attributes:
        linear: Whether changes of basis are looked for instead of permutations.
        origins: For every label from 1 where it comes from, and its place there.
    """

    def __init__(self, trace: Trace, linear: bool = False) -> None:
        super().__init__(trace)
        self.linear = linear
        self.origins: list[tuple[Origin, int]] = []
        # For every label the one that it was joined with, and whether as its dual; the first `_made` are in use.
        self._parents = np.zeros(1024, np.int64)
        self._flips = np.ones(1024, np.int64)
        self._made = 1
        # Each a tensor of labels, of which those in different rows are told apart.
        self._apart: list[Tensor] = []
        # Labels that are listed in another order, and for each new place the one that comes there.
        self._lists: list[tuple[Tensor, Tensor]] = []

    def found(self, labels: Tensor) -> Tensor:
        """Labels, each replaced by the one that stands for all that it was joined with."""
        own = labels.numpy()
        idle = own == ANY
        start = np.where(idle, FIXED, np.abs(own))
        sign, place = np.sign(own), start
        while True:
            above = self._parents[place]
            if np.array_equal(above, place):
                break
            sign, place = sign * self._flips[place], above
        # The way is short the next time.
        self._parents[start], self._flips[start] = place, np.where(own < 0, -sign, sign)
        return torch.from_numpy(np.where(idle, ANY, sign * place))

    def _found_one(self, label: int) -> int:
        sign, place = (1, label) if label >= 0 else (-1, -label)
        while (above := int(self._parents[place])) != place:
            sign, place = sign * int(self._flips[place]), above
        return sign * place

    def _join(self, a: int, b: int) -> None:
        a, b = (self._found_one(label) for label in (a, b))
        if a == b:
            return
        if a == -b:
            # A unit that is its own dual can be mixed by few matrices only.
            self._parents[abs(a)] = FIXED
            return
        older, newer = sorted((a, b), key=abs)
        self._parents[abs(newer)] = abs(older)
        self._flips[abs(newer)] = 1 if (older > 0) == (newer > 0) else -1

    def resolved(self, labels: Tensor) -> Tensor:
        """Labels, each replaced by the one that stands for it."""
        (small,), shape = thinned(labels)
        own = self.found(small)
        return labels if torch.equal(own, small) else own.expand(shape)

    def fresh(self, count: int, origin: Origin) -> Tensor:
        if count == 1:
            # There is nothing to exchange it or mix it with; all units that share it remain alike.
            return self.fixed((1,)).clone()
        start, self._made = self._made, self._made + count
        while self._made > len(self._parents):
            self._parents = np.concatenate([self._parents, np.zeros_like(self._parents)])
            self._flips = np.concatenate([self._flips, np.ones_like(self._flips)])
        self._parents[start : self._made] = np.arange(start, self._made)
        self.origins += [(origin, place) for place in range(count)]
        return torch.arange(start, start + count)

    def equate(self, a: Tensor, b: Tensor) -> None:
        (a, b), _ = thinned(a, b)
        met = (a != ANY) & (b != ANY)
        a, b = self.found(a[met]), self.found(b[met])
        apart = a != b
        a, b = a[apart], b[apart]
        ends = torch.cat([a, b]).abs()
        ends = ends[ends != FIXED]
        if len(distinct(ends)[0]) < len(ends):
            met, counts = ends.unique(return_counts=True)
            often = torch.isin(torch.stack([a, b]).abs(), met[counts > 1]).any(0)
            for first, second in pairs(a[often], b[often])[0]:
                self._join(first, second)
            a, b = a[~often], b[~often]
        # Pairs that have nothing in common are joined at once.
        older, newer = a.where(a.abs() < b.abs(), b).numpy(), b.where(a.abs() < b.abs(), a).numpy()
        self._parents[np.abs(newer)] = np.abs(older)
        self._flips[np.abs(newer)] = np.where((older > 0) == (newer > 0), 1, -1)

    def zero(self, labels: Tensor, why: str) -> None:
        self.equate(labels, self.fixed(labels.shape))

    def combine(self, a: Tensor, b: Tensor) -> Tensor:
        # An element that belongs to two units cannot be told by one label.
        self.zero(a, "two labels")
        self.zero(b, "two labels")
        return self.fixed(torch.broadcast_shapes(a.shape, b.shape))

    def _listed(self, labels: Tensor, places: Tensor) -> None:
        """Labels in the order of other places."""
        if not bool((places.diff() > 0).all()):
            self._lists.append((labels, places))

    def _is_still(self, labels: Tensor) -> bool:
        (small,), _ = compact(labels)
        return bool(((small == FIXED) | (small == ANY)).all())

    def pointwise(self, labels: Tensor, tags: frozenset[str], why: str) -> Tensor:
        if not self.linear or "linear" in tags:
            return labels
        self.zero(labels, why)
        return self.fixed(labels.shape)

    def binary(self, kind: str, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        shape = torch.broadcast_shapes(a.shape, b.shape)
        a, b = self.resolved(a), self.resolved(b)
        stills = self._is_still(a), self._is_still(b)
        if all(stills):
            return torch.minimum(*thinned(a, b)[0]).expand(shape)
        if any(stills):
            still, moving = (0, 1) if stills[0] else (1, 0)
            labels = ((a, b)[moving]).expand(shape)
            if bool(((a, b)[still] == ANY).all()) and (kind == "add" or (kind == "mul" and not self.linear)):
                # Zeros add nothing, and what is multiplied by them is 0 whatever it was.
                return labels if kind == "add" else (a, b)[still].expand(shape)
            if self.linear and (kind not in ("mul", "div", "mask") or (kind == "div" and moving == 1)):
                self.zero(labels, self.call.op)
                return self.fixed(shape)
            return self._beside(labels, broadcast[still].expand(shape))
        if self.linear and kind != "add":
            self.zero(a, self.call.op)
            self.zero(b, self.call.op)
            return self.fixed(shape)
        self.equate(a, b)
        (a, b), _ = thinned(a, b)
        return torch.minimum(a.where(a != ANY, b), b.where(b != ANY, a)).expand(shape)

    def _beside(self, labels: Tensor, still: Tensor) -> Tensor:
        """Labels of elements that meet others which no symmetry moves: alike wherever those may differ."""
        axes = [
            axis
            for axis, moves in enumerate(varies(labels))
            if moves and still.shape[axis] > 1 and still.stride(axis) != 0
        ]
        if axes and self.linear:
            self.zero(labels, self.call.op)
            return self.fixed(labels.shape)
        return self.uniform(labels, axes).expand(labels.shape)

    def reduce(self, kind: str, labels: Tensor, dims: Sequence[int]) -> Tensor:
        labels = self.resolved(labels)
        moving = [axis for axis, moves in enumerate(varies(labels)) if moves]
        if self.linear and (kind == "max" or set(moving) & set(dims)):
            self.zero(labels, self.call.op)
            labels = self.fixed(labels.shape)
        elif set(moving) & set(dims) and set(moving) <= set(dims):
            labels = self.fixed(labels.shape)
        return self.uniform(labels, dims)

    def softmax(self, labels: Tensor, dims: Sequence[int], why: str) -> Tensor:
        labels = self.resolved(labels)
        if self.linear:
            self.zero(labels, why)
            return self.fixed(labels.shape)
        moving = {axis for axis, moves in enumerate(varies(labels)) if moves}
        if moving & set(dims) and not moving <= set(dims):
            return self.uniform(labels, dims).expand(labels.shape)
        return labels

    def apply_weight(self, inputs: Tensor, part: Part, ways: Ways) -> Tensor:
        (into, rows), (out, columns) = ways
        idle = inputs == ANY
        inputs = torch.where(idle, FIXED, inputs) * (-1 if self.linear else 1)
        if part.name not in self.states:
            self.begun(part.name, out)
            size = self.trace_sizes[part.name][into]
            # What takes nothing but zeros, as of a state that begins with zeros, is not settled by that.
            taken = (
                self.fresh(size, self.origin(part.name, into)) if bool(idle.any()) else self.fixed((size,)).clone()
            )
            taken[rows] = torch.where(idle, taken[rows], inputs)
            self.states[part.name][into] = taken
        state = self.states[part.name]
        for dim, labels in enumerate(state):
            if dim not in (into, out) and labels is not None:
                self.zero(labels, self.call.op)
        held, made = state[into], state[out]
        self.equate(torch.where(idle, ANY, inputs), self.fixed(inputs.shape) if held is None else held[rows])
        self._listed(inputs, rows.argsort())
        if made is not None:
            self._listed(made, columns)
        return self.fixed((len(columns),)) if made is None else made[columns]

    def apply_grouped(self, inputs: Tensor, part: Part, ways: Ways, groups: int) -> Tensor:
        out, columns = ways[1]
        state = self.begun(part.name, out)
        by_group = torch.where(inputs == ANY, FIXED, inputs).reshape(groups, -1)
        alone = by_group.shape[1] == 1 and not self.linear
        for dim, labels in enumerate(state):
            if labels is not None and not (alone and dim == out):
                self.zero(labels, self.call.op)
        made = state[out]
        if not alone or made is None:
            self.zero(inputs, self.call.op)
            return self.fixed((len(columns),))
        self.equate(made[columns], by_group.reshape(-1).repeat_interleave(len(columns) // groups))
        return made[columns]

    def contract(self, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        a, b = self._contracted(self.resolved(a), self.resolved(b))
        stills = self._is_still(a), self._is_still(b)
        if all(stills):
            return self.fixed(torch.broadcast_shapes(a.shape, b.shape))
        if any(stills):
            labels, other = (b, broadcast[0].narrow(-1, 0, 1)) if stills[0] else (a, broadcast[1].narrow(-2, 0, 1))
            return self._mixed_beside(labels, other)
        if self.linear:
            self.zero(a, self.call.op)
            self.zero(b, self.call.op)
            return self.fixed(torch.broadcast_shapes(a.shape, b.shape))
        a, b = self.uniform(a, [a.ndim - 2]), self.uniform(b, [b.ndim - 1])
        self.equate(a, b)
        return a

    def _contracted(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels left of (..., m, 1) and (..., 1, n) when the middle dimension is summed over."""
        inner, outer = a.ndim - 1, a.ndim - 2
        moving = varies(a)[inner], varies(b)[outer]
        if not any(moving):
            return self.uniform(a, [inner]), self.uniform(b, [outer])
        a_elsewhere, b_elsewhere = varies(a)[:outer], varies(b)[:outer]
        if self.linear:
            return self._dual(a, b, any(a_elsewhere) or any(b_elsewhere))
        rows, columns = varies(a)[outer], varies(b)[inner]
        if any(a_elsewhere) or any(b_elsewhere) or rows or columns:
            a, b = self.uniform(a, [inner]), self.uniform(b, [outer])
            return a, b
        self.equate(a.transpose(-2, -1).narrow(-1, 0, 1), b.narrow(-1, 0, 1))
        return self.fixed((*a.shape[:-1], 1)), self.fixed((*b.shape[:-2], 1, b.shape[-1]))

    def _dual(self, a: Tensor, b: Tensor, by_place: bool) -> tuple[Tensor, Tensor]:
        """Two activations multiplied along units of theirs: where one is mixed, the other takes the inverse."""
        a_vector, b_vector = self.uniform(a, [a.ndim - 2]), self.uniform(b, [b.ndim - 1])
        a_vector = a_vector.transpose(-2, -1)
        negative = torch.where(b_vector == ANY, ANY, -b_vector)
        self.equate(a_vector, negative)
        if by_place:
            self._tell_apart(a_vector)
        return self.fixed((*a.shape[:-1], 1)), self.fixed((*b.shape[:-2], 1, b.shape[-1]))

    def _tell_apart(self, labels: Tensor) -> None:
        """Units at different places of the leading dimensions are not mixed with each other."""
        (small,), _ = compact(labels)
        self._apart.append(small.reshape(-1, small.shape[-2] * small.shape[-1]))

    def _mixed_beside(self, labels: Tensor, still: Tensor) -> Tensor:
        """Labels of one factor of a product whose other factor has none."""
        if not self.linear:
            shape = torch.broadcast_shapes(labels.shape, still.shape)
            return self._beside(labels.expand(shape), still.expand(shape))
        self._tell_apart(labels)
        return labels

    def batch_norm(self, labels: Tensor, norm: Norm, gain: Part | None, bias: Part | None) -> Tensor:
        self.owned_by(norm)
        if self.linear:
            self.zero(labels, self.call.op)
            return self.fixed(labels.shape)
        for name in (norm.mean, norm.variance):
            self.equate(self.whole(name), labels)
        for part in (gain, bias):
            if part is not None:
                self.equate(self.labels_of(part), labels)
        return labels

    def cells(self) -> list[list[int]]:
        """Units that occur alike everywhere, as lists of their labels; none of fewer than two.

        Where a unit has several elements of a tensor, these are taken for those of another unit in the order in
        which they lie there. So what moves elements must move those of all units alike, too.
        """
        met = [np.zeros((4, 0), np.int64)]
        for number, held in enumerate(self._everywhere()):
            found, inverse = distinct(held)
            counts = inverse.reshape(-1).bincount(minlength=len(found))
            met.append(torch.stack([found.abs(), torch.full_like(found, number), found.sign(), counts]).numpy())
        for number, (moved, orders) in enumerate(self._reordered(), 1):
            met.append(np.stack([moved, np.full_like(moved, -number), np.ones_like(moved), orders]))
        units, *rest = np.concatenate(met, 1)
        order = np.argsort(units, kind="stable")
        labels, starts = np.unique(units[order], return_index=True)
        keys = np.ascontiguousarray(np.stack(rest, 1)[order])
        cells: dict[bytes, list[int]] = {}
        for unit, start, end in zip(
            labels.tolist(), starts.tolist(), [*starts[1:].tolist(), len(units)], strict=True
        ):
            if unit not in (FIXED, ANY):
                cells.setdefault(keys[start:end].tobytes(), []).append(unit)
        return [units for units in cells.values() if len(units) > 1]

    def _reordered(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield what each operation that moves elements makes of their order; see `_orders`."""
        for number, call in self.moves:
            labels = self.env[number]
            if not isinstance(labels, Tensor):
                continue
            small = labels if call.op in _UNLIKE else thinned(labels)[0][0]
            if self._has_several(small):
                places = torch.arange(small.numel()).reshape(small.shape).expand(labels.shape)
                for source in operations.replayed(self, call, {number: places}):
                    yield self._orders(small, source if call.op in _UNLIKE else thinned(source)[0][0])
        for labels, source in self._lists:
            if self._has_several(labels):
                yield self._orders(labels, source)

    def _has_several(self, labels: Tensor) -> bool:
        """Return whether a unit has several elements."""
        found, inverse = distinct(self.resolved(labels).abs())
        counts = inverse.reshape(-1).bincount(minlength=len(found))
        return bool((counts[(found != FIXED) & (found != ANY)] > 1).any())

    def _orders(self, labels: Tensor, source: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The units met, and for each a number that says in which order its elements come out."""
        found, units = distinct(self.resolved(labels).reshape(-1).abs())
        coming = source.reshape(-1)
        there = units[coming]
        ends = there.bincount(minlength=len(found)).cumsum(0)
        ordered = ranks(units, len(found))[coming][grouped(there, len(found))]
        data, size = ordered.numpy().tobytes(), ordered.element_size()
        limits = [0, *(size * ends).tolist()]
        orders = [hash(data[start:end]) for start, end in pairwise(limits)]
        met = np.diff(limits) > 0
        return found.numpy()[met], np.array(orders, np.int64)[met]

    def _everywhere(self) -> Iterator[Tensor]:
        """Yield the labels of all tensors, and of the rows that must not be mixed; each once."""
        held = [labels for labels in self.env.values() if isinstance(labels, Tensor)]
        for state in self.states.values():
            held += [labels for labels in state if labels is not None]
        for rows in self._apart:
            held += list(rows)
        seen: set[bytes] = set()
        for labels in held:
            small = self.found(thinned(labels)[0][0])
            # Activations of one stream are labelled alike many times over.
            content = small.numpy().tobytes()
            if content not in seen:
                seen.add(content)
                yield small

# The methods of a walk are explained where `Walk` declares them.
# ruff: noqa: D102
"""Permutations and changes of basis: which units can take each other's places, and which can be mixed.

Every element of an activation or a weight bears the label of the unit that it belongs to. A linear map makes new
units, sums and products join those at the same place, and what treats two units differently tells them apart.
Units that occur alike everywhere can be exchanged; where only linear operations meet them, any invertible matrix
can mix them, and what multiplies them takes its inverse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.symmetry.axes import length
from landscape.symmetry.labels import (
    ANY,
    FIXED,
    Norm,
    Origin,
    Part,
    Ways,
    compact,
    distinct,
    pairs,
    thinned,
    varies,
)
from landscape.symmetry.recording import Trace
from landscape.symmetry.shadows import Walk


class Units(Walk):
    """The walk that finds exchangeable units, or (``linear``) units that can be mixed.

    A negative label is that of the dual: where units are mixed by a matrix, it is by its inverse, transposed.

    Attributes:
        linear: Whether changes of basis are looked for instead of permutations.
        by_blocks: Whether the groups of grouped maps are units, instead of what lies within them.
        grouped: Weights whose groups hold several units.
        apart: Tensors of labels, of which those in different rows are told apart.
        lists: Labels that are listed in another order, and for each new place the one that comes there.
        origins: For every label from 1 where it comes from, and its place there.
    """

    def __init__(self, trace: Trace, linear: bool = False, by_blocks: bool = False) -> None:
        super().__init__(trace)
        self.linear, self.by_blocks = linear, by_blocks
        self.grouped: set[str] = set()
        self.origins: list[tuple[Origin, int]] = []
        # For every label the one that it was joined with, and whether as its dual; the first `_made` are in use.
        self._parents = np.zeros(1024, np.int64)
        self._flips = np.ones(1024, np.int64)
        self._made = 1
        self.apart: list[Tensor] = []
        self.lists: list[tuple[Tensor, Tensor]] = []

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
            self.lists.append((labels, places))

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
            size = length(self.trace_sizes[part.name], into)
            # What takes nothing but zeros, as of a state that begins with zeros, is not settled by that.
            taken = (
                self.fresh(size, self.origin(part.name, into)) if bool(idle.any()) else self.fixed((size,)).clone()
            )
            taken[rows] = torch.where(idle, taken[rows], inputs)
            self.states[part.name][into] = taken
        state = self.states[part.name]
        for dim, labels in state.items():
            if dim not in (into, out):
                self.zero(labels, self.call.op)
        held, made = state.get(into), state.get(out)
        self.equate(torch.where(idle, ANY, inputs), self.fixed(inputs.shape) if held is None else held[rows])
        self._listed(inputs, rows.argsort())
        if made is not None:
            self._listed(made, columns)
        return self.fixed((len(columns),)) if made is None else made[columns]

    def apply_grouped(self, inputs: Tensor, part: Part, ways: Ways, groups: int) -> Tensor:
        alone = len(inputs) == groups == len(ways[1][1]) and not self.linear
        if not (alone or self.by_blocks):
            # What changes within a group stays there.
            self.grouped.add(part.name)
            made = self.apply_weight(inputs, part, ways)
            self.apart += [self.resolved(inputs).reshape(groups, -1), made.reshape(groups, -1)]
            return made
        out, columns = ways[1]
        state = self.begun(part.name, out)
        for dim, labels in state.items():
            if dim != out:
                self.zero(labels, self.call.op)
        by_group = self.uniform(torch.where(inputs == ANY, FIXED, inputs).reshape(groups, -1), [1])
        if out not in state:
            self.zero(by_group, self.call.op)
            return self.fixed((len(columns),))
        self._listed(inputs, torch.arange(len(inputs)))
        self.equate(state[out][columns], by_group.reshape(-1).repeat_interleave(len(columns) // groups))
        self._listed(state[out], columns)
        return state[out][columns]

    def apply_bilinear(self, a: Tensor, b: Tensor, part: Part) -> Tensor:
        if part.name in self.states:
            for labels in (a, b, *self.states[part.name].values()):
                self.zero(labels, self.call.op)
            return self.fixed((len(part.indices[0]),))
        state = self.begun(part.name, 0)
        for dim, labels in enumerate((a, b), 1):
            state[dim] = torch.where(labels == ANY, FIXED, labels) * (-1 if self.linear else 1)
        return state[0]

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
        self.apart.append(small.reshape(-1, small.shape[-2] * small.shape[-1]))

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

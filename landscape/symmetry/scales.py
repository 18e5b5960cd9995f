"""Whole-number combinations of free scales, and the equations between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landscape.symmetry.labels import ANY, FIXED, Origin

Expression = Mapping[int, int]
Array = NDArray[np.int64]
# In place of a scale: the label of nothing, and that of a sum of several scales.
_NONE, _SEVERAL = -1, -2


class Scales:
    """Whole-number combinations of scales, and the equations between them.

    Most labels are one scale to some power, and most equations say that one such is another: these are kept in
    arrays, and whole layers are solved at once. Sums of several scales are dictionaries.

    Args:
        modulus: 0 for factors, 2 for signs.
    """

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus
        self.origins: list[tuple[Origin, int]] = []
        # Label -> its scale (or `_NONE`, `_SEVERAL`) and power; that of nothing comes first.
        self._scale, self._power = _Column(), _Column()
        self._scale.extend([_NONE])
        self._power.extend([0])
        # Scale -> the scale that it is some power of, itself while it is free, or `_NONE`, `_SEVERAL`.
        self._root, self._factor = _Column(), _Column()
        # Power -> the label of each scale to this power, -1 while there is none.
        self._at: dict[int, _Column] = {}
        self._expressions: dict[int, Expression] = {}
        self._solutions: dict[int, Expression] = {}
        self._known: dict[frozenset[tuple[int, int]], int] = {}

    def new(self, origin: Origin, count: int) -> Array:
        """The labels of scales that nothing is known about yet: shape (count,)."""
        start = len(self.origins)
        self.origins += [(origin, place) for place in range(count)]
        scales = np.arange(start, start + count)
        self._root.extend(scales)
        self._factor.extend(np.ones_like(scales))
        return self.powers(scales, np.ones_like(scales))

    def powers(self, scales: Array, powers: Array) -> Array:
        """The labels of single scales to some powers; scales may be `_NONE`."""
        if self.modulus:
            powers = powers % self.modulus
        labels = np.zeros_like(scales)
        for power in np.unique(powers[scales != _NONE]).tolist():
            if power:
                here = (powers == power) & (scales != _NONE)
                table = self._at.setdefault(power, _Column())
                table.extend(np.full(len(self.origins) - len(table.values), -1))
                missing = np.unique(scales[here][table.values[scales[here]] < 0])
                table.values[missing] = np.arange(len(missing)) + len(self._scale.values)
                self._scale.extend(missing)
                self._power.extend(np.full_like(missing, power))
                labels[here] = table.values[scales[here]]
        return labels

    def terms(self, labels: Array) -> tuple[Array, Array]:
        """The free scale of each label and its power; `_NONE` for nothing, `_SEVERAL` for a sum."""
        scales, powers = self._scale.values[labels], self._power.values[labels]
        while True:
            single = scales >= 0
            roots = np.where(
                single, self._root.values[np.where(single, scales, 0)] if len(self.origins) else 0, scales
            )
            if np.array_equal(roots, scales):
                powers = np.where(single, powers, 0)
                return scales, powers % self.modulus if self.modulus else powers
            powers = np.where(single, powers * self._factor.values[np.where(single, scales, 0)], powers)
            scales = roots

    def label(self, expression: Expression) -> int:
        """The label that stands for an expression."""
        if len(expression) < 2:
            ((scale, power),) = expression.items() or ((_NONE, 0),)
            return int(self.powers(np.array([scale]), np.array([power]))[0])
        key = frozenset(expression.items())
        if key not in self._known:
            self._known[key] = len(self._scale.values)
            self._expressions[self._known[key]] = expression
            self._scale.extend([_SEVERAL])
            self._power.extend([0])
        return self._known[key]

    def expression(self, label: int) -> Expression:
        """Express a label in scales that are free."""
        scale, power = self._scale.values.item(label), self._power.values.item(label)
        if scale == _NONE:
            return {}
        if scale != _SEVERAL:
            return self._reduced({scale: power})
        self._expressions[label] = self._reduced(self._expressions[label])
        return self._expressions[label]

    def listed(self, labels: Tensor) -> Iterator[Iterable[tuple[int, int]]]:
        """Yield for each label its free scales with their powers."""
        own = labels.numpy()
        own = np.where(own == ANY, FIXED, own)
        for label, scale, power in zip(own.tolist(), *(part.tolist() for part in self.terms(own)), strict=True):
            yield (
                self.expression(label).items()
                if scale == _SEVERAL
                else ()
                if scale == _NONE
                else ((scale, power),)
            )

    def combined(self, terms: Sequence[tuple[int, int]]) -> Expression:
        """The sum of (factor, label)."""
        total: dict[int, int] = {}
        for factor, label in terms:
            for scale, power in self.expression(label).items():
                total[scale] = total.get(scale, 0) + factor * power
        return self._tidy(total)

    def sums(self, a: Array, b: Array, times: int, factor: int) -> Array:
        """The labels of times a + factor b."""
        (first, one), (second, other) = self.terms(a), self.terms(b)
        one, other = times * one, factor * other
        single = (first != _SEVERAL) & (second != _SEVERAL)
        single &= (first == _NONE) | (second == _NONE) | (first == second)
        labels = np.zeros_like(a)
        labels[single] = self.powers(np.maximum(first, second)[single], (one + other)[single])
        for place in np.flatnonzero(~single).tolist():
            labels[place] = self.label(self.combined([(times, int(a[place])), (factor, int(b[place]))]))
        return labels

    def _tidy(self, expression: Mapping[int, int]) -> Expression:
        if self.modulus:
            return {scale: 1 for scale, power in expression.items() if power % self.modulus}
        return {scale: power for scale, power in expression.items() if power}

    def _is(self, scale: int) -> Expression:
        """Express one scale by others."""
        root = self._root.values.item(scale)
        if root == _SEVERAL:
            return self._solutions[scale]
        return {} if root == _NONE else {root: self._factor.values.item(scale)}

    def _reduced(self, expression: Expression) -> Expression:
        root = self._root.values.item
        while any(root(scale) != scale for scale in expression):
            total: dict[int, int] = {}
            for scale, power in expression.items():
                for other, factor in self._is(scale).items():
                    total[other] = total.get(other, 0) + power * factor
            expression = self._tidy(total)
        return expression

    def equate(self, a: Array, b: Array) -> list[int] | None:
        """Make labels equal, all at once; the scales that are 0 from now on.

        Returns None, with the equations still to be solved one by one, where one has several scales, or some fix
        what others have.
        """
        fixed: list[int] = []
        while True:
            (first, one), (second, other) = self.terms(a), self.terms(b)
            apart = (first != second) | (one != other) | (first == _SEVERAL)
            a, b, first, one, second, other = (part[apart] for part in (a, b, first, one, second, other))
            if not len(first):
                return fixed
            met = np.concatenate([first, second])
            free = met[met != _NONE]
            plain = ((np.abs(one) == 1) | (first == _NONE)) & ((np.abs(other) == 1) | (second == _NONE))
            shared = len(np.unique(free)) < len(free)
            still = (first == _NONE) | (second == _NONE)
            mixed = (first == second).any() or (still.any() and not still.all())
            if _SEVERAL in met or not plain.all() or (shared and mixed):
                return None
            # The newest gives way, so that what is left bears the name of where it came up first: one equation for
            # each at a time.
            newer, here = np.unique(np.maximum(first, second), return_index=True)
            older = np.minimum(first, second)[here]
            self._root.values[newer] = older
            self._factor.values[newer] = (one * other)[here]
            fixed += newer[older == _NONE].tolist()

    def zero(self, labels: Array) -> list[int] | None:
        """Make labels 0, all at once; the scales that are 0 from now on, None where a label has several."""
        scales = np.unique(self.terms(labels)[0])
        if _SEVERAL in scales:
            return None
        scales = scales[scales != _NONE]
        self._root.values[scales] = _NONE
        return scales.tolist()

    def solve(self, expression: Expression) -> list[int]:
        """Make an expression 0; the scales that are 0 from now on."""
        if not expression:
            return []
        common = math.gcd(*expression.values())
        expression = {scale: power // common for scale, power in expression.items()}
        units = [scale for scale, power in expression.items() if abs(power) == 1]
        if not units:
            self._root.values[list(expression)] = _NONE
            return list(expression)
        chosen = max(units)
        rest = {scale: -power * expression[chosen] for scale, power in expression.items() if scale != chosen}
        self._solutions[chosen] = self._tidy(rest)
        self._root.values[chosen] = _SEVERAL if rest else _NONE
        if len(rest) == 1:
            ((self._root.values[chosen], self._factor.values[chosen]),) = self._solutions.pop(chosen).items()
        return [] if rest else [chosen]


class _Column:
    """Whole numbers, more and more of them."""

    def __init__(self) -> None:
        self._held, self._count = np.zeros(1024, np.int64), 0

    @property
    def values(self) -> Array:
        """All of them; a view, which may be written into."""
        return self._held[: self._count]

    def extend(self, values: Array | Sequence[int]) -> None:
        """Add some."""
        start, self._count = self._count, self._count + len(values)
        if self._count > len(self._held):
            self._held = np.concatenate([self._held, np.zeros(self._count, np.int64)])
        self._held[start : self._count] = values

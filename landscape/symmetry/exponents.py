# The methods of a walk are explained where `Walk` declares them.
# ruff: noqa: D102
"""Rescalings and sign flips: which factor every element may take, as whole-number exponents of free scales.

An element of an activation or a weight is multiplied by exp<a, mu>; a, its exponents, are whole numbers. A linear
map lets its outputs take new scales, a sum asks for equal ones, a product adds them, and what commutes with no
scale fixes them. What is left are linear equations, and the solutions are the symmetries. Signs follow the same
equations modulo 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.symmetry.axes import length
from landscape.symmetry.labels import ANY, FIXED, Norm, Origin, Part, Ways, pairs
from landscape.symmetry.recording import Trace
from landscape.symmetry.scales import Scales
from landscape.symmetry.shadows import Walk

# Exact, but then the variances are no longer those of the data, and recalibration would change the function.
LEFT_OUT = "stored variances, scaled together with what multiplies the normalised values, are left out"


class Exponents(Walk):
    """The walk that finds rescalings (modulus 0) or sign flips (modulus 2).

    Attributes:
        scales: The equations.
        blocked: (layer, operation) -> where the scales that it fixed came from.
        doubts: (layer, operation) -> parameters that may have scales which this walk does not see, or leaves out.
    """

    def __init__(self, trace: Trace, modulus: int = 0) -> None:
        super().__init__(trace)
        self.scales = Scales(modulus)
        self.blocked: dict[tuple[str, str], set[tuple[Origin, int]]] = {}
        self.doubts: dict[tuple[str, str], set[str]] = {}
        self._attended: set[int] = set()
        # Scales of stored deviations, without a gain to undo them, and of which normalisation.
        self._deviations: list[tuple[Norm, Tensor]] = []
        self._signs = modulus == 2
        self._why = ""

    def attended(self) -> set[int]:
        """The scales that cancel between two activations."""
        return {scale for label in self._attended for scale in self.scales.expression(label)}

    def fresh(self, count: int, origin: Origin) -> Tensor:
        return torch.from_numpy(self.scales.new(origin, count))

    def equate(self, a: Tensor, b: Tensor) -> None:
        self._why = self.call.op
        met = [pair for pair in pairs(a, b)[0] if pair[0] != pair[1] and ANY not in pair]
        ends = np.array(met, np.int64).reshape(-1, 2)
        fixed = self.scales.equate(ends[:, 0], ends[:, 1])
        if fixed is not None:
            self._block(fixed)
            return
        for first, second in met:
            self._solve([(1, first), (-1, second)])

    def zero(self, labels: Tensor, why: str) -> None:
        self._why = why
        met = [label for label, _ in pairs(labels, labels)[0] if label not in (FIXED, ANY)]
        fixed = self.scales.zero(np.array(met, np.int64))
        if fixed is not None:
            self._block(fixed)
            return
        for label in met:
            # One by one: a sum that is 0 would leave freedom.
            self._solve([(1, label)])

    def doubt(self, why: str, *tensors: str) -> None:
        self.doubts.setdefault((self.call.layer, why), set()).update(tensors)

    def _solve(self, terms: Sequence[tuple[int, int]]) -> None:
        fixed = self.scales.solve(self.scales.combined(terms))
        if len(fixed) > 1:
            self.doubt(self._why, *(self.scales.origins[scale][0].tensor for scale in fixed))
        self._block(fixed)

    def _block(self, fixed: Sequence[int]) -> None:
        if fixed:
            origins = (self.scales.origins[scale] for scale in fixed)
            self.blocked.setdefault((self.call.layer, self._why), set()).update(origins)

    def _sum(self, a: Tensor, b: Tensor, factor: int = 1) -> Tensor:
        """Labels of products (or, with factor -1, quotients)."""
        return self._made(a, b, 1, factor)

    def _times(self, labels: Tensor, factor: int) -> Tensor:
        return self._made(labels, labels, factor, 0)

    def _made(self, a: Tensor, b: Tensor, times: int, factor: int) -> Tensor:
        found, inverse, shape = pairs(a, b)
        ends = np.array(found, np.int64).reshape(-1, 2)
        idle = (ends == ANY).any(1)
        labels = np.full(len(ends), ANY)
        labels[~idle] = self.scales.sums(ends[~idle, 0], ends[~idle, 1], times, factor)
        return torch.from_numpy(labels)[inverse].expand(shape)

    def combine(self, a: Tensor, b: Tensor) -> Tensor:
        return self._sum(a, b)

    def pointwise(self, labels: Tensor, tags: frozenset[str], why: str) -> Tensor:
        if "power" in tags:
            if self._signs:
                return labels if "odd" in tags else self.fixed(labels.shape)
            return self._times(labels, int(why.partition("(")[2].rstrip(")")))
        if "linear" in tags or ("odd" if self._signs else "positive") in tags:
            return labels
        if not (self._signs and "even" in tags):
            self.zero(labels, why)
        return self.fixed(labels.shape)

    def binary(self, kind: str, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        if kind in ("mul", "div"):
            return self._sum(a, b, 1 if kind == "mul" else -1)
        if kind in ("mask", "slope"):
            self.zero(b, self.call.op)
            if kind == "slope" and self._signs:
                self.zero(a, self.call.op)
            return a
        if kind == "other" or (kind == "max" and self._signs):
            self.zero(a, self.call.op)
            self.zero(b, self.call.op)
            return self.fixed(torch.broadcast_shapes(a.shape, b.shape))
        self.equate(a, b)
        # Where one is 0 in any case, the other says.
        found, inverse, shape = pairs(a, b)
        return torch.tensor([min(pair) for pair in found], dtype=torch.int64)[inverse].expand(shape)

    def reduce(self, kind: str, labels: Tensor, dims: Sequence[int]) -> Tensor:
        if kind == "max" and self._signs:
            self.zero(labels, self.call.op)
        return self.uniform(labels, dims)

    def softmax(self, labels: Tensor, dims: Sequence[int], why: str) -> Tensor:
        self.zero(labels, why)
        return self.fixed(labels.shape)

    def apply_weight(self, inputs: Tensor, part: Part, ways: Ways, groups: int = 1) -> Tensor:
        (into, rows), (out, columns) = ways
        sizes = self.trace_sizes[part.name]
        if part.name not in self.states and len(rows) == length(sizes, into):
            # What takes nothing but zeros, as of a state that begins with zeros, is not settled by that.
            idle = bool((inputs == ANY).any())
            origin = self.origin(part.name, into)
            count = len(rows)
            own = self.fresh(count, origin) if idle else self.fixed((count,)).clone()
            own[rows] = torch.where(inputs == ANY, own[rows], self._times(inputs, -1))
            made = self.fresh(length(sizes, out), self.origin(part.name, out))
            self.states[part.name] = {into: own, out: made}
        state = self.state(part.name)
        for dim, labels in state.items():
            if dim not in (into, out):
                self.zero(labels, f"{self.call.op} of a weight used otherwise")
        held = state.get(into)
        # What comes in is undone within each group alike.
        together = (inputs if held is None else self._sum(inputs, held[rows])).reshape(groups, -1)
        cancelled = self.uniform(together, [1])
        cancelled = torch.where(cancelled == ANY, FIXED, cancelled)
        spread = cancelled.expand(groups, len(columns) // groups).reshape(-1)
        return self._sum(state[out][columns], spread) if out in state else spread

    def apply_grouped(self, inputs: Tensor, part: Part, ways: Ways, groups: int) -> Tensor:
        out, columns = ways[1]
        if len(inputs) > groups:
            return self.apply_weight(inputs, part, ways, groups)
        # One channel in each group: whatever its scale is, it can be undone there.
        state = self.begun(part.name, out)
        spread = inputs.repeat_interleave(len(columns) // groups)
        made = state[out][columns] if out in state else self.fixed((len(columns),))
        for dim, labels in state.items():
            if dim != out:
                self.zero(labels, self.call.op)
        return self._sum(made, torch.where(spread == ANY, FIXED, spread))

    def contract(self, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        row, column = _first_known(a, -2), _first_known(b, -1).transpose(-2, -1)
        first, second = self._sum(a, column), self._sum(row.transpose(-2, -1), b)
        self._attended.update({first for first, _ in pairs(a, a)[0]} - {FIXED, ANY})
        by_row, by_column = self.uniform(first, [first.ndim - 1]), self.uniform(second, [second.ndim - 2])
        corner = self._sum(row, column)
        return self._sum(self._sum(by_row, by_column), self.uniform(corner, [corner.ndim - 1]), -1)

    def batch_norm(self, labels: Tensor, norm: Norm, gain: Part | None, bias: Part | None) -> Tensor:
        if not self.owned_by(norm):
            why = f"{self.call.op} with shared statistics"
            self.doubt(why)
            self.zero(labels, why)
        self.equate(self.whole(norm.mean), labels)
        if self._signs:
            self.equate(self.whole(norm.variance), self.fixed(labels.shape))
            out = labels if gain is None else self._sum(self.labels_of(gain), labels)
        elif gain is None:
            own = self.fresh(len(labels), self.origin(norm.variance, 0))
            self._deviations.append((norm, own))
            self.equate(self.whole(norm.variance), self._times(self._sum(labels, own), 2))
            out = self._times(own, -1)
        else:
            self.equate(self.whole(norm.variance), self._times(labels, 2))
            self._leave_out(gain.name)
            out = self.labels_of(gain)
        if bias is not None:
            self.equate(out, self.labels_of(bias))
        return out

    def _leave_out(self, name: str) -> None:
        self.doubts.setdefault(("", LEFT_OUT), set()).add(name)

    def hold_statistics(self) -> None:
        """Fix what would move stored variances and not what comes in, and note where that was free."""
        for norm, own in self._deviations:
            for label in own.tolist():
                if expression := self.scales.expression(label):
                    self._leave_out(norm.variance)
                    self.scales.solve(expression)


def _first_known(labels: Tensor, dim: int) -> Tensor:
    """The first along a dimension; where that is 0 in any case, which says nothing, another."""
    first = labels.narrow(dim, 0, 1)
    return torch.where(first == ANY, labels.amin(dim, keepdim=True), first)

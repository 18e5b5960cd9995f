# The methods of a walk are explained where `Walk` declares them.
# ruff: noqa: D102
"""Rotations of residual streams: coordinates that only linear maps and normalisations meet.

The walk is that of changes of basis, but a normalisation over all coordinates lets them pass, and a gain makes new
coordinates that turn along: behind a gain g a rotation R is diag(g) R diag(g)^-1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.symmetry.axes import Dim
from landscape.symmetry.cells import cells_of
from landscape.symmetry.continuous import Rotation, Turned
from landscape.symmetry.elements import Generator
from landscape.symmetry.labels import ANY, FIXED, Norm, Origin, Part, Ways, thinned, varies
from landscape.symmetry.recording import Ref, Trace, storage
from landscape.symmetry.units import Units

# Added to the labels of squares, which only their mean over all coordinates may meet.
_SQUARES = 2**28


@dataclass
class _Gain:
    """Labels before and behind a gain, coordinate by coordinate."""

    before: list[int]
    behind: list[int]
    tensor: str
    places: list[int]


class Streams(Units):
    """The walk that finds what may be rotated."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace, linear=True)
        self._gains: list[_Gain] = []
        # Labels of all coordinates of a normalisation, and whether it takes their mean away.
        self._normed: list[tuple[list[int], bool]] = []

    def found(self, labels: Tensor) -> Tensor:
        squares = _squares(labels)
        if not bool(squares.any()):
            return super().found(labels)
        own = super().found(torch.where(squares, labels - _SQUARES, labels))
        return torch.where(squares, _SQUARES + own.abs(), own)

    def zero(self, labels: Tensor, why: str) -> None:
        super().zero(torch.where(_squares(labels), labels - _SQUARES, labels), why)

    def equate(self, a: Tensor, b: Tensor) -> None:
        super().equate(self._plain(a), self._plain(b))

    def _plain(self, labels: Tensor) -> Tensor:
        """Labels for what knows no squares: what they are squares of stays as it is."""
        squares = _squares(labels)
        if not bool(squares.any()):
            return labels
        super().zero(torch.where(squares, labels - _SQUARES, FIXED), self.call.op)
        return torch.where(squares, FIXED, labels)

    def apply_weight(self, inputs: Tensor, part: Part, ways: Ways) -> Tensor:
        return super().apply_weight(self._plain(inputs), part, ways)

    def apply_grouped(self, inputs: Tensor, part: Part, ways: Ways, groups: int) -> Tensor:
        return super().apply_grouped(self._plain(inputs), part, ways, groups)

    def apply_bilinear(self, a: Tensor, b: Tensor, part: Part) -> Tensor:
        return super().apply_bilinear(self._plain(a), self._plain(b), part)

    def contract(self, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        return super().contract(self._plain(a), self._plain(b), broadcast)

    def _stream(self, labels: Tensor, dims: Sequence[int]) -> list[int] | None:
        """The labels along the one axis of coordinates, if that is what the dimensions are."""
        (small,), _ = thinned(labels)
        moving = [axis for axis, moves in enumerate(varies(small)) if moves]
        own = small.reshape(-1).tolist() if len(moving) == 1 and moving == sorted(dims) else []
        distinct_ones = len(set(map(abs, own))) == len(own) == (labels.shape[dims[0]] if dims else 0)
        return own if own and distinct_ones and not {FIXED, ANY} & set(own) else None

    def pointwise(self, labels: Tensor, tags: frozenset[str], why: str) -> Tensor:
        labels = self._plain(labels)
        if why == "pow(2)" and not self._is_still(labels):
            labels = self.resolved(labels)
            return torch.where((labels == FIXED) | (labels == ANY), labels, labels.abs() + _SQUARES)
        return super().pointwise(labels, tags, why)

    def reduce(self, kind: str, labels: Tensor, dims: Sequence[int]) -> Tensor:
        squares = _squares(labels)
        if bool(squares.any()):
            own = self._stream(torch.where(squares, labels - _SQUARES, labels), dims) if kind == "mean" else None
            if own is not None and bool(squares.all()):
                self._normed.append((own, False))
                return self.fixed([1 if axis in dims else size for axis, size in enumerate(labels.shape)])
        return super().reduce(kind, self._plain(labels), dims)

    def softmax(self, labels: Tensor, dims: Sequence[int], why: str) -> Tensor:
        labels = self.resolved(self._plain(labels))
        own = self._stream(labels, dims)
        if own is None or self.call.op not in ("native_layer_norm", "_fused_rms_norm"):
            return super().softmax(labels, dims, why)
        self._normed.append((own, self.call.op == "native_layer_norm"))
        return labels

    def binary(self, kind: str, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        a, b = self._plain(a), self._plain(b)
        if kind == "mul":
            made = self._behind_gain(a, b, broadcast[1]) or self._behind_gain(b, a, broadcast[0])
            if made is not None:
                return made.labels.expand(torch.broadcast_shapes(a.shape, b.shape))
        return super().binary(kind, a, b, broadcast)

    def _behind_gain(self, labels: Tensor, gain: Tensor, tensor: Tensor) -> _Behind | None:
        name = self._name_of(tensor)
        if name is None or self._is_still(labels) or len(self._used[name]) > 1:
            return None
        labels = self.resolved(labels)
        moving = [axis for axis, moves in enumerate(varies(labels)) if moves]
        own = self._stream(labels, moving)
        if own is None:
            return None
        axis = moving[0] - labels.ndim
        if tensor.shape[axis] != len(own) or tensor.numel() != len(own):
            return None
        self.zero(gain, "gain")
        fresh = self.fresh(len(own), Origin(name, axis % tensor.ndim, self.call.layer))
        self._gains.append(_Gain(own, fresh.tolist(), name, list(range(len(own)))))
        return _Behind(fresh.reshape(-1, *(1,) * (-axis - 1)))

    def _name_of(self, tensor: Tensor) -> str | None:
        """The name of a parameter that is used as a whole."""
        for number in self.call.refs:
            found = self.trace.tensors[number]
            part = self.as_part(Ref(number))
            same = storage(found) == storage(tensor) and found.numel() == tensor.numel()
            if part is not None and same and self.trace_sizes[part.name].numel() == tensor.numel():
                return part.name
        return None

    def batch_norm(self, labels: Tensor, norm: Norm, gain: Part | None, bias: Part | None) -> Tensor:
        self.zero(labels, self.call.op)
        return self.fixed(labels.shape)

    def generators(self) -> Iterator[Generator]:
        """A family for each stream that passes through a normalisation."""
        cells = cells_of(self)
        cell_of = {unit: number for number, units in enumerate(cells) for unit in units}
        links: dict[int, list[tuple[int, _Gain, bool]]] = {}
        for one in self._gains:
            before, behind = (self._cell(own, cell_of, cells) for own in (one.before, one.behind))
            if before is None or behind is None:
                # What no basis change passes leaves nothing to rotate on the other side.
                for number in (before, behind):
                    if number is not None:
                        links.setdefault(number, []).append((-1, one, True))
                continue
            links.setdefault(before, []).append((behind, one, True))
            links.setdefault(behind, []).append((before, one, False))
        normed: dict[int, bool] = {}
        for own, mean in self._normed:
            number = self._cell(own, cell_of, cells)
            if number is not None:
                normed[number] = normed.get(number, False) or mean
        done: set[int] = set()
        for start in sorted(normed):
            if start not in done:
                chains = self._component(start, links, done)
                if chains is not None:
                    yield from self._rotation(cells, chains, any(normed.get(number, False) for number in chains))

    def _cell(self, labels: Sequence[int], cell_of: dict[int, int], cells: Sequence[list[int]]) -> int | None:
        """The cell whose units are these, each once and of one sign."""
        own = self.found(torch.tensor(labels, dtype=torch.int64)).tolist()
        numbers = {cell_of.get(abs(label), -1) for label in own}
        if len(numbers) != 1 or numbers == {-1} or len({label > 0 for label in own}) > 1:
            return None
        (number,) = numbers
        return number if [abs(label) for label in own] == cells[number] else None

    def _component(
        self, start: int, links: dict[int, list[tuple[int, _Gain, bool]]], done: set[int]
    ) -> dict[int, tuple[tuple[str, int], ...]] | None:
        """The cells that turn together, and for each the gains between it and the first; None if they disagree."""
        chains: dict[int, tuple[tuple[str, int], ...]] = {start: ()}
        waiting, sound = [start], True
        while waiting:
            here = waiting.pop()
            done.add(here)
            for there, gain, onward in links.get(here, ()):
                powers = dict(chains[here])
                powers[gain.tensor] = powers.get(gain.tensor, 0) + (1 if onward else -1)
                chain = tuple(sorted((name, power) for name, power in powers.items() if power))
                if there < 0:
                    sound = False
                elif there not in chains:
                    chains[there] = chain
                    waiting.append(there)
                else:
                    sound = sound and chains[there] == chain
        return chains if sound else None

    def _rotation(
        self, cells: Sequence[list[int]], chains: dict[int, tuple[tuple[str, int], ...]], mean: bool
    ) -> Iterator[Generator]:
        columns: list[Turned] = []
        held: dict[tuple[str, Dim], dict[int, list[int]]] = {}
        for name, dim, labels in self.labelled():
            own = held.setdefault((name, dim), {})
            for place, label in enumerate(self.resolved(labels).tolist()):
                own.setdefault(label, []).append(place)
        for number, chain in chains.items():
            gains = tuple((name, torch.arange(len(cells[number])), power) for name, power in chain)
            for (name, dim), own in held.items():
                for sign in (1, -1):
                    if sign * cells[number][0] in own:
                        places = torch.tensor([own[sign * unit] for unit in cells[number]])
                        columns.append(Turned(name, dim, places, sign < 0, gains))
        units = len(next(iter(cells[number] for number in chains)))
        if columns and units - mean > 1:
            tensor = columns[0].tensor
            words = f"rotations of a stream of {units} coordinates that {tensor} writes"
            words += ", the vector of ones kept" if mean else ""
            yield Rotation(f"rotation:{tensor}", "rotation", units, words, columns=tuple(columns), keeps_mean=mean)


def _squares(labels: Tensor) -> Tensor:
    return (labels >= _SQUARES) & (labels != ANY)


@dataclass
class _Behind:
    """Labels behind a gain; a value of its own, as a tensor is neither true nor false."""

    labels: Tensor

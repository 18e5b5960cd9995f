# The methods of a walk are explained where `Walk` declares them.
# ruff: noqa: D102
"""Shifts: what may be added to a bias and is undone where it arrives, or never seen at all.

Every element of an activation bears the label of the bias that shifts it, by as much everywhere; what moves
elements
moves labels. A linear map with a bias of its own undoes what arrives there, softmax and layer normalisation take
away what all share, and all else stops it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from landscape.symmetry.axes import Dim, length
from landscape.symmetry.columns import Columns
from landscape.symmetry.continuous import Mean, Shift, Sink
from landscape.symmetry.contractions import args
from landscape.symmetry.elements import Generator
from landscape.symmetry.labels import ANY, FIXED, Norm, Origin, Part, Ways, pairs, varies
from landscape.symmetry.recording import Call, Ref, Trace
from landscape.symmetry.shadows import Walk


class _Added(Walk):
    """A walk whose labels say what has been added.

    A negative label stands for a group of units whose shares are not known: it can be taken away, but not undone.

    Attributes:
        origins: For every label from 1 where it comes from, and its place there.
        stopped: Labels that something else than a sum sees.
    """

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.origins: list[tuple[Origin, int]] = []
        self.stopped: set[int] = set()
        self._groups: list[frozenset[int]] = [frozenset()]
        self._known: dict[frozenset[int], int] = {}
        # Weights of linear maps: what is added to them is no sum.
        self.weights: set[str] = set()

    def units_of(self, label: int) -> frozenset[int]:
        """The units that a label stands for."""
        if label in (FIXED, ANY):
            return frozenset()
        return frozenset((label,)) if label > 0 else self._groups[-label]

    def group(self, units: frozenset[int]) -> int:
        """The negative label of some units."""
        if not units:
            return FIXED
        if units not in self._known:
            self._known[units] = len(self._groups)
            self._groups.append(units)
        return -self._known[units]

    def absorbed_only(self, labels: Tensor) -> Tensor:
        """Labels of what has been added an unknown number of times."""
        found, inverse, shape = pairs(labels, labels)
        own = [self.group(self.units_of(label)) for label, _ in found]
        return torch.tensor(own, dtype=torch.int64)[inverse].expand(shape)

    def still(self, labels: Tensor) -> bool:
        """Return whether nothing has been added."""
        return not any(self.units_of(label) for label, _ in pairs(labels, labels)[0])

    def equate(self, a: Tensor, b: Tensor) -> None:
        for first, second in pairs(a, b)[0]:
            if self.units_of(first) != self.units_of(second):
                self.stopped |= self.units_of(first) | self.units_of(second)

    def zero(self, labels: Tensor, why: str) -> None:
        for label, _ in pairs(labels, labels)[0]:
            self.stopped |= self.units_of(label)

    def stop(self, *labels: Tensor) -> Tensor:
        """Stop labels; their result has none."""
        for own in labels:
            self.zero(own, self.call.op)
        return self.fixed(torch.broadcast_shapes(*(own.shape for own in labels)))

    def combine(self, a: Tensor, b: Tensor) -> Tensor:
        return self.stop(a, b)

    def pointwise(self, labels: Tensor, tags: frozenset[str], why: str) -> Tensor:
        return self.absorbed_only(labels) if "linear" in tags else self.stop(labels)

    def binary(self, kind: str, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        shape = torch.broadcast_shapes(a.shape, b.shape)
        stills = self.still(a), self.still(b)
        if all(stills):
            return self.fixed(shape)
        if kind == "mask" and stills[1]:
            return self.absorbed_only(a).expand(shape)
        if kind in ("mul", "div") and any(stills) and broadcast[0 if stills[0] else 1].numel() == 1:
            return self.absorbed_only(b if stills[0] else a).expand(shape)
        if kind != "add":
            return self.stop(a, b).expand(shape)
        plain = self.call.op != "rsub" and not any(float(one) != 1 for one in self._alphas())
        if self.call.op in ("sub", "rsub") or not plain:
            a, b = (a if plain and self.call.op == "sub" else self.absorbed_only(a)), self.absorbed_only(b)
        return self.joined(a, b).expand(shape)

    def _alphas(self) -> list[float]:
        if self.call.op not in ("add", "sub", "addmm", "baddbmm"):
            return []
        found = args(self.call, "alpha", *(("beta",) if self.call.op in ("addmm", "baddbmm") else ()))
        return [one for one in found if one is not None]

    @abstractmethod
    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        """A sum of two tensors."""

    def softmax(self, labels: Tensor, dims: Sequence[int], why: str) -> Tensor:
        moving = {axis for axis, moves in enumerate(varies(labels)) if moves}
        if moving & set(dims) or self.call.op == "_fused_rms_norm":
            return self.stop(labels)
        return self.fixed(labels.shape)

    def batch_norm(self, labels: Tensor, norm: Norm, gain: Part | None, bias: Part | None) -> Tensor:
        if self.owned_by(norm):
            self.arrive(labels, norm.mean, torch.arange(len(labels)))
        else:
            self.zero(labels, self.call.op)
        return self.fixed(labels.shape) if bias is None else self.labels_of(bias)

    def arrive(self, labels: Tensor, tensor: str, places: Tensor) -> None:
        """Let a shift end where it can be undone."""
        self.zero(labels, self.call.op)

    def _bias(self) -> Part | None:
        """The bias of the linear map at work, if it is one whole axis of a parameter."""
        (ref,) = args(self.call, "bias") if self.call.op in ("linear", "convolution") else self.call.args[:1]
        if self.call.op not in ("linear", "convolution", "addmm") or not isinstance(ref, Ref):
            return None
        part = self.as_part(ref)
        return part if part is not None and len(part.indices) == 1 and len(part.shape) == 1 else None


class Offsets(_Added):
    """The walk that finds shifts of biases.

    Attributes:
        arrivals: (tensor, units, its places, weight, (dim, rows), (dim, columns)): where shifts are undone.
    """

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.sinks: list[Sink] = []

    def fresh(self, count: int, origin: Origin) -> Tensor:
        start = len(self.origins) + 1
        self.origins += [(origin, place) for place in range(count)]
        return torch.arange(start, start + count)

    def arrive(self, labels: Tensor, tensor: str, places: Tensor) -> None:
        self.zero(labels[labels < 0], self.call.op)
        known = (labels > 0) & (labels != ANY)
        if bool(known.any()):
            self.sinks.append(Sink(tensor, labels[known], places[known], sign=1.0))

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        found, inverse, shape = pairs(a, b)
        made, against = [], []
        for first, second in found:
            units = self.units_of(first), self.units_of(second)
            if not all(units) or first == second:
                made.append(
                    self.group(units[0]) if first == second and all(units) else first if units[0] else second
                )
            elif first > 0 and second > 0:
                # The newer of two biases that are added may give what the older one takes.
                older, newer = sorted((first, second))
                against.append((older, newer))
                made.append(older)
            else:
                made.append(self.group(units[0] | units[1]))
        self._against(against)
        return torch.tensor([FIXED if one == ANY else one for one in made], dtype=torch.int64)[inverse].expand(
            shape
        )

    def _against(self, met: Sequence[tuple[int, int]]) -> None:
        by_tensor: dict[str, list[tuple[int, int]]] = {}
        for older, newer in met:
            origin, place = self.origins[older - 1]
            if len(self.trace_sizes[origin.tensor]) == 1:
                by_tensor.setdefault(origin.tensor, []).append((newer, place))
            else:
                self.stopped.add(newer)
        for tensor, own in by_tensor.items():
            units, places = (torch.tensor(column) for column in zip(*own, strict=True))
            self.sinks.append(Sink(tensor, units, places))

    def reduce(self, kind: str, labels: Tensor, dims: Sequence[int]) -> Tensor:
        reduced = self.uniform(labels, dims)
        return self.absorbed_only(reduced) if self.call.op == "sum" else reduced

    def apply_weight(self, inputs: Tensor, part: Part, ways: Ways) -> Tensor:
        (into, rows), (out, columns) = ways
        self.weights.add(part.name)
        moved = (inputs > 0) & (inputs != ANY)
        self.zero(inputs[inputs < 0], self.call.op)
        if bool(moved.any()):
            bias = self._bias()
            if bias is None or len(bias.indices[0]) != len(columns):
                self.zero(inputs, self.call.op)
            else:
                sink = Sink(
                    bias.name, inputs[moved], bias.indices[0], -1.0, part.name, (into, rows[moved]), out, columns
                )
                self.sinks.append(sink)
        return self.fixed((len(columns),))

    def apply_grouped(self, inputs: Tensor, part: Part, ways: Ways, groups: int) -> Tensor:
        self.weights.add(part.name)
        self.zero(inputs, self.call.op)
        return self.fixed((len(ways[1][1]),))

    def contract(self, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        shape = (*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        self.zero(a, self.call.op)
        if self.still(b):
            return self.fixed(shape)
        inner, last = varies(b)[-2:]
        if not inner and self._sums_to_one(broadcast[0]):
            return b.narrow(-2, 0, 1).expand(shape)
        if last:
            return self.stop(b).expand(shape) if not b.shape else self._stopped(b, shape)
        # What every key adds to a query's scores is the same for all keys.
        rows = b.narrow(-1, 0, 1)
        units = frozenset().union(*(self.units_of(label) for label, _ in pairs(rows, rows)[0]))
        return torch.tensor(self.group(units)).expand(shape)

    def _stopped(self, labels: Tensor, shape: Sequence[int]) -> Tensor:
        self.zero(labels, self.call.op)
        return self.fixed(shape)

    def _sums_to_one(self, shares: Tensor) -> bool:
        if self.call.op.startswith("_scaled_dot_product"):
            return True
        return any(self.trace.tensors[number] is shares for number in self.trace.shares & set(self.call.refs))

    def generators(self) -> Iterator[Generator]:
        """A family for each bias, of its units that nothing has stopped."""
        by_tensor: dict[Origin, list[int]] = {}
        for label, (origin, _) in enumerate(self.origins, 1):
            if label not in self.stopped and origin.tensor not in self.weights:
                by_tensor.setdefault(origin, []).append(label)
        for origin, labels in by_tensor.items():
            number = torch.full((len(self.origins) + 1,), -1)
            number[labels] = torch.arange(len(labels))
            places = torch.tensor([self.origins[label - 1][1] for label in labels])
            sinks = tuple(self._own_sinks(number))
            words = f"shifts of {len(labels)} units of {origin.tensor}, "
            words += (
                f"undone in {', '.join(dict.fromkeys(one.tensor for one in sinks))}"
                if sinks
                else "seen by nothing"
            )
            column = Columns(origin.tensor, origin.dim, places[:, None])
            yield Shift(f"shift:{origin.tensor}", "shift", len(labels), words, (column,), sinks)

    def _own_sinks(self, number: Tensor) -> Iterator[Sink]:
        met: set[tuple[object, ...]] = set()
        for sink in self.sinks:
            units = number[sink.units]
            own = units >= 0
            if not bool(own.any()):
                continue
            into = None if sink.into is None else (sink.into[0], sink.into[1][own])
            places = sink.places if sink.into is not None else sink.places[own]
            # A bias that is used at every step of a sequence is undone once.
            rows = () if into is None else tuple(into[1].tolist())
            key = (sink.tensor, sink.weight, tuple(units[own].tolist()), tuple(places.tolist()), rows)
            if key not in met:
                met.add(key)
                yield Sink(sink.tensor, units[own], places, sink.sign, sink.weight, into, sink.out, sink.columns)


# These leave the features of the last dimension where they are, if it keeps its length.
_BESIDE = (
    *("view", "_unsafe_view", "reshape", "clone", "alias", "detach", "_to_copy", "expand", "slice", "select"),
    *("unsqueeze", "transpose", "permute"),
)


class Means(_Added):
    """The walk that finds what layer normalisation takes away: a number added to all features alike."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self._readers: dict[tuple[str, Dim], Mean | None] = {}
        self._made_by = {number: call for call in trace.calls for number in call.outs}

    def fresh(self, count: int, origin: Origin) -> Tensor:
        self.origins.append((origin, 0))
        return torch.tensor(len(self.origins)).expand(count).clone()

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        found, inverse, shape = pairs(a, b)
        made = [self.group(self.units_of(first) | self.units_of(second)) for first, second in found]
        return torch.tensor(made, dtype=torch.int64)[inverse].expand(shape)

    def reduce(self, kind: str, labels: Tensor, dims: Sequence[int]) -> Tensor:
        if kind == "max":
            self.zero(labels, self.call.op)
            labels = self.fixed(labels.shape)
        return self.uniform(labels, dims)

    def apply_weight(self, inputs: Tensor, part: Part, ways: Ways) -> Tensor:
        out, columns = ways[1]
        self.zero(inputs, self.call.op)
        self._read_by(part, ways)
        state = self.begun(part.name, out)
        made = state.get(out)
        if made is None or part.name in self.weights or len(columns) != length(self.trace_sizes[part.name], out):
            for labels in state.values():
                self.zero(labels, self.call.op)
            return self.fixed((len(columns),))
        self.weights.add(part.name)
        return self.absorbed_only(made)

    def _read_by(self, part: Part, ways: Ways) -> None:
        """Note a weight that reads a normalisation; it may do so several times."""
        (into, rows), (out, columns) = ways
        size = self.trace_sizes[part.name]
        norm = self._norm()
        units = length(size, out)
        whole = len(size) == 2 and len(rows) == length(size, into) and torch.equal(columns, torch.arange(units))
        bias = self._bias()
        given = args(norm, "weight", "bias") if norm is not None else []
        gain, added = (
            self.trace.names.get(ref.number) if isinstance(ref, Ref) else None for ref in given or (0, 0)
        )
        sound = norm is not None and whole and (added is None or bias is not None)
        made = None
        if sound:
            words = f"what {part.name} reads of the mean of normalised features, which is 0"
            named = bias.name if bias is not None and added is not None else None
            made = Mean(f"mean:{part.name}", "mean", units, words, part.name, into, gain, added, named)
        key = (part.name, into)
        known = self._readers.get(key, made)
        self._readers[key] = (
            made if known is not None and made is not None and known.tensors == made.tensors else None
        )

    def _norm(self) -> Call | None:
        """The layer normalisation whose outputs the linear map at work reads."""
        (ref,) = self.call.args[1:2] if self.call.op == "addmm" else self.call.args[:1]
        number = ref.number if isinstance(ref, Ref) else -1
        features = self.trace.tensors[number].shape[-1:] if number >= 0 else ()
        while (call := self._made_by.get(number)) is not None and call.op in _BESIDE and call.refs:
            number = call.refs[0]
            if self.trace.tensors[number].shape[-1:] != features or self._moves_features(call, number):
                return None
        if (
            call is None
            or call.op != "native_layer_norm"
            or list(args(call, "normalized_shape")[0]) != list(features)
        ):
            return None
        return call

    def _moves_features(self, call: Call, number: int) -> bool:
        """Return whether another dimension comes last, or one place of the last is taken."""
        last = self.trace.tensors[number].ndim - 1
        if call.op == "permute":
            return bool(call.args[1][-1] % (last + 1) != last)
        dims = {"select": call.args[1:2], "transpose": call.args[1:3]}.get(call.op, ())
        return any(dim % (last + 1) == last for dim in dims)

    def apply_grouped(self, inputs: Tensor, part: Part, ways: Ways, groups: int) -> Tensor:
        return self.apply_weight(inputs, part, ways)

    def contract(self, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        self.zero(a, self.call.op)
        self.zero(b, self.call.op)
        return self.fixed((*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))

    def generators(self) -> Iterator[Generator]:
        """A family for each tensor that nothing else has seen."""
        for label, (origin, _) in enumerate(self.origins, 1):
            size = self.trace_sizes[origin.tensor]
            if label in self.stopped or length(size, origin.dim) < 2:
                continue
            units = size.numel() // length(size, origin.dim)
            words = f"means over the features of {units} columns of {origin.tensor}, taken away by normalisation"
            yield Mean(f"mean:{origin.tensor}", "mean", units, words, origin.tensor, origin.dim)
        yield from (one for one in self._readers.values() if one is not None)

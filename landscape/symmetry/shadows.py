"""Walking a trace with labels in place of numbers: every operation moves, joins or fixes labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from landscape.symmetry import operations
from landscape.symmetry.axes import Dim, Joint, joint, length, places_of
from landscape.symmetry.labels import ANY, FIXED, Norm, Origin, Part, Shadow, Ways, compact, thinned
from landscape.symmetry.recording import Call, Ref, Trace


class Walk(ABC):
    """One pass over a trace.

    Attributes:
        trace: What is walked over.
        states: Name of a parameter -> for each dimension that has labels one for each place along it.
        call: The operation at work.
        norms: Variance buffer -> the normalisation that it is used in.
        moves: Operations that moved elements of one tensor about, and the number of that tensor.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.env: dict[int, Shadow] = {}
        self.states: dict[str, dict[Dim, Tensor]] = {}
        self.norms: dict[str, Norm] = {}
        self.moves: list[tuple[int, Call]] = []
        self.call: Call = trace.calls[0]
        self._used: dict[str, set[str]] = {}
        for call in trace.calls:
            for number in call.refs:
                if number in trace.names:
                    self._used.setdefault(trace.names[number], set()).add(call.op)
        self.trace_sizes = {name: trace.tensors[number].shape for number, name in trace.names.items()}

    def run(self) -> None:
        """Go through all operations, then fix the outputs."""
        for call in self.trace.calls:
            self.call = call
            if call.outs and not any(self.trace.tensors[number].numel() for number in call.outs):
                # Of nothing nothing is made.
                for number in call.outs:
                    self.env[number] = self.fixed(self.trace.tensors[number].shape)
                continue
            rule = operations.RULES.get(call.op)
            if rule is None or rule(self, call) is False:
                self.unknown(call)
        for number in self.trace.outputs:
            self.zero(self.read(Ref(number)), "it is the output")

    def unknown(self, call: Call) -> None:
        """An operation about which nothing is known: whatever enters it must stay as it is."""
        why = f"{call.op} is not known to commute with anything"
        self.doubt(why)
        for number in call.refs:
            self.zero(self.read(Ref(number)), why)
        for number in call.outs:
            self.env[number] = self.fixed(self.trace.tensors[number].shape)

    def give(self, call: Call, labels: Shadow, place: int = 0) -> None:
        """Label one result of an operation; its other results are fixed."""
        for other in call.outs:
            self.env.setdefault(other, self.fixed(self.trace.tensors[other].shape))
        number = call.outs[place]
        if isinstance(labels, Tensor):
            # Along what does not change it takes no time from now on.
            (small,), _ = thinned(labels)
            labels = small.expand(self.trace.tensors[number].shape)
        self.env[number] = labels

    def shadow(self, ref: Ref) -> Shadow:
        """The labels of a tensor; of an unused parameter, which element of it is where."""
        number = ref.number
        if number not in self.env:
            self.env[number] = self._first(number)
        return self.env[number]

    def _first(self, number: int) -> Shadow:
        tensor, kind = self.trace.tensors[number], self.trace.kinds[number]
        if kind == "parameter" and tensor.ndim and tensor.numel() and tensor.is_floating_point():
            return Part(self.trace.names[number], places_of(tensor.shape))
        if kind == "parameter" and tensor.numel():
            self.doubt("a parameter without dimensions or of complex numbers", self.trace.names[number])
        if kind == "constant" and tensor.layout == torch.strided:
            return torch.where(tensor == 0, ANY, FIXED) if tensor.numel() else self.fixed(tensor.shape)
        return self.fixed(tensor.shape)

    def as_part(self, ref: Ref) -> Part | None:
        """A tensor as a part of a parameter, or of the statistics of a normalisation."""
        found = self.shadow(ref)
        return found if isinstance(found, Part) else None

    def whole(self, name: str) -> Tensor:
        """The labels of all elements of a parameter or of statistics."""
        return self.labels_of(Part(name, places_of(self.trace_sizes[name])))

    def owned_by(self, norm: Norm) -> bool:
        """Return whether nothing but one normalisation uses the tensors that it ties together."""
        if self.norms.setdefault(norm.variance, norm) != norm:
            return False
        gains = [other.variance for other in self.norms.values() if norm.gain and other.gain == norm.gain]
        names = [name for name in (norm.gain, norm.mean, norm.variance) if name is not None]
        return len(gains) <= 1 and all(len(self._used[name]) == 1 for name in names)

    def read(self, ref: Ref) -> Tensor:
        """The label of every element of a tensor."""
        found = self.shadow(ref)
        return found if isinstance(found, Tensor) else self.labels_of(found)

    def labels_of(self, part: Part) -> Tensor:
        """The label of every element of a part of a parameter."""
        total: Tensor | None = None
        for dim, labels in self.state(part.name).items():
            (small,), shape = compact(part.along(dim))
            own = labels[small].expand(shape)
            total = own if total is None else self.combine(total, own)
        return self.fixed(part.shape) if total is None else total

    def state(self, name: str) -> dict[Dim, Tensor]:
        """The labels of a parameter; at its first use it gets them along its last long dimension."""
        size = self.trace_sizes[name]
        long = [dim for dim, count in enumerate(size) if count > 1] or [len(size) - 1]
        if name not in self.states and len(long) > 1 and "embedding" not in self.call.op:
            self.doubt(f"{self.call.op} of a weight that is no linear map", name)
        return self.begun(name, long[-1])

    def begun(self, name: str, dim: Dim) -> dict[Dim, Tensor]:
        """The labels of a parameter, which begin as new ones along one dimension."""
        if name not in self.states:
            self.states[name] = {dim: self.fresh(length(self.trace_sizes[name], dim), self.origin(name, dim))}
        return self.states[name]

    def labelled(self) -> Iterator[tuple[str, Dim, Tensor]]:
        """Yield every dimension of a parameter that has labels, in order, and its labels."""
        for name, state in self.states.items():
            for dim in sorted(
                state, key=lambda one: (isinstance(one, Joint), one if isinstance(one, int) else one.dims)
            ):
                yield name, dim, state[dim]

    def origin(self, name: str, dim: Dim) -> Origin:
        """Return the origin of a label made now."""
        return Origin(name, dim, self.call.layer)

    def doubt(self, why: str, *tensors: str) -> None:  # noqa: B027
        """Note that the operation at work may pass on more than is known here, of these parameters too."""

    def fixed(self, shape: Sequence[int]) -> Tensor:
        """Labels of what does not move."""
        return torch.zeros((), dtype=torch.int64).expand(tuple(shape))

    def uniform(self, labels: Tensor, dims: Sequence[int]) -> Tensor:
        """Make labels equal along dimensions, which are then of size 1."""
        for dim in dims:
            labels = self._uniform_along(labels, dim)
        return labels

    def _uniform_along(self, labels: Tensor, dim: int) -> Tensor:
        if labels.shape[dim] == 0 or labels.stride(dim) == 0 or labels.shape[dim] == 1:
            return labels.narrow(dim, 0, min(1, labels.shape[dim]))
        # One that is always 0 has the largest label, and shows nothing of the others.
        first = labels.amin(dim, keepdim=True)
        self.equate(labels, first)
        return first

    @abstractmethod
    def fresh(self, count: int, origin: Origin) -> Tensor:
        """New labels."""

    @abstractmethod
    def equate(self, a: Tensor, b: Tensor) -> None:
        """Make labels at the same place the same."""

    @abstractmethod
    def zero(self, labels: Tensor, why: str) -> None:
        """Fix labels."""

    @abstractmethod
    def combine(self, a: Tensor, b: Tensor) -> Tensor:
        """The label of an element of a parameter that has one along each of two dimensions."""

    @abstractmethod
    def pointwise(self, labels: Tensor, tags: frozenset[str], why: str) -> Tensor:
        """A function of single elements."""

    @abstractmethod
    def binary(self, kind: str, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        """A function of two elements; `broadcast` are the tensors themselves."""

    @abstractmethod
    def reduce(self, kind: str, labels: Tensor, dims: Sequence[int]) -> Tensor:
        """A sum, mean or maximum; the dimensions stay with size 1."""

    @abstractmethod
    def softmax(self, labels: Tensor, dims: Sequence[int], why: str) -> Tensor:
        """Shares along dimensions, or standardised values."""

    @abstractmethod
    def apply_weight(self, inputs: Tensor, part: Part, ways: Ways) -> Tensor:
        """Labels of outputs of a linear map: (in,) -> (out,); `ways` are the (dim, places) of in and out."""

    @abstractmethod
    def contract(self, a: Tensor, b: Tensor, broadcast: tuple[Tensor, Tensor]) -> Tensor:
        """A matrix product of two activations: (..., m, k), (..., k, n) -> (..., m, n)."""

    @abstractmethod
    def apply_grouped(self, inputs: Tensor, part: Part, ways: Ways, groups: int) -> Tensor:
        """Linear maps side by side, as of a convolution in groups: (in,) -> (out,), both group by group."""

    def apply_bilinear(self, a: Tensor, b: Tensor, part: Part) -> Tensor:
        """A weight (out, a, b) applied to all products of two activations: (a,), (b,) -> (out,)."""
        shapes = (torch.zeros(len(a), 1), torch.zeros(1, len(b)))
        products = self.binary("mul", a[:, None], b[None], shapes).expand(len(a), len(b)).reshape(-1)
        both = joint(part.shape, (1, 2))
        return self.apply_weight(
            products, part, ((both, torch.arange(len(both))), (0, torch.arange(len(part.indices[0]))))
        )

    @abstractmethod
    def batch_norm(self, labels: Tensor, norm: Norm, gain: Part | None, bias: Part | None) -> Tensor:
        """Normalisation by stored statistics: labels of channels -> labels of channels."""

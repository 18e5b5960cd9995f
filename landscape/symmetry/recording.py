"""Recording of what a model computes: elementary operations on its weights, from one forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from landscape.copies import copied
from landscape.errors import LandscapeError
from landscape.objective.dispatch import DispatchMode
from landscape.objective.tree import forward
from landscape.wrappers import is_scripted, unwrapped

# Names under which language models hand out what they remember: no part of the function.
_CACHES = ("past_key_values", "mems")
# Operations that only allocate: what they return holds nothing yet.
_EMPTY = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")
# Matrix products, and the place of the first factor among their arguments.
_PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
# Rounding of the sum of the shares of float32 attention.
_ROUNDING = 1e-4
# The call that says which elements of a tensor others have written, without an operator of torch.
OVERWRITTEN = "overwritten"


@dataclass(frozen=True)
class Ref:
    """A tensor among the arguments of a call: its number in the trace."""

    number: int


@dataclass(frozen=True)
class Call:
    """One elementary operation.

    Attributes:
        op: Its name in torch's operator library, without overload and without the underscore of in-place forms.
        args: Positional arguments; tensors are `Ref`.
        kwargs: Named ones.
        outs: The numbers of the tensors it gives.
        layer: The module that called it, by its dotted name; empty for the model itself.
        overload: The operator, to be run on other tensors.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: tuple[int, ...]
    layer: str
    overload: Any

    @property
    def refs(self) -> list[int]:
        """The numbers of all tensors among the arguments, in order."""
        leaves = tree_leaves((self.args, self.kwargs), is_leaf=lambda leaf: isinstance(leaf, Ref))
        return [leaf.number for leaf in leaves if isinstance(leaf, Ref)]


@dataclass
class Trace:
    """The operations of a forward pass, in order.

    Attributes:
        calls: The operations that depend on weights or inputs.
        tensors: Number -> what it was. Parameters and values are stand-ins of the same shape, strides and offset
            without contents, so that a trace holds no weights and no activations.
        names: Number -> the name of the parameter or buffer that it is.
        kinds: Number -> ``"parameter"``, ``"buffer"``, ``"input"``, ``"constant"`` or ``"value"``.
        outputs: The numbers of the model's outputs.
        modules: Dotted name -> class name of every module.
        shares: The numbers of first factors of matrix products whose rows are shares: 0 or more, their sum 1.
    """

    calls: list[Call] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    shares: set[int] = field(default_factory=set)


class _Recording(DispatchMode):
    """Records every operation below automatic differentiation, where all of torch is some 200 of them."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace
        self.stack = [""]
        # Forgets what is freed: its address is given out again.
        self._number = WeakTensorKeyDictionary()
        # Storage -> the numbers of the tensors that wrote into it, in order.
        self._written: dict[int, list[int]] = {}
        # Storage -> the parameter or buffer that lies in it.
        self._held: dict[int, str] = {}

    def add(self, tensor: Tensor, kind: str, name: str | None = None) -> int:
        """Number a tensor; a second name of the same one is left aside."""
        if tensor in self._number and kind in ("parameter", "buffer"):
            return int(self._number[tensor])
        number = self._numbered(tensor, kind)
        if name is not None:
            self.trace.names[number] = name
            self._held.setdefault(storage(tensor), name)
        return number

    def _numbered(self, tensor: Tensor, kind: str) -> int:
        number = len(self.trace.tensors)
        self._number[tensor] = number
        self.trace.tensors.append(_stand_in(tensor) if kind == "value" else tensor)
        self.trace.kinds.append(kind)
        return number

    def number_of(self, tensor: Tensor) -> int:
        """The number of a tensor; one that nobody made here is a constant."""
        found = self._number.get(tensor)
        if found is None:
            found = self.add(tensor, "constant")
        later = [number for number in self._written.get(storage(tensor), ()) if number > found]
        return self._overwritten(tensor, found, later) if later else found

    def _overwritten(self, tensor: Tensor, found: int, writers: Sequence[int]) -> int:
        """The number of a tensor into whose memory others wrote since it was made.

        A call of its own says which of its elements now are those of a writer: `sources`, of the tensor's shape,
        holds for each the argument that it comes from, `places` its place there.
        """
        parts = [self.trace.tensors[number] for number in (found, *writers)]
        sources, places = _sources(tensor, parts[1:])
        met = sorted(set(sources.unique().tolist()) - {0})
        if not met:
            return found
        refs = tuple(Ref((found, *writers)[source]) for source in (0, *met))
        live = any(self.trace.kinds[ref.number] != "constant" for ref in refs)
        # The tensor as it was then keeps its number; what it is from now on gets another.
        if not live:
            self.trace.tensors[found] = tensor.detach().clone()
        number = self._numbered(tensor, "value" if live else "constant")
        if live:
            order = torch.tensor([met.index(source) + 1 if source in met else 0 for source in range(len(parts))])
            named = {"sources": order[sources], "places": places}
            self.trace.calls.append(Call(OVERWRITTEN, refs, named, (number,), self.stack[-1], None))
        return number

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _WRITTEN_OUT:
            with self:
                return _WRITTEN_OUT[func](*args, **kwargs)

        def as_ref(leaf: Any) -> Any:
            return Ref(self.number_of(leaf)) if isinstance(leaf, Tensor) else leaf

        seen_args, seen_kwargs = tree_map(as_ref, (tuple(args), dict(kwargs)))
        name = func._schema.name.split("::")[-1]
        changed = func._schema.is_mutable and name.endswith("_")
        before = args[0].detach() if changed else None
        if func._schema.is_mutable and not changed and name not in _EMPTY and not name.startswith("native_"):
            name = f"{name} (writes into its arguments)"
        if name in _PRODUCTS and _are_shares(first := args[_PRODUCTS[name]]):
            self.trace.shares.add(self.number_of(first))
        result = func(*args, **kwargs)
        refs = Call(name, seen_args, seen_kwargs, (), "", func).refs
        live = any(self.trace.kinds[number] != "constant" for number in refs)
        outs: tuple[int, ...]
        if changed and before is not None:
            outs = (self._rewritten(args[0], before, live),)
        else:
            kind = "value" if live else "constant"
            outs = tuple(self.add(leaf, kind) for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        if live:
            plain = name.removesuffix("_") if changed else name
            self.trace.calls.append(Call(plain, seen_args, seen_kwargs, outs, self.stack[-1], func))
        return result

    def _rewritten(self, tensor: Tensor, before: Tensor, live: bool) -> int:
        """The number of a tensor after a change in place: a new one, under which it is known from now on."""
        name = self._held.get(storage(tensor))
        if name is not None:
            raise LandscapeError(
                f"a forward pass in evaluation mode changes '{name}'", where=self.stack[-1] or "model"
            )
        was = int(self._number[tensor])
        # What changes in place may be the shape.
        self.trace.tensors[was] = _stand_in(before) if self.trace.kinds[was] == "value" else before
        number = self._numbered(tensor, "value" if live else "constant")
        self._written.setdefault(storage(tensor), []).append(number)
        return number


def _gated(x: Tensor, dim: int = -1) -> Tensor:
    """Gated units in elementary operations."""
    values, gates = x.chunk(2, dim)
    return values * gates.sigmoid()


def _weight_normed(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """A weight of a given norm along all dimensions but one."""
    norms = torch.linalg.vector_norm(v, dim=[one for one in range(v.ndim) if one != dim % v.ndim], keepdim=True)
    return v * (g / norms), norms


_aten = torch.ops.aten
_WRITTEN_OUT: dict[Any, Any] = {_aten.glu.default: _gated, _aten._weight_norm_interface.default: _weight_normed}


def _stand_in(tensor: Tensor) -> Tensor:
    """A tensor of the same shape and place in memory, without contents."""
    if tensor.layout != torch.strided:
        return tensor
    offset = tensor.storage_offset()
    memory = torch.empty(offset + _reach(tensor) + 1, dtype=tensor.dtype, device="meta")
    return memory.as_strided(tensor.shape, tensor.stride(), offset)


def _are_shares(tensor: Tensor) -> bool:
    """Return whether every row holds shares of attention."""
    if not tensor.is_floating_point() or tensor.layout != torch.strided:
        return False
    shares = tensor.detach().float()
    return bool((shares >= 0).all() and ((shares.sum(-1) - 1).abs() < _ROUNDING).all())


def storage(tensor: Tensor) -> int:
    """The memory that a tensor lies in, as a number."""
    # Sparse tensors have no storage of their own, and nothing writes into a part of one.
    return int(tensor.untyped_storage()._cdata) if tensor.layout == torch.strided else -id(tensor)


def _sources(tensor: Tensor, writers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """For each element of a tensor the last of some others that lie in the same memory and hold it, and where.

    Returns:
        From 1 for the first of them, 0 for none, and the place among its elements, both of the tensor's shape.
    """
    first = min(one.storage_offset() for one in (tensor, *writers))
    last = max(one.storage_offset() + _reach(one) for one in (tensor, *writers))
    sources, places = (torch.zeros(last - first + 1, dtype=torch.int64) for _ in range(2))

    def seen(memory: Tensor, one: Tensor) -> Tensor:
        return memory.as_strided(one.shape, one.stride(), one.storage_offset() - first)

    seen(places, tensor).copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
    for number, writer in enumerate(writers, 1):
        seen(sources, writer).fill_(number)
        seen(places, writer).copy_(torch.arange(writer.numel()).reshape(writer.shape))
    return seen(sources, tensor).clone(), seen(places, tensor).clone()


def _reach(tensor: Tensor) -> int:
    return sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


@contextmanager
def _layer_names(model: nn.Module, recording: _Recording) -> Iterator[None]:
    """Keep on the stack the name of the module that is at work."""
    handles = []
    for name, module in model.named_modules():
        recording.trace.modules[name] = type(module).__name__

        def enter(_module: nn.Module, _args: Any, name: str = name) -> None:
            recording.stack.append(name)

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            recording.stack.pop()

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def private_copy(model: nn.Module, *, share: bool = False) -> nn.Module:
    """A copy of a model in evaluation mode, which may be changed.

    Args:
        model: Any module.
        share: Keep no parameters of its own: the copy is run at weights that come with each call.
    """
    if is_scripted(model):
        raise LandscapeError(
            "symmetries cannot be found in TorchScript",
            where=type(model).__name__,
            mend="pass the Python model that was scripted or traced; slices and derivatives work as it is",
        )
    theirs = unwrapped(model)
    made: nn.Module = copied(theirs)[0].eval()
    if share:
        shared = dict(theirs.named_parameters())
        for name, parameter in made.named_parameters():
            parameter.data = shared[name].detach()
    return made


@contextmanager
def plain_kernels() -> Iterator[None]:
    """No gradients, and attention in its elementary operations; the random state is put back."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextmanager
def _no_onednn() -> Iterator[None]:
    """Elementary operations in place of the fused recurrent layers of oneDNN."""
    settings: Any = torch.backends.mkldnn
    enabled = settings.enabled
    settings.enabled = False
    try:
        yield
    finally:
        settings.enabled = enabled


def outputs_of(output: Any) -> list[Tensor]:
    """All tensors of a model's output but the keys and values that a language model keeps for the next token.

    Raises:
        LandscapeError: If there is none.
    """
    found = list(_tensors_in(output))
    if not found:
        raise LandscapeError("the model's output holds no tensor", got=type(output).__name__)
    return found


def _tensors_in(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for name, part in output.items():
            if name not in _CACHES:
                yield from _tensors_in(part)
    elif dataclasses.is_dataclass(output):
        for entry in dataclasses.fields(output):
            if entry.name not in _CACHES:
                yield from _tensors_in(getattr(output, entry.name))
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors_in(part)


def trace_of(model: nn.Module, x: Any) -> Trace:
    """Record what a model computes of an example input, in evaluation mode.

    Args:
        model: Any module; a copy of it is run.
        x: A tensor of inputs, a tuple of positional or a dictionary of named arguments.

    Returns:
        The operations and the tensors between them.

    Raises:
        LandscapeError: If the pass fails, or changes a parameter or a buffer.
    """
    model = private_copy(model)
    trace = Trace()
    recording = _Recording(trace)
    for name, parameter in model.named_parameters():
        recording.add(parameter, "parameter", name)
    for name, buffer in model.named_buffers():
        recording.add(buffer, "buffer", name)
    for leaf in tree_leaves(x):
        if isinstance(leaf, Tensor):
            recording.add(leaf, "input")
    with _no_onednn(), plain_kernels(), _layer_names(model, recording), recording:
        try:
            output = forward(model, x)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise LandscapeError(
                "the model cannot be run on the example input", where=type(model).__name__, got=error
            ) from error
        tensors = outputs_of(output)
        trace.outputs = [recording.number_of(tensor) for tensor in tensors]
    parameters = [number for number, kind in enumerate(trace.kinds) if kind == "parameter"]
    for number in parameters:
        trace.tensors[number] = _stand_in(trace.tensors[number])
    return trace

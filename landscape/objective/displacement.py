"""Weights of a model itself at other values, each tensor only while something reads it.

Hooks of a module put its parameters at the values wanted just before it runs, and back afterwards, from a copy of
these alone. Which modules read which parameters is seen in one forward pass, operation by operation; every later
pass is watched as well, so that no parameter is read where it was not moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from landscape.errors import LandscapeError
from landscape.objective.dispatch import DispatchMode
from landscape.ties import has_memory
from landscape.wrappers import after_call, before_call, gathering_units, is_sharded, own_part

Readers = dict[str, list[nn.Module | None]]
"""Name of a parameter -> the modules during whose calls it is read; None stands for the whole pass."""


class Values(Protocol):
    """Values of parameters elsewhere than where they are."""

    def write(self, name: str, held: Tensor, before: Tensor) -> None:
        """Write the values of a parameter.

        Args:
            name: The parameter.
            held: It, or the part of it in this process; overwritten.
            before: A contiguous copy of it as it was.
        """


class _Memory:
    """The parameters that an operation touches, by the place of its tensors in memory."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._spans: dict[int, list[tuple[int, int, str]]] = {}
        for name, tensor in ((name, own_part(own)) for name, own in tensors.items()):
            if has_memory(tensor):
                self._spans.setdefault(tensor.untyped_storage()._cdata, []).append((*_span(tensor), name))

    def touched(self, leaf: Any) -> Iterator[str]:
        """The names of the parameters that share memory with a tensor."""
        leaf = leaf._local_tensor if is_sharded(leaf) else leaf
        if type(leaf) not in (Tensor, nn.Parameter) or leaf.layout != torch.strided or not leaf.numel():
            return
        spans = self._spans.get(leaf.untyped_storage()._cdata)
        if spans:
            low, high = _span(leaf)
            yield from (name for start, stop, name in spans if low < stop and start < high)


def _span(tensor: Tensor) -> tuple[int, int]:
    """The first byte of a tensor in its storage, and the one after its last."""
    last = sum(int((size - 1) * step) for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    start = int(tensor.storage_offset())
    return start * tensor.itemsize, (start + last + 1) * tensor.itemsize


class _Reads(DispatchMode):
    """Tells of every parameter that an operation touches."""

    def __init__(self, memory: _Memory, told: Callable[[str], None]) -> None:
        super().__init__()
        self._memory, self._told = memory, told

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                for name in self._memory.touched(leaf):
                    self._told(name)
        return func(*args, **(kwargs or {}))


def readers_of(model: nn.Module, tensors: Mapping[str, Tensor], run: Callable[[], object]) -> Readers:
    """The modules that read parameters, seen in one pass; those that register them count in any case.

    Args:
        model: The model.
        tensors: Name -> parameter.
        run: Passes some examples through it.

    Returns:
        Name -> innermost modules during whose calls it is read; None where it is read outside of all.
    """
    found: dict[str, dict[int, nn.Module | None]] = {name: {} for name in tensors}
    by_id = {id(tensor): name for name, tensor in tensors.items()}
    running: list[nn.Module] = []

    def told(name: str) -> None:
        reader = running[-1] if running else None
        found[name][id(reader)] = reader

    def leave(*_: object) -> None:
        running.pop()

    with ExitStack() as stack:
        for module in model.modules():
            for parameter in module._parameters.values():
                if id(parameter) in by_id:
                    found[by_id[id(parameter)]][id(module)] = module
            stack.callback(before_call(module, lambda own, _: running.append(own)).remove)
            stack.callback(after_call(module, leave, always=True).remove)
        with _Reads(_Memory(tensors), told):
            run()
    return {name: list(readers.values()) for name, readers in found.items()} | _gathered_by(model, tensors)


def _gathered_by(model: nn.Module, tensors: Mapping[str, Tensor]) -> Readers:
    """The modules of FSDP2 that gather parameters before their calls; what reads them reads what was gathered."""
    found: Readers = {}
    for unit in gathering_units(model):
        own = {id(parameter) for parameter in unit.parameters()}
        # Those within others come later.
        found |= {name: [unit] for name, tensor in tensors.items() if id(tensor) in own}
    return found


class Displacement:
    """Parameters of a model that are moved while they are read.

    Args:
        tensors: Name -> parameter; of one that processes share, each moves its own part.
        readers: See `readers_of`.
    """

    def __init__(self, tensors: Mapping[str, Tensor], readers: Readers) -> None:
        self._tensors = {name: own_part(tensor) for name, tensor in tensors.items()}
        self._outside = [name for name, own in readers.items() if None in own]
        self._inside: dict[nn.Module, list[str]] = {}
        for name, own in readers.items():
            for module in own if None not in own else ():
                if module is not None:
                    self._inside.setdefault(module, []).append(name)
        self._memory = _Memory(self._tensors)
        self._before: dict[str, Tensor] = {}
        self._depth: Counter[str] = Counter()
        self._busy = False

    @property
    def held(self) -> tuple[str, ...]:
        """The names of the parameters that are read outside of all modules, and so are moved for a whole pass."""
        return tuple(self._outside)

    @contextmanager
    def at(self, values: Values) -> Iterator[None]:
        """Passes inside see other values; afterwards all is as it was, bit for bit, whatever is raised."""
        with ExitStack() as stack:
            stack.callback(self._end)
            for module, names in self._inside.items():
                enter, leave = self._hooks(values, names)
                # Before all other hooks, such as those that gather what is spread over processes.
                stack.callback(before_call(module, enter, first=True).remove)
                stack.callback(after_call(module, leave, always=True).remove)
            self._enter(values, self._outside)
            stack.enter_context(_Reads(self._memory, self._require_moved))
            yield

    def _hooks(self, values: Values, names: Collection[str]) -> tuple[Callable[..., None], Callable[..., None]]:
        def enter(*_: object) -> None:
            self._enter(values, names)

        def leave(*_: object) -> None:
            self._leave(names)

        return enter, leave

    def _require_moved(self, name: str) -> None:
        if not self._busy and name not in self._before:
            raise LandscapeError(
                f"'{name}' is read where it was not read before",
                where="model",
                mend="its forward pass goes another way for other data: evaluate it by a copy (in_place=False)",
            )

    def _enter(self, values: Values, names: Collection[str]) -> None:
        self._busy = True
        try:
            with torch.no_grad():
                for name in names:
                    self._depth[name] += 1
                    if self._depth[name] == 1:
                        held = self._tensors[name].detach()
                        self._before[name] = held.clone(memory_format=torch.contiguous_format)
                        values.write(name, held, self._before[name])
        finally:
            self._busy = False

    def _leave(self, names: Collection[str]) -> None:
        for name in names:
            self._depth[name] -= 1
            if self._depth[name] == 0:
                self._restore(name)

    def _restore(self, name: str) -> None:
        busy, self._busy = self._busy, True
        try:
            with torch.no_grad():
                self._tensors[name].detach().copy_(self._before[name])
            del self._before[name]
        finally:
            self._busy = busy

    def _end(self) -> None:
        for name in list(self._before):
            self._restore(name)
        self._depth.clear()

"""Running statistics of layers that are none of torch's: found by trial, and re-estimated as torch's are.

A layer of a user's own that keeps running statistics updates them in training mode to (1 - m) z + m s, where s is
the statistic of the batch. Run from several z, it tells m; run from zero on any batch, it tells s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape.objective.buffers import RAISED, calls_of, distance, holders, rehome, runnable, spoiled, tensors_in
from landscape.params import Tensors

# Rounding of what is linear, in single precision.
_LINEAR = 1e-4


@dataclasses.dataclass
class _Layer:
    """A layer with statistics of its own.

    Attributes:
        module: The layer.
        prefix: Of the names of its buffers.
        home: Its buffers as they were at first.
        others: Those that are no statistics: counters.
        shares: Name of each statistic -> m.
    """

    module: nn.Module
    prefix: str
    home: Tensors
    others: Tensors
    shares: dict[str, float]

    def start(self, value: float) -> None:
        """Set all statistics to a value, and counters back."""
        for name, tensor in self.others.items():
            self.home[name].copy_(tensor)
        for name in self.shares:
            self.home[name].fill_(value)

    def statistics(self) -> Tensors:
        """Return what was written over zero, divided by m."""
        rehome(self.module, self.home)
        return {name: tensor / self.shares[name] for name, tensor in self.home.items() if name in self.shares}


class RunningStatistics:
    """The layers of a model that keep running statistics and are none of torch's.

    Args:
        model: A private copy in evaluation mode.
        passes: Gives what runs some examples through the model; two, of unlike examples, if there are as many.
        derived: Buffers that follow from the weights, and are no statistics.

    Attributes:
        names: The names of the statistics.
    """

    def __init__(
        self, model: nn.Module, passes: Callable[[], Sequence[Callable[[], object]]], derived: Collection[str]
    ) -> None:
        self._layers: list[_Layer] = []
        modules = {
            prefix: module
            for prefix, module in holders(model).items()
            if runnable(module) and not any(f"{prefix}{name}" in derived for name in module._buffers)
        }
        if modules:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                calls = calls_of(modules, passes())
                found = (_tried(prefix, module, calls.get(prefix, [])) for prefix, module in modules.items())
                self._layers = [layer for layer in found if layer is not None]
        self.names = tuple(f"{layer.prefix}{name}" for layer in self._layers for name in layer.shares)

    @contextmanager
    def averaging(self) -> Iterator[None]:
        """Layers in training mode, whose statistics become the mean over all calls."""
        sums: list[Tensors] = [{} for _ in self._layers]
        calls = [0] * len(self._layers)
        handles = []
        for number, layer in enumerate(self._layers):
            layer.module.training = True

            def before(_module: nn.Module, _args: Any, layer: _Layer = layer) -> None:
                layer.start(0.0)

            def after(
                _module: nn.Module, _args: Any, _out: Any, layer: _Layer = layer, number: int = number
            ) -> None:
                calls[number] += 1
                for name, tensor in layer.statistics().items():
                    sums[number][name] = sums[number].get(name, 0.0) + tensor.double()

            handles += [layer.module.register_forward_pre_hook(before), layer.module.register_forward_hook(after)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for layer, total, count in zip(self._layers, sums, calls, strict=True):
                layer.module.training = False
                for name, tensor in total.items():
                    layer.home[name].copy_(tensor / count)


def _tried(prefix: str, module: nn.Module, calls: Sequence[Any]) -> _Layer | None:
    held = [held for held in (*module.parameters(), *module.buffers()) if held.layout == torch.strided]
    kept = [tensor.clone() for tensor in held]
    home = {name: tensor for name, tensor in module._buffers.items() if tensor is not None}
    others = {name: tensor.clone() for name, tensor in home.items()}
    try:
        layer = _layer(_Layer(module, prefix, home, others, {}), calls) if calls else None
    except RAISED:
        # What cannot be run by itself is left as it is.
        layer = None
    module.training = False
    rehome(module, home)
    own = {id(tensor) for tensor in home.values()}
    for tensor, before in zip(held, kept, strict=True):
        if not torch.equal(tensor, before):
            # A layer that trains others as it runs is none that keeps statistics.
            layer = layer if id(tensor) in own else None
            tensor.copy_(before)
    return layer


def _layer(layer: _Layer, calls: Sequence[Any]) -> _Layer | None:
    """The shares of what is updated, if that is linear, follows the data, and is not seen in training mode."""
    real = {name: tensor for name, tensor in layer.others.items() if tensor.is_floating_point()}
    spoilt = spoiled(real, 0)
    for name, tensor in spoilt.items():
        layer.home[name].copy_(tensor)
    _run(layer, calls[0])
    written = [name for name, tensor in spoilt.items() if not torch.equal(layer.home[name], tensor)]
    if not written:
        return None
    layer.others = {name: tensor for name, tensor in layer.others.items() if name not in written}
    layer.shares = dict.fromkeys(written, 1.0)
    layer.start(0.0)
    first = _run(layer, calls[0])
    zero = layer.statistics()
    scale = max(1.0, *(float(tensor.abs().max()) for tensor in zero.values()))
    ends: list[tuple[list[Tensor], Tensors]] = []
    for value in (scale, 2 * scale):
        layer.start(value)
        ends.append((_run(layer, calls[0]), layer.statistics()))
    layer.start(0.0)
    _run(layer, calls[-1])
    other = layer.statistics()
    if any(distance(first, output) > _LINEAR for output, _ in ends):
        return None
    if len(calls) > 1 and all(torch.equal(zero[name], other[name]) for name in written):
        return None
    for name in written:
        keep = (ends[0][1][name].double() - zero[name].double()) / scale
        again = (ends[1][1][name].double() - ends[0][1][name].double()) / scale
        share = 1.0 - float(keep.mean())
        if not 0 < share <= 1 + _LINEAR or max(_off(keep, 1 - share), _off(again, 1 - share)) > _LINEAR:
            return None
        layer.shares[name] = share
    return layer


def _off(tensor: Tensor, value: float) -> float:
    return float((tensor - value).abs().max())


def _run(layer: _Layer, call: Any) -> list[Tensor]:
    args, kwargs = call
    layer.module.training = True
    try:
        output = [tensor.clone() for tensor in tensors_in(layer.module(*args, **kwargs))]
    finally:
        layer.module.training = False
    rehome(layer.module, layer.home)
    return output

"""A network as a list of operations that a page can run: traced, and refused where a layer is not known."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from landscape.errors import LandscapeError
from landscape.values.result import Result

Operation = dict[str, Any]

# Activations by class, function or name of a method; numbers that they take are attributes of the class.
_ACTIVATIONS: dict[Any, str] = {
    **dict.fromkeys((nn.ReLU, functional.relu, torch.relu, "relu"), "relu"),
    **dict.fromkeys((nn.Tanh, functional.tanh, torch.tanh, "tanh"), "tanh"),
    **dict.fromkeys((nn.Sigmoid, functional.sigmoid, torch.sigmoid, "sigmoid"), "sigmoid"),
    **dict.fromkeys((nn.SiLU, functional.silu), "silu"),
    **dict.fromkeys((nn.GELU, functional.gelu), "gelu"),
    **dict.fromkeys((nn.LeakyReLU, functional.leaky_relu), "leaky-relu"),
    **dict.fromkeys((nn.ELU, functional.elu), "elu"),
}
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_ADDS = (operator.add, operator.iadd, torch.add, "add", "add_")
# What moves numbers, or leaves them out, or puts zeros beside them.
_MOVES = (operator.getitem, functional.pad, torch.flip, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)
_MEANS = (torch.mean, "mean")
_FLATTENS = (torch.flatten, "flatten", "view", "reshape")


@dataclass(frozen=True)
class Program(Result):
    """Operations of a network on one example.

    Attributes:
        operations: In order; ``out`` is the register written, ``of`` those read, numbers are of its own kind.
        sizes: Numbers in each register; register 0 is the input, the last operation writes the output.
        cost: Multiplications for one example.
    """

    operations: tuple[Operation, ...]
    sizes: tuple[int, ...]
    cost: int


class _Reader(fx.Interpreter):
    """Runs a traced network on a few examples, and writes down what it does."""

    def __init__(self, module: fx.GraphModule, tensors: Mapping[int, str]) -> None:
        # Values stay: shapes of what an operation reads are looked at after it.
        super().__init__(module, garbage_collect_values=False)
        self.tensors, self.cost = tensors, 0
        self.operations: list[Operation] = []
        self.sizes: list[int] = []
        self.places: dict[fx.Node, int] = {}

    def run_node(self, node: fx.Node) -> Any:
        """Run one node and write it down."""
        found = super().run_node(node)
        if node.op == "placeholder" and not self.sizes:
            self.places[node] = self._register(found)
        elif node.op in ("call_module", "call_function", "call_method"):
            self._write(node, found)
        elif node.op != "output":
            raise _unknown(node, f"it reads {node.target} by itself")
        return found

    def _register(self, value: Tensor) -> int:
        self.sizes.append(value[0].numel())
        return len(self.sizes) - 1

    def _write(self, node: fx.Node, found: Any) -> None:
        read = [one for one in node.args if isinstance(one, fx.Node)]
        if not isinstance(found, Tensor) or not read or any(one not in self.places for one in read):
            raise _unknown(node, str(node.target))
        told = self._operation(node, read, found)
        if told is None:
            self.places[node] = self.places[read[0]]
            return
        of = [self.places[one] for one in read]
        self.places[node] = self._register(found)
        self.operations.append({**told, "of": of, "out": self.places[node]})

    def _operation(self, node: fx.Node, read: list[fx.Node], found: Tensor) -> Operation | None:
        """The operation of a node; None where the numbers stay in their order."""
        before: Tensor = self.env[read[0]]
        module = self.fetch_attr(str(node.target)) if node.op == "call_module" else None
        key: Any = type(module) if module is not None else node.target
        if isinstance(module, _NOTHING) or (key in (nn.Flatten, *_FLATTENS) and _keeps_examples(before, found)):
            return None
        if key in _ACTIVATIONS:
            return {"op": "act", "name": _ACTIVATIONS[key], **_numbers(node, module)}
        # A number, a scale or another shape beside it is no plain sum of two layers.
        shapes = {self.env[one].shape for one in read}
        if key in _ADDS and len(node.args) == len(read) == 2 and not node.kwargs and shapes == {found.shape}:
            return {"op": "add"}
        if isinstance(module, nn.Linear) and before.ndim == 2:
            return self._linear(module)
        if isinstance(module, nn.Conv2d) and before.ndim == 4:
            return self._convolution(module, before, found, node)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.track_running_stats:
            return self._normalisation(module, before)
        if isinstance(module, nn.LayerNorm):
            return self._layer_normalisation(module)
        if key in _MOVES and len(read) == 1:
            return _moved(node, module, before)
        pooled = _mean(node, before) if key in _MEANS else _pooling(node, module, before, found)
        if pooled is not None:
            images = found if found.ndim == 4 else found[:, :, None, None]
            return {**pooled, **_images(before, images)}
        raise _unknown(node, type(module).__name__ if module is not None else str(getattr(key, "__name__", key)))

    def _name(self, tensor: Tensor | None) -> str | None:
        return None if tensor is None else self.tensors[id(tensor)]

    def _linear(self, module: nn.Linear) -> Operation:
        self.cost += module.weight.numel()
        return {"op": "linear", "weight": self._name(module.weight), "bias": self._name(module.bias)}

    def _convolution(self, module: nn.Conv2d, before: Tensor, found: Tensor, node: fx.Node) -> Operation:
        # "same" puts as many zeros on both sides where windows are odd.
        widths = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        named = {"same": [width // 2 for width in widths], "valid": [0, 0]}
        padding = named[module.padding] if isinstance(module.padding, str) else [*module.padding]
        uneven = module.padding == "same" and any(width % 2 for width in widths)
        if module.padding_mode != "zeros" or uneven:
            raise _unknown(node, f"Conv2d with padding {module.padding_mode} {module.padding}")
        self.cost += found[0, 0].numel() * module.weight.numel()
        return {
            "op": "conv",
            "weight": self._name(module.weight),
            "bias": self._name(module.bias),
            "groups": module.groups,
            "kernel": [*module.kernel_size],
            "stride": [*module.stride],
            "padding": padding,
            "dilation": [*module.dilation],
            **_images(before, found),
        }

    def _normalisation(self, module: nn.BatchNorm1d | nn.BatchNorm2d, before: Tensor) -> Operation:
        return {
            "op": "norm",
            "weight": self._name(module.weight),
            "bias": self._name(module.bias),
            "mean": self._name(module.running_mean),
            "variance": self._name(module.running_var),
            "eps": module.eps,
            "channels": before.shape[1],
        }

    def _layer_normalisation(self, module: nn.LayerNorm) -> Operation:
        width = math.prod(module.normalized_shape)
        names = {"weight": self._name(module.weight), "bias": self._name(module.bias)}
        return {"op": "layer-norm", **names, "eps": module.eps, "width": width}


def program_of(model: nn.Module, examples: Tensor) -> Program:
    """Trace a network into operations that a page can run.

    Args:
        model: The network, in evaluation mode.
        examples: A few of its inputs, shape (n, ...).

    Returns:
        The program; tensors go by their names in the model.

    Raises:
        LandscapeError: If it cannot be traced, or has a layer that is not known, by name.
    """
    names: dict[int, str] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        names.setdefault(id(tensor), name)
    try:
        # The outermost module is traced through: a lone layer is not to be one.
        traced = fx.symbolic_trace(nn.Sequential(model) if isinstance(model, nn.Linear | nn.Conv2d) else model)
    except LandscapeError:
        raise
    except Exception as fault:
        said = str(fault).strip().splitlines() or [type(fault).__name__]
        raise LandscapeError("the network cannot be traced for a page", got=said[0]) from fault
    reader = _Reader(traced, names)
    # The message of a fault is ours, in one line.
    reader.extra_traceback = False
    with torch.no_grad():
        found = reader.run(examples)
    output = next(node for node in traced.graph.nodes if node.op == "output").args[0]
    if not isinstance(output, fx.Node) or found.ndim != 2 or not reader.operations:
        raise LandscapeError("a page takes a network with one row of outputs per example", got=f"{output}")
    if reader.places[output] != reader.operations[-1]["out"]:
        raise LandscapeError("a page takes a network whose last operation is its output", got=f"{output}")
    return Program(tuple(reader.operations), tuple(reader.sizes), reader.cost)


def _unknown(node: fx.Node, what: str) -> LandscapeError:
    where = str(node.target) if node.op == "call_module" else node.name
    return LandscapeError(
        f"the page cannot compute {what}",
        where=f"layer {where}",
        expected="Linear, Conv2d, BatchNorm, LayerNorm, pooling, padding, slices, flatten, sums, ReLU, LeakyReLU, "
        "ELU, GELU, SiLU, tanh or sigmoid",
    )


def _keeps_examples(before: Tensor, found: Tensor) -> bool:
    return before.shape[0] == found.shape[0] and before.is_contiguous()


def _numbers(node: fx.Node, module: nn.Module | None) -> dict[str, Any]:
    """The numbers of an activation."""
    given: Mapping[str, Any] = node.kwargs if module is None else vars(module)
    if given.get("approximate", "none") == "tanh":
        return {"name": "gelu-tanh"}
    named = given.get("negative_slope", given.get("alpha"))
    slope = node.args[1] if module is None and len(node.args) > 1 else named
    default = 1.0 if node.target is functional.elu else 0.01
    return {"slope": float(slope) if isinstance(slope, int | float) else default}


def _moved(node: fx.Node, module: nn.Module | None, before: Tensor) -> Operation:
    """Where each number comes from, by moving their places; -1 is a zero.

    Raises:
        LandscapeError: If numbers of several examples are mixed, or something else than zeros is put beside them.
    """
    places = torch.arange(1, before.numel() + 1, dtype=torch.float64).reshape(before.shape)
    work: Any = node.target if module is None else module
    found = work(places, *node.args[1:], **node.kwargs)
    own = found[0].ravel() - 1
    count, value = before[0].numel(), (node.args[3:4] or (node.kwargs.get("value"),))[0]
    if found.shape[0] != before.shape[0] or own.max() >= count or (node.target is functional.pad and value):
        raise _unknown(node, f"this {node.name}")
    return {"op": "move", "from": own.to(torch.int32).numpy()}


def _mean(node: fx.Node, before: Tensor) -> Operation | None:
    """The mean over images."""
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if before.ndim != 4 or not isinstance(dims, list | tuple) or {one % 4 for one in dims} != {2, 3}:
        return None
    size = [*before.shape[2:]]
    return {"op": "average", "kernel": size, "stride": size, "padding": [0, 0]}


def _images(before: Tensor, found: Tensor) -> dict[str, Any]:
    return {"from": [*before.shape[1:]], "to": [*found.shape[1:]]}


def _pair(given: Any) -> list[int]:
    return [given, given] if isinstance(given, int) else [*given]


def _pooling(node: fx.Node, module: nn.Module | None, before: Tensor, found: Tensor) -> Operation | None:
    """Pooling of images, with windows that do not depend on where they are."""
    if before.ndim != 4 or found.ndim != 4:
        return None
    heights = [(before.shape[2 + i], found.shape[2 + i]) for i in range(2)]
    if isinstance(module, nn.AdaptiveAvgPool2d) or node.target is functional.adaptive_avg_pool2d:
        if any(of % to for of, to in heights):
            return None
        size = [of // to for of, to in heights]
        return {"op": "average", "kernel": size, "stride": size, "padding": [0, 0]}
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "count_include_pad")
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        given = {name: getattr(module, name, None) for name in names}
        kind = "max" if isinstance(module, nn.MaxPool2d) else "average"
    elif node.target in (functional.max_pool2d, functional.avg_pool2d):
        kind = "max" if node.target is functional.max_pool2d else "average"
        given = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
    else:
        return None
    kernel, padding = _pair(given["kernel_size"]), _pair(given.get("padding") or 0)
    odd = given.get("ceil_mode") or _pair(given.get("dilation") or 1) != [1, 1]
    if odd or given.get("divisor_override") or (kind == "average" and padding != [0, 0]):
        return None
    stride = kernel if given.get("stride") in (None, ()) else _pair(given["stride"])
    return {"op": kind, "kernel": kernel, "stride": stride, "padding": padding}

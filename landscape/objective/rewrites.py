"""Exact rewrites of a model in evaluation mode: normalisation folded into the layer before, activations fused.

In evaluation mode batch normalisation is affine, so a convolution or linear map W x + b followed by it is

    s (W x + b - m) + beta = W' x + b',   s = g / sqrt(v + eps),   W' = s W,   b' = s (b - m) + beta

with running mean m, running variance v, gain g and shift beta: one pass over the activations less. The
folded weights are computed anew at every point, for gains and statistics may move too.
"""

from __future__ import annotations

import inspect
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from landscape.objective.tree import Tree, leaves, tree_map
from landscape.params import wide

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLVE = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
# Their results are fresh memory that nobody else holds, so the next operation may write into it.
_FRESH = (*_CONVOLUTIONS, *_NORMALISATIONS, nn.Linear, nn.LayerNorm, nn.GroupNorm)
# Rounding differs by a few units in the last place per layer; a wrong rewrite differs by far more.
_SAME_OUTPUT = {torch.float64: 1e-10, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True)
class Rewritten:
    """The same function by other operations.

    Attributes:
        call: Inputs -> output.
        refresh: To be called after the weights or statistics of the model were changed in place.
        counts: What was done -> how often.
    """

    call: Callable[..., Any]
    refresh: Callable[[], None]
    counts: dict[str, int]


def rewritten(model: nn.Module, inputs: Tree) -> Rewritten | None:
    """Rewrite a model that can be traced.

    Args:
        model: In evaluation mode; its tensors are shared, not copied.
        inputs: Some examples, to try it on.

    Returns:
        The rewritten function; None where the model cannot be traced, nothing can be rewritten, or the
        outputs on the examples differ by more than rounding.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        traced = trace(model, inputs)
        if traced is None:
            return None
        try:
            counts, layers = _Rewrite(traced).run()
        except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError):
            return None
        if not counts:
            return None

        def refresh() -> None:
            for layer in layers:
                layer.refresh()

        refresh()
        made = Rewritten(traced, refresh, dict(counts))
        return made if _agree(model, made.call, inputs) else None


def trace(model: nn.Module, inputs: Tree) -> fx.GraphModule | None:
    """The operations of a model as a graph whose nodes know the shapes of their results; None if impossible."""
    few = tree_map(lambda tensor: tensor[:2], inputs)
    try:
        signature = inspect.signature(model.forward)
        bound = signature.bind(**few) if isinstance(few, Mapping) else signature.bind(*_positional(few))
        left = {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if name not in bound.arguments and parameter.default is not inspect.Parameter.empty
        }
        traced = fx.symbolic_trace(model, concrete_args=left or None)
        bound.apply_defaults()
        _Shapes(traced).run(*bound.args)
    except Exception:  # noqa: BLE001 - whatever a model of the user's does when it is traced, it runs untraced
        return None
    return traced


class _Shapes(fx.Interpreter):
    """Runs a graph, and notes shape and element type of the tensors on its nodes; torch's own imports sympy."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"], n.meta["dtype"] = result.shape, result.dtype
        return result


def _positional(inputs: Tree) -> tuple[Any, ...]:
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def _agree(model: nn.Module, call: Callable[..., Any], inputs: Tree) -> bool:
    def outputs(function: Callable[..., Any]) -> list[Tensor]:
        given = function(**inputs) if isinstance(inputs, Mapping) else function(*_positional(inputs))
        return leaves(given)

    try:
        wanted, got = outputs(model), outputs(call)
    except Exception:  # noqa: BLE001 - the same: without the rewrite all is well
        return False
    return len(wanted) == len(got) and all(_close(a, b) for a, b in zip(wanted, got, strict=True))


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    within = _SAME_OUTPUT.get(a.dtype, 0.0)
    a, b = wide(a), wide(b)
    scale = float(a.abs().nan_to_num(0.0, 0.0, 0.0).max()) if a.numel() else 0.0
    difference = (a - b).abs()
    difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, difference)
    return not difference.numel() or float(difference.max()) <= within * scale


class Fused(nn.Module):
    """A convolution or linear map with the normalisation, sum and ReLU that follow it, as one operation.

    Args:
        layer: The convolution or linear map; its tensors are read at every `refresh`.
        normalisation: The batch normalisation after it, or None.
        relu: Whether a ReLU comes last.
    """

    def __init__(self, layer: nn.Module, normalisation: nn.Module | None, relu: bool) -> None:
        super().__init__()
        # In a tuple, so that they are no submodules with tensors of their own.
        self._parts: tuple[Any, Any] = (layer, normalisation)
        self._relu = relu
        self._weight: Tensor = layer.weight.detach()  # type: ignore[operator]
        self._bias: Tensor | None = None if layer.bias is None else layer.bias.detach()  # type: ignore
        if normalisation is not None:
            layout = torch.channels_last if isinstance(layer, nn.Conv2d) else torch.contiguous_format
            self._weight = self._weight.clone(memory_format=layout)
            self._bias = self._weight.new_zeros(len(self._weight))
        self._kernel = self._pick_kernel(layer)

    def _pick_kernel(self, layer: nn.Module) -> str:
        if isinstance(layer, nn.Linear):
            return "linear"
        can = layer.weight.device.type == "cpu" and layer.weight.dtype in (torch.float32, torch.bfloat16)
        can = can and isinstance(layer, nn.Conv2d) and torch.backends.mkldnn.is_available()
        return "pointwise" if can and hasattr(torch.ops.mkldnn, "_convolution_pointwise") else "plain"

    def refresh(self) -> None:
        """Fold anew."""
        layer, norm = self._parts
        if norm is None:
            return
        # Apple's devices know no float64.
        wide = torch.float32 if layer.weight.device.type == "mps" else torch.float64
        scale = (norm.running_var.to(wide) + norm.eps).rsqrt()
        if norm.weight is not None:
            scale *= norm.weight
        shift = -norm.running_mean.to(wide) * scale
        if layer.bias is not None:
            shift += layer.bias * scale
        if norm.bias is not None:
            shift += norm.bias
        spread = (-1, *([1] * (self._weight.ndim - 1)))
        torch.mul(layer.weight, scale.to(self._weight.dtype).view(spread), out=self._weight)
        self._bias.copy_(shift)  # type: ignore[union-attr]

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """The layer at x, plus `other` if it is given, normalised and rectified as made."""
        layer = self._parts[0]
        if self._kernel == "pointwise":
            return self._pointwise(layer, x, other)
        if self._kernel == "linear":
            found = functional.linear(x, self._weight, self._bias)
        else:
            convolve = _CONVOLVE[type(layer)]
            found = convolve(
                x, self._weight, self._bias, layer.stride, layer.padding, layer.dilation, layer.groups
            )
        if other is not None:
            found.add_(other)
        return found.relu_() if self._relu else found

    def _pointwise(self, layer: Any, x: Tensor, other: Tensor | None) -> Tensor:
        # A private operation of torch's own compiler: convolution, sum and ReLU in one pass over the memory.
        operation = torch.ops.mkldnn._convolution_pointwise
        how = (layer.padding, layer.stride, layer.dilation, layer.groups)
        act = "relu" if self._relu else "none"
        if other is None:
            return operation(x, self._weight, self._bias, *how, act, [], "")
        is_last = x.is_contiguous(memory_format=torch.channels_last)
        other = other.contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)
        act = "relu" if self._relu else None  # type: ignore[assignment]
        return operation.binary(x, other, self._weight, self._bias, *how, "add", 1.0, act, [], "")


class _Rewrite:
    """One pass over a graph.

    Args:
        traced: What is rewritten, in place.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        self._traced = traced
        self._modules = dict(traced.named_modules())
        self._calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
        self._counts: Counter[str] = Counter()
        self._on_cpu = all(tensor.device.type == "cpu" for tensor in traced.state_dict().values())
        self._layers: list[Fused] = []

    def run(self) -> tuple[Counter[str], list[Fused]]:
        """Rewrite; what was done how often, and the layers that hold folded weights."""
        for node in list(self._traced.graph.nodes):
            self._skip_identity(node)
        for node in list(self._traced.graph.nodes):
            if self._is_layer(node):
                self._fuse(node)
        for node in list(self._traced.graph.nodes):
            self._overwrite(node)
            self._take_pairs(node)
        self._traced.graph.lint()
        self._traced.recompile()
        return self._counts, self._layers

    def _module(self, node: Any) -> nn.Module | None:
        """The module a node calls, if nothing but its forward pass happens there, and only there."""
        if not isinstance(node, fx.Node) or node.op != "call_module" or self._calls[node.target] != 1:
            return None
        module = self._modules[str(node.target)]
        hooks = (module._forward_hooks, module._forward_pre_hooks)
        return None if any(hooks) else module

    def _skip_identity(self, node: fx.Node) -> None:
        if type(self._module(node)) in (nn.Identity, *_DROPOUTS):
            node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
            self._traced.graph.erase_node(node)

    def _is_layer(self, node: fx.Node) -> bool:
        layer: Any = self._module(node)
        if type(layer) not in (*_CONVOLUTIONS, nn.Linear) or len(node.args) != 1 or node.kwargs:
            return False
        if type(layer) is nn.Linear:
            return len(node.meta["shape"]) == 2
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)

    def _fuse(self, node: fx.Node) -> None:
        layer: Any = self._module(node)
        chain, norm, other, relu = [node], None, None, False
        following = _only_user(node)
        if self._is_normalisation(following):
            norm = self._module(following)
            chain.append(following)  # type: ignore[arg-type]
            following = _only_user(chain[-1])
        other = self._summand(chain[-1], following) if type(layer) is nn.Conv2d else None
        if other is not None:
            chain.append(following)  # type: ignore[arg-type]
            following = _only_user(chain[-1])
        if self._is_relu(following):
            relu = True
            chain.append(following)  # type: ignore[arg-type]
        if len(chain) == 1 or (norm is None and type(layer) is nn.Linear):
            return
        done = {"normalisations folded": norm, "sums fused": other, "activations fused": relu or None}
        self._counts.update(name for name, was in done.items() if was is not None)
        self._replace(chain, Fused(layer, norm, relu), other)

    def _replace(self, chain: list[fx.Node], fused: Fused, other: fx.Node | None) -> None:
        name = f"fused_{len(self._layers)}"
        self._traced.add_submodule(name, fused)
        self._layers.append(fused)
        self._modules[name] = fused
        self._calls[name] = 1
        inputs = (chain[0].args[0],) if other is None else (chain[0].args[0], other)
        # What is added may be computed late: the whole goes where the last of the chain was.
        with self._traced.graph.inserting_before(chain[-1]):
            made = self._traced.graph.call_module(name, inputs)
        made.meta = dict(chain[-1].meta)
        chain[-1].replace_all_uses_with(made)
        for node in reversed(chain):
            self._traced.graph.erase_node(node)

    def _is_normalisation(self, node: fx.Node | None) -> bool:
        norm: Any = self._module(node)
        return type(norm) in _NORMALISATIONS and norm.track_running_stats and norm.running_mean is not None

    def _summand(self, last: fx.Node, following: fx.Node | None) -> fx.Node | None:
        """Return what is added to the result of `last`, if it is there by then and has the same shape."""
        if following is None or following.kwargs or len(following.args) != 2:
            return None
        if following.op == "call_function" and following.target not in (operator.add, operator.iadd, torch.add):
            return None
        if following.op == "call_method" and following.target not in ("add", "add_"):
            return None
        if following.op not in ("call_function", "call_method"):
            return None
        a, b = following.args
        other = b if a is last else a
        if not isinstance(other, fx.Node) or other is last:
            return None
        alike = all(other.meta.get(key) == last.meta[key] for key in ("shape", "dtype"))
        return other if alike else None

    def _is_relu(self, node: fx.Node | None) -> bool:
        if node is None:
            return False
        if node.op == "call_module":
            module = self._modules[str(node.target)]
            return type(module) is nn.ReLU and not (module._forward_hooks or module._forward_pre_hooks)
        if node.op == "call_method":
            return node.target in ("relu", "relu_")
        return node.op == "call_function" and node.target in (
            functional.relu,
            functional.relu_,
            torch.relu,
            torch.relu_,
        )

    def _overwrite(self, node: fx.Node) -> None:
        """Let a ReLU write into the memory of its input where nobody else reads that."""
        if not self._is_relu(node) or len(node.all_input_nodes) != 1:
            return
        source = node.all_input_nodes[0]
        if len(source.users) != 1 or type(self._module(source)) not in _FRESH:
            return
        with self._traced.graph.inserting_before(node):
            made = self._traced.graph.call_function(torch.relu_, (source,))
        made.meta = dict(node.meta)
        node.replace_all_uses_with(made)
        self._traced.graph.erase_node(node)
        self._counts["activations in place"] += 1

    def _take_pairs(self, node: fx.Node) -> None:
        """Take maxima over 2x2 pixels as maxima of pairs: torch's pooling on a CPU writes their places as well."""
        pool: Any = self._modules.get(str(node.target)) if node.op == "call_module" else None
        if type(pool) is not nn.MaxPool2d or pool._forward_hooks or pool._forward_pre_hooks:
            return
        plain = (pool.padding, pool.dilation, pool.ceil_mode, pool.return_indices) in (
            (0, 1, False, False),
            ((0, 0), (1, 1), False, False),
        )
        halves = pool.kernel_size in (2, (2, 2)) and pool.stride in (2, (2, 2))
        shape = node.meta.get("shape", ())
        if not (plain and halves and len(shape) == 4 and self._on_cpu):
            return
        with self._traced.graph.inserting_before(node):
            made = self._traced.graph.call_function(maximum_of_quads, node.args, node.kwargs)
        made.meta = dict(node.meta)
        node.replace_all_uses_with(made)
        self._traced.graph.erase_node(node)
        self._counts["maxima by pairs"] += 1


def maximum_of_quads(input: Tensor) -> Tensor:
    """The maximum over every 2x2 pixels; a last odd row or column is left out, as pooling does.

    Args:
        input: Shape (examples, channels, height, width).

    Returns:
        Shape (examples, channels, height // 2, width // 2).
    """
    height, width = (size - size % 2 for size in input.shape[2:])
    rows = torch.maximum(input[:, :, 0:height:2], input[:, :, 1:height:2])
    return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None

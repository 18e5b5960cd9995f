"""Models that are chains of linear maps and pointwise functions, seen as such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from landscape.objective.rewrites import trace
from landscape.objective.tree import Tree

_POINTWISE_MODULES = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Tanh),
    *(nn.Sigmoid, nn.Hardtanh, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.Softsign, nn.LogSigmoid),
)
_POINTWISE_FUNCTIONS = (
    *(torch.relu, torch.tanh, torch.sigmoid, torch.sin, torch.square, functional.relu, functional.tanh),
    *(functional.gelu, functional.silu, functional.softplus, functional.leaky_relu, functional.elu),
)
_NOTHING = (nn.Identity, nn.Dropout)


@dataclass(frozen=True)
class Linear:
    """A linear map.

    Attributes:
        weight: The name of its matrix, (out, in).
        bias: The name of its shift, or None.
    """

    weight: str
    bias: str | None


Step: TypeAlias = Linear | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Chain:
    """A linear map, and what follows it.

    Attributes:
        flatten: Whether the input is flattened first.
        steps: The first is a linear map.
    """

    flatten: bool
    steps: tuple[Step, ...]

    @property
    def first(self) -> Linear:
        """The linear map that sees the data."""
        return self.steps[0]  # type: ignore[return-value]


def chain_of(model: nn.Module, inputs: Tree) -> Chain | None:
    """A model as a chain, if it is one.

    Args:
        model: In evaluation mode.
        inputs: Some examples: a tensor.

    Returns:
        The chain; None if the model cannot be traced, branches, or does anything else.
    """
    if not isinstance(inputs, Tensor):
        return None
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        traced = trace(model, inputs)
    if traced is None:
        return None
    modules = dict(traced.named_modules())
    steps: list[Step] = []
    flatten = False
    previous: fx.Node | None = None
    for node in traced.graph.nodes:
        if node.op == "placeholder" and not node.users:
            continue
        if node.op == "output":
            return Chain(flatten, tuple(steps)) if steps and node.args[0] is previous else None
        if previous is not None and (node.all_input_nodes != [previous] or len(previous.users) != 1):
            return None
        if node.op != "placeholder":
            step = _step(node, modules)
            if step is None or (step is _flatten and steps):
                return None
            flatten = flatten or step is _flatten
            if isinstance(step, Linear) or (step not in (_flatten, _same) and steps):
                steps.append(step)
            elif step not in (_flatten, _same):
                return None
        previous = node
    return None


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def _same(x: Tensor) -> Tensor:
    return x


def _step(node: fx.Node, modules: dict[str, nn.Module]) -> Step | None:
    module: Any = modules.get(str(node.target)) if node.op == "call_module" else None
    if module is not None and (module._forward_hooks or module._forward_pre_hooks):
        return None
    if type(module) is nn.Linear:
        plain = "weight" in module._parameters and len(node.meta["shape"]) == 2
        bias = None if module.bias is None else f"{node.target}.bias"
        return Linear(f"{node.target}.weight", bias) if plain else None
    if type(module) is nn.Flatten:
        return _flatten if (module.start_dim, module.end_dim) == (1, -1) else None
    if type(module) in _NOTHING:
        return _same
    if type(module) in _POINTWISE_MODULES:
        return torch.relu_ if type(module) is nn.ReLU else module
    if node.op == "call_function" and node.target in _POINTWISE_FUNCTIONS and len(node.args) == 1:
        keywords = {key: value for key, value in node.kwargs.items() if key != "inplace"}
        return lambda x: node.target(x, **keywords)
    return None

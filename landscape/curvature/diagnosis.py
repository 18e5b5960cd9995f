"""The cause of derivatives that are not those of the loss drawn, and the layer it is in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from landscape.curvature.trial import Fault, Trial, hooked
from landscape.errors import LandscapeError

# Slices and measures that take no derivative.
_STILL = "slices, and measures without derivatives (local_energy, local_entropy), still work"
# A loss that moves by less than this share of what its gradient says does not move.
_FLAT = 1e-3
_DATA: Any = Tensor.data
_DETACHES = {Tensor.detach, Tensor.detach_, torch.detach, _DATA.__get__}
_ROUNDS = {
    *(torch.round, torch.floor, torch.ceil, torch.trunc, torch.sign, torch.heaviside, torch.sgn),
    *(Tensor.round, Tensor.floor, Tensor.ceil, Tensor.trunc, Tensor.sign, Tensor.sgn),
    *(torch.fake_quantize_per_tensor_affine, torch.fake_quantize_per_channel_affine),
}


def words_of(error: Exception) -> str:
    """The name of the kernel in an error of torch, or its first sentence."""
    text = str(error)
    if (kernel := re.search(r"derivative for '?([\w:.]+)'? is not implemented", text)) is not None:
        return f"{kernel.group(1)} has no derivative"
    if "once_differentiable" in text:
        return "an autograd.Function of the model can be differentiated once only"
    return re.split(r"(?<=[.!])\s|\n", text.strip())[0].rstrip(".")[:160] or type(error).__name__


def refusal(trial: Trial, fault: Fault) -> LandscapeError:
    """The error that says why no derivative can be trusted.

    Args:
        trial: Where it was tried.
        fault: What is wrong.
    """
    watched = _watched(trial)
    worst, jumps = _worst_parameter(trial, fault)
    cause, layer, mend = _cause(fault, watched, jumps)
    got = None
    if not math.isnan(fault.got):
        got = f"{fault.got:.4g} where differences of the loss drawn give {fault.expected:.4g}"
    return LandscapeError(
        f"autograd's derivative is not that of the loss drawn: {cause}",
        where=layer or worst,
        got=got,
        mend=f"{mend}; {_STILL}",
    )


def _cause(fault: Fault, watched: _Watched, jumps: bool) -> tuple[str, str, str]:
    """Cause, layer and remedy."""
    if fault.order == 2:
        layer = watched.functions[0][1] if watched.functions else ""
        return (
            fault.text,
            layer,
            "use float64, a smoother loss, or the Hessian itself",
        )
    if jumps:
        return (
            "the loss drawn moves in jumps (rounding or quantisation), and its gradient is that of another "
            "function (a straight-through estimator)",
            next(iter(watched.rounds), ""),
            "measure the model without quantisation",
        )
    if watched.functions:
        name, layer = watched.functions[0]
        also = ", or part of the loss is detached" if watched.detaches else ""
        cause = f"the backward of the autograd.Function '{name}' is not the derivative of its forward{also}"
        return cause, layer, f"mend {name}.backward"
    if watched.detaches or watched.hidden:
        return (
            "part of the loss is detached (detach, .data, no_grad, or autograd.grad without create_graph)",
            (watched.detaches + watched.hidden)[0],
            "let it have a gradient, or leave it out",
        )
    return fault.text, "", "write the layer with other operations"


class _Watched(TorchFunctionMode):
    """Notes what cuts a gradient while a loss is computed, each with the module it happens in.

    Attributes:
        detaches: Modules in which something that has a gradient is detached.
        hidden: Modules in which gradients are switched off, as they are inside the functions too.
        rounds: Modules in which something that has a gradient is rounded.
        functions: Names of autograd functions in Python, and their modules.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.detaches: list[str] = []
        self.hidden: list[str] = []
        self.rounds: list[str] = []
        self.functions: list[tuple[str, str]] = []
        self._inside: list[str] = [""]
        self._names = {module: name for name, module in model.named_modules()}
        self._met: set[Any] = set()

    def __torch_function__(
        self, function: Any, types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """A call as it is made."""
        named = kwargs or {}
        given = [part for part in tree_leaves((args, named)) if isinstance(part, Tensor)]
        if any(part.requires_grad for part in given):
            if function in _ROUNDS:
                self.rounds.append(self._inside[-1])
            elif not torch.is_grad_enabled():
                self.hidden.append(self._inside[-1])
            elif function in _DETACHES or (function is torch.autograd.grad and not named.get("create_graph")):
                self.detaches.append(self._inside[-1])
        return function(*args, **named)

    def enter(self, module: nn.Module, _given: Any) -> None:
        """Note that a module is called."""
        self._inside.append(self._names.get(module, ""))

    def leave(self, _module: nn.Module, _given: Any, output: Any) -> None:
        """Note the functions that a module added."""
        self.meet(output)
        self._inside.pop()

    def meet(self, output: Any) -> None:
        """Walk the graph behind an output as far as it is new."""
        nodes = [part.grad_fn for part in tree_leaves(output) if isinstance(part, Tensor)]
        while nodes:
            node = nodes.pop()
            if node is None or node in self._met:
                continue
            self._met.add(node)
            if isinstance(node, BackwardCFunction):
                self.functions.append((type(node).__name__.removesuffix("Backward"), self._inside[-1]))
            nodes += [following for following, _ in node.next_functions]


def _watched(trial: Trial) -> _Watched:
    model = trial.passes.evaluator.model
    watched = _Watched(model)
    with ExitStack() as stack:
        for module in model.modules():
            stack.enter_context(hooked(module, watched.leave, watched.enter))
        stack.enter_context(trial.passes.kernels())
        stack.enter_context(watched)
        try:
            total = trial.passes.loss_of(trial.batch).shares
        except (RuntimeError, NotImplementedError):
            return watched
    watched.meet(total)
    return watched


def _worst_parameter(trial: Trial, fault: Fault) -> tuple[str, bool]:
    """The parameter along which the derivative is farthest off, and whether the loss is flat along any."""
    if fault.order == 2:
        return "second derivative", False
    with trial.passes.kernels():
        try:
            gradient = trial.gradient()
        except (RuntimeError, NotImplementedError):
            return "gradient", False
        slopes = {name: trial.slopes_of(gradient, place) for place, name in enumerate(trial.passes.vectors.names)}
    most = max(abs(got) for got, _ in slopes.values())
    flat = any(abs(drawn) <= _FLAT * abs(got) and abs(got) > _FLAT * most for got, drawn in slopes.values())
    return max(slopes, key=lambda name: abs(slopes[name][0] - slopes[name][1])), flat

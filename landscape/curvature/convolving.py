"""Convolutions in two dimensions whose gradients are convolutions too, with batch normalisation folded into them.

A convolution y = w * x is linear in w and in x, and so are its two gradients: three maps, each of which has the
other two as its derivatives, however often they are differentiated. Torch takes the second derivatives of its own
convolutions by other ways, which are slower on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

# Stride, padding, dilation and groups.
_How: TypeAlias = tuple[list[int], list[int], list[int], int]
_aten = torch.ops.aten


def convolutions(device: torch.device, model: nn.Module) -> AbstractContextManager[Any]:
    """While this is open, forward passes of a model have graphs that are quickly differentiated twice.

    Nothing happens where that is of no use: without convolutions in two dimensions, or not on a CPU.

    Args:
        device: Where the model is.
        model: Its modules say which operations there are.
    """
    useful = device.type == "cpu" and any(isinstance(module, nn.Conv2d) for module in model.modules())
    return _Convolving() if useful else nullcontext()


def _innermost(tensor: Tensor) -> Tensor:
    """The same with channels innermost, which is the layout of the fastest kernels."""
    return tensor.contiguous(memory_format=torch.channels_last)


def _pull(gradient: Tensor, x: Tensor, weight: Tensor, how: _How, wanted: list[bool]) -> Tensor:
    stride, padding, dilation, groups = how
    none = [0] * len(stride)
    found = _aten.convolution_backward(
        gradient, x, weight, None, stride, padding, dilation, False, none, groups, wanted
    )
    return found[wanted.index(True)]


def _wanted(ctx: Any) -> list[bool]:
    """Of which inputs the backward pass that is under way wants the gradient: not all that have one."""
    return [
        wanted and node is not None and _executes(node)
        for wanted, (node, _) in zip(ctx.needs_input_grad, ctx.next_functions, strict=False)
    ]


def _always(_node: Any) -> bool:
    return True


# Torch tells its own functions, but not those that are written in Python; this asks it.
_executes: Callable[[Any], bool] = getattr(torch._C, "_will_engine_execute_node", _always)


class _Convolve(torch.autograd.Function):
    """w * x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, how: _How) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        stride, padding, dilation, groups = how
        none = [0] * len(stride)
        return _aten.convolution(x, weight, None, stride, padding, dilation, False, none, groups)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        gradient, wanted = _innermost(given[0]), _wanted(ctx)
        return (
            _PullInput.apply(gradient, weight, x, ctx.how) if wanted[0] else None,
            _PullWeight.apply(gradient, x, weight, ctx.how) if wanted[1] else None,
            None,
        )


class _PullInput(torch.autograd.Function):
    """The gradient with respect to x, linear in that with respect to y and in w; of x only the shape counts."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, x: Tensor, how: _How) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.how = how
        return _pull(gradient, x, weight, how, [True, False, False])

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Any, ...]:
        gradient, weight = ctx.saved_tensors
        along, wanted = _innermost(given[0]), _wanted(ctx)
        return (
            _Convolve.apply(along, weight, ctx.how) if wanted[0] else None,
            _PullWeight.apply(gradient, along, weight, ctx.how) if wanted[1] else None,
            None,
            None,
        )


class _PullWeight(torch.autograd.Function):
    """The gradient with respect to w, linear in that with respect to y and in x; of w only the shape counts."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, how: _How) -> Tensor:
        ctx.save_for_backward(gradient, x)
        ctx.how = how
        return _pull(gradient, x, weight, how, [False, True, False])

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Any, ...]:
        gradient, x = ctx.saved_tensors
        along, wanted = _innermost(given[0]), _wanted(ctx)
        return (
            _Convolve.apply(x, along, ctx.how) if wanted[0] else None,
            _PullInput.apply(gradient, along, x, ctx.how) if wanted[1] else None,
            None,
            None,
        )


class _Convolving(TorchFunctionMode):
    """Replaces convolutions, and batch normalisations by statistics that are held."""

    def __init__(self) -> None:
        super().__init__()
        # Result of a convolution -> what it was made of, and its version, which counts changes in place.
        self._made: Mapping[Tensor, tuple[Tensor, Tensor, Tensor | None, _How, int]] = WeakIdKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """A call as it is made, or what replaces it."""
        replaced = _REPLACED.get(function)
        made = None if replaced is None else replaced(self, *args, **(kwargs or {}))
        return function(*args, **(kwargs or {})) if made is None else made

    def convolve(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
    ) -> Tensor | None:
        """`torch.conv2d`; None where it is left to torch."""
        if isinstance(padding, str) or input.ndim != 4 or torch.is_autocast_enabled(input.device.type):
            return None
        how = (_pair(stride), _pair(padding), _pair(dilation), groups)
        made = _convolved(input, weight, bias, how)
        self._made[made] = (input, weight, bias, how, made._version)  # type: ignore[index]
        return made

    def normalise(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor | None:
        """`functional.batch_norm`; None where it is left to torch."""
        if training or running_mean is None or running_var is None or input.ndim != 4:
            return None
        scale = (running_var + eps).rsqrt()
        scale = scale if weight is None else scale * weight
        shift = -running_mean * scale
        shift = shift if bias is None else shift + bias
        made = self._made.get(input)
        if made is None or made[-1] != input._version:
            return input * scale[:, None, None] + shift[:, None, None]
        x, filters, own, how, _ = made
        return _convolved(
            x, filters * scale[:, None, None, None], shift if own is None else shift + own * scale, how
        )


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
    found: Tensor = _Convolve.apply(_innermost(x), _innermost(weight), how)
    return found if bias is None else found + bias[:, None, None]


def _pair(size: int | tuple[int, ...]) -> list[int]:
    several = [size] if isinstance(size, int) else list(size)
    return several * 2 if len(several) == 1 else several


_REPLACED: Mapping[Any, Callable[..., Tensor | None]] = {
    torch.conv2d: _Convolving.convolve,
    functional.batch_norm: _Convolving.normalise,
}

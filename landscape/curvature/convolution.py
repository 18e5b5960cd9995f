"""Convolutions in two dimensions whose gradients are convolutions too, with batch normalisation folded into them.

A convolution y = w * x is linear in w and in x, and so are its two gradients: three maps, each of which has the
other two as its derivatives, however often they are differentiated. Torch takes the second derivatives of its own
convolutions by other ways, which are slower on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

# Stride, padding, dilation and groups.
_How: TypeAlias = tuple[list[int], list[int], list[int], int]
_aten = torch.ops.aten


class Convolutions:
    """Forward passes of a model whose graphs are quickly differentiated twice.

    Nothing happens where that is of no use: without convolutions in two dimensions, or not on a CPU.

    Args:
        device: Where the model is.
        model: Its modules say which operations there are.
    """

    def __init__(self, device: torch.device, model: nn.Module) -> None:
        self._useful = device.type == "cpu" and any(isinstance(module, nn.Conv2d) for module in model.modules())
        # Filters -> the normalisation that came after them the last time.
        self._next: dict[Any, _Normalisation] = WeakIdKeyDictionary()  # type: ignore[assignment]

    def replaced(self) -> AbstractContextManager[Any]:
        """For as long as a forward pass takes."""
        return _Convolving(self._next) if self._useful else nullcontext()


@dataclass(frozen=True)
class _Normalisation:
    """Parts of a batch normalisation by statistics that are held."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def same(self, other: _Normalisation) -> bool:
        pairs = ((self.mean, other.mean), (self.variance, other.variance), (self.weight, other.weight))
        return all(a is b for a, b in (*pairs, (self.bias, other.bias))) and self.eps == other.eps

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of every channel."""
        scale = (self.variance + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -self.mean * scale
        return scale, shift if self.bias is None else shift + self.bias


@dataclass(frozen=True)
class _Made:
    """Parts that the result of a convolution was made of."""

    x: Tensor
    filters: Tensor
    bias: Tensor | None
    how: _How
    # Counts changes in place.
    version: int

    def plain(self) -> Tensor:
        return _convolved(self.x, self.filters, self.bias, self.how)

    def normalised(self, by: _Normalisation) -> Tensor:
        scale, shift = by.affine()
        shift = shift if self.bias is None else shift + self.bias * scale
        return _convolved(self.x, self.filters * scale[:, None, None, None], shift, self.how)


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
    """Of which inputs the backward pass that is under way wants the gradient: not all that have one.

    Torch does not tell of leaves.
    """
    return [
        wanted and node is not None and (node.name().endswith("AccumulateGrad") or _executes(node))
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


# What they answer does not depend on what a tensor holds.
_QUESTIONS = {
    *(Tensor.dim, Tensor.size, Tensor.numel),
    *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device", "layout", "requires_grad")),
}


class _Convolving(TorchFunctionMode):
    """Replaces convolutions, and the batch normalisations that follow them.

    Filters that were followed by a normalisation the last time get it at once. Should anything else but this
    normalisation then ask for the result of the convolution, it gets that.
    """

    def __init__(self, following: dict[Any, _Normalisation]) -> None:
        super().__init__()
        self._next = following
        # Results of convolutions, those with a normalisation in them, and what is given in place of such.
        self._made: dict[Any, _Made] = WeakIdKeyDictionary()  # type: ignore[assignment]
        self._early: dict[Any, _Normalisation] = WeakIdKeyDictionary()  # type: ignore[assignment]
        self._plain: dict[Any, Tensor] = WeakIdKeyDictionary()  # type: ignore[assignment]

    def __torch_function__(
        self, function: Any, types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """A call as it is made, or what replaces it."""
        kwargs = kwargs or {}
        if function is functional.batch_norm and (made := self._normalise(*args, **kwargs)) is not None:
            return made
        if self._early and function not in _QUESTIONS:
            args, kwargs = self._without(tuple(args)), self._without(dict(kwargs))
        if function is torch.conv2d and (made := self._convolve(*args, **kwargs)) is not None:
            return made
        return function(*args, **kwargs)

    def _without(self, given: Any) -> Any:
        """The same with the plain results of convolutions in place of those with a normalisation in them."""
        if isinstance(given, Tensor):
            return self._taken_plain(given) if given in self._early else given
        if type(given) in (tuple, list):
            return type(given)(self._without(part) for part in given)
        if type(given) is dict:
            return {key: self._without(part) for key, part in given.items()}
        return given

    def _taken_plain(self, tensor: Tensor) -> Tensor:
        # Once, so that what is changed in place stays changed.
        if tensor not in self._plain:
            made = self._made[tensor]
            self._plain[tensor] = plain = made.plain()
            self._made[plain] = replace(made, version=plain._version)
        return self._plain[tensor]

    def _convolve(
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
        made = _Made(input, weight, bias, (_pair(stride), _pair(padding), _pair(dilation), groups), 0)
        early = self._next.get(weight)
        result = made.plain() if early is None else made.normalised(early)
        self._made[result] = replace(made, version=result._version)
        if early is not None:
            self._early[result] = early
        return result

    def _normalise(
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
        wanted = _Normalisation(running_mean, running_var, weight, bias, eps)
        early = self._early.get(input)
        if early is not None and input not in self._plain and early.same(wanted):
            # Another tensor than the result of the convolution, which others may ask for.
            return input.view_as(input)
        found = input if early is None else self._taken_plain(input)
        made = self._made.get(found)
        if made is None or made.version != found._version:
            scale, shift = wanted.affine()
            return found * scale[:, None, None] + shift[:, None, None]
        self._next[made.filters] = wanted
        return made.normalised(wanted)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
    found: Tensor = _Convolve.apply(_innermost(x), _innermost(weight), how)
    return found if bias is None else found + bias[:, None, None]


def _pair(size: int | tuple[int, ...]) -> list[int]:
    several = [size] if isinstance(size, int) else list(size)
    return several * 2 if len(several) == 1 else several

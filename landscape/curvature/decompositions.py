"""Plain arithmetic in place of fused kernels, and of checkpoints, whose derivatives are wrong or missing."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint


class Decompositions(TorchFunctionMode):
    """Computes fused operations by sums, products and powers, which autograd differentiates as often as asked.

    Torch writes the second derivatives of its fused kernels by hand: that of weight normalisation is wrong on a
    CPU in some versions, others are missing.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """A call as it is made, or by plain arithmetic."""
        return _PLAIN.get(function, function)(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    # -1 stands for one norm of the whole.
    axes = [axis for axis in range(v.ndim) if axis != dim]
    squares = v * v
    return v * (g / (squares.sum(axes, keepdim=True) if axes else squares).sqrt())


def _standardised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    rest = x - x.mean(axes, keepdim=True)
    return rest / ((rest * rest).mean(axes, keepdim=True) + eps).sqrt()


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _per_channel(tensor: Tensor | None, like: Tensor) -> Tensor | None:
    return None if tensor is None else tensor.reshape(-1, *[1] * (like.ndim - 2))


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
    **__: Any,
) -> Tensor:
    axes = list(range(input.ndim - len(tuple(normalized_shape)), input.ndim))
    return _affine(_standardised(input, axes, eps), weight, bias)


def _rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    axes = list(range(input.ndim - len(tuple(normalized_shape)), input.ndim))
    small = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(input / ((input * input).mean(axes, keepdim=True) + small).sqrt(), weight, None)


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
    **__: Any,
) -> Tensor:
    groups = input.reshape(input.shape[0], num_groups, -1)
    found = _standardised(groups, [2], eps).reshape(input.shape)
    return _affine(found, _per_channel(weight, input), _per_channel(bias, input))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    wide = input if input.ndim > 1 else input[None]
    mean, scale = _per_channel(running_mean, wide), _per_channel((running_var + eps).sqrt(), wide)
    found = (input - mean) / scale  # type: ignore[operator]
    return _affine(found, _per_channel(weight, wide), _per_channel(bias, wide))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    if attn_mask is not None:
        hides = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -math.inf) if hides else scores + attn_mask
    return functional.dropout(scores.softmax(-1), dropout_p, dropout_p > 0) @ value


def _embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    # Torch gives the row of padding no gradient; slices move it.
    return functional.embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq)


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "") -> Tensor:
    if p != 2:
        return torch.cdist(x1, x2, p)
    rest = x1[..., :, None, :] - x2[..., None, :, :]
    squares = (rest * rest).sum(-1)
    # The root has no slope at 0.
    return torch.where(squares > 0, torch.where(squares > 0, squares, 1).sqrt(), 0)


_PLAIN: dict[Any, Callable[..., Any]] = {
    # Private to torch, and called by its parametrisation of weights.
    **({torch._weight_norm: _weight_norm} if hasattr(torch, "_weight_norm") else {}),
    functional.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    functional.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    functional.group_norm: _group_norm,
    torch.group_norm: _group_norm,
    functional.batch_norm: _batch_norm,
    functional.scaled_dot_product_attention: _attention,
    functional.embedding: _embedding,
    torch.cdist: _cdist,
}


class _Unchecked:
    """Stands in for `checkpoint.CheckpointFunction`: the block is called as if there were no checkpoint."""

    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *given: Any) -> Any:
        return function(*given)


# The name that is replaced belongs to all threads.
_turn = threading.RLock()


@contextmanager
def without_checkpoints() -> Iterator[None]:
    """Call blocks under reentrant checkpoints directly.

    A reentrant checkpoint differentiates its block in a backward pass of its own: it has no gradient where no
    input of the block has one, and none that `torch.autograd.grad` can ask for.
    """
    with _turn:
        own = checkpoint.CheckpointFunction
        checkpoint.CheckpointFunction = _Unchecked  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            checkpoint.CheckpointFunction = own  # type: ignore[misc]

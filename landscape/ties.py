"""Tensors of a model that share memory."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError


def identity(tensor: Tensor) -> Hashable:
    """Return a value that is equal for two tensors if and only if each element of one is that of the other.

    Example:
        >>> w = torch.ones(2, 2)
        >>> identity(nn.Parameter(w)) == identity(nn.Parameter(w)), identity(w) == identity(w.T)
        (True, False)
    """
    # Those spread over processes say 0 for all.
    if not has_memory(tensor) or tensor.data_ptr() == 0:
        return id(tensor)
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def has_memory(tensor: Tensor) -> bool:
    """Return whether a tensor has elements that lie in a storage of its own or of others."""
    return tensor.layout == torch.strided and tensor.numel() > 0 and tensor.device.type != "meta"


def tied_memo(model: nn.Module, memo: dict[int, Any] | None = None) -> dict[int, Any]:
    """Return the memo with which `copy.deepcopy` makes parameters that share memory one parameter.

    A buffer that shares the memory of a parameter becomes that parameter too.

    Args:
        model: The model to copy.
        memo: A memo to add to; None starts an empty one.

    Returns:
        The memo for `copy.deepcopy`.

    Raises:
        LandscapeError: If two parameters that move share a part of their memory only.
    """
    _require_apart(model)
    memo = {} if memo is None else memo
    # Numbers of objects are given out again: what they stand for is kept, where copy.deepcopy keeps such things.
    memo.setdefault(id(memo), []).extend((*model.parameters(), *model.buffers()))
    first: dict[Hashable, nn.Parameter] = {}
    for parameter in model.parameters():
        own = first.setdefault(identity(parameter), parameter)
        if own is not parameter:
            memo[id(parameter)] = copy.deepcopy(own, memo)
    for buffer in model.buffers():
        shared = first.get(identity(buffer))
        if shared is not None and shared is not buffer:
            memo[id(buffer)] = copy.deepcopy(shared, memo)
        # Compressed sparse tensors have no copy.deepcopy of their own.
        elif buffer.layout != torch.strided:
            memo[id(buffer)] = buffer.clone()
    return memo


def _require_apart(model: nn.Module) -> None:
    """Check that no two parameters that move overlap in memory, unless they are the same place."""
    places: dict[tuple[int, int], list[tuple[int, int, str]]] = {}
    seen = set()
    for name, parameter in model.named_parameters():
        own = identity(parameter)
        if not has_memory(parameter) or not parameter.requires_grad or own in seen:
            continue
        seen.add(own)
        steps = sum((size - 1) * step for size, step in zip(parameter.shape, parameter.stride(), strict=True))
        start, storage = parameter.data_ptr(), parameter.untyped_storage().data_ptr()
        span = start, start + (steps + 1) * parameter.element_size(), name
        places.setdefault((storage, parameter.get_device()), []).append(span)
    for spans in places.values():
        for one, other in itertools.pairwise(sorted(spans)):
            if other[0] < one[1]:
                raise LandscapeError(
                    f"'{one[2]}' and '{other[2]}' share memory without being one parameter",
                    where="model",
                    mend="keep one of them, and transpose or slice it in the forward pass",
                )

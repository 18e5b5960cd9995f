"""All parameters of one type in one vector, so that a step of all of them is one operation.

Parameters of whole numbers have no part in it: nothing moves them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.params import Tensors, cast, identity, is_number

# The width of the widest vector registers, in bytes: kernels run the same path for every aligned tensor.
_ALIGNMENT = 64


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of a model in which parameters at one place in memory are one parameter.

    Raises:
        LandscapeError: If two parameters share a part of their memory only.
    """
    _require_apart(model)
    memo: dict[int, Any] = {}
    first: dict[Hashable, nn.Parameter] = {}
    for parameter in model.parameters():
        own = first.setdefault(identity(parameter), parameter)
        if own is not parameter:
            memo[id(parameter)] = copy.deepcopy(own, memo)
    return copy.deepcopy(model, memo)


def _require_apart(model: nn.Module) -> None:
    """Check that no two parameters that move overlap in memory, unless they are the same place."""
    places: dict[tuple[int, int], list[tuple[int, int, str]]] = {}
    seen = set()
    for name, parameter in model.named_parameters():
        plain = parameter.layout == torch.strided and parameter.numel() and parameter.device.type != "meta"
        if not plain or not parameter.requires_grad or identity(parameter) in seen:
            continue
        seen.add(identity(parameter))
        start = parameter.data_ptr()
        steps = sum((size - 1) * step for size, step in zip(parameter.shape, parameter.stride(), strict=True))
        key = (parameter.untyped_storage().data_ptr(), parameter.get_device())
        places.setdefault(key, []).append((start, start + (steps + 1) * parameter.element_size(), name))
    for spans in places.values():
        for one, other in itertools.pairwise(sorted(spans)):
            if other[0] < one[1]:
                raise LandscapeError(
                    f"'{one[2]}' and '{other[2]}' share memory without being one parameter",
                    where="model",
                    mend="keep one of them, and transpose or slice it in the forward pass",
                )


def converted(model: nn.Module, device: torch.device, dtype: torch.dtype | None) -> nn.Module:
    """A model on a device with its real numbers in another type, changed in place.

    Unlike `torch.nn.Module.to` it keeps complex numbers complex, tensors with several names one tensor, and gives
    memory of its own to every element of an expanded one.

    Args:
        model: A private copy.
        device: Where to.
        dtype: The type of real numbers; None leaves them.
    """
    # What was there is held as well, so that nothing else takes its place in memory.
    done: dict[Hashable, tuple[Tensor, Tensor]] = {}

    def one(tensor: Tensor) -> Tensor:
        key = identity(tensor)
        if key not in done:
            done[key] = tensor.detach(), _apart(cast(tensor.to(device), dtype))
        return done[key][1]

    return model._apply(one)


def _apart(tensor: Tensor) -> Tensor:
    """A tensor no two elements of which lie at one place in memory."""
    if tensor.layout != torch.strided:
        return tensor
    shared = any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True))
    return tensor.contiguous() if shared else tensor


def offsets(layout: Layout, storage: Tensors) -> dict[str, int]:
    """Where each parameter starts in the vector of its dtype; every start is a multiple of 64 bytes."""
    ends: dict[torch.dtype, int] = {}
    starts = {}
    for info in layout.stored("parameter"):
        tensor = storage[info.name]
        if not is_number(tensor):
            continue
        start = ends.get(tensor.dtype, 0)
        starts[info.name] = start
        step = max(1, _ALIGNMENT // tensor.element_size())
        ends[tensor.dtype] = -(-(start + tensor.numel()) // step) * step
    return starts


def gather(storage: Tensors, starts: Mapping[str, int]) -> dict[torch.dtype, Tensor]:
    """Move parameters into one vector per dtype; they become views of it.

    Args:
        storage: Name -> tensor.
        starts: What `offsets` gave.

    Returns:
        Dtype -> vector.
    """
    parameters = {name: tensor for name, tensor in storage.items() if name in starts}
    flat = pack(parameters, storage, starts)
    for name, tensor in parameters.items():
        start = starts[name]
        tensor.data = flat[tensor.dtype][start : start + tensor.numel()].view(tensor.shape)
    return flat


def pack(
    tensors: Mapping[str, Tensor],
    storage: Tensors,
    starts: Mapping[str, int],
    at_least: torch.dtype | None = None,
) -> dict[torch.dtype, Tensor]:
    """Parameters laid out as in the vectors of `gather`; names that are missing are zero.

    Args:
        tensors: Name -> tensor.
        storage: Name -> tensor of the same shape, whose dtype says into which vector it goes.
        starts: What `offsets` gave.
        at_least: The element type of vectors whose own has fewer digits.

    Returns:
        Dtype of the storage -> a new vector.
    """
    sizes: dict[torch.dtype, int] = {}
    for name, start in starts.items():
        sizes[storage[name].dtype] = max(sizes.get(storage[name].dtype, 0), start + storage[name].numel())
    device = next(iter(storage.values())).device
    packed = {
        dtype: torch.zeros(size, dtype=_wider(dtype, at_least), device=device) for dtype, size in sizes.items()
    }
    for name, start in starts.items():
        if name in tensors:
            held = storage[name]
            packed[held.dtype][start : start + held.numel()] = tensors[name].detach().flatten()
    return packed


def _wider(dtype: torch.dtype, at_least: torch.dtype | None) -> torch.dtype:
    return at_least if at_least is not None and dtype.itemsize < at_least.itemsize else dtype

"""All parameters of one type in one vector, so that a step of all of them is one operation.

Parameters of whole numbers have no part in it: nothing moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landscape.copies import cast_hidden, private_copy, with_constants
from landscape.layout import Layout
from landscape.params import Tensors, cast, is_number
from landscape.ties import identity

# The width of the widest vector registers, in bytes: kernels run the same path for every aligned tensor.
_ALIGNMENT = 64


def private(
    model: nn.Module, loss: Callable[..., Any], device: torch.device, dtype: torch.dtype | None
) -> tuple[nn.Module, Callable[..., Any]]:
    """A private copy of a model, and its loss, on a device and in a type."""
    copied, its = private_copy(model, loss)
    own = converted(copied, device, dtype)
    cast_hidden(own, model, device, dtype)
    return own, (converted if isinstance(loss, nn.Module) else with_constants)(its, device, dtype)


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

    held = {identity(parameter): parameter for parameter in model.parameters()}
    shared = [
        (module, name, held[identity(buffer)])
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and identity(buffer) in held
    ]
    model._apply(one)
    for module, name, parameter in shared:
        module._buffers[name] = parameter
    return model


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

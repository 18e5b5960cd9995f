"""Taking a copy of all weights, and rounding the parameters to a narrower element type for storage.

A parameter in float32 or float64 is rounded to the nearest number of the type (ties to even). Others are
stored unrounded, and so are buffers: running statistics are small, and evaluation depends on each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.params import is_number, real_view, require_same_shapes
from landscape.trajectory.resume import tensor_to_numpy
from landscape.trajectory.schema import ROUNDED, groups_of

# Elements that are worked on at once: with what is made of them, they fit into the cache of a core.
_BLOCK = 2**15
# Bytes from which NumPy asks the system for large pages.
_LARGE = 2**22

# Dataset -> its columns, not yet rounded.
Taken: TypeAlias = dict[str, Tensor]


def checked_storage(dtype: Any) -> str | None:
    """The element type to round to, from what a user gave.

    Raises:
        LandscapeError: If parameters cannot be rounded to it.
    """
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    if name not in (None, *ROUNDED):
        expected = " or ".join(repr(known) for known in ROUNDED)
        raise LandscapeError("weights cannot be stored as this", where="dtype", got=repr(dtype), expected=expected)
    return name


def take(layout: Layout, tensors: Mapping[str, Tensor], storage: str | None) -> Taken:
    """Copy the tensors of a layout, side by side as they will be stored, on the CPU.

    Args:
        layout: What they must be.
        tensors: Name -> tensor.
        storage: The element type that wider parameters will be rounded to.

    Raises:
        LandscapeError: If one is missing, or has another shape or element type.
    """
    require_same_shapes(layout, tensors, "snapshot")
    taken = {}
    for group, infos in groups_of(layout, storage).items():
        for info in infos:
            dtype = str(tensors[info.name].dtype).removeprefix("torch.")
            if dtype != info.dtype:
                what = f"tensor '{info.name}' has another element type"
                raise LandscapeError(what, where="snapshot", got=dtype, expected=info.dtype)
        taken[group] = side_by_side([tensors[info.name].detach().reshape(-1) for info in infos])
    return taken


def side_by_side(flat: list[Tensor]) -> Tensor:
    """Always a copy, of a single tensor too, on the CPU.

    NumPy copies in one thread and into large pages: `torch.cat` takes seven times as much processor time.
    """
    first = flat[0]
    if any(one.device.type != "cpu" or one.dtype != first.dtype for one in flat):
        # Types are promoted, which changes no value.
        return torch.cat(flat).cpu()
    copy = _room(sum(map(len, flat)), first.dtype)
    np.concatenate([_bytes(one) for one in flat], out=_bytes(copy))
    return copy


def _room(count: int, dtype: torch.dtype) -> Tensor:
    """A vector of anything: of NumPy's memory where it is much, which comes in large pages."""
    if count * dtype.itemsize < _LARGE:
        return torch.empty(count, dtype=dtype)
    return torch.from_numpy(np.empty(count * dtype.itemsize, np.uint8)).view(dtype)


def _bytes(flat: Tensor) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = flat.resolve_conj().resolve_neg().contiguous().view(torch.uint8).numpy()
    return found


def rounded(taken: Taken, layout: Layout, storage: str | None) -> tuple[dict[str, NDArray[Any]], float]:
    """The columns as they are stored, and |w - round(w)| / |w| over all parameters w.

    Args:
        taken: What `take` copied.
        layout: What the columns are.
        storage: The element type to round to; None to store all as it is, with an error of 0.

    Raises:
        LandscapeError: If a finite value overflows; it names the tensor.
    """
    if storage is None:
        return {group: tensor_to_numpy(flat)[0] for group, flat in taken.items()}, 0.0
    groups = groups_of(layout, storage)
    values, lost, whole = {}, 0.0, 0.0
    for group, flat in taken.items():
        stored = flat
        if group.startswith("weights/") and is_number(flat):
            stored, missing, square = _rounded_by_blocks(flat, getattr(torch, group.split("/")[-1]))
            # What overflows is missing infinitely much; what was no number before is no number then.
            if not math.isfinite(missing):
                _require_no_overflow(flat, stored, groups[group], storage)
            lost, whole = lost + missing, whole + square
        values[group] = tensor_to_numpy(stored)[0]
    return values, (lost / whole) ** 0.5 if whole else 0.0


def _rounded_by_blocks(flat: Tensor, dtype: torch.dtype) -> tuple[Tensor, float, float]:
    """The numbers as they are stored, |w - round(w)|^2 and |w|^2, in one pass over memory."""
    stored = _room(len(flat), dtype)
    lost = whole = 0.0
    for block, into in zip(flat.split(_BLOCK), stored.split(_BLOCK), strict=True):
        into.copy_(block)
        whole += _square(block)
        if dtype != flat.dtype:
            lost += _square(block - into)
    return stored, lost, whole


def _square(block: Tensor) -> float:
    wide = real_view(block).reshape(-1).to(torch.float64)
    return float(wide @ wide)


def _require_no_overflow(flat: Tensor, stored: Tensor, infos: list[TensorInfo], storage: str) -> None:
    overflown = stored.isinf() & flat.isfinite()
    if not overflown.any():
        return
    first, offset = int(overflown.nonzero()[0]), 0
    for info in infos:
        offset += info.numel
        if first < offset:
            wider = "use dtype='bfloat16', which has the range of float32, or " if storage == "float16" else ""
            raise LandscapeError(
                f"a value of tensor '{info.name}' overflows {storage}",
                where="snapshot",
                got=float(flat[first]),
                expected=f"at most {torch.finfo(stored.dtype).max:g} in size",
                mend=f"{wider}record without dtype, which stores weights as they are",
            )

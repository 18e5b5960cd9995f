"""Taking a copy of all weights, and rounding the parameters to a narrower element type for storage.

A parameter in float32 or float64 is rounded to the nearest number of the type (ties to even). What is as narrow
already stays as it is, and so do buffers: running statistics are small, and evaluation depends on each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.params import is_number, real_view, require_same_shapes
from landscape.trajectory.resume import tensor_to_numpy
from landscape.trajectory.schema import ROUNDED, groups_of

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
        # Always a copy, of a single tensor too; types are promoted, which changes no value.
        taken[group] = torch.cat([tensors[info.name].detach().reshape(-1) for info in infos]).cpu()
    return taken


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
            stored = flat.to(getattr(torch, group.split("/")[-1]))
            _require_no_overflow(flat, stored, groups[group], storage)
            lost += _square(flat - stored.to(flat.dtype)) if stored.dtype != flat.dtype else 0.0
            whole += _square(flat)
        values[group] = tensor_to_numpy(stored)[0]
    return values, (lost / whole) ** 0.5 if whole else 0.0


def _square(flat: Tensor) -> float:
    norm = float(torch.linalg.vector_norm(real_view(flat), dtype=torch.float64))
    return norm * norm


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

"""Element types: which widen exactly, and what rounding costs where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import TensorInfo
from landscape.params import is_number, wide
from landscape.trajectory.checkpoints.report import printable
from landscape.trajectory.schema import CARRIERS

# Every value of the first is one of each of the others: IEEE 754, and the 8-bit types of Micikevicius et al. 2022,
# table 1.
_WIDER = {
    "float16": {"float32", "float64"},
    "bfloat16": {"float32", "float64"},
    "float32": {"float64"},
    "complex64": {"complex128"},
}
_WIDER |= {name: {"float16", "bfloat16", "float32", "float64"} for name in CARRIERS if name.startswith("float8")}

# Elements compared at once: some MB beside the tensors.
_CHUNK = 2**20


def dtype_name(tensor: Tensor) -> str:
    """An element type by torch's name, without the prefix."""
    return str(tensor.dtype).removeprefix("torch.")


def widens(source: str, target: str) -> bool:
    """Return whether every value of one element type is a value of another.

    Example:
        >>> widens("bfloat16", "float32"), widens("bfloat16", "float16"), widens("int32", "int64")
        (True, False, True)
    """
    if source == target or target in _WIDER.get(source, ()):
        return True
    a, b = _integers(source), _integers(target)
    return a is not None and b is not None and b.min <= a.min and a.max <= b.max


def _integers(name: str) -> torch.iinfo | None:
    dtype = getattr(torch, name)
    if dtype is torch.bool or dtype.is_floating_point or dtype.is_complex:
        return None
    return torch.iinfo(dtype)


def require_storable(tensor: Tensor, name: str, info: TensorInfo, where: Path, *, cast: bool) -> None:
    """Check that a tensor can be stored as what a model has in its place.

    Args:
        tensor: The tensor in a checkpoint.
        name: Its name there.
        info: What it is in the model.
        where: The file, for messages.
        cast: Whether numbers may be rounded.

    Raises:
        LandscapeError: If it is no plain array, or of a type that cannot be stored, or not without rounding.
    """
    name = printable(name)
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain:
        got = "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
        got = "without numbers (on the device meta)" if tensor.device.type == "meta" else got
        raise LandscapeError(f"tensor '{name}' is not a plain array", where=where, got=got)
    source = dtype_name(tensor)
    try:
        np.dtype(CARRIERS.get(source, source))
    except TypeError:
        raise LandscapeError(
            f"tensor '{name}' has an element type that cannot be stored", where=where, got=source
        ) from None
    if widens(source, info.dtype):
        return
    both_real = is_number(tensor) and info.floating and tensor.is_complex() == info.complex
    both_whole = _integers(source) is not None and _integers(info.dtype) is not None
    if both_real or both_whole:
        if not cast:
            raise LandscapeError(
                f"tensor '{name}' would be rounded",
                where=where,
                got=source,
                expected=info.dtype,
                mend="pass --cast",
            )
        return
    raise LandscapeError(
        f"tensor '{name}' has another kind of element", where=where, got=source, expected=info.dtype
    )


def same_values(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal in type, shape and bits; NaN equals itself."""
    if a.dtype != b.dtype or a.shape != b.shape or {a.layout, b.layout} != {torch.strided}:
        return a is b
    if a.data_ptr() == b.data_ptr() and a.stride() == b.stride():
        return True
    return all(
        torch.equal(x.view(torch.uint8), y.view(torch.uint8)) for x, y in zip(_pieces(a), _pieces(b), strict=True)
    )


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    flat = tensor.reshape(-1)
    return (flat[start : start + _CHUNK].contiguous() for start in range(0, len(flat), _CHUNK))


@dataclass
class Rounding:
    """Rounding error of a change of element type, summed up piece by piece.

    Attributes:
        error: Sum of (w - w')^2.
        norm: Sum of w^2.
    """

    error: float = 0.0
    norm: float = 0.0

    def add(self, before: Tensor, after: Tensor, name: str, where: Path) -> None:
        """Take in numbers before and after.

        Raises:
            LandscapeError: If one became infinite, or a whole number another.
        """
        name = printable(name)
        if not is_number(before):
            if not torch.equal(after.to(before.dtype), before):
                raise LandscapeError(
                    f"tensor '{name}' has numbers too large for the model's element type",
                    where=where,
                    got=dtype_name(before),
                    expected=dtype_name(after),
                )
            return
        given, back = wide(before), wide(after)
        finite = given.isfinite()
        if not back[finite].isfinite().all():
            raise LandscapeError(
                f"tensor '{name}' has numbers that would become infinite in the model's element type",
                where=where,
                got=dtype_name(before),
                expected=dtype_name(after),
            )
        self.error += float((given - back)[finite].square().sum())
        self.norm += float(given[finite].square().sum())

    @property
    def relative(self) -> float:
        """|w - w'| / |w|; 0 where nothing changed."""
        return (self.error / self.norm) ** 0.5 if self.error else 0.0

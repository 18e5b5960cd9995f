"""NumPy's numbers in a pickle, made without NumPy's own constructors.

`numpy.dtype` takes a state from the pickle that can make it read memory as objects: a file would do more than hold
numbers. What stands here in its place keeps two plain values and checks them.
"""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np

_PLAIN = re.compile(r"b1|[iu][1248]|f[248]|c(?:8|16)")


class Dtype:
    """In place of `numpy.dtype`: its code and byte order, and nothing else of what a pickle says of it."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code
        self.order: Any = "|"

    def __setstate__(self, state: Any) -> None:
        """Take the byte order from ``(version, order, ...)``."""
        if isinstance(state, tuple) and len(state) > 1:
            self.order = state[1]


class Array:
    """In place of `numpy.ndarray`: an array beside the weights, of which nothing is kept."""

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


def scalar(dtype: Any = None, data: Any = None) -> bool | int | float | complex | None:
    """In place of NumPy's constructor of scalars: a number from its bytes; None for what is no number.

    Raises:
        UnpicklingError: If the bytes are not those of one number.
    """
    if not isinstance(dtype, Dtype) or not isinstance(dtype.code, str) or not _PLAIN.fullmatch(dtype.code):
        return None
    if dtype.order not in ("<", ">", "|", "=") or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a damaged NumPy scalar")
    try:
        plain = np.dtype(("<" if dtype.order in "|=" else dtype.order) + dtype.code)
    except TypeError:
        return None
    if len(data) != plain.itemsize:
        raise pickle.UnpicklingError("a damaged NumPy scalar")
    number: bool | int | float | complex = np.frombuffer(data, plain)[0].item()
    return number


def array(*_: Any) -> Array:
    """In place of NumPy's constructor of arrays."""
    return Array()


def no_type(*_: Any) -> None:
    """In place of the class of arrays, which their constructor is given."""


# What stands in for which name, as `torch.serialization.safe_globals` takes it; NumPy 2 moved its core.
STAND_INS: tuple[tuple[Any, str], ...] = (
    (Dtype, "numpy.dtype"),
    (no_type, "numpy.ndarray"),
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    (Array, "landscape.trajectory.checkpoints.numpy_scalars.Array"),
)

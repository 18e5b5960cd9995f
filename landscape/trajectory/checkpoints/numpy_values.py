"""NumPy's numbers and arrays in a pickle, made without NumPy's own constructors.

`numpy.dtype` takes a state from the pickle that can make it read memory as objects: a file would do more than hold
numbers. What stands here in its place keeps two plain values and checks them.
"""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """In place of `numpy.ndarray`: its shape, type and bytes, or the objects that it holds."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        """Take ``(version, shape, dtype, Fortran order, bytes)``."""
        if isinstance(state, tuple) and len(state) == 5:
            self.state = state

    def numbers(self) -> NDArray[Any] | None:
        """A copy of its numbers in this machine's byte order; None if they are none.

        Raises:
            UnpicklingError: If there are more or fewer bytes than its shape says.
        """
        if not self.state:
            return None
        _, shape, dtype, fortran, data = self.state
        plain = _plain(dtype)
        if plain is None or not isinstance(data, bytes):
            return None
        if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
            raise pickle.UnpicklingError("a damaged NumPy array")
        if len(data) != math.prod(shape) * plain.itemsize:
            raise pickle.UnpicklingError("a damaged NumPy array")
        found = np.frombuffer(data, plain).reshape(shape, order="F" if fortran else "C")
        return np.array(found, plain.newbyteorder("="), order="C")

    def held(self) -> Any:
        """The only object that it holds, such as a dictionary that `numpy.save` was given; otherwise None."""
        objects = self.state[4] if self.state else None
        return objects[0] if isinstance(objects, list) and len(objects) == 1 else None


def _plain(dtype: Any) -> np.dtype[Any] | None:
    """The type of some numbers; None for what is no number.

    Raises:
        UnpicklingError: If its byte order is none.
    """
    if not isinstance(dtype, Dtype) or not isinstance(dtype.code, str) or not _PLAIN.fullmatch(dtype.code):
        return None
    if dtype.order not in ("<", ">", "|", "="):
        raise pickle.UnpicklingError("a damaged NumPy type")
    try:
        return np.dtype(("<" if dtype.order in "|=" else dtype.order) + dtype.code)
    except TypeError:
        return None


def scalar(dtype: Any = None, data: Any = None) -> bool | int | float | complex | None:
    """In place of NumPy's constructor of scalars: a number from its bytes; None for what is no number.

    Raises:
        UnpicklingError: If the bytes are not those of one number.
    """
    plain = _plain(dtype)
    if plain is None:
        return None
    if not isinstance(data, bytes) or len(data) != plain.itemsize:
        raise pickle.UnpicklingError("a damaged NumPy scalar")
    number: bool | int | float | complex = np.frombuffer(data, plain)[0].item()
    return number


class Inert:
    """In place of another package's object: what it was made with (of a member of an enumeration, its value)."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


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
    *((made, f"{made.__module__}.{made.__name__}") for made in (Array, Inert)),
)

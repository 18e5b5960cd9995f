"""Reading what `torch.save` wrote, NumPy's arrays among it, without ever running what is in it."""

from __future__ import annotations

import lzma
import math
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.errors import LandscapeError, is_out_of_memory, out_of_memory
from landscape.signatures import foreign, kind_of_start
from landscape.storage import FAULTS
from landscape.trajectory.checkpoints.files import read_start
from landscape.trajectory.checkpoints.report import Names, printable

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


# What readers of checkpoints raise at bytes that are not what they should be.
READ_FAULTS = (
    *(*FAULTS, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(pickle.UnpicklingError, EOFError, struct.error, AssertionError),
)

# How torch names what a pickle asked for beyond weights.
_WANTED = (
    r"GLOBAL (\S+)",
    r"reduce for unrecognized function <?(?:built-in function |function |class )?'?([\w.]+)",
    r"NEWOBJ for unsupported class <class '([\w.]+)",
    r"unsupported class ([\w.]+)",
)
# Whose classes stand for a share of a tensor.
_SPLIT = ("torch.distributed._shard.", "torch.distributed.tensor.", "torch.distributed._tensor.")
_MEND = "load it where you trust it and save model.state_dict(), or .safetensors"


def load_pickle(path: Path, inert: str | None = None) -> Any:
    """Load a file that `torch.save` wrote, tensors on the CPU and, where they can be, mapped from the file.

    Only tensors, plain containers and numbers are made (``weights_only=True``): the file cannot run code.

    Args:
        path: The file.
        inert: The package whose objects are left empty; by default they are refused as all others.

    Raises:
        LandscapeError: If it needs more than weights, is damaged, or is no such file.
    """
    kind = kind_of_start(read_start(path))
    reason = foreign(path, kind)
    if reason is not None:
        raise LandscapeError(reason[0], where=path, mend=reason[1])
    try:
        if kind == "zip":
            require_intact(path)
        # Old files keep all numbers in one stream, which cannot be mapped.
        asked = [] if inert is None else _asked(path)
        with torch.serialization.safe_globals([(Inert, name) for name in asked if name.startswith(f"{inert}.")]):
            return load_weights(str(path), mapped=kind == "zip")
    except pickle.UnpicklingError as error:
        wanted = _unsafe(path, str(error))
        if wanted:
            raise refused(wanted, path) from error
        raise unreadable(path, error) from error
    except MemoryError as error:
        raise out_of_memory(path) from error
    except READ_FAULTS as error:
        raise unreadable(path, error) from error


def require_intact(path: Path) -> None:
    """Compare an archive with its own checksums: torch does not where it maps the file.

    Raises:
        LandscapeError: If a part of it is not what was written.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise LandscapeError(
            f"the file is damaged: the checksum of '{printable(damaged)}' in it does not match",
            where=path,
            mend="restore it from a copy",
        )


def load_weights(source: str | IO[bytes], *, mapped: bool = False) -> Any:
    """Load a file with `torch.load` and ``weights_only=True``; NumPy's numbers become Python's.

    Args:
        source: The name of a file, or its content.
        mapped: Whether tensors are mapped from it.
    """
    # Of formats that torch then refuses.
    with warnings.catch_warnings(), torch.serialization.safe_globals(list(STAND_INS)):
        warnings.simplefilter("ignore")
        return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)


def _unsafe(path: Path, message: str) -> list[str]:
    """List what the pickle asks for beyond weights, by name."""
    # Old files cannot be asked; then the message says the first one.
    found = [name for pattern in _WANTED for name in re.findall(pattern, message)] + _asked(path)
    return list(dict.fromkeys(name.rstrip(".,:;'>") for name in found))


def _asked(path: Path) -> list[str]:
    with suppress(*READ_FAULTS), torch.serialization.safe_globals(list(STAND_INS)):
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    return []


def refused(wanted: list[str], where: Path) -> LandscapeError:
    """The refusal of a file that asks for more than weights.

    Args:
        wanted: What it asks for.
        where: The file.
    """
    if any(name.startswith(_SPLIT) for name in wanted):
        return LandscapeError(
            "the file holds one process's share of weights that are split among several",
            where=where,
            got=str(Names.of(wanted)),
            mend="save with StateDictType.FULL_STATE_DICT, or with torch.distributed.checkpoint",
        )
    return LandscapeError(
        "the file needs more than weights, which could run any code, and is refused",
        where=where,
        got=str(Names.of(wanted)),
        mend=_MEND,
    )


def unreadable(path: Path, error: BaseException) -> LandscapeError:
    """The refusal of a damaged or foreign file."""
    if is_out_of_memory(error):
        return out_of_memory(path)
    return LandscapeError(
        "not a file of weights that torch can read, or a damaged one", where=path, got=short_reason(error)
    )


def short_reason(error: BaseException) -> str:
    """The first sentence of what another library says, without its advice and addresses."""
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    own = re.search(r"WeightsUnpickler error:\s+(.+)", text)
    first = (own.group(1) if own else text.removeprefix("Weights only load failed. ")).strip().split("\n")[0]
    first = re.split(r"(?<=[\w)`])\. (?=[A-Z])|; please ", first)[0]
    return printable(first[:160].strip(" .:")) or type(error).__name__

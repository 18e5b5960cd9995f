"""Weights that were saved as NumPy's arrays: `.npz`, `.npy` of a dictionary, arrays in a pickle."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.trajectory.checkpoints.numpy_values import STAND_INS, Array
from landscape.trajectory.checkpoints.pickles import READ_FAULTS, refused, require_intact, unreadable

# What begins a file of `numpy.save`.
_MAGIC = b"\x93NUMPY"
_ENDING = ".npy"


def holds_arrays(path: Path, start: bytes) -> bool:
    """Return whether a file is one of `numpy.save` or `numpy.savez`.

    Args:
        path: The file.
        start: Its first bytes.
    """
    if start.startswith(_MAGIC):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except READ_FAULTS:
        return False
    return bool(names) and all(name.endswith(_ENDING) for name in names)


def read_arrays(path: Path) -> Any:
    """What is in a file of `numpy.savez`, or in one of `numpy.save` that holds a dictionary; numbers as tensors.

    Nothing that is pickled in it is run.

    Args:
        path: The file.

    Raises:
        LandscapeError: If it is damaged, needs more than numbers, or holds one array without a name.
    """
    try:
        if zipfile.is_zipfile(path):
            require_intact(path)
            with np.load(path, allow_pickle=False) as held:
                return {name: _tensor(held[name]) for name in held.files}
        return with_tensors(_object_in(path))
    except pickle.UnpicklingError as error:
        asked = str(error).removeprefix("GLOBAL ")
        raise refused([asked], path) if asked != str(error) else unreadable(path, error) from error
    except (*READ_FAULTS, MemoryError) as error:
        raise unreadable(path, error) from error


def _object_in(path: Path) -> Any:
    with path.open("rb") as raw:
        version = npy.read_magic(raw)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(raw)
        if dtype.hasobject:
            held = _Reader(raw).load()
            return held.held() if isinstance(held, Array) else None
    raise LandscapeError(
        "one array without a name",
        where=path,
        got=f"{dtype} {shape}",
        mend="save all of them with numpy.savez(path, **{name: array}), by the names of the model's state_dict()",
    )


class _Reader(pickle.Unpickler):
    """Makes NumPy's values and plain containers, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        for stand_in, known in STAND_INS:
            if known == f"{module}.{name}":
                return stand_in
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")


def with_tensors(loaded: Any) -> Any:
    """The same nested dictionaries and lists with tensors in place of arrays of numbers."""
    if isinstance(loaded, Array):
        numbers = loaded.numbers()
        return loaded if numbers is None else _tensor(numbers)
    if isinstance(loaded, Mapping):
        return {name: with_tensors(item) for name, item in loaded.items()}
    if isinstance(loaded, list | tuple):
        return [with_tensors(item) for item in loaded]
    return loaded


def mostly_arrays(loaded: Any) -> bool:
    """Return whether more numbers are in NumPy's arrays than in tensors: then those are the weights."""
    sizes = {Array: 0, Tensor: 0}
    for leaf in _leaves(loaded):
        if isinstance(leaf, Tensor):
            sizes[Tensor] += leaf.numel()
        elif isinstance(leaf, Array) and (numbers := leaf.numbers()) is not None:
            sizes[Array] += numbers.size
    return sizes[Array] > sizes[Tensor]


def _leaves(loaded: Any) -> Iterator[Any]:
    if isinstance(loaded, Mapping | list | tuple):
        for item in loaded.values() if isinstance(loaded, Mapping) else loaded:
            yield from _leaves(item)
    else:
        yield loaded


def _tensor(numbers: NDArray[Any]) -> Tensor:
    """A tensor of the same numbers; of those that NumPy alone has, such as texts, an error."""
    return torch.from_numpy(np.ascontiguousarray(numbers).reshape(numbers.shape))

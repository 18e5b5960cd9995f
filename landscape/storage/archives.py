"""NumPy's archives of arrays, read against their own checksums: what cannot be so is one line."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from landscape.storage.faults import FAULTS, damage

_ENDING = ".npy"
# What zipfile raises beside `FAULTS` at bytes that are not what they should be.
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError)
# Deflate makes 1,032 bytes of one at most (zlib, technical details).
_EXPANSION = 1032
# Bytes that are read at once to compare checksums.
_BLOCK = 2**20


@contextmanager
def _opened(path: Path, what: str) -> Iterator[zipfile.ZipFile]:
    """An archive whose members claim no more than the file can hold; faults in the body are one line."""
    with damage(path, what):
        try:
            with zipfile.ZipFile(path) as archive:
                claimed = sum(member.file_size for member in archive.infolist())
                if claimed > _EXPANSION * path.stat().st_size:
                    raise ValueError("it claims more than the file can hold")
                yield archive
        except _ZIP_FAULTS as error:
            raise ValueError(str(error) or type(error).__name__) from error


def is_archive_of(path: str | os.PathLike[str], name: str) -> bool:
    """Return whether a file is one of `numpy.savez` that has an array of this name, and nothing but arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (*FAULTS, *_ZIP_FAULTS):
        return False
    return name + _ENDING in names and all(member.endswith(_ENDING) for member in names)


def read_arrays(path: Path, what: str = "the file is damaged") -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npz`` file by name, each compared with its checksum; nothing pickled is read.

    Args:
        path: The file.
        what: What to say of it where it cannot be read.

    Raises:
        LandscapeError: If it is damaged, or no such file.
    """
    with _opened(path, what) as archive:
        return {_name(member): _array(archive.read(member)) for member in archive.namelist()}


def read_text(path: Path, name: str, most: int) -> str | None:
    """A text among the arrays of a ``.npz`` file; None where there is none of that name, or a longer one.

    Args:
        path: The file.
        name: Of the array.
        most: So many bytes are read at most.

    Raises:
        LandscapeError: If the file is damaged.
    """
    with _opened(path, "the file is damaged") as archive:
        if name + _ENDING not in archive.namelist() or archive.getinfo(name + _ENDING).file_size > most:
            return None
        return str(_array(archive.read(name + _ENDING)))


def array_types(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name of each array in a ``.npz`` file -> its element type and shape; the numbers are not read.

    Raises:
        LandscapeError: If the file is damaged.
    """
    with _opened(path, "the file is damaged") as archive:
        found = {}
        for member in archive.namelist():
            with archive.open(member) as raw:
                shape, _, dtype = _header(raw)
                found[_name(member)] = (str(dtype), shape)
        return found


def verify_archive(path: Path) -> int:
    """Read all of a ``.npz`` file, a block at a time, and compare it with its checksums.

    Returns:
        How many arrays it has.

    Raises:
        LandscapeError: If something in it is not what was written.
    """
    with _opened(path, "the file is damaged") as archive:
        for member in archive.namelist():
            with archive.open(member) as raw:
                while raw.read(_BLOCK):
                    pass
        return len(archive.namelist())


def _name(member: str) -> str:
    return member.removesuffix(_ENDING)


def _header(raw: Any) -> Any:
    version = npy.read_magic(raw)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(raw)


def _array(content: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array

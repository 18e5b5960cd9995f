"""Digests that tell whether bytes are those that were written: of arrays, and of a group as a whole.

HDF5's checksums are those of single chunks. A wrong bit in the index of the chunks makes it take a chunk for one
that was never written, and read zeros. xxHash reads memory as fast as it is copied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from landscape.storage.attributes import is_old, read_attr, write_attr

Part: TypeAlias = bytes | str | NDArray[Any]

SEAL = "seal"
ROWS = "digests/rows"


def digest(*parts: Part) -> int:
    """XXH3, 64 bits, of texts and arrays: their types, shapes and bytes."""
    found = xxhash.xxh3_64()
    for part in parts:
        if isinstance(part, np.ndarray | np.generic):
            array = np.asarray(part)
            array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            begin_array(found, array)
            found.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
        else:
            data = part.encode() if isinstance(part, str) else part
            found.update(f"{len(data)};".encode())
            found.update(data)
    return found.intdigest()


def begin_array(found: xxhash.xxh3_64, array: NDArray[Any]) -> None:
    """Take what an array is into a digest; its bytes come next, which may be done while they are read."""
    found.update(f"{array.dtype.str}{array.shape};".encode())


def seal(group: h5py.Group, without: Collection[str] = ()) -> None:
    """Store the digest of all attributes and datasets of a group.

    Args:
        group: A file or group whose contents are settled.
        without: Attributes and members that are not, and have digests of their own.
    """
    write_attr(group, SEAL, _sealed(group, without))


def has_seal(group: h5py.Group) -> bool:
    """Return whether a group carries digests; files of before have none.

    Raises:
        ValueError: If it lost those that it had.
    """
    if SEAL in group.attrs:
        return True
    if not is_old(group.file):
        raise ValueError("its digests are missing")
    return False


def lacking(file: h5py.File) -> str | None:
    """Say what of a file cannot be verified, because an older version wrote it; None if all can."""
    if has_seal(file):
        return None
    if "digest" in file.attrs:
        return "no digests of its texts, as an older version wrote it: damage to them cannot be noticed"
    return "no digests, as an older version wrote it: nothing can be verified, and damage may go unnoticed"


def require_seal(group: h5py.Group, without: Collection[str] = ()) -> None:
    """Check the digest that `seal` stored, where there is one.

    Raises:
        ValueError: If something is not as it was written.
    """
    if has_seal(group) and read_attr(group, SEAL) != _sealed(group, without):
        raise ValueError("something in it is not what was written")


def _sealed(group: h5py.Group, without: Collection[str]) -> str:
    found = xxhash.xxh3_128()
    for name, value in _contents(group, "", {SEAL, *without}):
        part = value if isinstance(value, str | bytes) else np.asarray(value)
        found.update(f"{name} {digest(part)}\n".encode())
    return found.hexdigest()


def _contents(group: h5py.Group, prefix: str, without: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Names and values of all attributes of groups and all datasets, in order of their names.

    Attributes of datasets are those of HDF5's dimension scales.
    """
    for name in sorted(group.attrs):
        if name.split(":")[0] not in without:
            yield f"{prefix}@{name}", read_attr(group, name)
    for name in sorted(group):
        if name in without:
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield f"{prefix}{name}/", ""
            yield from _contents(item, f"{prefix}{name}/", ())
        else:
            yield f"{prefix}{name}", item[()]


def row_digests(arrays: Sequence[NDArray[Any]], rows: int) -> NDArray[np.uint64]:
    """A digest for each row of arrays that are filled together; shape (rows,).

    Args:
        arrays: Each of as many equal parts as there are rows.
        rows: How many.
    """
    parts = [array.reshape(rows, -1) for array in arrays]
    return np.array([digest(*(part[row] for part in parts)) for row in range(rows)], np.uint64)


def write_row_digests(file: h5py.File, arrays: Sequence[NDArray[Any]], rows: int) -> None:
    """Store the digests of all rows."""
    file.create_dataset(ROWS, data=row_digests(arrays, rows), dtype="u8")


def require_rows(file: h5py.File, arrays: Sequence[NDArray[Any]], rows: int) -> None:
    """Check the digests of all rows, where the file has some.

    Raises:
        ValueError: If one is not as it was written; it says which.
    """
    if not has_seal(file):
        return
    written = file[ROWS][...]
    wrong = np.flatnonzero(written != row_digests(arrays, rows)) if written.shape == (rows,) else [0]
    if len(wrong):
        raise ValueError(f"row {wrong[0]} is not what was written")

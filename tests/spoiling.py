"""Files with a byte that is another, and disks that are full."""

import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from landscape.storage import write_attr

SPOILT = 150


def spoilt(content: bytes) -> Iterator[bytes]:
    """Copies of an HDF5 file, each with one byte changed, drawn with a fixed seed.

    Bytes that are 0 stay, and HDF5's heaps of texts: a wrong length there and HDF5 2.0 never returns.
    """
    chosen = np.frombuffer(content, np.uint8) != 0
    for heap in re.finditer(rb"GCOL\x01\0\0\0(.{8})", content, re.DOTALL):
        chosen[heap.start() : heap.start() + int.from_bytes(heap[1], "little")] = False
    chance = np.random.default_rng(0)
    for place in chance.choice(np.flatnonzero(chosen), SPOILT, replace=False):
        copy = bytearray(content)
        copy[place] ^= int(chance.integers(1, 256))
        yield bytes(copy)


def put(path: Path, content: bytes) -> None:
    """Write a file as if long ago: what was written a moment ago is read again where it seems damaged."""
    path.write_bytes(content)
    os.utime(path, (0, 0))


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """A file open for changes by hand, whose digests are taken away: what else refuses it is tested."""
    with h5py.File(path, "r+") as file:
        yield file
        for group in groups_of(file):
            group.pop("digests", None)
            for name in list(group.attrs):
                value = group.attrs[name]
                if name in ("seal", "stamp"):
                    del group.attrs[name]
                elif isinstance(value, str):
                    write_attr(group, name, value)
        # Only a file of before, which has texts of variable length, may have none.
        if isinstance(kind := file.attrs.get("format"), bytes):
            file.attrs["format"] = kind.decode()


def age(path: Path) -> None:
    """Make a file one of before there were digests: texts of variable length, and an older schema."""
    with edited(path) as file:
        pass
    with h5py.File(path, "r+") as file:
        for group in groups_of(file):
            for name, value in dict(group.attrs).items():
                if isinstance(value, bytes):
                    group.attrs[name] = value.decode()
            for name in ("manifest", "imported"):
                if name in group:
                    lines = np.array([line.decode() for line in group[name][()]], object)
                    del group[name]
                    group.create_dataset(name, data=lines, dtype=h5py.string_dtype())
            if "schema" in group.attrs:
                group.attrs.modify("schema", np.int64(2 if "rounding" in group.get("steps", ()) else 1))


def groups_of(file: h5py.File) -> list[h5py.Group]:
    found = [file["/"]]
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Group) else None)
    return found


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """A disk that is full, as far as one file is concerned."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

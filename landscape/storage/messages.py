"""Messages of HDF5 object headers, as far as our files have them.

Source: The HDF Group, HDF5 File Format Specification Version 3.0, section IV.A.2, "Data Object Header Messages".
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import h5py
import numpy as np

UNDEFINED = 2**64 - 1

SPACE, TYPE, OLD_FILL, FILL, LAYOUT, FILTERS = 0x1, 0x3, 0x4, 0x5, 0x8, 0xB
NOTHING, ATTRIBUTE, CONTINUATION, GROUP, TIME = 0x0, 0xC, 0x10, 0x11, 0x12

_UNLIMITED = 2**64 - 1
_MOST_DIMENSIONS = 32
# A chunk has its size in 32 bits.
_LARGEST_CHUNK = 2**32
_SHUFFLE, _FLETCHER32 = 2, 3
# Bytes that Fletcher's checksum adds to a chunk. HDF5 subtracts them without asking whether they are there.
_CHECKSUM = 4
_STRING = 3
# The layouts of section IV.A.2.i.
_COMPACT, _CONTIGUOUS, _CHUNKED = 0, 1, 2
_CODES = [f"{order}{code}" for order in "<>" for code in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8")]
_CODES += ["i1", "u1", "?", "<c8", "<c16"]
# Encoded type -> bytes of an element; in front of it are two bytes that are not in the file.
_PLAIN = {
    h5py.h5t.py_create(np.dtype(code), logical=True).encode()[2:]: np.dtype(code).itemsize for code in _CODES
}


class StructureError(ValueError):
    """Something in the structure of a file cannot be."""


class UnknownStructureError(Exception):
    """Something may be right that is not among what our files have."""


@dataclass
class Header:
    """An object header.

    Attributes:
        group: Addresses of the index of names and of their heap, of a group.
        shape: The dimensions of a dataset.
        itemsize: Bytes of an element.
        chunk: The shape of its chunks; None where it has none.
        stored: Bytes of a chunk in the file.
        added: Bytes that filters add to a chunk; None where that is not known.
        address: Where its data or the index of its chunks are.
        size: Bytes of data that are not in chunks.
        fills: Sizes of fill values.
        attributes: Encoded attributes.
    """

    group: tuple[int, int] | None = None
    shape: tuple[int, ...] | None = None
    itemsize: int | None = None
    chunk: tuple[int, ...] | None = None
    stored: int = 0
    address: int | None = None
    size: int | None = None
    fills: list[int] = field(default_factory=list)
    attributes: list[bytes] = field(default_factory=list)
    added: int | None = 0

    def take(self, kind: int, data: bytes) -> None:
        """Read a message.

        Raises:
            StructureError: If it cannot be.
            UnknownStructureError: If it is of another kind or version.
            struct.error: If it is too short.
        """
        if kind == GROUP:
            self.group = struct.unpack_from("<QQ", data)
        elif kind == SPACE:
            self.shape = _shape(data)[0]
        elif kind == TYPE:
            self.itemsize = _itemsize(data)
        elif kind == OLD_FILL:
            self.fills.append(struct.unpack_from("<I", data)[0])
        elif kind == FILL:
            self.fills.append(_fill(data))
        elif kind == FILTERS:
            self.added = None
            self.added = _added_by_filters(data)
        elif kind == LAYOUT:
            self._lay_out(data)
        elif kind == ATTRIBUTE:
            self.attributes.append(data)
        elif kind not in (NOTHING, TIME):
            raise UnknownStructureError(f"message {kind}")

    def _lay_out(self, data: bytes) -> None:
        version, layout = data[0], data[1]
        if version != 3 or layout not in (_COMPACT, _CONTIGUOUS, _CHUNKED):
            raise UnknownStructureError(f"layout {version}.{layout}")
        if layout == _COMPACT:
            (self.size,) = struct.unpack_from("<H", data, 2)
        elif layout == _CONTIGUOUS:
            self.address, self.size = struct.unpack_from("<QQ", data, 2)
        else:
            count = data[2]
            (self.address,) = struct.unpack_from("<Q", data, 3)
            self.chunk = struct.unpack_from(f"<{count}I", data, 11)

    def settle(self) -> None:
        """Compare what the messages of a dataset say of it with one another.

        Raises:
            StructureError: If they do not go together.
        """
        if self.shape is None or self.itemsize is None or (self.size is None and self.chunk is None):
            raise UnknownStructureError("neither a group nor a dataset")
        if any(size not in (0, self.itemsize) for size in self.fills):
            raise StructureError("a fill value of another size than the elements")
        if self.chunk is None:
            # What was never written has no place.
            if self.size != math.prod(self.shape) * self.itemsize and self.address != UNDEFINED:
                raise StructureError("data of another size than their shape says")
            return
        if len(self.chunk) != len(self.shape) + 1 or self.chunk[-1] != self.itemsize or 0 in self.chunk:
            raise StructureError("chunks of another shape than the data")
        if self.added is None:
            raise UnknownStructureError("chunks of any size")
        self.stored = math.prod(self.chunk) + self.added
        if self.stored >= _LARGEST_CHUNK:
            raise StructureError("chunks that are too large")


def _shape(data: bytes) -> tuple[tuple[int, ...], int]:
    """Dimensions, and the bytes that were read."""
    version, rank, flags = data[0], data[1], data[2]
    if version != 1 or flags > 1:
        raise UnknownStructureError("a dataspace of another version")
    if rank > _MOST_DIMENSIONS:
        raise StructureError("too many dimensions")
    shape: tuple[int, ...] = struct.unpack_from(f"<{rank}Q", data, 8)
    if not flags:
        return shape, 8 + 8 * rank
    most = struct.unpack_from(f"<{rank}Q", data, 8 + 8 * rank)
    if any(high not in (_UNLIMITED, 0) and high < length for length, high in zip(shape, most, strict=True)):
        raise StructureError("a dimension beyond its limit")
    return shape, 8 + 16 * rank


def _itemsize(data: bytes) -> int:
    """Bytes of an element; the type is one that NumPy has, or a text of fixed length."""
    for encoded, size in _PLAIN.items():
        if data.startswith(encoded):
            return size
    kind, padding, _, _, size = struct.unpack_from("<BBBBI", data)
    # The higher half of the first byte is the version, those of the second the padding and the alphabet.
    if kind & 15 != _STRING or kind >> 4 != 1 or padding & 15 > 2 or padding >> 4 > 1:
        raise UnknownStructureError(f"a type of class {kind & 15}")
    if not size:
        raise StructureError("texts without length")
    return int(size)


def _fill(data: bytes) -> int:
    version, defined = data[0], data[3]
    if version not in (1, 2) or defined > 1:
        raise UnknownStructureError("a fill value of another version")
    if version == 2 and not defined:
        return 0
    (size,) = struct.unpack_from("<I", data, 4)
    if 8 + size > len(data):
        raise StructureError("a fill value that ends outside its message")
    return int(size)


def _added_by_filters(data: bytes) -> int:
    """Bytes that the filters add to a chunk."""
    version, count = data[0], data[1]
    if version != 1:
        raise UnknownStructureError("filters of another version")
    added, place = 0, 8
    for _ in range(count):
        code, name, _, values = struct.unpack_from("<4H", data, place)
        if (code, values) not in ((_SHUFFLE, 1), (_FLETCHER32, 0)):
            raise UnknownStructureError(f"filter {code}")
        added += _CHECKSUM if code == _FLETCHER32 else 0
        # Values are padded to eight bytes.
        place += 8 + name + 8 * ((values + 1) // 2)
    if place > len(data):
        raise StructureError("filters that end outside their message")
    return added


def check_attribute(data: bytes) -> None:
    """Check an attribute of a group: HDF5 reads all of them to find one.

    Raises:
        StructureError: If it cannot be.
        UnknownStructureError: If it is of another version, or of a type that our groups have none of.
        struct.error: If it is too short.
    """
    version, flags, *sizes = struct.unpack_from("<BB3H", data)
    if version not in (1, 3) or flags:
        raise UnknownStructureError("an attribute of another version")
    place = 8 if version == 1 else 9
    parts = []
    for size in sizes:
        parts.append(data[place : place + size])
        # Only the first version pads its parts.
        place += -(-size // 8) * 8 if version == 1 else size
    name, kind, space = parts
    if not name.endswith(b"\0") or len(name) < 2 or name.index(0) != len(name) - 1:
        raise StructureError("an attribute without a name")
    itemsize = _itemsize(kind)
    shape, used = _shape(space)
    if used > len(space) or place + math.prod(shape) * itemsize > len(data):
        raise StructureError("an attribute that ends outside its message")

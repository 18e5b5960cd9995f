"""The structure of an HDF5 file, checked before the HDF5 library reads it.

Where some of it is damaged the library crashes the process: at a chunk that has less bytes, by its index, than
its checksum takes, it reads four gigabytes. It also reads zeros for a chunk that the index does not find. Here
all groups, headers, heaps and indexes are read once, and every number in them must be a possible one.

Source: The HDF Group, HDF5 File Format Specification Version 3.0, sections II to IV.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landscape.journal import Overlay, read_at
from landscape.storage.messages import (
    CONTINUATION,
    UNDEFINED,
    Header,
    StructureError,
    UnknownStructureError,
    check_attribute,
)

_Pair: TypeAlias = tuple[int, int]

# What HDF5 writes where nobody asks for anything newer: versions 0, offsets and lengths of 8 bytes, and nodes of
# groups for 4 and 16; section II.A.
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08\0\x04\0\x10\0"
_BASE, _ROOT = 24, 64
_PREFIX = struct.Struct("<BxHII4x")  # version, messages, references, bytes; section IV.A.1.a
_NODE = struct.Struct("<4sBBHQQ")  # signature, kind, level, entries, left and right sibling; section III.A.1
# The most entries of a node: twice the numbers of the superblock, and HDF5's own for chunks.
_MOST_IN_GROUP, _MOST_IN_NAMES, _MOST_CHUNKS = 32, 8, 64
_ENTRY = np.dtype([("name", "<u8"), ("header", "<u8"), ("cache", "<u4"), ("", "<u4"), ("scratch", "<u8", (2,))])
_NAMES, _CHUNKS = 0, 1
_FREE_END = 1
_SOFT_LINK = 2
# Headers and names of what takes no more than a few seconds to look at.
_LARGEST = 2**26
# More than these take longer to look at than anyone waits; a resume state has thousands.
MOST_ITEMS = 50_000
TOO_MANY = f"it holds more than {MOST_ITEMS:,} datasets and groups, and such files are refused"


class TooManyItemsError(Exception):
    """A file has more datasets and groups than anyone waits for."""


def check_structure(raw: BinaryIO | Overlay) -> bool:
    """Check all groups, headers, heaps and indexes of a file.

    Args:
        raw: The file, open for reading.

    Returns:
        Whether all of it is of the kinds that our files have. Otherwise HDF5 may still fail on what is not.

    Raises:
        StructureError: If something in it cannot be.
        TooManyItemsError: If there is too much of it.
    """
    try:
        return _Structure(raw).check()
    except (struct.error, IndexError, OverflowError) as error:
        raise StructureError("a message that is too short") from error


class _Structure:
    """Structure of a file, as far as it has been checked."""

    def __init__(self, raw: BinaryIO | Overlay) -> None:
        self._raw = raw
        self._size = raw.seek(0, 2)
        self._known = True
        self._seen: set[int] = set()
        self._objects: dict[int, Header] = {}

    def check(self) -> bool:
        """Go through all that the first group leads to."""
        start = read_at(self._raw, 0, 96)
        if not start.startswith(_SUPERBLOCK):
            return False
        base, free, self._end, driver, _, root, cache = struct.unpack_from("<6QI", start, _BASE)
        if base or (free, driver) != (UNDEFINED, UNDEFINED):
            return False
        if self._end > self._size:
            raise StructureError("truncated file")
        waiting = [(root, cache, struct.unpack_from("<QQ", start, _ROOT + 16))]
        while waiting:
            waiting += self._object(*waiting.pop())
        return self._known

    def _require_inside(self, address: int, size: int) -> None:
        if address + size > self._end:
            raise StructureError(f"byte {address + size} is outside the file")

    def _read(self, address: int, size: int) -> bytes:
        self._require_inside(address, size)
        if size > _LARGEST:
            raise StructureError("a part that is too large")
        return read_at(self._raw, address, size)

    def _once(self, address: int) -> None:
        if address in self._seen:
            raise StructureError("two parts in one place")
        self._seen.add(address)

    def _object(self, address: int, cache: int, scratch: _Pair) -> Iterator[tuple[int, int, _Pair]]:
        """The members of a group; of a dataset none."""
        if cache == _SOFT_LINK or address == UNDEFINED:
            self._known = False
            return
        header = self._objects.get(address)
        fresh = header is None
        if header is None:
            if len(self._objects) >= MOST_ITEMS:
                raise TooManyItemsError(TOO_MANY)
            header = self._objects[address] = self._header(address)
        # A copy of where a group keeps its names, for those who are in a hurry.
        if cache > 1 or (cache == 1 and header.group is not None and scratch != header.group):
            raise StructureError("a group that is in two places")
        self._known &= cache == 0 or header.group is not None
        if not fresh:
            return
        if header.group is not None:
            for attribute in header.attributes:
                with self._unknown():
                    check_attribute(attribute)
            yield from self._members(*header.group)
            return
        for attribute in header.attributes:
            # Those of dimension scales are of types that nobody reads.
            with suppress(UnknownStructureError):
                check_attribute(attribute)
        with self._unknown():
            header.settle()
            if header.chunk is not None and header.address != UNDEFINED:
                self._chunks(header)
            elif header.chunk is None and header.address not in (None, UNDEFINED):
                self._require_inside(header.address or 0, header.size or 0)

    @contextmanager
    def _unknown(self) -> Iterator[None]:
        """Leave what is unknown in the body to the HDF5 library, and go on."""
        try:
            yield
        except UnknownStructureError:
            self._known = False

    def _header(self, address: int) -> Header:
        self._once(address)
        found = Header()
        prefix = self._read(address, 16)
        if prefix.startswith(b"OHDR"):
            self._known = False
            return found
        version, count, _, size = _PREFIX.unpack(prefix)
        if version != 1:
            raise StructureError("an object without a header")
        blocks, messages = [(address + 16, size)], 0
        for start, length in blocks:
            block, place = self._read(start, length), 0
            while place < length:
                kind, size, flags = struct.unpack_from("<HHB", block, place)
                data = block[place + 8 : place + 8 + size]
                if len(data) != size:
                    raise StructureError("a message that ends outside its header")
                place, messages = place + 8 + size, messages + 1
                if kind == CONTINUATION:
                    blocks.append(struct.unpack_from("<QQ", data))
                    self._once(blocks[-1][0])
                    continue
                with self._unknown():
                    if flags > 1:
                        raise UnknownStructureError("a message that is shared")
                    found.take(kind, data)
        if messages != count:
            raise StructureError(f"a header of {messages} messages that counts {count}")
        return found

    def _members(self, tree: int, heap: int) -> Iterator[tuple[int, int, _Pair]]:
        names = self._heap(heap)
        last = b""
        for low, high, node in self._leaves(tree, names):
            self._once(node)
            signature, version, count = struct.unpack("<4sBxH", self._read(node, 8))
            if (signature, version) != (b"SNOD", 1) or not 0 < count <= _MOST_IN_NAMES:
                raise StructureError("names of a group that are none")
            # HDF5 reads all of a node, whatever of it counts.
            entries = np.frombuffer(self._read(node + 8, _MOST_IN_NAMES * _ENTRY.itemsize), _ENTRY)[:count]
            for place, address, cache, _, scratch in entries.tolist():
                name = _text(names, place)
                if name <= last or not low < name <= high:
                    raise StructureError("names of a group that are out of order")
                last = name
                yield address, cache, tuple(scratch)

    def _heap(self, address: int) -> bytes:
        """The names of a group, one after the other; section III.D."""
        self._once(address)
        signature, version, size, free, start = struct.unpack("<4sB3xQQQ", self._read(address, 32))
        if (signature, version) != (b"HEAP", 0):
            raise StructureError("a heap that is none")
        self._once(start)
        names = self._read(start, size)
        visited: set[int] = set()
        while free != _FREE_END:
            if free in visited or free % 8 or free + 16 > size:
                raise StructureError("a heap whose free room has no end")
            visited.add(free)
            following, length = struct.unpack_from("<QQ", names, free)
            if length < 16 or free + length > size:
                raise StructureError("a heap whose free room is outside")
            free = following
        return names

    def _leaves(self, tree: int, names: bytes) -> Iterator[tuple[bytes, bytes, int]]:
        """The nodes of names of a group, and the names between which each has its own."""
        keys = np.dtype([("key", "<u8"), ("child", "<u8")])
        for node in self._lowest(tree, _NAMES, keys, _MOST_IN_GROUP):
            if len(node) == 1:
                return
            texts = pairwise(_text(names, key) for key in node["key"].tolist())
            yield from ((*ends, child) for ends, child in zip(texts, node["child"][:-1].tolist(), strict=True))

    def _chunks(self, header: Header) -> None:
        """Check the index of the chunks of a dataset."""
        chunk = np.array((header.chunk or ())[:-1], np.uint64)
        counts = np.array(
            [-(-n // width) for n, width in zip(header.shape or (), chunk.tolist(), strict=True)], "u8"
        )
        start = ("start", "<u8", (len(chunk) + 1,))
        keys = np.dtype([("size", "<u4"), ("mask", "<u4"), start, ("child", "<u8")])
        last: list[int] = []
        for node in self._lowest(int(header.address or 0), _CHUNKS, keys, _MOST_CHUNKS):
            held = node[:-1]
            place = held["start"][:, :-1] // chunk
            if (
                (held["size"] != header.stored).any()
                or held["mask"].any()
                or held["start"][:, -1].any()
                or (place * chunk != held["start"][:, :-1]).any()
                or (place >= counts).any()
                or (held["child"] > max(0, self._end - header.stored)).any()
            ):
                raise StructureError("a chunk that cannot be")
            order = [last, *place.tolist()]
            if any(a >= b for a, b in pairwise(order)):
                raise StructureError("chunks that are out of order")
            last = order[-1]

    def _lowest(self, address: int, kind: int, keys: np.dtype[Any], most: int) -> Iterator[NDArray[Any]]:
        """The lowest nodes of a tree, in order: keys and children, and one key more.

        Keys between which a child has its own are those of the child.
        """
        # A child, and the keys on both sides of it where something above says them.
        layer: list[tuple[int, bytes | None, bytes | None]] = [(address, None, None)]
        size = _NODE.size + (most + 1) * keys.itemsize - 8
        level: int | None = None
        while layer:
            below: list[tuple[int, bytes | None, bytes | None]] = []
            for place, (node, low, high) in enumerate(layer):
                self._once(node)
                data = self._read(node, size)
                signature, found, its_level, count, left, right = _NODE.unpack_from(data)
                level = its_level if level is None else level
                beside = (
                    layer[place - 1][0] if place else UNDEFINED,
                    layer[place + 1][0] if place + 1 < len(layer) else UNDEFINED,
                )
                if (signature, found, its_level) != (b"TREE", kind, level) or (left, right) != beside:
                    raise StructureError("an index with a node that is none of it")
                if count > most or (not count and len(layer) > 1):
                    raise StructureError("a node of an index with a wrong number of entries")
                entries = np.frombuffer(data[_NODE.size :] + bytes(8), keys, count + 1)
                ends = [_key(entries[0]), _key(entries[-1])]
                if any(end is not None and end != own for end, own in zip((low, high), ends, strict=True)):
                    raise StructureError("an index whose parts do not fit together")
                if not level:
                    yield entries
                    continue
                own = [_key(entry) for entry in entries]
                children = entries["child"][:-1].tolist()
                below += [(child, *ends) for child, ends in zip(children, pairwise(own), strict=True)]
            level = level - 1 if level else 0
            layer = below


def _key(entry: Any) -> bytes:
    """Return what orders keys: without the size and mask of a chunk, which only the lowest nodes keep."""
    name = "key" if "key" in entry.dtype.names else "start"
    return bytes(entry[name].tobytes())


def _text(names: bytes, start: int) -> bytes:
    end = names.find(b"\0", start)
    if start >= len(names) or end < 0:
        raise StructureError("a name outside its heap")
    return names[start:end]

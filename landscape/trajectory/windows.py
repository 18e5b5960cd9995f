"""Windows of a dataset, read past HDF5 where that is faster and compared with their digests. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from landscape.storage import begin_array, deferred_interrupt
from landscape.trajectory.digests import chunk_digests

# Bytes of a chunk from which reading it past HDF5 pays for looking up its place.
_WORTH = 2**18
# Share of all rows from which it pays for chunks of any size: HDF5 takes 100 microseconds to read a chunk, and one
# to list it.
_SHARE = 0.1
# Bytes that are read and digested in turn: they fit into the second cache of a core.
_PIECE = 2**18
# Rows whose places are looked up one by one.
_FEW = 4


class DamagedRowError(Exception):
    """A row is not what was written.

    Attributes:
        row: Which one.
    """

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row


class Windows:
    """Reads columns of some rows of a dataset.

    HDF5 reads a chunk that has a checksum whole for any part of it. Here it reads only the first window of each
    chunk, which checks all of it; the others come straight from their places in the file.

    Args:
        dataset: Its chunks are one row high.
        rows: Which rows, ascending.
        descriptor: The open file; None reads everything by HDF5.
        digests: The digest of each row and chunk, if there are some.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        rows: Sequence[int],
        descriptor: int | None,
        digests: NDArray[np.uint64] | None,
    ) -> None:
        self._dataset, self._rows, self._descriptor = dataset, rows, descriptor
        self._digests = digests
        self._width = dataset.chunks[1]
        self._checked = -1
        self._places: list[Any] = []
        self._index: dict[tuple[int, ...], int] | None = None

    def read(self, low: int, high: int) -> NDArray[Any]:
        """Shape (rows, high - low), as it is stored.

        Raises:
            DamagedRowError: If a row is not what was written.
            OSError: If a checksum does not match, or the file has become shorter.
        """
        chunk = low // self._width
        alone = high <= (chunk + 1) * self._width
        if alone and chunk == self._checked and self._descriptor is not None and None not in self._offsets():
            return self._straight(self._descriptor, low, high)
        values = self._by_hdf5(low, high) if self._digests is None else self._verified(low, high, self._digests)
        if alone and high < (chunk + 1) * self._width:
            self._checked, self._places = chunk, []
        return values

    def _by_hdf5(self, low: int, high: int) -> NDArray[Any]:
        rows = self._rows
        chosen = slice(rows.start, rows.stop, rows.step) if isinstance(rows, range) else list(rows)
        values: NDArray[Any] = self._dataset[chosen, low:high]
        return values

    def _verified(self, low: int, high: int, digests: NDArray[np.uint64]) -> NDArray[Any]:
        """Whole chunks, each compared with its digest; what is wanted of them is kept."""
        width = self._width
        chunks = range(low // width, max(low // width + 1, -(-high // width)))
        first, last = chunks.start * width, min(chunks.stop * width, self._dataset.shape[1])
        whole = (first, last) == (low, high)
        values = np.empty((len(self._rows), high - low), self._dataset.dtype)
        read = np.empty((1, last - first), self._dataset.dtype)
        many = len(self._rows) >= max(_FEW, _SHARE * self._dataset.shape[0])
        past = self._descriptor if many or read.itemsize * width >= _WORTH else None
        for place, row in enumerate(self._rows):
            into = values[place : place + 1] if whole else read
            if past is None:
                # h5py before 3.14 cannot read nothing.
                if into.size:
                    self._dataset.read_direct(into, np.s_[row : row + 1, first:last])
                found = chunk_digests(into[0], width)
            else:
                found = self._take(past, into[0], row, first)
            if not np.array_equal(found, digests[row, chunks.start : chunks.stop]):
                raise DamagedRowError(row)
            if not whole:
                values[place] = read[0, low - first : high - first]
        return values

    def _take(self, descriptor: int, into: NDArray[Any], row: int, first: int) -> NDArray[np.uint64]:
        """Read whole chunks from their places in the file: a digest says more than the checksum of HDF5.

        Returns:
            The digest of each, made while what was read is in the cache of the core.
        """
        found = []
        for start in range(0, len(into), self._width):
            place = self._place(row, first + start)
            part = into[start : start + self._width]
            told = xxhash.xxh3_64()
            begin_array(told, part)
            content = part.view(np.uint8)
            for offset in range(0, len(content), _PIECE):
                piece: Any = content[offset : offset + _PIECE]
                if place is None or os.preadv(descriptor, [piece], place + offset) != piece.nbytes:
                    raise DamagedRowError(row)
                told.update(piece.data)
            found.append(told.intdigest())
        return np.array(found, np.uint64)

    def _offsets(self) -> list[Any]:
        """Where the chunk of each row begins; None for one that was never written."""
        if not self._places:
            self._places = [self._place(row, self._checked * self._width) for row in self._rows]
        return self._places

    def _place(self, row: int, column: int) -> int | None:
        """Where a chunk begins; HDF5 goes through its whole index for one, so that many are asked for at once."""
        if len(self._rows) < _FEW:
            found: int | None = self._dataset.id.get_chunk_info_by_coord((row, column)).byte_offset
            return found
        if self._index is None:
            index: dict[tuple[int, ...], int] = {}
            # HDF5 swallows what is raised in here, Ctrl-C too.
            with deferred_interrupt():
                self._dataset.id.chunk_iter(lambda one: index.update({tuple(one.chunk_offset): one.byte_offset}))
            self._index = index
        return self._index.get((row, column))

    def _straight(self, descriptor: int, low: int, high: int) -> NDArray[Any]:
        values = np.empty((len(self._rows), high - low), self._dataset.dtype)
        ahead = (low - self._checked * self._width) * values.itemsize
        _fill(descriptor, values, [place + ahead for place in self._places])
        return values


@contextmanager
def windows(
    dataset: h5py.Dataset, rows: Sequence[int], digests: NDArray[np.uint64] | None = None
) -> Iterator[Windows]:
    """Read windows of a dataset; the file stays open meanwhile.

    Args:
        dataset: Shape (rows, columns).
        rows: Which rows, ascending.
        digests: The digest of each row and chunk, if there are some.
    """
    if not _lies_as_it_is(dataset):
        yield Windows(dataset, rows, None, digests)
        return
    descriptor = os.open(dataset.file.filename, os.O_RDONLY)
    try:
        yield Windows(dataset, rows, descriptor, digests)
    finally:
        os.close(descriptor)


def _lies_as_it_is(dataset: h5py.Dataset) -> bool:
    """Return whether the numbers stand in the file as in memory, with or without a checksum behind each chunk."""
    filters = dataset.id.get_create_plist()
    codes = [filters.get_filter(place)[0] for place in range(filters.get_nfilters())]
    as_they_are = set(codes) <= {h5py.h5z.FILTER_FLETCHER32}
    plain = as_they_are and dataset.dtype.isnative and dataset.chunks is not None and dataset.chunks[0] == 1
    return plain and dataset.file.driver == "sec2" and not dataset.file.userblock_size and hasattr(os, "preadv")


def _fill(descriptor: int, values: NDArray[Any], places: Sequence[int]) -> None:
    for row, place in zip(values, places, strict=True):
        if os.preadv(descriptor, [row], place) != row.nbytes:
            raise OSError("the file has become shorter")

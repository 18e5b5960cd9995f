"""Reading many snapshots a few columns at a time, in bounded memory. No torch."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from landscape.errors import LandscapeError, is_out_of_memory, out_of_memory
from landscape.storage import FAULTS, begin_array, damage, deferred_interrupt
from landscape.trajectory.digests import chunk_digests, digests_of
from landscape.trajectory.schema import Header
from landscape.values.result import Result

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
        self, dataset: h5py.Dataset, rows: range, descriptor: int | None, digests: NDArray[np.uint64] | None
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
        values: NDArray[Any] = self._dataset[slice(self._rows.start, self._rows.stop, self._rows.step), low:high]
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
def windows(dataset: h5py.Dataset, rows: range, digests: NDArray[np.uint64] | None = None) -> Iterator[Windows]:
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


# What one number takes while it is read: a narrow type is held beside its widened copy.
_BYTES = {"float64": 8, "float32": 4, "float16": 2 + 4, "bfloat16": 2 + 4, "complex64": 8, "complex128": 16}
# Complex numbers are read as real ones, two each.
_PARTS = {np.dtype("complex64"): np.float32, np.dtype("complex128"): np.float64}


@dataclass(frozen=True)
class Block(Result):
    """One stretch of one tensor in all snapshots.

    Attributes:
        name: The tensor.
        start: The first number of the flattened tensor; a complex element is two.
        stop: One behind the last number.
        values: Shape (T, stop - start), a row per snapshot; float32 or float64 (narrower types as float32).
    """

    name: str
    start: int
    stop: int
    values: NDArray[Any]


@dataclass(frozen=True)
class _Piece:
    """A stretch of a tensor, and the first of its columns in the dataset."""

    name: str
    start: int
    stop: int
    column: int

    @property
    def end(self) -> int:
        return self.column + self.stop - self.start


def column_blocks(run: h5py.Group, header: Header, rows: range, max_bytes: int) -> Iterator[Block]:
    """The blocks of `landscape.trajectory.Trajectory.column_blocks`."""
    for group in dict.fromkeys(header.places[info.name].group for info in header.layout.moving()):
        dtype = group.split("/")[-1]
        if dtype not in _BYTES:
            raise LandscapeError(f"parameters of type {dtype} cannot be combined", where=header.path)
        with damage_elsewhere(header):
            dataset = run[group]
            chunk = dataset.chunks[1]
            digests = run[digests_of(group)][: len(header.steps)] if header.digests else None
        cut = _Cut(max(1, max_bytes // (_BYTES[dtype] * max(1, len(rows)))), chunk)
        with windows(dataset, rows if rows.step > 0 else rows[::-1], digests) as reader:
            for span in _spans(_pieces(header, group, cut), cut):
                values = _read(reader, dataset, header, rows, (span[0].column, span[-1].end))
                each = 2 if dtype.startswith("complex") else 1
                for piece in span:
                    columns = slice(each * (piece.column - span[0].column), each * (piece.end - span[0].column))
                    yield Block(piece.name, each * piece.start, each * piece.stop, values[:, columns])
                # Or it would stay beside what is read next.
                del values


class _Cut:
    """Equal stretches of columns to be read together, at most so wide, none across a chunk if it need not be.

    The first window of a chunk costs a reading of all of it, and so does one across two chunks.
    """

    def __init__(self, most: int, chunk: int) -> None:
        self._period = most // chunk * chunk or chunk
        self._width = -(-self._period // -(-self._period // most))

    def end(self, column: int) -> int:
        """Where the window ends that a column is in."""
        first = column // self._period * self._period
        return min(first + ((column - first) // self._width + 1) * self._width, first + self._period)


def _spans(pieces: Iterator[_Piece], cut: _Cut) -> Iterator[list[_Piece]]:
    """Pieces of the same window, which are read together."""
    for _, together in itertools.groupby(pieces, lambda piece: cut.end(piece.column)):
        yield list(together)


def _pieces(header: Header, group: str, cut: _Cut) -> Iterator[_Piece]:
    """The moving tensors of a dataset in order of their columns, cut where windows end."""
    for info in header.layout.moving():
        place = header.places[info.name]
        if place.group == group:
            column, end = place.offset, place.offset + info.numel
            while column < end:
                stop = min(cut.end(column), end)
                yield _Piece(info.name, column - place.offset, stop - place.offset, column)
                column = stop


def _read(
    reader: Windows, dataset: h5py.Dataset, header: Header, rows: range, columns: tuple[int, int]
) -> NDArray[Any]:
    """Shape (rows, columns), of a type that NumPy can compute with."""
    try:
        with damage_elsewhere(header):
            values = reader.read(*columns)
    except DamagedRowError as error:
        raise damaged(header, error.row) from error
    except OSError as error:
        if is_out_of_memory(error):
            raise out_of_memory(header.path) from error
        ascending = rows if rows.step > 0 else rows[::-1]
        raise damaged(header, _first_damaged(dataset, ascending, *columns)) from error
    values = values if rows.step > 0 else values[::-1]
    if dataset.name.endswith("/bfloat16"):
        wide = values.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    if values.dtype in _PARTS:
        return np.ascontiguousarray(values).view(_PARTS[values.dtype])
    return values.astype(np.float32) if values.dtype == np.float16 else values


def read_rows(run: h5py.Group, header: Header, group: str, rows: range) -> NDArray[Any]:
    """Whole rows of a dataset as they are stored, compared with their digests where there are some.

    Raises:
        LandscapeError: If one is damaged.
    """
    with damage(header.path):
        dataset = run[group]
        width = dataset.shape[1]
        digests = run[digests_of(group)][: rows.stop] if header.digests else None
    try:
        with damage_elsewhere(header), windows(dataset, rows, digests) as reader:
            return reader.read(0, width)
    except DamagedRowError as error:
        raise damaged(header, error.row) from error
    except OSError as error:
        raise damaged(header, _first_damaged(dataset, rows, 0, width)) from error


@contextmanager
def damage_elsewhere(header: Header) -> Iterator[None]:
    """Let pass what a wrong checksum raises; all else says that the file is damaged."""
    try:
        yield
    except (OSError, DamagedRowError):
        raise
    except (*FAULTS, MemoryError) as error:
        with damage(header.path):
            raise error


def damaged(header: Header, index: int) -> LandscapeError:
    """Return the error for a snapshot whose checksum does not match."""
    return LandscapeError(
        f"snapshot {index} (step {header.steps[index]}) is damaged: its checksum does not match",
        where=header.path,
        mend="use another snapshot, or restore the file from a copy",
    )


def _first_damaged(dataset: h5py.Dataset, rows: range, low: int, high: int) -> int:
    for row in rows:
        try:
            dataset[row, low:high]
        except FAULTS:
            return row
    return rows[0]

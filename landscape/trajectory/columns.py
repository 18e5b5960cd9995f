"""Reading many snapshots a few columns at a time, in bounded memory. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, is_out_of_memory, out_of_memory
from landscape.storage import FAULTS, damage
from landscape.trajectory.chunk_reader import DamagedRowError, Windows, windows
from landscape.trajectory.digests import digests_of
from landscape.trajectory.schema import Header
from landscape.values.result import Result

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
    """What to raise where the checksum of a snapshot does not match."""
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

"""Reading many snapshots a few columns at a time, in bounded memory. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, is_out_of_memory, out_of_memory
from landscape.layout import PartInfo
from landscape.storage import FAULTS, damage
from landscape.trajectory.digests import digests_of
from landscape.trajectory.schema import Header, chunk_width, datasets_of
from landscape.trajectory.windows import DamagedRowError, Windows, windows
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


def column_blocks(run: Any, header: Header, rows: range, max_bytes: int) -> Iterator[Block]:
    """The blocks of `landscape.trajectory.Trajectory.column_blocks`."""
    for group in dict.fromkeys(header.places[info.name].group for info in header.layout.moving()):
        dtype = group.split("/")[-1]
        if dtype not in _BYTES:
            raise LandscapeError(f"parameters of type {dtype} cannot be combined", where=header.path)
        with column_reader(run, header, group, rows if rows.step > 0 else rows[::-1]) as reader:
            cut = _Cut(max(1, max_bytes // (_BYTES[dtype] * max(1, len(rows)))), reader.width)
            for span in _spans(_pieces(header, group, cut), cut):
                found = reader.read(span[0].column, span[-1].end)
                values = _computable(found if rows.step > 0 else found[::-1], dtype)
                each = 2 if dtype.startswith("complex") else 1
                for piece in span:
                    columns = slice(each * (piece.column - span[0].column), each * (piece.end - span[0].column))
                    yield Block(piece.name, each * piece.start, each * piece.stop, values[:, columns])
                # Or it would stay beside what is read next.
                del found, values


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


def _computable(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Stored values in a type that NumPy can compute with."""
    if dtype == "bfloat16":
        wide = values.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    if values.dtype in _PARTS:
        return np.ascontiguousarray(values).view(_PARTS[values.dtype])
    return values.astype(np.float32) if values.dtype == np.float16 else values


class Columns:
    """Reads columns of some rows of a run; an error names the snapshot that is damaged.

    Args:
        reader: Reads the dataset.
        dataset: The dataset.
        header: Of the run.
        rows: Which rows, ascending.
    """

    def __init__(self, reader: Windows, dataset: h5py.Dataset, header: Header, rows: Sequence[int]) -> None:
        self._reader, self._dataset, self._header, self._rows = reader, dataset, header, rows
        self.dtype: np.dtype[Any] = dataset.dtype
        self.width, self.columns = dataset.chunks[1], dataset.shape[1]

    def read(self, low: int, high: int) -> NDArray[Any]:
        """Shape (rows, high - low), as it is stored.

        Raises:
            LandscapeError: If a snapshot is damaged.
        """
        try:
            with damage_elsewhere(self._header):
                return self._reader.read(low, high)
        except DamagedRowError as error:
            raise damaged(self._header, error.row) from error
        except OSError as error:
            if is_out_of_memory(error):
                raise out_of_memory(self._header.path) from error
            raise damaged(self._header, _first_damaged(self._dataset, self._rows, low, high)) from error


class JoinedColumns:
    """Reads columns of a run whose tensors lie in the files of several processes, as if they lay in one.

    Args:
        header: Of the whole run.
        group: The dataset.
        parts: Readers of it in the files that have it, with the headers of these.
        count: Rows.
    """

    def __init__(
        self, header: Header, group: str, parts: Sequence[tuple[Header, Columns | JoinedColumns]], count: int
    ) -> None:
        self._count = count
        self._parts = [
            (columns, part.places, {one.name: one for one in part.layout if isinstance(one, PartInfo)})
            for part, columns in parts
        ]
        owners = (info for info in header.layout if info.tied_to is None)
        self._spans = [
            (header.places[info.name].offset, info) for info in owners if header.places[info.name].group == group
        ]
        self.columns = sum(info.numel for _, info in self._spans)
        self.width = chunk_width(self.columns)
        self.dtype: np.dtype[Any] = parts[0][1].dtype

    def read(self, low: int, high: int) -> NDArray[Any]:
        """Shape (rows, high - low), as it is stored."""
        values = np.empty((self._count, high - low), self.dtype)
        for offset, info in self._spans:
            first, last = max(low, offset), min(high, offset + info.numel)
            if first < last:
                self._fill(info.name, first - offset, last - offset, values[:, first - low : last - low])
        return values

    def _fill(self, name: str, low: int, high: int, into: NDArray[Any]) -> None:
        """Read a stretch of a flattened tensor from the parts, of which each has the same columns of every row."""
        for columns, places, shares in self._parts:
            if name not in shares:
                continue
            share = shares[name]
            for first, last in _stretches(low, high, share.row):
                row, column = divmod(first, share.row)
                width = min(share.row, last - first)
                start, stop = max(column, share.start), min(column + width, share.stop)
                if start < stop:
                    begin = places[name].offset + row * (share.stop - share.start) + start - share.start
                    shape = (self._count, (last - first) // width, stop - start)
                    found = columns.read(begin, begin + shape[1] * shape[2]).reshape(shape)
                    whole = into[:, first - low : last - low].reshape(*shape[:2], width)
                    whole[:, :, start - column : stop - column] = found


def _stretches(low: int, high: int, row: int) -> Iterator[tuple[int, int]]:
    """Whole rows, and what is before and behind them of a row."""
    begin = min(high, -(-low // row) * row)
    for first, last in itertools.pairwise((low, begin, max(begin, high // row * row), high)):
        if first < last:
            yield first, last


@contextmanager
def column_reader(run: Any, header: Header, group: str, rows: Sequence[int]) -> Iterator[Columns | JoinedColumns]:
    """Read columns of a dataset, or of the parts of one; the files stay open meanwhile.

    Args:
        run: The group of the run; of a run in parts those of all.
        header: Of the run.
        group: The dataset.
        rows: Which rows, ascending.
    """
    if header.parts:
        with ExitStack() as stack:
            having = [n for n, part in enumerate(header.parts) if group in datasets_of(part.header.places)]
            parts = []
            for part, own in ((header.parts[n], run[n]) for n in having):
                chosen = [part.rows[row] for row in rows]
                parts.append((part.header, stack.enter_context(column_reader(own, part.header, group, chosen))))
            yield JoinedColumns(header, group, parts, len(rows))
        return
    with damage(header.path):
        dataset = run[group]
        digests = run[digests_of(group)][: len(header.steps)] if header.digests else None
    with windows(dataset, rows, digests) as reader:
        yield Columns(reader, dataset, header, rows)


def read_rows(run: Any, header: Header, group: str, rows: range) -> NDArray[Any]:
    """Whole rows of a dataset as they are stored, compared with their digests where there are some.

    Raises:
        LandscapeError: If one is damaged.
    """
    with column_reader(run, header, group, rows) as reader:
        return reader.read(0, reader.columns)


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


def _first_damaged(dataset: h5py.Dataset, rows: Sequence[int], low: int, high: int) -> int:
    for row in rows:
        try:
            dataset[row, low:high]
        except FAULTS:
            return row
    return rows[0]

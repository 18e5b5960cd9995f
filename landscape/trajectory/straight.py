"""Windows narrower than a chunk, read without reading the chunk again. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


class Windows:
    """Reads columns of some rows of a dataset.

    HDF5 reads a chunk that has a checksum whole for any part of it. Here it reads only the first window of each
    chunk, which checks all of it; the others come straight from their places in the file.

    Args:
        dataset: Its chunks are one row high.
        rows: Which rows, ascending.
        descriptor: The open file; None reads everything by HDF5.
    """

    def __init__(self, dataset: h5py.Dataset, rows: range, descriptor: int | None) -> None:
        self._dataset, self._rows, self._descriptor = dataset, rows, descriptor
        self._width = dataset.chunks[1]
        self._checked = -1
        self._places: list[Any] = []

    def read(self, low: int, high: int) -> NDArray[Any]:
        """Shape (rows, high - low), as it is stored.

        Raises:
            OSError: If a checksum does not match, or the file has become shorter.
        """
        chunk = low // self._width
        alone = high <= (chunk + 1) * self._width
        if alone and chunk == self._checked and self._descriptor is not None and None not in self._offsets():
            return self._straight(self._descriptor, low, high)
        values: NDArray[Any] = self._dataset[slice(self._rows.start, self._rows.stop, self._rows.step), low:high]
        if alone and high < (chunk + 1) * self._width:
            self._checked, self._places = chunk, []
        return values

    def _offsets(self) -> list[Any]:
        """Where the chunk of each row begins; None for one that was never written."""
        if not self._places:
            start, stored = self._checked * self._width, self._dataset.id
            self._places = [stored.get_chunk_info_by_coord((row, start)).byte_offset for row in self._rows]
        return self._places

    def _straight(self, descriptor: int, low: int, high: int) -> NDArray[Any]:
        values = np.empty((len(self._rows), high - low), self._dataset.dtype)
        ahead = (low - self._checked * self._width) * values.itemsize
        _fill(descriptor, values, [place + ahead for place in self._places])
        return values


@contextmanager
def windows(dataset: h5py.Dataset, rows: range) -> Iterator[Windows]:
    """Read windows of a dataset; the file stays open meanwhile.

    Args:
        dataset: Shape (rows, columns).
        rows: Which rows, ascending.
    """
    if not _lies_as_it_is(dataset):
        yield Windows(dataset, rows, None)
        return
    descriptor = os.open(dataset.file.filename, os.O_RDONLY)
    try:
        yield Windows(dataset, rows, descriptor)
    finally:
        os.close(descriptor)


def _lies_as_it_is(dataset: h5py.Dataset) -> bool:
    """Whether the numbers stand in the file as in memory, with a checksum behind each chunk."""
    filters = dataset.id.get_create_plist()
    codes = [filters.get_filter(place)[0] for place in range(filters.get_nfilters())]
    plain = codes == [h5py.h5z.FILTER_FLETCHER32] and dataset.dtype.isnative and dataset.chunks[0] == 1
    return plain and dataset.file.driver == "sec2" and not dataset.file.userblock_size and hasattr(os, "preadv")


def _fill(descriptor: int, values: NDArray[Any], places: Sequence[int]) -> None:
    for row, place in zip(values, places, strict=True):
        if os.preadv(descriptor, [row], place) != row.nbytes:
            raise OSError("the file has become shorter")

"""Claims of an open file, checked against its size before any memory is taken. Links lead nowhere else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py

from landscape.errors import LandscapeError
from landscape.storage.faults import FAULTS
from landscape.storage.interrupts import deferred_interrupt
from landscape.storage.structure import MOST_ITEMS, TOO_MANY

# What a file may claim beyond its size: metrics that came late have rows that were never written.
_SLACK = 2**26
_MOST_ATTRIBUTES = 1_000
# Filters by which our files hold no more than they are long.
_PLAIN_FILTERS = (h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_SHUFFLE)


def require_modest(file: h5py.File, path: Path) -> None:
    """Refuse links, data outside the file, and claims that its size cannot hold.

    Raises:
        LandscapeError: If there is one of these.
    """
    census = _Census(file, path.stat().st_size + _SLACK)
    refused: str | None
    try:
        census.count_attributes(h5py.h5g.open(file.id, b"/"), "")
        # HDF5 swallows what is raised in here, Ctrl-C too.
        with deferred_interrupt():
            refused = file.id.links.visit(census.visit, info=True)
    except FAULTS as error:
        mend = "restore it from a copy"
        raise LandscapeError("the file is damaged", where=path, got="unreadable links", mend=mend) from error
    if census.fault is not None:
        raise LandscapeError("the file is damaged", where=path, got=census.fault, mend="restore it from a copy")
    if refused is not None:
        raise LandscapeError(refused, where=path)


class _Census:
    """Counts what there is, one thing after the other.

    Attributes:
        fault: Why the file is taken for damaged, if it is.
    """

    def __init__(self, file: h5py.File, room: int) -> None:
        self._file, self._room = file, room
        self._items = self._claimed = 0
        self.fault: str | None = None

    def visit(self, name: bytes, info: Any) -> str | None:
        """Look at one link; a text says why the file is refused."""
        shown = name.decode(errors="replace")
        if info.type != h5py.h5l.TYPE_HARD:
            return f"'/{shown}' is a link, and such files are refused"
        self._items += 1
        if self._items > MOST_ITEMS:
            return TOO_MANY
        item = h5py.h5o.open(self._file.id, name)
        self.count_attributes(item, shown)
        if isinstance(item, h5py.h5d.DatasetID):
            creation = item.get_create_plist()
            if creation.get_external_count() or creation.get_layout() == h5py.h5d.VIRTUAL:
                return f"'/{shown}' has its data elsewhere, and such files are refused"
            self._count_room(item, creation, shown)
        return self.fault

    def count_attributes(self, item: Any, shown: str) -> None:
        """See that there are not more attributes than anyone writes."""
        count = h5py.h5a.get_num_attrs(item)
        if count > _MOST_ATTRIBUTES:
            self.fault = f"'/{shown}' has more than {_MOST_ATTRIBUTES:,} attributes"
        elif isinstance(item, h5py.h5g.GroupID):
            kinds = [h5py.h5a.open(item, index=index).get_type() for index in range(count)]
            self._require_usual(kinds, shown)

    def _require_usual(self, kinds: list[h5py.h5t.TypeID], shown: str) -> None:
        """See that numbers are what NumPy has: HDF5 takes any width of an exponent, and reads others."""
        numbers = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)
        if any(isinstance(kind, numbers) and kind != h5py.h5t.py_create(kind.dtype) for kind in kinds):
            self.fault = f"'/{shown}' has numbers of a type that is not ours"

    def _count_room(self, dataset: h5py.h5d.DatasetID, creation: h5py.h5p.PropDCID, shown: str) -> None:
        kind = dataset.get_type()
        width = kind.get_size()
        self._require_usual([kind], shown)
        filters = [creation.get_filter(place)[0] for place in range(creation.get_nfilters())]
        if any(code not in _PLAIN_FILTERS for code in filters):
            self.fault = f"'/{shown}' is stored in a way that is not ours"
        claimed = math.prod(dataset.shape) * width
        if creation.get_layout() == h5py.h5d.CONTIGUOUS and claimed and not dataset.get_storage_size():
            self.fault = f"'/{shown}' was never written"
        if creation.get_layout() == h5py.h5d.CHUNKED:
            claimed = max(claimed, math.prod(creation.get_chunk()) * width)
        self._claimed += claimed
        if self._claimed > self._room:
            self.fault = f"'/{shown}' claims more than the file can hold"

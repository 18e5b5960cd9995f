"""Copying a trajectory file with fewer snapshots of one of its runs. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import h5py
import numpy as np

from landscape.storage import integer_attr, read_attr
from landscape.trajectory.digests import ROOMS

# The groups of a run whose datasets have a row per snapshot.
_ROOMS = (*ROOMS, "digests")


def copy_thinned(source: h5py.File, target: h5py.File, prefix: str, rows: Sequence[int]) -> None:
    """Copy a file, of one run only some snapshots; a snapshot's bits are the same afterwards.

    A resume state is left out where the snapshot that it goes with is.

    Args:
        source: The file.
        target: An empty file.
        prefix: The group of the run.
        rows: The snapshots that stay, in order.
    """
    names = [name for name in prefix.split("/") if name]
    _copy(source, target, names, rows)
    run = target[prefix]
    run.attrs.modify("n_valid", np.int64(len(rows)))
    home = run.get("resume")
    if home is not None and "valid" in home.attrs:
        state = home[read_attr(home, "valid")]
        count = integer_attr(state, "n_valid")
        if count == 0 or count - 1 in rows:
            state.attrs.modify("n_valid", np.int64(sum(row < count for row in rows)))
        else:
            del run["resume"]


def _copy(source: h5py.Group, target: h5py.Group, names: Sequence[str], rows: Sequence[int]) -> None:
    """Copy a group; the rows are chosen in the run that the names lead to."""
    target.attrs.update(source.attrs)
    for name in source:
        if names and name == names[0]:
            _copy(source[name], target.create_group(name), names[1:], rows)
        elif not names and name in _ROOMS:
            room = target.create_group(name)
            for key, dataset in source[name].items():
                _copy_rows(dataset, room, key, rows)
        else:
            source.copy(name, target)


def _copy_rows(dataset: h5py.Dataset, room: h5py.Group, name: str, rows: Sequence[int]) -> None:
    copied = room.create_dataset(
        name,
        shape=(len(rows), *dataset.shape[1:]),
        maxshape=dataset.maxshape,
        chunks=dataset.chunks,
        dtype=dataset.dtype,
        fletcher32=dataset.fletcher32,
        fillvalue=dataset.fillvalue,
    )
    for index, row in enumerate(rows):
        copied[index] = dataset[row]

"""Recorded optimizer steps in a trajectory file: beside each snapshot the update that follows it. No torch.

``/updates/<dtype>`` and ``/preconditioners/<dtype>`` have a row per snapshot, the trained parameters side by side
in manifest order; ``/updates/settings`` holds the numbers of the step. A row is written after its snapshot, when
the step is made: until then, and for ever where none follows, the first of its settings is NaN and nothing else of
it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.storage import read_json_attr
from landscape.trajectory.digests import chunk_digests, digests_of

if TYPE_CHECKING:
    from landscape.trajectory.schema import Header

SETTINGS = "updates/settings"
# Of the settings, the first: the step that the update begins at.
BEGUN = "step"
# Attribute of a run: what the optimizer is, and what is recorded of it.
OPTIMIZER = "optimizer"
# Name of a recorded thing -> the group of its datasets.
HOMES = {"update": "updates", "preconditioner": "preconditioners"}
# Element types that are wider than those which rows can be rounded to.
_WIDE = ("float32", "float64")


def datasets_of_steps(layout: Layout, about: Mapping[str, Any]) -> dict[str, list[TensorInfo]]:
    """Dataset -> the parameters in it, in order of their columns; the settings are not among them.

    Args:
        layout: The tensors of a run.
        about: Its attribute `OPTIMIZER`.
    """
    moved, storage = about["groups"], about.get("dtype")
    found: dict[str, list[TensorInfo]] = {}
    for name in about["stored"]:
        for info in layout:
            if info.name in moved and info.tied_to is None:
                dtype = storage if storage and info.dtype in _WIDE else info.dtype
                found.setdefault(f"{HOMES[name]}/{dtype}", []).append(info)
    return found


def row_bytes(layout: Layout, about: Mapping[str, Any]) -> int:
    """Bytes that a step takes in the file."""
    sizes = {"bfloat16": 2, **{f"float{bits}": bits // 8 for bits in (16, 32, 64)}}
    return sum(
        sizes.get(name.split("/")[1], 16) * sum(info.numel for info in infos)
        for name, infos in datasets_of_steps(layout, about).items()
    )


def blank(group: h5py.Group, count: int) -> None:
    """Make room for the step after a snapshot, which is not known yet.

    Args:
        group: The group of a run.
        count: How many snapshots there are before it.
    """
    if SETTINGS not in group:
        return
    for home in HOMES.values():
        for name in group.get(home, ()):
            _resized(group[f"{home}/{name}"], count + 1)
            _resized(group[digests_of(f"{home}/{name}")], count + 1)
    write_step(group, count, {SETTINGS: np.full(group[SETTINGS].shape[1], np.nan)})


def write_step(group: h5py.Group, row: int, values: Mapping[str, NDArray[Any]]) -> None:
    """Write what is known of the step after a snapshot.

    Args:
        group: The group of a run.
        row: The snapshot.
        values: Dataset -> its columns.
    """
    for name, found in values.items():
        group[name][row] = found
        group[digests_of(name)][row] = chunk_digests(found, group[name].chunks[1])


def _resized(dataset: h5py.Dataset, length: int) -> None:
    if len(dataset) != length:
        dataset.resize(length, axis=0)


def read_settings(group: h5py.Group, count: int) -> NDArray[np.float64]:
    """Shape (count, settings), NaN where no step is known; (count, 0) where none are recorded.

    Raises:
        ValueError: If a row is not what was written.
    """
    if SETTINGS not in group:
        return np.empty((count, 0))
    dataset = group[SETTINGS]
    about = read_json_attr(group, OPTIMIZER)
    if dataset.dtype != "float64" or dataset.ndim != 2 or dataset.shape[1] != len(about["columns"]):
        raise TypeError("/updates/settings has other columns than the run says")
    values: NDArray[np.float64] = dataset[:count]
    written = group[digests_of(SETTINGS)][:count]
    for row, found in enumerate(values):
        if not np.array_equal(chunk_digests(found, dataset.chunks[1]), written[row]):
            raise ValueError(f"snapshot {row} has other settings of its step than were written")
    values.flags.writeable = False
    return values


def require_datasets(
    group: h5py.Group, layout: Layout, about: Mapping[str, Any], carriers: Mapping[str, str]
) -> None:
    """Check that the datasets of steps are there, as wide as what is in them.

    Args:
        group: The group of a run.
        layout: Its tensors.
        about: Its attribute `OPTIMIZER`.
        carriers: Element type -> what stands for it in a file.

    Raises:
        ValueError: If one is not.
    """
    if not about:
        return
    for name, infos in datasets_of_steps(layout, about).items():
        stored = name.split("/")[1]
        dataset = group[name]
        if dataset.dtype != carriers.get(stored, stored) or dataset.shape[1] != sum(one.numel for one in infos):
            raise ValueError(f"/{name} does not hold the parameters that the run says")


def require_steps(header: Header) -> None:
    """Check that a run has steps at all.

    Raises:
        LandscapeError: If it has none.
    """
    if not header.optimizer:
        raise LandscapeError(
            "the run has no recorded updates",
            where=header.path,
            mend="use landscape train --record update,preconditioner,lr, or Recorder(..., optimizer=, record=)",
        )

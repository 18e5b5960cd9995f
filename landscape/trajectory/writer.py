"""Writing a run into an HDF5 group: create it empty, append a row to everything. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.storage import PathLike, create, open_read, safe_point, write_attrs, write_json_attr, write_lines
from landscape.trajectory.digests import ROWS, chunk_digests, digests_of, row_digest, seal_run
from landscape.trajectory.schema import (
    CARRIERS,
    FORMAT,
    SCHEMA,
    WITHOUT_STEPS,
    chunk_width,
    groups_of,
    manifest,
)
from landscape.trajectory.steps import OPTIMIZER, SETTINGS, blank, datasets_of_steps

# The rows of a chunk of steps or metrics: 2 KiB, so that a short run stays small.
_ROWS = 256

# A finished file is copied to win back the room of its resume state if that is more than this share of it.
_WASTE = 0.05


@dataclass(frozen=True)
class Row:
    """One snapshot, ready to be written.

    Attributes:
        step: Optimizer updates.
        epoch: Epochs, or NaN.
        seconds: Training time, or NaN.
        metrics: Name -> value.
        values: Dataset (``"weights/float32"``) -> its columns, flattened in manifest order.
        rounding: The relative rounding error of the parameters, where they are stored rounded.
    """

    step: int
    epoch: float
    seconds: float
    metrics: Mapping[str, float]
    values: Mapping[str, NDArray[Any]]
    rounding: float = 0.0


def create_run(
    group: h5py.Group,
    layout: Layout,
    attrs: Mapping[str, Any],
    storage: str | None = None,
    optimizer: Mapping[str, Any] | None = None,
) -> None:
    """Lay out an empty run.

    Args:
        group: An empty group.
        layout: The tensors of its snapshots.
        attrs: What is known of it; all but ``format schema finished n_valid``.
        storage: The element type that wider parameters are rounded to; None if all are stored as they are.
        optimizer: What the optimizer is and what is recorded of its steps; None for nothing.
    """
    schema = SCHEMA if optimizer else WITHOUT_STEPS
    write_attrs(group, {"format": FORMAT, "schema": np.int64(schema), **attrs})
    group.attrs["finished"] = np.bool_(False)
    group.attrs["n_valid"] = np.int64(0)
    write_lines(group, "manifest", manifest(layout, storage))
    for name, infos in groups_of(layout, storage).items():
        _digested(group, name, sum(info.numel for info in infos), name.split("/")[1])
    if optimizer:
        write_json_attr(group, OPTIMIZER, optimizer)
        _digested(group, SETTINGS, len(optimizer["columns"]), "float64")
        for name, infos in datasets_of_steps(layout, optimizer).items():
            _digested(group, name, sum(info.numel for info in infos), name.split("/")[1])
    group.create_dataset(ROWS, shape=(0,), maxshape=(None,), chunks=(_ROWS,), dtype="u8")
    _series(group, "steps/step", 0, "int64")
    _series(group, "steps/epoch", 0)
    _series(group, "steps/seconds", 0)
    if storage is not None:
        _series(group, "steps/rounding", 0)
    group.create_group("metrics")


def _digested(group: h5py.Group, name: str, columns: int, dtype: str) -> None:
    """Lay out a dataset with a row per snapshot, and its digests."""
    group.create_dataset(
        name,
        shape=(0, columns),
        # HDF5 wants no chunk wider than its dataset, and no chunk of width 0.
        maxshape=(None, columns or None),
        chunks=(1, chunk_width(columns)),
        dtype=CARRIERS.get(dtype, dtype),
        # No checksum of HDF5's: a digest says more, and a third of the time of a snapshot would go into it.
    )
    chunks = max(1, -(-columns // chunk_width(columns)))
    group.create_dataset(
        digests_of(name),
        shape=(0, chunks),
        maxshape=(None, chunks),
        chunks=(max(1, _ROWS // chunks), chunks),
        dtype="u8",
    )


def _series(group: h5py.Group, name: str, length: int, dtype: str = "float64") -> h5py.Dataset:
    return group.create_dataset(
        name,
        shape=(length,),
        maxshape=(None,),
        chunks=(_ROWS,),
        dtype=dtype,
        fletcher32=True,
        fillvalue=np.nan if dtype == "float64" else 0,
    )


def write_run(
    path: PathLike, layout: Layout, attrs: Mapping[str, Any], settings: Mapping[str, Any], rows: Iterable[Row]
) -> None:
    """Write a finished run, wholly or not at all.

    Args:
        path: The file; replaced if it is there.
        layout: The tensors of its snapshots.
        attrs: Plain attributes of it, its ``run_id`` among them.
        settings: Attributes that are stored as JSON.
        rows: Its snapshots.
    """
    with create(path) as file:
        create_run(file, layout, attrs)
        for name, value in settings.items():
            write_json_attr(file, name, value)
        for count, row in enumerate(rows):
            append_row(file, count, row)
            safe_point()
        file.attrs.modify("finished", np.bool_(True))
        seal_run(file)


def append_row(group: h5py.Group, count: int, row: Row) -> None:
    """Write a snapshot behind the first `count`; anything further that the datasets hold counts no more.

    When all is changed that changes with it, the run is stamped (see `digests`).

    Args:
        group: The group of the run.
        count: How many snapshots count before this one.
        row: The snapshot.
    """
    digested = ROWS in group
    for name, values in row.values.items():
        _put(group[name], count, values)
        if digested:
            _put(group[digests_of(name)], count, chunk_digests(values, group[name].chunks[1]))
    _put(group["steps/step"], count, row.step)
    _put(group["steps/epoch"], count, row.epoch)
    _put(group["steps/seconds"], count, row.seconds)
    if "rounding" in group["steps"]:
        _put(group["steps/rounding"], count, row.rounding)
    metrics = group["metrics"]
    for name in row.metrics:
        if name not in metrics:
            _series(metrics, name, count)
    for name, dataset in metrics.items():
        _put(dataset, count, row.metrics.get(name, np.nan))
    if digested:
        rounding = row.rounding if "rounding" in group["steps"] else 0.0
        moment = (row.step, row.epoch, row.seconds, rounding)
        _put(group[ROWS], count, np.uint64(row_digest(moment, row.metrics)))
    blank(group, count)
    group.attrs.modify("n_valid", np.int64(count + 1))


def _put(dataset: h5py.Dataset, index: int, values: Any) -> None:
    if len(dataset) <= index:
        dataset.resize(index + 1, axis=0)
    dataset[index] = values


def compact(path: Path) -> None:
    """Copy a file to win back the room of what was deleted from it; without room to do so, leave it as it is."""
    with open_read(path, format=FORMAT, schema=SCHEMA) as source:
        used = 0

        def count(_name: str, item: Any) -> None:
            nonlocal used
            used += item.id.get_storage_size() if isinstance(item, h5py.Dataset) else 0

        source.visititems(count)
    if used > (1 - _WASTE) * path.stat().st_size:
        return
    with (
        suppress(LandscapeError),
        open_read(path, format=FORMAT, schema=SCHEMA) as source,
        create(path) as target,
    ):
        for name in source:
            source.copy(name, target)
        target.attrs.update(source.attrs)

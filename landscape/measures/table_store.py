"""The file of a table of measures: readable without torch, resumable, ending in the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.files.checked import mapping, numbers
from landscape.files.result import Kind, PathLike, Rows, load, save
from landscape.storage import read_json_attr
from landscape.values.measure_table import Column, Table

# Group of a column -> kind of its elements.
_GROUPS = {"values": "f", "standard_errors": "f", "converged": "b", "done": "b"}


def _read(file: h5py.File) -> Table:
    steps = numbers(file, "step", "i", (None,))
    count = len(steps)
    if (np.diff(steps) <= 0).any():
        raise ValueError("dataset 'step' does not increase")
    columns: dict[str, Column] = {}
    for name, about in mapping(file, "measures").items():
        held = {group: numbers(file, f"{group}/{name}", kind, (count,)) for group, kind in _GROUPS.items()}
        # A writer that was killed may have left values that it had not yet marked as done.
        for group in ("values", "standard_errors"):
            held[group] = np.where(held["done"], held[group], np.nan)
        columns[name] = Column(**held, about=about)
    metrics = {
        str(name): numbers(file, f"metrics/{name}", "f", (count,)) for name in read_json_attr(file, "metrics")
    }
    return Table(steps, numbers(file, "epoch", "f", (count,)), columns, metrics, mapping(file, "meta"))


def _write(file: h5py.File, value: Table) -> None:
    file.create_dataset("step", data=value.steps, dtype="i8").make_scale("step")
    _beside(file, "epoch", value.epochs)
    for name, values in value.metrics.items():
        _beside(file, f"metrics/{name}", values)
    for name, values in _rows(value).arrays.items():
        _beside(file, name, values)


def _beside(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    dataset = file.create_dataset(name, data=values, dtype=values.dtype)
    dataset.dims[0].attach_scale(file["step"])


def _rows(value: Table) -> Rows:
    columns = value.columns.items()
    arrays = {f"{group}/{name}": getattr(column, group) for name, column in columns for group in _GROUPS}
    return Rows(arrays, (len(value),))


def _attributes(value: Table) -> Mapping[str, Any]:
    measures = {name: dict(column.about) for name, column in value.columns.items()}
    return {"measures": measures, "metrics": list(value.metrics)}


def _digested(file: h5py.File) -> list[str]:
    held = ["step", "epoch", *(f"metrics/{name}" for name in read_json_attr(file, "metrics"))]
    return held + [f"{group}/{name}" for name in mapping(file, "measures") for group in _GROUPS]


MEASURES: Kind[Table] = Kind(
    format="landscape/measures",
    noun="the file of measures",
    single="table",
    other="other measures; they differ in",
    remedy="give another name to --save, or remove the file",
    read=_read,
    write=_write,
    complete=lambda table: table.complete,
    attributes=_attributes,
    meta=lambda table: table.meta,
    rows=_rows,
    growing=lambda file: tuple(_GROUPS),
    digested=_digested,
)


def read_table(path: PathLike) -> Table:
    """Read measures along training.

    Args:
        path: A file that `landscape measure --at all` wrote, finished or not.

    Returns:
        The table; where `done` is false the values are NaN.

    Raises:
        LandscapeError: If the file is missing, damaged, no table of measures, or of a newer version.
    """
    return load(MEASURES, path).value


def save_table(table: Table, path: PathLike, identity: Mapping[str, Any] | None = None) -> None:
    """Write a table at once: the same table gives the same bytes.

    Args:
        table: The table.
        path: Where; replaced only when all is written.
        identity: What decides whether a later run takes the same measures.
    """
    save(MEASURES, table, path, identity)

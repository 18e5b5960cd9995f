"""The file of a table of measures: readable without torch, resumable, ending in the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.files.checked import mapping, numbers
from landscape.files.result import Kind, PathLike, Rows, load, save
from landscape.sharpness.table import Column, Table
from landscape.storage import read_json_attr

# Group of a column -> kind of its elements.
_GROUPS = {"values": "f", "standard_errors": "f", "converged": "b", "done": "b"}


class TableKind(Kind[Table]):
    """Measures along training."""

    format: ClassVar[str] = "landscape/measures"
    noun: ClassVar[str] = "the file of measures"
    single: ClassVar[str] = "table"
    other: ClassVar[str] = "other measures; they differ in"
    remedy: ClassVar[str] = "give another name to --save, or remove the file"
    growing: ClassVar[tuple[str, ...]] = tuple(_GROUPS)

    def read(self, file: h5py.File) -> Table:
        """Read the table; where `done` is false the values are NaN."""
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

    def write(self, file: h5py.File, value: Table) -> None:
        """Write steps, metrics and measures."""
        file.create_dataset("step", data=value.steps, dtype="i8").make_scale("step")
        _beside(file, "epoch", value.epochs)
        for name, values in value.metrics.items():
            _beside(file, f"metrics/{name}", values)
        for name, values in self.rows(value).arrays.items():
            _beside(file, name, values)

    def complete(self, value: Table) -> bool:
        """Return whether every measure is taken at every step."""
        return value.complete

    def attributes(self, value: Table) -> Mapping[str, Any]:
        """Return what the measures are, and the names of the metrics."""
        measures = {name: dict(column.about) for name, column in value.columns.items()}
        return {"measures": measures, "metrics": list(value.metrics)}

    def meta(self, value: Table) -> Mapping[str, Any]:
        """Return more to say about the table."""
        return value.meta

    def rows(self, value: Table) -> Rows:
        """Return all columns; a row is a step."""
        columns = value.columns.items()
        arrays = {f"{group}/{name}": getattr(column, group) for name, column in columns for group in _GROUPS}
        return Rows(arrays, (len(value),))

    def digested(self, file: h5py.File) -> list[str]:
        """Return the datasets that schema 1 digested."""
        held = ["step", "epoch", *(f"metrics/{name}" for name in read_json_attr(file, "metrics"))]
        return held + [f"{group}/{name}" for name in mapping(file, "measures") for group in _GROUPS]


MEASURES = TableKind()


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


def _beside(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    dataset = file.create_dataset(name, data=values, dtype=values.dtype)
    dataset.dims[0].attach_scale(file["step"])

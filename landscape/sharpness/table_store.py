"""The file of a table of measures: readable without torch, resumable, ending in the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.checked import as_read, differences, digest_of, mapping, numbers, plain
from landscape.errors import LandscapeError
from landscape.sharpness.table import Column, Table
from landscape.storage import (
    ROWS,
    change,
    create,
    damage,
    has_seal,
    open_read,
    read_attr,
    read_json_attr,
    require_rows,
    require_seal,
    row_digests,
    seal,
    steadily,
    versions,
    write_attrs,
    write_row_digests,
)

FORMAT = "landscape/measures"
# The newest that can be read, and the one that is written: 2 carries a digest of each row.
SCHEMA = 2

_DAMAGED = "the file of measures is damaged"
# Group of a column -> kind of its elements.
_GROUPS = {"values": "f", "standard_errors": "f", "converged": "b", "done": "b"}
# What is not settled while the table is filled.
_GROWING = (*_GROUPS, "digests")


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read measures along training.

    Args:
        path: A file that `landscape measure --at all` wrote, finished or not.

    Returns:
        The table; where `done` is false the values are NaN.

    Raises:
        LandscapeError: If the file is missing, damaged, no table of measures, or of a newer version.
    """
    return steadily(path, lambda: _stored(path))[0]


def save_table(table: Table, path: str | os.PathLike[str], identity: Mapping[str, Any] | None = None) -> None:
    """Write a table at once: the same table gives the same bytes.

    Args:
        table: The table.
        path: Where; replaced only when all is written.
        identity: What decides whether a later run takes the same measures.
    """
    with create(path) as file:
        said = {
            "format": FORMAT,
            "schema": SCHEMA,
            "complete": table.complete,
            "measures": json.dumps({name: dict(column.about) for name, column in table.columns.items()}),
            "metrics": json.dumps(list(table.metrics)),
            "identity": json.dumps(dict(identity or {}), sort_keys=True),
            "meta": json.dumps(plain(dict(table.meta)), sort_keys=True),
            "versions": json.dumps(versions(), sort_keys=True),
        }
        write_attrs(file, said)
        file.create_dataset("step", data=table.steps, dtype="i8").make_scale("step")
        _beside(file, "epoch", table.epochs)
        for name, values in table.metrics.items():
            _beside(file, f"metrics/{name}", values)
        for name, column in table.columns.items():
            for group in _GROUPS:
                _beside(file, f"{group}/{name}", getattr(column, group))
        write_row_digests(file, _filled(table.columns), len(table.steps))
        seal(file, _GROWING)


def _filled(columns: Mapping[str, Column]) -> list[NDArray[Any]]:
    """All that is filled row by row."""
    return [getattr(column, group) for column in columns.values() for group in _GROUPS]


def _beside(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    dataset = file.create_dataset(name, data=values, dtype=values.dtype)
    dataset.dims[0].attach_scale(file["step"])


def _digest(file: h5py.File) -> str:
    held = ["step", "epoch", *(f"metrics/{name}" for name in read_json_attr(file, "metrics"))]
    return digest_of(file, held + [f"{group}/{name}" for name in mapping(file, "measures") for group in _GROUPS])


def _stored(path: str | os.PathLike[str]) -> tuple[Table, dict[str, Any]]:
    """The table in a file, and what makes it that one."""
    with open_read(path, format=FORMAT, schema=SCHEMA) as file:
        with damage(path, _DAMAGED):
            table, identity = _read(file), mapping(file, "identity")
            # Of schema 1, and complete.
            written = read_attr(file, "digest")
            intact = written is None or written == _digest(file)
        if not intact:
            raise LandscapeError(
                f"{_DAMAGED}: its values are not those that were written",
                where=path,
                mend="restore it from a copy, or compute it again",
            )
        return table, identity


def _read(file: h5py.File) -> Table:
    require_seal(file, _GROWING)
    steps = numbers(file, "step", "i", (None,))
    count = len(steps)
    if (np.diff(steps) <= 0).any():
        raise ValueError("dataset 'step' does not increase")
    columns: dict[str, Column] = {}
    filled: list[NDArray[Any]] = []
    for name, about in mapping(file, "measures").items():
        held = {group: numbers(file, f"{group}/{name}", kind, (count,)) for group, kind in _GROUPS.items()}
        filled += held.values()
        # A writer that was killed may have left values that it had not yet marked as done.
        for group in ("values", "standard_errors"):
            held[group] = np.where(held["done"], held[group], np.nan)
        columns[name] = Column(**held, about=about)
    require_rows(file, filled, count)
    metrics = {
        str(name): numbers(file, f"metrics/{name}", "f", (count,)) for name in read_json_attr(file, "metrics")
    }
    return Table(steps, numbers(file, "epoch", "f", (count,)), columns, metrics, mapping(file, "meta"))


@dataclass
class PartialTable:
    """A table while it is filled: in memory, and in a file if there is one.

    Values are written into datasets of their final size, then marked as done. When all are done the file is
    written anew, which makes its bytes independent of interruptions.

    Attributes:
        table: The values so far.
        path: The file, if there is one.
        identity: What decides whether a later run takes the same measures.
    """

    table: Table
    path: Path | None
    identity: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None, blank: Table, identity: Mapping[str, Any]) -> PartialTable:
        """Begin a table, or go on with the one in the file.

        Raises:
            LandscapeError: If the file holds another table, saying what differs.
        """
        wanted = as_read(identity)
        file = None if path is None else Path(path)
        table = blank
        if file is not None and os.path.lexists(file):
            table = _resumed(file, wanted)
        elif file is not None:
            save_table(blank, file, wanted)
        return cls(table, file, wanted)

    def put(self, row: int, name: str, value: float, standard_error: float | None, converged: bool) -> None:
        """Take in one value, and write it, that it is done, and the digest of its row.

        Raises:
            LandscapeError: If the file cannot be written, or holds something else by now.
        """
        column = self.table[name]
        column.put(row, value, standard_error, converged)
        if self.path is None:
            return
        with change(self.path, wait_for_readers=False) as under_way:
            file = under_way.file
            with damage(self.path, _DAMAGED):
                ours = not read_attr(file, "complete") and mapping(file, "identity") == self.identity
            if not ours:
                raise LandscapeError(
                    "the file was changed by someone else while it was filled",
                    where=self.path,
                    mend="give every table a file of its own",
                )
            with damage(self.path, _DAMAGED):
                for group in ("values", "standard_errors", "converged"):
                    file[f"{group}/{name}"][row] = getattr(column, group)[row]
                file[f"done/{name}"][row] = True
                if has_seal(file):
                    held = [values[row] for values in _filled(self.table.columns)]
                    file[ROWS][row] = row_digests(held, 1)[0]

    def finish(self) -> Table:
        """Close the table."""
        if self.path is not None:
            save_table(self.table, self.path, self.identity)
        return self.table


def _resumed(file: Path, identity: Mapping[str, Any]) -> Table:
    """The table in a file, if it is the one that is wanted."""
    held, own = _stored(file)
    if differing := differences(own, identity):
        raise LandscapeError(
            "the file holds other measures; they differ in " + ", ".join(differing),
            where=file,
            mend="give another name to --save, or remove the file",
        )
    return held

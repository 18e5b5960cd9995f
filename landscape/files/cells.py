"""Cells: finished parts of a long computation, by name, in a file that a later run goes on from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.executor import Executor, Task, Work, results
from landscape.files.checked import as_read, numbers
from landscape.files.result import Kind, PathLike, ResultFile, load, load_identity
from landscape.remnants import remove_remnants
from landscape.storage import MOST_VALUES, digest, parse_json, read_attr, require_seal, seal, write_attr

Arrays: TypeAlias = list[NDArray[Any]]

# Cells that took longer are written as they come.
_FLUSH_SECONDS = 1.0
# So many additions become one: a file of too many datasets takes long to look at.
_MOST_BLOCKS = 1000


@dataclass(frozen=True)
class Contents:
    """All cells of a file.

    Attributes:
        values: Name -> plain JSON value.
        states: Name -> arrays, of what is replaced as it changes.
        blocks: How many additions the file has.
    """

    values: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Arrays] = field(default_factory=dict)
    blocks: int = 1


def _read(file: h5py.File) -> Contents:
    found, room = Contents(blocks=len(file["blocks"])), MOST_VALUES
    for place in range(found.blocks):
        data = numbers(file, f"blocks/{place}", "u", (None,))
        if read_attr(file[f"blocks/{place}"], "digest") != digest(data):
            raise ValueError(f"block {place} is not what was written")
        values, room = parse_json(data.tobytes().decode(), room)
        found.values.update(values)
    for group in file["states"].values() if "states" in file else ():
        require_seal(group)
        found.states[read_attr(group, "name")] = [group[str(place)][...] for place in range(len(group))]
    return found


def _write(file: h5py.File, value: Contents) -> None:
    _add(file, 0, value.values)
    for place, (name, arrays) in enumerate(value.states.items()):
        group = file.create_group(f"states/{place}")
        write_attr(group, "name", name)
        for index, array in enumerate(arrays):
            group.create_dataset(str(index), data=array)
        seal(group)


def _add(file: h5py.File, place: int, values: Mapping[str, Any]) -> None:
    data = np.frombuffer(json.dumps(values).encode(), np.uint8)
    file.create_dataset(f"blocks/{place}", data=data).attrs["digest"] = np.uint64(digest(data))


CELLS: Kind[Contents] = Kind(
    format="landscape/cells",
    noun="the file of finished parts",
    single="result",
    other="parts of another result; it differs in",
    read=_read,
    write=_write,
    complete=lambda value: False,
    growing=lambda file: ("blocks", "states"),
)


def describe_cells(path: PathLike) -> dict[str, Any]:
    """Describe a file of finished parts, as plain values for `landscape inspect`.

    Args:
        path: The file.

    Returns:
        format, schema, of (what is computed: all that decides its numbers), cells (their names), states (names of
        what is replaced as it changes -> shapes of its arrays).

    Raises:
        LandscapeError: If it cannot be read, or is damaged.
    """
    held = load(CELLS, path)
    return {
        "format": CELLS.format,
        "schema": held.schema,
        "of": dict(held.identity),
        "cells": list(held.value.values),
        "states": {name: [list(array.shape) for array in arrays] for name, arrays in held.value.states.items()},
    }


@dataclass
class Unfinished:
    """A file for what is computed until all is: its name ends in a digest of what the result is of.

    Where it cannot be written, nothing is kept, and the computation goes on.

    Attributes:
        stem: What its name begins with, such as ``"run-audit"``.
        path: The file, once it is known.
    """

    stem: PathLike
    path: Path | None = None

    def at(self, identity: Mapping[str, Any]) -> Path:
        """Return the file for a result."""
        told = json.dumps(as_read(identity), sort_keys=True)
        self.path = Path(f"{os.fspath(self.stem)}-{hashlib.sha256(told.encode()).hexdigest()[:8]}.h5")
        return self.path

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()
            remove_remnants(self.path)


class Cells:
    """Cells by name, in memory and in a file if there is one; `with` writes those that are left at the end.

    Args:
        file: The cells in their file.
        optional: Go on without the file where it cannot be written.

    Example:
        >>> with Cells.open(None, dict) as cells:
        ...     cells.of("a", lambda: 1.5), cells.of("a", lambda: 2.5)
        (1.5, 1.5)
    """

    def __init__(self, file: ResultFile[Contents], optional: bool = False) -> None:
        self._file, self._optional = file, optional
        self._pending: dict[str, Any] = {}
        self._replaced = False

    @classmethod
    def open(
        cls,
        save: Save,
        identity: Callable[[], Mapping[str, Any]],
        former: Callable[[], Mapping[str, Any]] | None = None,
    ) -> Cells:
        """Take up the cells in a file, which is written when the first is there.

        Args:
            save: The file, or cells that are open already; None keeps them in memory only.
            identity: Gives everything that decides the numbers, as plain values, where there is a file.
            former: Gives the identity of files of before, one of which is gone on with if it is there.

        Raises:
            LandscapeError: If the file holds parts of another result, saying what differs.
        """
        if isinstance(save, Cells):
            return save
        if save is None:
            return cls(ResultFile(CELLS, Contents(), None, {}))
        wanted, optional = as_read(identity()), isinstance(save, Unfinished)
        if former is not None and _is_of(save, begun := as_read(former())):
            wanted = begun
        path = save.at(wanted) if isinstance(save, Unfinished) else Path(save)
        blank = cls(ResultFile(CELLS, Contents(), path, wanted), optional)
        if not os.path.lexists(path):
            return blank
        try:
            return cls(ResultFile.open(CELLS, path, Contents(), wanted), optional)
        except LandscapeError:
            if not optional:
                raise
        # Damaged; it is replaced when there is something to keep.
        blank._replaced = True
        return blank

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that decides the numbers; empty without a file."""
        return self._file.identity

    def __contains__(self, name: str) -> bool:
        return name in self._file.value.values

    def __getitem__(self, name: str) -> Any:
        return self._file.value.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._file.value.values[name] = self._pending[name] = value
        if self._file.path is not None and self._file.due(_FLUSH_SECONDS):
            self.flush()

    def of(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a cell, made now if it is not there: a plain JSON value."""
        if name not in self:
            self[name] = make()
        return self[name]

    def results(self, work: Work, tasks: Iterable[Task], workers: Executor | None = None) -> Generator[Any]:
        """Yield what tasks give, in their order: what is in a cell of a task's key is not computed again.

        Args:
            work: Does a task; what it gives is a plain JSON value.
            tasks: What is to be done.
            workers: Who does it; None does each here, when it is asked for.
        """
        wanted = list(tasks)
        computed = results(work, [task for task in wanted if task.key not in self], workers)
        for task in wanted:
            yield self.of(task.key, computed.__next__)

    def state(self, name: str) -> Arrays | None:
        """Return arrays that `keep_state` kept, or None."""
        return self._file.value.states.get(name)

    def due(self, seconds: float) -> bool:
        """Return whether nothing was written for so long, and there is a file to write to."""
        return self._file.path is not None and self._file.due(seconds)

    def keep_state(self, name: str, arrays: Arrays) -> None:
        """Keep arrays, in place of those of before."""
        self._file.value.states[name] = arrays
        self._replaced = True
        self.flush()

    def drop_state(self, name: str) -> None:
        """Forget arrays that are of no more use."""
        if self._file.value.states.pop(name, None) is not None:
            self._replaced = True

    def flush(self) -> None:
        """Write what is not in the file yet.

        Raises:
            LandscapeError: If it cannot be written, or holds something else by now.
        """
        if self._file.path is None or not (self._pending or self._replaced):
            return
        try:
            self._flush(self._file.path)
        except LandscapeError:
            if not self._optional:
                raise
            self._file.path = None

    def _flush(self, path: Path) -> None:
        held = self._file.value
        if self._replaced or held.blocks >= _MOST_BLOCKS or not path.exists():
            self._file.write(Contents(held.values, held.states))
        else:
            with self._file.changing(path) as file:
                _add(file, held.blocks, self._pending)
            self._file.value = Contents(held.values, held.states, held.blocks + 1)
        self._pending, self._replaced = {}, False

    def __enter__(self) -> Cells:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or not self._optional:
            self.flush()


def _is_of(save: PathLike | Unfinished, identity: Mapping[str, Any]) -> bool:
    """Return whether a file is there that holds parts of a result."""
    if isinstance(save, Unfinished):
        return os.path.lexists(save.at(identity))
    return os.path.lexists(save) and load_identity(CELLS, save) == identity


Save: TypeAlias = PathLike | Unfinished | Cells | None
"""Where finished parts are kept: a file, a file until all is done, cells that are open already, or nowhere."""

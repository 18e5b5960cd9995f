"""The result file: rows that are computed one after the other, in HDF5, known by what they are of."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.files.checked import as_read, differences, digest_of, mapping, plain
from landscape.storage import (
    ROWS,
    change,
    create,
    damage,
    has_seal,
    integer_attr,
    open_read,
    read_attr,
    require_rows,
    require_seal,
    row_digests,
    seal,
    steadily,
    versions,
    write_attrs,
    write_row_digests,
)

# The newest that can be read, and the one that is written: 2 carries digests.
SCHEMA = 2

PathLike: TypeAlias = str | os.PathLike[str]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Rows:
    """Arrays that are filled row by row, in the order in which their rows are digested.

    Attributes:
        arrays: Name of a dataset -> values.
        shape: That of the rows: the leading dimensions of every array.
    """

    arrays: Mapping[str, NDArray[Any]]
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of rows."""
        return math.prod(self.shape)

    def place(self, row: int) -> tuple[int, ...]:
        """Indices of a row."""
        return tuple(int(index) for index in np.unravel_index(row, self.shape))


@dataclass(frozen=True)
class Kind(Generic[Value]):
    """A kind of result: which arrays and attributes its files have.

    Attributes:
        format: The attribute ``format`` of its files.
        noun: A file of this kind, for messages.
        single: One result, for messages.
        other: Begins the message on a file that holds another result.
        read: Reads the result from an open file; raises what is in `storage.FAULTS` where it is damaged.
        write: Writes all datasets into a new file.
        complete: Tells whether nothing is missing.
        attributes: Those of this kind, as plain values in the order in which they are written.
        meta: More to say about the result, as plain values.
        rows: The arrays that are filled row by row.
        growing: The members of a file that have digests of their own, some of them named in it.
        digested: The datasets that schema 1 digested.
        identity: Reads what makes the result this one.
        closed: Tells whether an open file was finished; None reads that from its attribute ``complete``.
        differing: What tells the result in a file from the one that is wanted, beyond their identities.
        remedy: What to do about a file that holds another result.
    """

    format: str
    noun: str
    single: str
    other: str
    read: Callable[[h5py.File], Value]
    write: Callable[[h5py.File, Value], None]
    complete: Callable[[Value], bool]
    attributes: Callable[[Value], Mapping[str, Any]] = lambda value: {}
    meta: Callable[[Value], Mapping[str, Any]] = lambda value: {}
    rows: Callable[[Value], Rows] = lambda value: Rows({}, ())
    growing: Callable[[h5py.File], Sequence[str]] = lambda file: ()
    digested: Callable[[h5py.File], Sequence[str]] = lambda file: ()
    identity: Callable[[h5py.File], dict[str, Any]] = lambda file: mapping(file, "identity")
    closed: Callable[[Value], bool] | None = None
    differing: Callable[[Held[Value], Mapping[str, Any], Value], list[str]] = lambda held, identity, blank: (
        differences(held.identity, identity)
    )
    remedy: str = "give another name, or remove the file"


@dataclass(frozen=True)
class Held(Generic[Value]):
    """All that a result file says.

    Attributes:
        value: The result, finished or not.
        identity: What makes it this one.
        complete: Whether it was closed.
        schema: The one that the file has.
    """

    value: Value
    identity: Mapping[str, Any]
    complete: bool
    schema: int


def load(kind: Kind[Value], path: PathLike) -> Held[Value]:
    """Read a result file.

    Raises:
        LandscapeError: If the file is missing, damaged, of another kind, or of a newer version.
    """
    return steadily(path, lambda: _held(kind, path))


def load_identity(kind: Kind[Value], path: PathLike) -> dict[str, Any]:
    """Read what makes the result in a file this one.

    Raises:
        LandscapeError: If it is a file of another kind, or is damaged.
    """
    with open_read(path, format=kind.format, schema=SCHEMA) as file, damage(path, f"{kind.noun} is damaged"):
        return kind.identity(file)


def save(kind: Kind[Value], value: Value, path: PathLike, identity: Mapping[str, Any] | None = None) -> None:
    """Write a result at once: the same result gives the same bytes.

    Args:
        kind: Of the result.
        value: The result.
        path: Where; replaced only when all is written.
        identity: What decides whether a later run computes the same.
    """
    with create(path) as file:
        said = {
            "format": kind.format,
            "schema": SCHEMA,
            "complete": kind.complete(value),
            **{name: json.dumps(own) for name, own in kind.attributes(value).items()},
            "identity": json.dumps(dict(identity or {}), sort_keys=True),
            "meta": json.dumps(plain(dict(kind.meta(value))), sort_keys=True),
            "versions": json.dumps(versions(), sort_keys=True),
        }
        write_attrs(file, said)
        kind.write(file, value)
        rows = kind.rows(value)
        if rows.arrays:
            write_row_digests(file, list(rows.arrays.values()), rows.count)
        seal(file, (*kind.growing(file), "digests"))


def _held(kind: Kind[Value], path: PathLike) -> Held[Value]:
    with open_read(path, format=kind.format, schema=SCHEMA) as file:
        with damage(path, f"{kind.noun} is damaged"):
            require_seal(file, (*kind.growing(file), "digests"))
            value = kind.read(file)
            rows = kind.rows(value)
            if rows.arrays:
                require_rows(file, [file[name][...] for name in rows.arrays], rows.count)
            complete = _closed(file, kind, value)
            # Of schema 1, and complete.
            written = read_attr(file, "digest")
            intact = written is None or written == digest_of(file, kind.digested(file))
            identity = kind.identity(file)
            schema = integer_attr(file, "schema", default=1)
        if not intact:
            raise LandscapeError(
                f"{kind.noun} is damaged: its values are not those that were written",
                where=path,
                mend="restore it from a copy, or compute it again",
            )
        return Held(value, identity, complete, schema)


def _closed(file: h5py.File, kind: Kind[Value], value: Value) -> bool:
    if kind.closed is not None:
        return kind.closed(value)
    complete = read_attr(file, "complete")
    if not isinstance(complete, np.bool_) or (complete and not kind.complete(value)):
        raise ValueError("attribute 'complete' is not what 'done' says")
    return bool(complete)


@dataclass
class ResultFile(Generic[Value]):
    """A result while it is computed: in memory, and in a file if there is one.

    Rows are written in place into datasets of their final size, so that the structure of the file does not change
    while it grows. A finished result is written again from its values, which makes its bytes independent of
    interruptions.

    Attributes:
        kind: Of the result.
        value: The result so far.
        path: The file, if there is one.
        identity: What decides whether a later run computes the same, as JSON gives it back.
        complete: Whether the file was finished already.
    """

    kind: Kind[Value]
    value: Value
    path: Path | None
    identity: Mapping[str, Any]
    complete: bool = False
    _written_at: float = field(default_factory=time.monotonic)

    @classmethod
    def open(
        cls, kind: Kind[Value], path: PathLike | None, blank: Value, identity: Mapping[str, Any]
    ) -> ResultFile[Value]:
        """Begin a result, or go on with the one in the file.

        Args:
            kind: Of the result.
            path: The file; None keeps it in memory only.
            blank: The result with nothing computed.
            identity: Everything that decides the numbers, as plain values.

        Raises:
            LandscapeError: If the file holds another result, saying what differs.
        """
        wanted = as_read(identity)
        if path is None or not os.path.lexists(path):
            if path is not None:
                save(kind, blank, path, wanted)
            return cls(kind, blank, None if path is None else Path(path), wanted)
        held = load(kind, path)
        if differing := kind.differing(held, wanted, blank):
            text = f"the file holds {kind.other} {', '.join(differing)}"
            raise LandscapeError(text, where=path, mend=kind.remedy)
        return cls(kind, held.value, Path(path), wanted, held.complete)

    def due(self, seconds: float) -> bool:
        """Return whether nothing was written for so long."""
        return time.monotonic() - self._written_at > seconds

    def flush(self, row: int) -> None:
        """Write one row and its digest.

        Raises:
            LandscapeError: If the file cannot be written, or holds something else by now.
        """
        if self.path is None:
            return
        rows = self.kind.rows(self.value)
        place = rows.place(row)
        with self.changing(self.path) as file:
            for name, values in rows.arrays.items():
                file[name][place] = values[place]
            if has_seal(file):
                file[ROWS][row] = row_digests([values[place] for values in rows.arrays.values()], 1)[0]

    @contextmanager
    def changing(self, path: Path) -> Iterator[h5py.File]:
        """Open the file for a change wholly or not at all; it must still be the one that was begun.

        Raises:
            LandscapeError: If the file cannot be written, or holds something else by now.
        """
        self._written_at = time.monotonic()
        with change(path, wait_for_readers=False) as under_way:
            file = under_way.file
            with damage(path, f"{self.kind.noun} is damaged"):
                ours = not read_attr(file, "complete") and self.kind.identity(file) == self.identity
            if not ours:
                raise LandscapeError(
                    "the file was changed by someone else while it was computed",
                    where=path,
                    mend=f"give every {self.kind.single} a file of its own",
                )
            with damage(path, f"{self.kind.noun} is damaged"):
                yield file

    def write(self, value: Value) -> Value:
        """Write the whole result, which is finished if nothing is missing."""
        self.value, self._written_at = value, time.monotonic()
        if self.path is not None:
            save(self.kind, value, self.path, self.identity)
        return value

"""The surface file: one slice per HDF5 file, readable without torch, resumable, ending in the same bytes."""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.checked import as_read, differences, digest_of, mapping, numbers, plain
from landscape.errors import LandscapeError
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
from landscape.surface.axes import REPEAT, axis_names, named_axes
from landscape.surface.companions import (
    companions,
    gridded,
    read_gradient,
    read_path,
    read_paths,
    write_companions,
)
from landscape.surface.values import Array, Grid, Path, Surface

FORMAT = "landscape/surface"
# The newest that can be read, and the one that is written: 2 carries a digest of each row.
SCHEMA = 2

# Points slower than this are written as they come, so that a kill loses little even in a long row.
_FLUSH_SECONDS = 1.0


class HasMean(Protocol):
    """A mean with its standard error."""

    @property
    def mean(self) -> float: ...  # noqa: D102
    @property
    def standard_error(self) -> float: ...  # noqa: D102


Directions = Mapping[str, Mapping[str, NDArray[Any]]]


def read_surface(path: str | os.PathLike[str]) -> Surface:
    """Read a slice.

    Args:
        path: A file that `evaluate(..., save=path)` wrote, finished or not.

    Returns:
        The slice; where `done` is false the values are NaN.

    Raises:
        LandscapeError: If the file is missing, damaged, not a surface, or of a newer version. It carries digests
            of its values: one that was edited by hand is refused too.
    """
    return steadily(path, lambda: _stored(path)).surface


def read_identity(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """What makes the slice in a file the same slice, as plain values.

    Raises:
        LandscapeError: If it is no surface file, or is damaged.
    """
    with open_read(path, format=FORMAT, schema=SCHEMA) as file, damage(path, "the surface file is damaged"):
        return mapping(file, "identity")


def save_surface(
    surface: Surface,
    path: str | os.PathLike[str],
    *,
    identity: Mapping[str, Any] | None = None,
    directions: Directions | None = None,
) -> None:
    """Write a slice at once: the same slice gives the same bytes.

    Args:
        surface: The slice.
        path: Where; replaced only when all is written.
        identity: What decides whether a later run is the same slice.
        directions: Axis -> name -> array, to go with it.
    """
    with create(path) as file:
        _fill(file, surface, identity or {}, directions or {})


@dataclass(frozen=True)
class _Stored:
    """All that a surface file says."""

    surface: Surface
    complete: bool
    identity: Mapping[str, Any]


def _stored(path: str | os.PathLike[str]) -> _Stored:
    with open_read(path, format=FORMAT, schema=SCHEMA) as file:
        with damage(path, "the surface file is damaged"):
            stored = _read(file)
            # Of schema 1, and complete.
            written = read_attr(file, "digest")
            intact = written is None or written == _digest(file)
        if not intact:
            raise LandscapeError(
                "the surface file is damaged: its values are not those that were written",
                where=path,
                mend="restore it from a copy, or compute it again",
            )
        return stored


def _read(file: h5py.File) -> _Stored:
    names = read_json_attr(file, "fields")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError("attribute 'fields' is not a list of names")
    x, *others = (numbers(file, name, "f", (None,)) for name in _axes_of(file))
    axes: dict[str, Any] = {
        "x": x,
        "y": others[0] if others else None,
        "more": tuple(others[1:]),
        "repeat": numbers(file, REPEAT, "i", (None,)) if REPEAT in file else None,
    }
    require_seal(file, _growing(names))
    shape = tuple(len(values) for values in named_axes(**axes).values())
    done = numbers(file, "done", "b", shape)
    complete = read_attr(file, "complete")
    if not isinstance(complete, np.bool_) or (complete and not done.all()):
        raise ValueError("attribute 'complete' is not what 'done' says")

    for name, values in named_axes(**axes).items():
        if not len(values) or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
            raise ValueError(f"dataset '{name}' does not increase")

    held = {name: numbers(file, name, "f", shape) for name in (*names, *map(_error_of, names))}
    require_rows(file, [*held.values(), done], math.prod(shape[:-1]))
    # A writer that was killed may have left values that it had not yet marked as done.
    held = {name: np.where(done, values, np.nan) for name, values in held.items()}
    surface = Surface(
        **axes,
        fields={name: held[name] for name in names},
        standard_errors={name: held[_error_of(name)] for name in names},
        done=done,
        meta=mapping(file, "meta"),
        path=read_path(file, "path") if "path" in file else None,
        paths=read_paths(file),
        gradient=read_gradient(file, shape),
        computed=numbers(file, "computed", "b", shape) if "computed" in file else None,
    )
    return _Stored(surface, bool(complete), mapping(file, "identity"))


def _error_of(name: str) -> str:
    return f"standard_error/{name}"


def _growing(names: Sequence[str]) -> list[str]:
    """What is not settled while the slice is computed, and the directions, which have a seal of their own."""
    return [*names, "standard_error", "done", "digests", "directions"]


def _axes_of(file: h5py.File) -> list[str]:
    """The names of the axes in a file, the first always."""
    names = axis_names(len(file))
    return ["x", *itertools.takewhile(lambda name: name in file, names[1:])]


def _digest(file: h5py.File) -> str:
    """The SHA-256 of all values: names, types, shapes and bytes."""
    names = read_json_attr(file, "fields")
    held = [
        *_axes_of(file),
        *([REPEAT] if REPEAT in file else []),
        *names,
        *(f"standard_error/{name}" for name in names),
        "done",
    ]
    held += companions(file)
    return digest_of(file, held)


def _fill(file: h5py.File, surface: Surface, identity: Mapping[str, Any], directions: Directions) -> None:
    done = np.ones(surface.values.shape, bool) if surface.done is None else surface.done
    said = {
        "format": FORMAT,
        "schema": SCHEMA,
        "complete": bool(done.all()),
        "fields": json.dumps(list(surface.fields)),
        "identity": json.dumps(dict(identity), sort_keys=True),
        "meta": json.dumps(plain(dict(surface.meta)), sort_keys=True),
        "versions": json.dumps(versions(), sort_keys=True),
    }
    write_attrs(file, said)
    axes, names = surface.axes, list(surface.fields)
    blank = np.full(done.shape, np.nan)
    errors = {name: surface.standard_errors.get(name, blank) for name in names}
    for name, values in axes.items():
        file.create_dataset(name, data=values, dtype="i8" if name == REPEAT else "f8").make_scale(name)
    for name, values in surface.fields.items():
        gridded(file, name, values, list(axes))
        gridded(file, _error_of(name), errors[name], list(axes))
    gridded(file, "done", done, list(axes))
    if surface.computed is not None:
        gridded(file, "computed", surface.computed, list(axes))
    for axis, tensors in directions.items():
        for name, values in tensors.items():
            file.create_dataset(f"directions/{axis}/{name}", data=values, dtype=values.dtype)
    write_companions(file, surface)
    if "directions" in file:
        seal(file["directions"])
    write_row_digests(file, [*surface.fields.values(), *errors.values(), done], math.prod(done.shape[:-1]))
    seal(file, _growing(names))


@dataclass
class PartialSurface:
    """A slice while it is computed: in memory, and in a file if there is one.

    Values are written in place into datasets of their final size, then marked as done, so the structure of
    the file never changes while it grows. When all is done the file is written anew from its values, which
    makes its bytes independent of interruptions.

    Attributes:
        surface: The values so far.
        done: Which points are computed; shared with `surface`.
        finished: The whole slice, where the file held it already.
    """

    surface: Surface
    done: NDArray[np.bool_]
    finished: Surface | None
    path: FilePath | None
    identity: Mapping[str, Any]
    directions: Directions
    _flushed_at: float = field(default_factory=time.monotonic)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None,
        grid: Grid,
        names: Sequence[str],
        identity: Mapping[str, Any],
        meta: Mapping[str, Any],
        directions: Directions,
    ) -> PartialSurface:
        """Begin a slice, or go on with the one in the file.

        Raises:
            LandscapeError: If the file holds another slice, saying what differs.
        """
        blank = {name: np.full(grid.shape, np.nan) for name in names}
        errors = {name: np.full(grid.shape, np.nan) for name in names}
        begun = np.zeros(grid.shape, bool)
        surface = Surface(grid.x, grid.y, blank, errors, begun, dict(meta), more=grid.more, repeat=grid.repeat)
        file = None if path is None else FilePath(path)
        complete = False
        if file is not None and os.path.lexists(file):
            surface, complete = _resumed(file, surface, identity)
        elif file is not None:
            save_surface(surface, file, identity=identity, directions=directions)
        computed = surface.done if surface.done is not None else np.zeros(grid.shape, bool)
        finished = surface if complete else None
        return cls(surface, computed, finished, file, identity, directions)

    def put(self, row: int, column: int, estimates: Mapping[str, HasMean]) -> None:
        """Take in one point; rows are counted over all axes but the last."""
        at = (*self._place(row), column)
        for name, estimate in estimates.items():
            self.surface.fields[name][at] = estimate.mean
            self.surface.standard_errors[name][at] = estimate.standard_error
        self.done[at] = True
        if time.monotonic() - self._flushed_at > _FLUSH_SECONDS:
            self.flush(row)

    def flush(self, row: int) -> None:
        """Write one row: its values, that they are done, and its digest.

        Raises:
            LandscapeError: If the file cannot be written, or holds something else by now.
        """
        self._flushed_at = time.monotonic()
        if self.path is None:
            return
        part = self._place(row)
        with change(self.path, wait_for_readers=False) as under_way:
            file = under_way.file
            with damage(self.path, "the surface file is damaged"):
                ours = not read_attr(file, "complete") and mapping(file, "identity") == as_read(self.identity)
            if not ours:
                raise LandscapeError(
                    "the file was changed by someone else while it was computed",
                    where=self.path,
                    mend="give every slice a file of its own",
                )
            with damage(self.path, "the surface file is damaged"):
                for name, values in self.surface.fields.items():
                    file[name][part] = values[part]
                    file[_error_of(name)][part] = self.surface.standard_errors[name][part]
                file["done"][part] = self.done[part]
                if has_seal(file):
                    held = [*self.surface.fields.values(), *self.surface.standard_errors.values(), self.done]
                    file[ROWS][row] = row_digests([values[part] for values in held], 1)[0]

    def _place(self, row: int) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(row, self.done.shape[:-1]))

    def fill(self, fields: Mapping[str, Array], computed: NDArray[np.bool_], report: Mapping[str, Any]) -> None:
        """Take in what a preview interpolates, which is marked and has no standard error."""
        for name, values in fields.items():
            self.surface.fields[name][~computed] = values[~computed]
        self.done[...] = True
        meta = {**self.surface.meta, "preview": dict(report)}
        self.surface = replace(self.surface, meta=meta, computed=computed)

    def finish(
        self,
        path: Path | None,
        paths: Mapping[str, Path] | None = None,
        gradient: Mapping[str, Array] | None = None,
    ) -> Surface:
        """Close the slice, with the trajectories and gradients that go with it if there are some."""
        whole = replace(self.surface, path=path, paths=paths or {}, gradient=gradient or {})
        if self.path is not None:
            save_surface(whole, self.path, identity=self.identity, directions=self.directions)
        return whole


def _resumed(file: FilePath, blank: Surface, identity: Mapping[str, Any]) -> tuple[Surface, bool]:
    """The slice in a file and whether it is complete, if it is the one that is wanted."""
    stored = _stored(file)
    held, held_identity, identity = stored.surface, stored.identity, as_read(identity)
    differing = differences(held_identity, identity)
    differing += [
        name
        for name in dict.fromkeys((*reversed(held.axes), *reversed(blank.axes)))
        if not _same(held.axes.get(name), blank.axes.get(name))
    ]
    if list(held.fields) != list(blank.fields):
        differing.append(f"fields ({', '.join(held.fields)} in the file, {', '.join(blank.fields)} now)")
    if differing:
        raise LandscapeError(
            "the file holds another slice; it differs in " + ", ".join(differing),
            where=file,
            mend="give another name to --save-surface, or remove the file",
        )
    return held, stored.complete


def _same(a: Array | None, b: Array | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))

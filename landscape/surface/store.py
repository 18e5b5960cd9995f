"""The surface file: one slice per HDF5 file, readable without torch, resumable, ending in the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.files.checked import differences, mapping, numbers
from landscape.files.result import Held, Kind, PathLike, ResultFile, Rows, load, load_identity, save
from landscape.storage import read_json_attr, seal
from landscape.surface.companions import (
    companions,
    gridded,
    read_gradient,
    read_path,
    read_paths,
    write_companions,
)
from landscape.values.grid import REPEAT, axis_names, named_axes
from landscape.values.surface import Array, Grid, Path, Surface

# Points slower than this are written as they come, so that a kill loses little even in a long row.
_FLUSH_SECONDS = 1.0

Directions = Mapping[str, Mapping[str, NDArray[Any]]]


class HasMean(Protocol):
    """A mean with its standard error."""

    @property
    def mean(self) -> float: ...  # noqa: D102
    @property
    def standard_error(self) -> float: ...  # noqa: D102


def _error_of(name: str) -> str:
    return f"standard_error/{name}"


def _fields_of(file: h5py.File) -> list[str]:
    names = read_json_attr(file, "fields")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError("attribute 'fields' is not a list of names")
    return names


def _axes_of(file: h5py.File) -> list[str]:
    """The names of the axes in a file, the first always."""
    names = axis_names(len(file))
    return ["x", *itertools.takewhile(lambda name: name in file, names[1:])]


def _same(a: Array | None, b: Array | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


def _read(file: h5py.File) -> Surface:
    names = _fields_of(file)
    x, *others = (numbers(file, name, "f", (None,)) for name in _axes_of(file))
    axes: dict[str, Any] = {
        "x": x,
        "y": others[0] if others else None,
        "more": tuple(others[1:]),
        "repeat": numbers(file, REPEAT, "i", (None,)) if REPEAT in file else None,
    }
    named = named_axes(**axes)
    shape = tuple(map(len, named.values()))
    done = numbers(file, "done", "b", shape)
    for name, values in named.items():
        if not len(values) or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
            raise ValueError(f"dataset '{name}' does not increase")
    held = {name: numbers(file, name, "f", shape) for name in (*names, *map(_error_of, names))}
    # A writer that was killed may have left values that it had not yet marked as done.
    held = {name: np.where(done, values, np.nan) for name, values in held.items()}
    return Surface(
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


def _write(directions: Directions, file: h5py.File, value: Surface) -> None:
    axes, held = value.axes, _rows(value).arrays
    for name, values in axes.items():
        file.create_dataset(name, data=values, dtype="i8" if name == REPEAT else "f8").make_scale(name)
    for name in value.fields:
        gridded(file, name, held[name], list(axes))
        gridded(file, _error_of(name), held[_error_of(name)], list(axes))
    gridded(file, "done", held["done"], list(axes))
    if value.computed is not None:
        gridded(file, "computed", value.computed, list(axes))
    for axis, tensors in directions.items():
        for name, values in tensors.items():
            file.create_dataset(f"directions/{axis}/{name}", data=values, dtype=values.dtype)
    write_companions(file, value)
    if "directions" in file:
        seal(file["directions"])


def _rows(value: Surface) -> Rows:
    shape, errors = value.values.shape, {}
    for name in value.fields:
        own = value.standard_errors.get(name)
        errors[_error_of(name)] = np.full(shape, np.nan) if own is None else own
    done = np.ones(shape, bool) if value.done is None else value.done
    return Rows({**value.fields, **errors, "done": done}, shape[:-1])


def _growing(file: h5py.File) -> Sequence[str]:
    # Directions have a seal of their own.
    return (*_fields_of(file), "standard_error", "done", "directions")


def _digested(file: h5py.File) -> Sequence[str]:
    names = _fields_of(file)
    repeat = [REPEAT] if REPEAT in file else []
    return [*_axes_of(file), *repeat, *names, *map(_error_of, names), "done", *companions(file)]


def _differing(held: Held[Surface], identity: Mapping[str, Any], blank: Surface) -> list[str]:
    own, wanted = held.value, blank
    names = dict.fromkeys((*reversed(own.axes), *reversed(wanted.axes)))
    found = differences(held.identity, identity)
    found += [name for name in names if not _same(own.axes.get(name), wanted.axes.get(name))]
    if list(own.fields) != list(wanted.fields):
        found.append(f"fields ({', '.join(own.fields)} in the file, {', '.join(wanted.fields)} now)")
    return found


SURFACE: Kind[Surface] = Kind(
    format="landscape/surface",
    noun="the surface file",
    single="slice",
    other="another slice; it differs in",
    remedy="give another name to --save, or remove the file",
    read=_read,
    write=partial(_write, {}),
    complete=lambda surface: surface.complete,
    attributes=lambda surface: {"fields": list(surface.fields)},
    meta=lambda surface: surface.meta,
    rows=_rows,
    growing=_growing,
    digested=_digested,
    differing=_differing,
)


def with_directions(directions: Directions) -> Kind[Surface]:
    """Return the kind of surface files that hold these directions."""
    return replace(SURFACE, write=partial(_write, directions))


def read_surface(path: PathLike) -> Surface:
    """Read a slice.

    Args:
        path: A file that `evaluate(..., save=path)` wrote, finished or not.

    Returns:
        The slice; where `done` is false the values are NaN.

    Raises:
        LandscapeError: If the file is missing, damaged, not a surface, or of a newer version. It carries digests
            of its values: one that was edited by hand is refused too.
    """
    return load(SURFACE, path).value


def read_identity(path: PathLike) -> Mapping[str, Any]:
    """Read what makes the slice in a file the same slice, as plain values.

    Raises:
        LandscapeError: If it is no surface file, or is damaged.
    """
    return load_identity(SURFACE, path)


def save_surface(
    surface: Surface,
    path: PathLike,
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
    save(with_directions(directions or {}), surface, path, identity)


class PartialSurface:
    """A slice while it is computed.

    Args:
        file: The slice in its file, if it has one.

    Attributes:
        done: The points that are computed; shared with `surface`.
    """

    def __init__(self, file: ResultFile[Surface]) -> None:
        self._file = file
        done = file.value.done
        self.done: NDArray[np.bool_] = np.zeros(file.value.values.shape, bool) if done is None else done

    @classmethod
    def open(
        cls,
        path: PathLike | None,
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
        blank, errors = ({name: np.full(grid.shape, np.nan) for name in names} for _ in range(2))
        begun = np.zeros(grid.shape, bool)
        surface = Surface(grid.x, grid.y, blank, errors, begun, dict(meta), more=grid.more, repeat=grid.repeat)
        return cls(ResultFile.open(with_directions(directions), path, surface, identity))

    @classmethod
    def open_together(cls, path: PathLike | None, *about: Any) -> PartialSurface:
        """Begin a slice that several processes compute together: the first has the file, and tells what it holds.

        Raises:
            LandscapeError: In all of them, if the file holds another slice.
        """
        from torch import distributed

        told: list[Any] = [None]
        first = distributed.get_rank() == 0
        try:
            own = cls.open(path if first else None, *about)
            told = [(own.surface, own._file.complete)]
        except LandscapeError as fault:
            told = [fault]
        distributed.broadcast_object_list(told)
        if isinstance(told[0], LandscapeError):
            raise told[0]
        if not first:
            own = cls(replace(own._file, value=told[0][0], complete=told[0][1]))
        return own

    @property
    def surface(self) -> Surface:
        """The values so far."""
        return self._file.value

    @property
    def finished(self) -> Surface | None:
        """The whole slice, where the file held it already."""
        return self.surface if self._file.complete else None

    def put(self, row: int, column: int, estimates: Mapping[str, HasMean]) -> None:
        """Take in one point; rows are counted over all axes but the last."""
        at = (*self._file.kind.rows(self.surface).place(row), column)
        for name, estimate in estimates.items():
            self.surface.fields[name][at] = estimate.mean
            self.surface.standard_errors[name][at] = estimate.standard_error
        self.done[at] = True
        if self._file.due(_FLUSH_SECONDS):
            self.flush(row)

    def flush(self, row: int) -> None:
        """Write one row."""
        self._file.flush(row)

    def fill(self, fields: Mapping[str, Array], computed: NDArray[np.bool_], report: Mapping[str, Any]) -> None:
        """Take in what a preview interpolates, which is marked and has no standard error."""
        for name, values in fields.items():
            self.surface.fields[name][~computed] = values[~computed]
        self.done[...] = True
        meta = {**self.surface.meta, "preview": dict(report)}
        self._file.value = replace(self.surface, meta=meta, computed=computed)

    def finish(
        self,
        path: Path | None,
        paths: Mapping[str, Path] | None = None,
        gradient: Mapping[str, Array] | None = None,
    ) -> Surface:
        """Close the slice, with the trajectories and gradients that go with it if there are some."""
        return self._file.write(replace(self.surface, path=path, paths=paths or {}, gradient=gradient or {}))

"""The values of a slice on its grid: NumPy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from landscape.errors import LandscapeError
from landscape.values.dataset import dataset_of
from landscape.values.html import small_lines, small_map
from landscape.values.result import Result, Tabular

if TYPE_CHECKING:
    import xarray as xr
from landscape.values.grid import REPEAT, Array, Grid, axis, axis_names, grid, named_axes

__all__ = ["Array", "Grid", "Path", "Surface", "axis", "grid"]

# Of the extent of an axis: more than the rounding of a coordinate, less than a step of the finest even grid.
_SAME_COORDINATE = 1e-9


@dataclass(frozen=True)
class Path(Tabular):
    """A trajectory seen in a plane.

    Attributes:
        step: Shape (T,), optimizer updates.
        x: Shape (T,), coordinate along the first direction.
        y: Shape (T,), coordinate along the second direction.
        off_plane: Shape (T,), Euclidean distance of the snapshot from the plane.
        loss: Shape (T,), the snapshot's own loss; where the slice recalibrates statistics, with its own ones
            recalibrated.
        plane_loss: Shape (T,), the loss at its projection into the plane.
        motion_held: The share of its motion that lies along the plane; NaN where only the slice says it.
    """

    step: NDArray[np.int64]
    x: Array
    y: Array
    off_plane: Array
    loss: Array
    plane_loss: Array
    motion_held: float = math.nan

    def _table(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in ("step", "x", "y", "off_plane", "loss", "plane_loss")}


@dataclass(frozen=True)
class Surface(Tabular):
    """A slice: values on a grid over a plane (2-D), a line (1-D) or more directions, of one plane or several.

    Iterating gives the names of its fields, ``surface["train_loss"]`` is one, ``np.asarray(surface)`` the first.

    Attributes:
        x: Shape (nx,), coordinates along the first direction, strictly increasing.
        y: Shape (ny,), coordinates along the second; None for a curve.
        fields: ``"<split>_<metric>"`` -> float64 array, (ny, nx) or (nx,): rows are y; with further axes
            (..., nz, ny, nx), with repeats (K, ..., ny, nx). NaN is "undefined" where `done` is true, and
            "not computed" where it is false. Means per example; losses in nats where they are
            cross-entropies, errors as a share of 1.
        standard_errors: The same keys and shapes; empty or NaN where there is none.
        done: Which points have their final values.
        computed: Which of these are computed; the others are interpolated (see `preview`). None means all.
        paths: Name of a run -> its trajectory, where several go with the slice; `path` is None then.
        gradient: Of a plane, arrays of the shape of the fields, NaN where no gradient was taken: ``slope_x`` and
            ``slope_y``, the derivatives of the drawn loss by the coordinates; ``step_x`` and ``step_y``, the
            coordinates of the negative gradient projected into the plane; ``norm``, the length of the gradient
            in weight space; ``share``, how much of that lies in the plane. Empty where none were taken.
        meta: What this is: problem, step, plane, normalisation, seed, units. Plain JSON values.
        path: A trajectory in the same plane, if one goes with it.
        more: Shapes (nz,), ..., coordinates along further directions.
        repeat: Shape (K,), int64, the seeds of the planes that the slice is repeated over; None for one plane.
    """

    x: Array
    y: Array | None
    fields: Mapping[str, Array]
    standard_errors: Mapping[str, Array] = field(default_factory=dict)
    done: NDArray[np.bool_] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    more: tuple[Array, ...] = ()
    repeat: NDArray[np.int64] | None = None
    computed: NDArray[np.bool_] | None = None
    paths: Mapping[str, Path] = field(default_factory=dict)
    gradient: Mapping[str, Array] = field(default_factory=dict)

    @property
    def axes(self) -> dict[str, NDArray[Any]]:
        """Name -> coordinates in the order in which arrays have them: repeat, ..., z, y, x."""
        return named_axes(self.x, self.y, self.more, self.repeat)

    @property
    def values(self) -> Array:
        """The first metric: (ny, nx), or (nx,) for a curve; see `fields`."""
        return next(iter(self.fields.values()))

    def __getitem__(self, name: str) -> Array:
        if name not in self.fields:
            raise LandscapeError(
                f"the surface has no field '{name}'", mend="it has " + ", ".join(sorted(self.fields))
            )
        return self.fields[name]

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    @property
    def everywhere(self) -> dict[str, NDArray[Any]]:
        """All that has a value at every point, under its name in the surface file; arrays of one shape."""
        done = np.ones(self.values.shape, bool) if self.done is None else self.done
        found: dict[str, NDArray[Any]] = dict(self.fields)
        found |= {f"standard_error/{name}": values for name, values in self.standard_errors.items()}
        found["done"] = done
        found |= {} if self.computed is None else {"computed": self.computed}
        return found | {f"gradient/{name}": values for name, values in self.gradient.items()}

    def to_xarray(self) -> xr.Dataset:
        """The slice as an xarray dataset.

        Returns:
            Variables over the axes, named as in the surface file with ``_`` for ``/``: fields,
            ``standard_error_train_loss``, ``done``, ...; where a trajectory goes with the slice also ``path_x``,
            ... over ``step``. Attributes are `meta`, what is nested as JSON text.

        Raises:
            LandscapeError: If xarray is not installed.

        Example:
            >>> surface.to_xarray()["train_loss"].sel(y=0, method="nearest").plot()  # doctest: +SKIP
        """
        return dataset_of(self)

    def _table(self) -> Mapping[str, Any]:
        places = np.meshgrid(*self.axes.values(), indexing="ij")
        along = {name: place.ravel() for name, place in zip(self.axes, places, strict=True)}
        return along | {name: values.ravel() for name, values in self.everywhere.items()}

    def _picture(self) -> str:
        name = next(iter(self.fields))
        if self.y is None:
            return small_lines(self.x, self.values, name)
        return small_map(self.values, name) if self.values.ndim == 2 else ""

    def _told(self) -> str:
        return Result._told(self)

    @property
    def complete(self) -> bool:
        """Return whether every point has its final value."""
        return self.done is None or bool(self.done.all())

    def at(self, **coordinates: float) -> Surface:
        """The slice where some of its axes have a given coordinate: of a volume a plane, of repeats one.

        Args:
            coordinates: Name of an axis -> one of its coordinates, within rounding; for ``repeat`` a seed.

        Returns:
            A slice over the axes that are left, named x, y, z, ... in their order. ``meta["at"]`` says where
            it is; a path and marks are left out where x or y is given.

        Raises:
            LandscapeError: If there is no such axis or coordinate, or nothing would be left.

        Example:
            >>> volume.at(z=0.5).values.shape  # doctest: +SKIP
            (51, 51)
        """
        axes = self.axes
        if unknown := [name for name in coordinates if name not in axes]:
            raise LandscapeError(f"the surface has no axis '{unknown[0]}'", mend="it has " + ", ".join(axes))
        left = [name for name in reversed(axes) if name not in coordinates and name != REPEAT]
        if not left:
            raise LandscapeError("a slice needs an axis", where="at", mend="leave one of x, y, ... out")
        index = tuple(_place(axes[n], n, coordinates[n]) if n in coordinates else slice(None) for n in axes)
        in_plane = "x" in coordinates or "y" in coordinates
        return Surface(
            x=axes[left[0]],
            y=axes[left[1]] if len(left) > 1 else None,
            fields={name: values[index] for name, values in self.fields.items()},
            standard_errors={name: values[index] for name, values in self.standard_errors.items()},
            done=None if self.done is None else self.done[index],
            meta=_meta_at(self.meta, coordinates, left, in_plane),
            path=None if in_plane else self.path,
            more=tuple(axes[name] for name in left[2:]),
            repeat=None if REPEAT in coordinates else self.repeat,
            computed=None if self.computed is None else self.computed[index],
            paths={} if in_plane else self.paths,
            gradient={} if in_plane else {name: values[index] for name, values in self.gradient.items()},
        )


def _place(axis: NDArray[Any], name: str, value: float) -> int:
    """The index of a coordinate."""
    place = int(np.abs(axis - value).argmin())
    if not abs(axis[place] - value) <= (0 if name == REPEAT else _SAME_COORDINATE * float(np.ptp(axis))):
        what = (
            f"the surface has no repeat of seed {value}" if name == REPEAT else "the grid has no such coordinate"
        )
        raise LandscapeError(what, where=name, got=value, mend=f"the nearest is {axis[place]}")
    return place


def _meta_at(
    meta: Mapping[str, Any], coordinates: Mapping[str, float], left: list[str], in_plane: bool
) -> dict[str, Any]:
    """Return the metadata of a slice once some of its axes have a given coordinate."""
    found = dict(meta)
    plane = dict(found.get("plane") or {})
    if REPEAT in coordinates:
        plane = {key: value for key, value in plane.items() if key != "repeats"} | {"seed": coordinates[REPEAT]}
    labels = list(found.get("axes") or [])
    own = dict(zip(axis_names(len(labels)), labels, strict=True))
    chosen = {name: float(value) for name, value in coordinates.items() if name != REPEAT}
    if chosen:
        places = [{"label": own.get(name, {}).get("label", name), "value": v} for name, v in chosen.items()]
        found["at"] = [*found.get("at", []), *places]
        found["kind"] = "curve" if len(left) == 1 else "surface"
        found["axes"] = [label for name, label in own.items() if name in left]
    if in_plane:
        plane.pop("marks", None)
    return found | {"plane": plane}

"""A slice as an xarray dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from landscape.errors import optional

if TYPE_CHECKING:
    import xarray as xr

    from landscape.values.surface import Path, Surface


def dataset_of(surface: Surface) -> xr.Dataset:
    """The dataset that `Surface.to_xarray` gives."""
    xarray = optional("xarray", "to_xarray")
    units = surface.meta.get("units") or {}
    dims = tuple(surface.axes)
    variables: dict[str, Any] = {}
    for name, values in surface.everywhere.items():
        metric = name.rpartition("/")[2].partition("_")[2] if name.rpartition("/")[2] in surface.fields else ""
        variables[name.replace("/", "_")] = (dims, values, {"units": units[metric]} if metric in units else {})
    coordinates: dict[str, Any] = dict(surface.axes)
    for prefix, along, path in _paths(surface):
        coordinates[along] = path.step
        columns: Mapping[str, Any] = path._table()
        variables |= {f"{prefix}_{name}": (along, columns[name]) for name in columns if name != "step"}
    # NetCDF has no nested attributes.
    attributes = {
        key: value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)
        for key, value in surface.meta.items()
    }
    return xarray.Dataset(variables, coordinates, attributes)


def _paths(surface: Surface) -> list[tuple[str, str, Path]]:
    """The first part of the names, the axis and the values of each trajectory."""
    one = [] if surface.path is None else [("path", "step", surface.path)]
    # A slash in a name would make groups of NetCDF.
    named = [(run.replace("/", "_"), path) for run, path in surface.paths.items()]
    return one + [(f"path_{run}", f"step_{run}", path) for run, path in named]

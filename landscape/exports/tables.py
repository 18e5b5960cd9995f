"""A slice as arrays (.npz), as a table (.csv) or as NetCDF (.nc)."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import optional
from landscape.values.surface import Surface


def write_npz(surface: Surface, path: FilePath) -> None:
    """Write all arrays under their names in the surface file, and ``meta`` as JSON text."""
    arrays: dict[str, Any] = {
        **surface.axes,
        **surface.everywhere,
        **_paths(surface),
        "meta": np.array(json.dumps(dict(surface.meta))),
    }
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def write_csv(surface: Surface, path: FilePath) -> None:
    """Write one row for every point; floats are the shortest text that reads back as the same number."""
    _write_rows(path, surface._table())


def write_netcdf(surface: Surface, path: FilePath) -> None:
    """Write the dataset of `Surface.to_xarray` as NetCDF 4."""
    optional("h5netcdf", str(path.suffix))
    surface.to_xarray().to_netcdf(path, engine="h5netcdf")


def _paths(surface: Surface) -> dict[str, NDArray[Any]]:
    held = {} if surface.path is None else {"path": surface.path}
    held |= {f"paths/{run}": path for run, path in surface.paths.items()}
    return {f"{group}/{name}": own for group, path in held.items() for name, own in path._table().items()}


def _write_rows(path: FilePath, columns: Mapping[str, NDArray[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([_text(value) for value in row])


def _text(value: Any) -> str:
    """The shortest text that reads back as the same number."""
    if isinstance(value, np.floating):
        return "NaN" if math.isnan(value) else repr(float(value))
    return str(int(value))

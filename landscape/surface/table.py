"""A slice as plain arrays or as a table, for other programs. NumPy only."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.storage import atomic_path, require_writable
from landscape.values.surface import Surface

TABLE_SUFFIXES = (".npz", ".csv")


def export_surface(
    surface: Surface, path: str | os.PathLike[str], *, overwrite: bool = False
) -> dict[str, int | list[str]]:
    """Write a slice as arrays (``.npz``) or as a table with a row for every point (``.csv``).

    Names are those of the surface file: x, y, ..., repeat, fields, ``standard_error/<field>``, done, and
    computed where a preview interpolated, ``gradient/...`` where gradients were taken. NaN stays NaN. The
    ``.npz`` also has ``path/...`` where a trajectory goes with the slice, ``paths/<run>/...`` where several do,
    and ``meta`` as JSON text; load it with ``numpy.load(path)``.

    Args:
        surface: The slice.
        path: The file to write.
        overwrite: Replace a file that exists.

    Returns:
        ``{"points", "columns"}``.

    Raises:
        LandscapeError: If the file exists or cannot be written.

    Example:
        >>> export_surface(ls.open("surface.h5"), "surface.csv")["columns"]
        ['y', 'x', 'train_loss', 'standard_error/train_loss', 'done']
    """
    path = FilePath(path)
    require_writable(path, TABLE_SUFFIXES)
    if path.exists() and not overwrite:
        raise LandscapeError("the file exists", where=path, mend="pass --overwrite to replace it, or another name")
    fields = surface.everywhere
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".npz":
            arrays: dict[str, Any] = {
                **surface.axes,
                **fields,
                **_paths(surface),
                "meta": np.array(json.dumps(dict(surface.meta))),
            }
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        else:
            _write_rows(temporary, surface._table())
    return {"points": int(surface.values.size), "columns": [*surface.axes, *fields]}


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

"""VTK XML files: a slice as a structured grid (.vts), its paths as polylines (.vtp).

Format: VTK File Formats, "XML File Formats" (docs.vtk.org): inline binary arrays are base64 of their length in
bytes, a UInt64 here, and their little-endian numbers. Points without a height are marked hidden in
``vtkGhostType``, as are the cells at them; their numbers are NaN or inf as in the slice.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from landscape.exports.relief import Relief, pieces_of
from landscape.values.surface import Surface

# vtkDataSetAttributes::HIDDENPOINT and HIDDENCELL.
_HIDDEN_POINT, _HIDDEN_CELL = 2, 32
_TYPES = {"f8": "Float64", "i8": "Int64", "u1": "UInt8"}


def write_vts(surface: Surface, path: FilePath, relief: Relief | None) -> None:
    """Write a slice over a line, a plane or a volume as a structured grid.

    Args:
        surface: The slice.
        path: The file.
        relief: Heights of its points; None for a volume, which has no room for them.
    """
    if relief is None:
        z, y, x = np.meshgrid(*surface.axes.values(), indexing="ij")
        points, hidden = np.stack([x, y, z], axis=-1).reshape(-1, 3), np.zeros(x.shape, bool)
    else:
        points, hidden = relief.vertices, relief.missing[None]
    counts = [max(count, 1) for count in hidden.shape[::-1]]
    cells = _hidden_cells(hidden)
    computed = surface.everywhere["done"] if surface.computed is None else surface.computed
    held = surface.everywhere | {"computed": computed}
    extent = quoteattr(" ".join(f"0 {count - 1}" for count in counts))
    ghosts = {"vtkGhostType": _HIDDEN_POINT * hidden.ravel().astype("u1")}
    body = [
        f"<Piece Extent={extent}>",
        _data("PointData", {name: values.ravel() for name, values in held.items()} | ghosts),
        _data("CellData", {"vtkGhostType": _HIDDEN_CELL * cells.ravel().astype("u1")}),
        _data("Points", {"Points": _shown(points)}),
        "</Piece>",
    ]
    _write(path, "StructuredGrid", f"WholeExtent={extent}", surface, relief, body)


def write_vtp(surface: Surface, path: FilePath, relief: Relief) -> None:
    """Write the paths of a slice as polylines, with all that is known of their snapshots."""
    held = [surface.path] if surface.path is not None else list(surface.paths.values())
    tables = [one._table() for one in held]
    columns: dict[str, NDArray[Any]] = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    points = np.concatenate([*relief.paths.values()])
    columns["vtkGhostType"] = _HIDDEN_POINT * (~np.isfinite(points[:, 2])).astype("u1")
    lines, runs, before = [], [], 0
    for run, own in enumerate(relief.paths.values()):
        found = pieces_of(own)
        lines += [before + places for places in found]
        runs += [run] * len(found)
        before += len(own)
    size = f'NumberOfPoints="{before}" NumberOfVerts="0" NumberOfLines="{len(lines)}" NumberOfStrips="0"'
    ends = {"connectivity": np.concatenate([*lines, np.zeros(0, int)]), "offsets": np.cumsum([*map(len, lines)])}
    body = [
        f'<Piece {size} NumberOfPolys="0">',
        _data("PointData", columns),
        _data("CellData", {"run": np.array(runs, int)}),
        _data("Points", {"Points": _shown(points)}),
        _data("Lines", {name: values.astype("i8") for name, values in ends.items()}),
        "</Piece>",
    ]
    _write(path, "PolyData", "", surface, relief, body)


def _hidden_cells(hidden: NDArray[np.bool_]) -> NDArray[np.bool_]:
    for axis, count in enumerate(hidden.shape):
        if count > 1:
            hidden = hidden.take(range(count - 1), axis) | hidden.take(range(1, count), axis)
    return hidden


def _shown(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points whose hidden ones stand at the lowest height: VTK takes bounds of hidden points too."""
    known = points[np.isfinite(points[:, 2]), 2]
    floor = known.min() if len(known) else 0.0
    return np.where(np.isfinite(points), points, floor)


def _data(group: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    return "\n".join([f"<{group}>", *(_array(*one) for one in arrays.items()), f"</{group}>"])


def _array(name: str, values: NDArray[Any]) -> str:
    kind = "u1" if values.dtype == bool else values.dtype.str[1:]
    numbers = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
    text = base64.b64encode(len(numbers).to_bytes(8, "little") + numbers).decode()
    width = f' NumberOfComponents="{values.shape[1]}"' if values.ndim == 2 else ""
    return f'<DataArray type="{_TYPES[kind]}" Name={quoteattr(name)}{width} format="binary">{text}</DataArray>'


def _text(name: str, text: str) -> str:
    codes = " ".join(map(str, [*text.encode(), 0]))
    return f'<Array type="String" Name="{name}" NumberOfTuples="1" format="ascii">{codes}</Array>'


def _write(
    path: FilePath, kind: str, extent: str, surface: Surface, relief: Relief | None, body: list[str]
) -> None:
    said = [_text("meta", json.dumps(dict(surface.meta)))]
    said += [] if relief is None else [_text("height", relief.words)]
    said += [_text("runs", json.dumps([*surface.paths]))] if surface.paths else []
    head = f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64">'
    lines = [head, f"<{kind} {extent}>", "<FieldData>", *said, "</FieldData>", *body, f"</{kind}>", "</VTKFile>"]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")

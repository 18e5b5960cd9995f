"""Meshes: Wavefront OBJ, STL for printing, and glTF 2.0 (.gltf, .glb) for viewers."""

from __future__ import annotations

import base64
import json
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from landscape.exports.relief import Faces, Relief, compacted, pieces_of, solid, triangles
from landscape.values.surface import Array, Surface

# Numbers of the glTF 2.0 specification: component types, targets of buffer views, modes of primitives.
_FLOAT, _UINT, _UBYTE = 5126, 5125, 5121
_KINDS = {"<f4": _FLOAT, "<u4": _UINT, "|u1": _UBYTE}
_ARRAY, _ELEMENTS = 34962, 34963
_LINES = 1
_SHAPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
# In shares of the width of a printed relief: what holds it together below its lowest point.
_BASE = 0.04


def write_obj(surface: Surface, path: FilePath, relief: Relief) -> None:
    """Write a relief as quads, and paths as lines; numbers are the shortest text of the same float64."""
    vertices = relief.vertices
    kept, place = compacted(vertices)
    lines = [f"# {relief.words}", f"# {relief.missing.sum()} of {relief.missing.size} points are missing"]
    lines += ["o surface", *(_row("v", one) for one in vertices[kept].tolist())]
    lines += [_row("f", one) for one in (place[relief.quads()] + 1).tolist()]
    count = len(kept)
    for run, points in relief.paths.items():
        for piece in pieces_of(points):
            lines += [f"o path {run}".rstrip(), *(_row("v", one) for one in points[piece].tolist())]
            lines.append(_row("l", range(count + 1, count + 1 + len(piece))))
            count += len(piece)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(letter: str, numbers: Any) -> str:
    return " ".join([letter, *map(repr, numbers)])


def write_stl(path: FilePath, relief: Relief, size: float) -> dict[str, Any]:
    """Write a relief as a closed body in millimetres, binary STL.

    Args:
        path: The file.
        relief: The relief.
        size: Length of the wider side, in mm.

    Returns:
        Its measures, and how many cells were left out because they met others in a corner only.
    """
    width = max(float(np.ptp(relief.x)), float(np.ptp(relief.y)))
    vertices, faces, left_out = solid(relief, _BASE * width)
    corners = ((vertices - vertices.min(axis=0)) * (size / width)).astype("<f4")[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
    rows = np.zeros(len(faces), record)
    rows["normal"], rows["corners"] = normals / np.where(lengths > 0, lengths, 1), corners
    # A header that begins with "solid" would be taken for text.
    head = f"landscape, mm; {relief.words}".encode("ascii", "replace")[:80].ljust(80)
    path.write_bytes(head + len(faces).to_bytes(4, "little") + rows.tobytes())
    return {"millimetres": np.ptp(corners.reshape(-1, 3), axis=0).tolist(), "cells_left_out": left_out}


def write_gltf(surface: Surface, path: FilePath, relief: Relief) -> None:
    """Write a relief as glTF 2.0 in text, numbers inside; see `write_glb`."""
    document, numbers = _scene(surface, relief)
    held = base64.b64encode(numbers).decode()
    document["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{held}"
    path.write_text(json.dumps(document), encoding="utf-8")


def write_glb(surface: Surface, path: FilePath, relief: Relief) -> None:
    """Write a relief in colours as binary glTF 2.0, with paths as lines; the second axis is up.

    Fields that are finite at all vertices are attributes of their own, such as ``_TRAIN_LOSS``; glTF holds
    float32 only.
    """
    document, numbers = _scene(surface, relief)
    path.write_bytes(_binary(document, numbers))


def _scene(surface: Surface, relief: Relief) -> tuple[dict[str, Any], bytes]:
    """The document of glTF, and the numbers of its one buffer."""
    vertices = relief.vertices
    kept, place = compacted(vertices)
    faces = place[triangles(relief.quads())]
    points = vertices[kept]
    low, span = float(points[:, 2].min()), float(np.ptp(points[:, 2])) or 1.0
    parts = _Parts()
    attributes = {
        "POSITION": parts.add(_upright(points), _ARRAY),
        "NORMAL": parts.add(_upright(_normals(points, faces)), _ARRAY),
        "COLOR_0": parts.add(_colours((points[:, 2] - low) / span), _ARRAY),
    }
    for name, values in surface.fields.items():
        own = values.ravel()[kept].astype("<f4")
        # JSON has no NaN for the bounds of an accessor, and glTF allows none in its numbers.
        if np.isfinite(own).all():
            attributes[f"_{name.upper()}"] = parts.add(own, _ARRAY)
    indices = parts.add(faces.ravel().astype("<u4"), _ELEMENTS)
    drawn = [("surface", {"attributes": attributes, "indices": indices, "material": 0})]
    for run, own_points in relief.paths.items():
        if pieces := pieces_of(own_points):
            ends = np.concatenate([np.repeat(own_points[piece], 2, axis=0)[1:-1] for piece in pieces])
            line = {"POSITION": parts.add(_upright(ends), _ARRAY)}
            drawn.append((f"path {run}".rstrip(), {"attributes": line, "mode": _LINES, "material": 1}))
    matte = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "landscape", "extras": {"height": relief.words}},
        "scene": 0,
        "scenes": [{"nodes": [*range(len(drawn))]}],
        "nodes": [{"mesh": n, "name": name} for n, (name, _) in enumerate(drawn)],
        "meshes": [{"name": name, "primitives": [one]} for name, one in drawn],
        "materials": [
            {"pbrMetallicRoughness": matte, "doubleSided": True},
            {"pbrMetallicRoughness": {**matte, "baseColorFactor": [0.0, 0.0, 0.0, 1.0]}},
        ],
        "accessors": parts.accessors,
        "bufferViews": parts.views,
        "buffers": [{"byteLength": len(parts.numbers)}],
    }
    return document, bytes(parts.numbers)


class _Parts:
    """The one buffer of a file, and what lies where in it."""

    def __init__(self) -> None:
        self.numbers = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: NDArray[Any], target: int) -> int:
        """The number of the accessor of an array, once it is in the buffer."""
        width = values.shape[1] if values.ndim == 2 else 1
        self.views.append(
            {"buffer": 0, "byteOffset": len(self.numbers), "byteLength": values.nbytes, "target": target}
        )
        self.numbers += values.tobytes()
        self.numbers += bytes(-len(self.numbers) % 4)
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": _KINDS[values.dtype.str],
            "count": len(values),
            "type": _SHAPES[width],
            "min": np.atleast_1d(values.min(axis=0)).tolist(),
            "max": np.atleast_1d(values.max(axis=0)).tolist(),
        }
        self.accessors.append(accessor | ({"normalized": True} if values.dtype == np.uint8 else {}))
        return len(self.accessors) - 1


def _binary(document: dict[str, Any], numbers: bytes) -> bytes:
    """The container of glTF 2.0, section 4: a header, a chunk of JSON and one of numbers."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    size = 12 + 8 + len(text) + 8 + len(numbers)
    sizes = [one.to_bytes(4, "little") for one in (2, size, len(text), len(numbers))]
    return b"glTF" + sizes[0] + sizes[1] + sizes[2] + b"JSON" + text + sizes[3] + b"BIN\0" + numbers


def _upright(points: Array) -> NDArray[np.float32]:
    """Points turned so that the second axis is up."""
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1).astype("<f4")


def _normals(points: Array, faces: Faces) -> Array:
    """Normals at the vertices: of the triangles about each, weighted by area; upwards where there is none."""
    corners = points[faces]
    each = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    found = np.zeros_like(points)
    for corner in range(3):
        np.add.at(found, faces[:, corner], each)
    lengths = np.linalg.norm(found, axis=1)
    found[lengths == 0] = (0.0, 0.0, 1.0)
    return found / np.where(lengths > 0, lengths, 1.0)[:, None]


def _colours(shares: Array) -> NDArray[np.uint8]:
    """Colours of heights as glTF has them: linear, not sRGB (IEC 61966-2-1)."""
    colours = colormaps["viridis"](shares)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear[:, 3] = 1.0
    return np.round(255 * linear).astype("u1")

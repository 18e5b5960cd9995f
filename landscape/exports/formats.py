"""The formats that a slice can be written in, and the function that writes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from landscape.errors import LandscapeError
from landscape.exports.relief import Relief, relief_of
from landscape.forms import NUMBER, TEXT
from landscape.lazy import deferred
from landscape.options import Options, option, read_options
from landscape.storage import atomic_path, require_writable
from landscape.values.surface import Surface

# Above this share of the width a relief is hard to look into, and hard to print.
_SHARE = 0.5


@dataclass(frozen=True)
class ExportOptions(Options):
    """Options of the heights made of a field, for the formats that have heights."""

    field: str | None = option(None, "Field that is the height, such as test_error", form=TEXT, unset="the first")
    log: bool = option(False, "Heights are base-10 logarithms; values that have none are missing")
    relief: float | None = option(
        None,
        "Scale heights to this share of the wider side of the plane",
        form=NUMBER,
        above=0,
        unset="0.5 for .stl, .glb and .gltf; otherwise heights keep their unit",
    )
    size: float = option(100.0, "Wider side of a printed relief (.stl), in mm", above=0)


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        name: What it is, for help and documentation.
        write: (surface, file, relief, options) -> what else is to be said.
        heeds: The options that mean something in it.
        axes: The least and the largest number of axes that it can hold, repeats not counted.
        repeats: Whether it can hold repeats.
        share: What `ExportOptions.relief` is by default.
        whole: Whether all columns of the slice are in it.
    """

    name: str
    write: Callable[[Surface, FilePath, Any, ExportOptions], Mapping[str, Any] | None]
    heeds: tuple[str, ...] = ("field", "log", "relief")
    axes: tuple[int, float] = (2, 2)
    repeats: bool = False
    share: float | None = None
    whole: bool = False

    def require(self, surface: Surface, path: FilePath, chosen: tuple[str, ...]) -> None:
        """Check that a slice can be written so, with these options.

        Raises:
            LandscapeError: If not.
        """
        suffix = path.suffix.lower()
        if idle := [name for name in chosen if name not in self.heeds]:
            raise LandscapeError(f"{', '.join(idle)} means nothing in a {suffix} file", mend="leave it out")
        axes = [name for name in surface.axes if name != "repeat"]
        able = [ending for ending, one in FORMATS.items() if one.repeats]
        mend = f"write {' or '.join(able)}"
        if surface.repeat is not None and not self.repeats:
            got = f"{len(surface.repeat)} repeats"
            raise LandscapeError(f"a {suffix} file holds one plane", where=path, got=got, mend=mend)
        if not self.axes[0] <= len(axes) <= self.axes[1]:
            got = f"a slice with {len(axes)} ax{'i' if len(axes) == 1 else 'e'}s"
            raise LandscapeError(f"a {suffix} file cannot hold it", where=path, got=got, mend=mend)


def _written(module: str, name: str) -> Callable[..., None]:
    """A writer that is imported when it is needed; tables have no heights."""
    writer = deferred(f"landscape.exports.{module}", name)

    def write(surface: Surface, path: FilePath, relief: Relief | None, options: ExportOptions) -> None:
        writer(surface, path, *(() if module == "tables" else (relief,)))

    return write


def _stl(surface: Surface, path: FilePath, relief: Relief, options: ExportOptions) -> Mapping[str, Any]:
    from landscape.exports.meshes import write_stl

    return write_stl(path, relief, options.size)


_ANY: Any = {"heeds": (), "axes": (1, float("inf")), "repeats": True, "whole": True}

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        ".npz": Format("arrays", _written("tables", "write_npz"), **_ANY),
        ".csv": Format("table", _written("tables", "write_csv"), **_ANY),
        ".nc": Format("NetCDF for xarray", _written("tables", "write_netcdf"), **_ANY),
        ".vts": Format("structured grid for VTK", _written("vtk", "write_vts"), axes=(1, 3), whole=True),
        ".vtp": Format("path for VTK", _written("vtk", "write_vtp")),
        ".obj": Format("mesh", _written("meshes", "write_obj")),
        ".stl": Format("solid for printing", _stl, ("field", "log", "relief", "size"), share=_SHARE),
        ".glb": Format("coloured mesh for viewers (glTF 2.0)", _written("meshes", "write_glb"), share=_SHARE),
        ".gltf": Format("the same as text", _written("meshes", "write_gltf"), share=_SHARE),
    }
)
"""Ending of a file -> its format."""


def export_surface(
    surface: Surface,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Write a slice in another format, which the ending of the file names.

    ``.npz``, ``.csv`` and ``.nc`` hold everything under its name in the surface file: x, y, ..., repeat, fields,
    ``standard_error/<field>``, done, and computed where a preview interpolated, ``gradient/...`` where gradients
    were taken. The ``.npz`` also has ``path/...`` where a trajectory goes with the slice, ``paths/<run>/...``
    where several do, and ``meta`` as JSON text. NaN stays NaN.

    ``.vts``, ``.obj``, ``.stl``, ``.glb`` and ``.gltf`` are reliefs: points (x, y, height). A ``.vts`` has all of
    the above as point data, and a ``.vtp`` the paths. Points without a finite height are hidden or left out,
    never drawn at 0.

    Args:
        surface: The slice.
        path: The file to write.
        overwrite: Replace a file that exists.
        **options: Those of `ExportOptions`: field, log, relief, size.

    Returns:
        ``points``, and ``columns`` where the file has them; where there are heights ``height``, which says what
        they are, and ``missing``; of a ``.stl`` also its ``millimetres`` and ``cells_left_out``.

    Raises:
        LandscapeError: If the file exists or cannot be written, or the format cannot hold the slice.

    Example:
        >>> export_surface(ls.open("surface.h5"), "surface.csv")["columns"]
        ['y', 'x', 'train_loss', 'standard_error/train_loss', 'done']
    """
    path = FilePath(path)
    require_writable(path, [*FORMATS])
    if path.exists() and not overwrite:
        raise LandscapeError("the file exists", where=path, mend="pass --overwrite to replace it, or another name")
    wanted, chosen = read_options(ExportOptions, options, None), FORMATS[path.suffix.lower()]
    # A volume has no room for heights.
    flat = not chosen.heeds or bool(surface.more)
    able = chosen if not flat else replace(chosen, heeds=())
    able.require(surface, path, tuple(options))
    share = wanted.relief or chosen.share
    if path.suffix.lower() == ".vtp" and surface.path is None and not surface.paths:
        raise LandscapeError("the surface has no path", where=path, mend="write it as .vts")
    relief = None if flat else relief_of(surface, wanted.field, log=wanted.log, share=share)
    with atomic_path(path) as draft:
        said = chosen.write(surface, draft, relief, wanted)
    found: dict[str, Any] = {"points": int(surface.values.size)}
    if chosen.whole:
        found["columns"] = [*surface.axes, *surface.everywhere]
    if relief is not None:
        found |= {"height": relief.words, "missing": int(relief.missing.sum())}
    return found | dict(said or {})

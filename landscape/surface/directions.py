"""Directions from a file: those of a stored surface, or the user's own. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.files.result import SCHEMA
from landscape.storage import damage, kind_of, open_read, read_arrays, require_file, require_seal
from landscape.surface.store import SURFACE
from landscape.values.grid import REPEAT, axis_names

SUFFIXES = (".h5", ".hdf5", ".npz", ".safetensors")
Arrays = dict[str, NDArray[Any]]


def read_directions(path: str | os.PathLike[str], dims: int = 2) -> list[Arrays]:
    """The directions in a file, name of a tensor -> array each.

    A ``.npz`` or ``.safetensors`` file names its arrays ``x/<tensor>`` and ``y/<tensor>``; an HDF5 file has them
    in groups ``x`` and ``y``, or in ``directions/x`` and ``directions/y`` as a surface file has. A tensor that is
    missing does not move.

    Args:
        path: The file.
        dims: How many are wanted.

    Returns:
        The directions.

    Raises:
        LandscapeError: If the file cannot be read, lacks a direction, or holds something else than numbers.

    Example:
        >>> x, y = read_directions("surface.h5")  # doctest: +SKIP
    """
    file = Path(path)
    require_file(file)
    if file.suffix.lower() not in SUFFIXES:
        raise LandscapeError(
            "directions cannot be read from this type of file",
            where=file,
            got=file.suffix or "no suffix",
            expected=" or ".join(SUFFIXES),
        )
    found = _READERS[file.suffix.lower()](file)
    axes = axis_names(dims)
    directions = [
        {name.removeprefix(f"{axis}/"): values for name, values in found.items() if name.startswith(f"{axis}/")}
        for axis in axes
    ]
    for axis, direction in zip(axes, directions, strict=True):
        if not direction:
            raise LandscapeError(
                f"the file has no direction '{axis}'",
                where=file,
                got=", ".join(sorted(found)[:4]) or "nothing",
                expected=f"arrays named {axis}/<tensor>",
                mend="of a large random surface give the seed instead" if file.suffix in SUFFIXES[:2] else None,
            )
        for name, values in direction.items():
            if values.dtype.kind not in "fc" or not np.isfinite(values).all():
                raise LandscapeError(f"'{axis}/{name}' is not an array of finite numbers", where=file)
    return directions


def _from_hdf5(file: Path) -> Arrays:
    if _is_surface(file):
        with open_read(file, format=SURFACE.format, schema=SCHEMA) as surface, damage(file):
            if "directions" not in surface:
                return {}
            require_seal(surface["directions"])
            return _arrays(surface["directions"])
    with damage(file, "not an HDF5 file that can be read"), h5py.File(file, "r") as plain:
        return _arrays(plain.get("directions", plain))


def directions_of(path: str | os.PathLike[str]) -> dict[str, Arrays]:
    """Return all directions of a surface file: axis (``"x"``, ``"repeat0/x"``) -> name of a tensor -> array."""
    found: dict[str, Arrays] = {}
    for place, values in _from_hdf5(Path(path)).items():
        *head, rest = place.split("/", 2 if place.startswith(REPEAT) else 1)
        found.setdefault("/".join(head), {})[rest] = values
    return found


def verify_directions(path: str | os.PathLike[str]) -> None:
    """Check the directions of a surface file, if there are some.

    Raises:
        LandscapeError: If they are not what was written.
    """
    with open_read(path, format=SURFACE.format, schema=SCHEMA) as file, damage(path):
        if "directions" in file:
            require_seal(file["directions"])


def _is_surface(file: Path) -> bool:
    try:
        return kind_of(file) == "landscape/surface"
    except LandscapeError:
        return False


def _arrays(group: h5py.Group) -> Arrays:
    found: list[tuple[int, str]] = []

    def take(name: str, item: Any) -> None:
        # Links are not followed; data that lie elsewhere are refused, so that one file is read only.
        if isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external:
            found.append((item.id.get_offset() or 0, name))

    group.visititems(take)
    # In the order in which they were written.
    return {name: group[name][...] for _, name in sorted(found)}


def _from_npz(file: Path) -> Arrays:
    return read_arrays(file, "not a .npz file that can be read")


def _from_safetensors(file: Path) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        loaded: Mapping[str, NDArray[Any]] = load_file(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise LandscapeError("not a .safetensors file that can be read", where=file, got=error) from error
    return dict(loaded)


_READERS = {".h5": _from_hdf5, ".hdf5": _from_hdf5, ".npz": _from_npz, ".safetensors": _from_safetensors}

"""Companions of a slice in its file: trajectories in its plane, and gradients along it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import h5py
from numpy.typing import NDArray

from landscape.files.checked import numbers
from landscape.storage import read_attr, write_attr
from landscape.values.surface import Array, Path, Surface

_PATH_FIELDS = ("step", "x", "y", "off_plane", "loss", "plane_loss")
GRADIENT_FIELDS = ("slope_x", "slope_y", "step_x", "step_y", "norm", "share")


def read_path(file: h5py.File, group: str) -> Path:
    """A trajectory; raises what is in `storage.FAULTS` where it is damaged."""
    steps = numbers(file, f"{group}/step", "i", (None,))
    rest = {name: numbers(file, f"{group}/{name}", "f", steps.shape) for name in _PATH_FIELDS if name != "step"}
    held = read_attr(file[group], "motion_held")
    return Path(step=steps, **rest, motion_held=math.nan if held is None else float(held))


def read_paths(file: h5py.File) -> dict[str, Path]:
    """Name -> trajectory, where several go with the slice, in their order."""
    if "paths" not in file:
        return {}
    groups = [f"paths/{index}" for index in range(len(file["paths"]))]
    return {str(read_attr(file[group], "run")): read_path(file, group) for group in groups}


def read_gradient(file: h5py.File, shape: tuple[int, ...]) -> dict[str, Array]:
    """The gradients that go with the slice."""
    if "gradient" not in file:
        return {}
    return {name: numbers(file, f"gradient/{name}", "f", shape) for name in GRADIENT_FIELDS}


def companions(file: h5py.File) -> list[str]:
    """The names of the datasets that may be missing, in the order in which they are digested."""
    held = [f"path/{name}" for name in _PATH_FIELDS] if "path" in file else []
    held += ["computed"] if "computed" in file else []
    for index in range(len(file["paths"]) if "paths" in file else 0):
        held += [f"paths/{index}/{name}" for name in _PATH_FIELDS]
    return held + ([f"gradient/{name}" for name in GRADIENT_FIELDS] if "gradient" in file else [])


def write_companions(file: h5py.File, surface: Surface) -> None:
    """Write the trajectories and gradients of a slice into its new file."""
    if surface.path is not None:
        _write_path(file, "path", surface.path)
    for index, (name, path) in enumerate(surface.paths.items()):
        _write_path(file, f"paths/{index}", path)
        write_attr(file[f"paths/{index}"], "run", name)
    for name, values in surface.gradient.items():
        gridded(file, f"gradient/{name}", values, list(surface.axes))


def _write_path(file: h5py.File, group: str, path: Path) -> None:
    file.create_dataset(f"{group}/step", data=path.step, dtype="i8").make_scale("step")
    for name in _PATH_FIELDS[1:]:
        gridded(file, f"{group}/{name}", getattr(path, name), [f"{group}/step"])
    if math.isfinite(path.motion_held):
        file[group].attrs["motion_held"] = path.motion_held


def gridded(file: h5py.File, name: str, values: NDArray[Any], axes: Sequence[str]) -> None:
    """Write an array whose dimensions are axes of the file."""
    dataset = file.create_dataset(name, data=values, dtype=values.dtype)
    for dimension, axis in zip(dataset.dims, axes, strict=True):
        dimension.attach_scale(file[axis])

"""Provenance of a slice: all that decides its numbers, its metadata, and the directions it stores."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import torch

from landscape.objective.batchnorm import has_statistics
from landscape.params import cast, digest
from landscape.projection import DrawnPlane, Plane, Projected, Repeats
from landscape.surface.engine import Choice
from landscape.surface.task import Task
from landscape.values.grid import axis_names
from landscape.wrappers import is_sharded

# A file of directions larger than this many numbers is not worth its disk: the seed draws them again.
_LARGEST_STORED_DIRECTION = 2**20


def identity_of(task: Task, plane: Plane, choice: Choice, paths: Mapping[str, Projected]) -> dict[str, Any]:
    """Everything that decides the numbers: a file with another identity is another slice."""
    objective = task.objective
    made = {
        key: plane.meta[key] for key in ("kind", "normalize", "one_d", "seed", "generator") if key in plane.meta
    }
    return {
        **objective.fingerprint(plane.origin),
        **{f"plane {key}" if key == "kind" else key: value for key, value in made.items()},
        "weights": digest(plane.origin),
        "directions": _drawn(plane) or " ".join(digest(direction) for direction in plane.directions),
        **{f"{split} data": objective.data_digest(split) for split in task.splits},
        "weight_decay": objective.weight_decay,
        "dtype": dtype_name(plane, task.dtype),
        **choice.to_json(),
        "device": objective.device.type,
        "bn": _bn(plane, task.recalibrate),
        "torch": importlib.metadata.version("torch"),
        "path": _digest_of(paths),
    }


def _drawn(plane: Plane) -> str | None:
    """The tensors that directions move which are drawn where they are needed: seed and weights decide the rest."""
    if not isinstance(plane, DrawnPlane):
        return None
    moving = sorted({name for direction in plane.directions for name in direction.moving()})
    return hashlib.sha256("\0".join(moving).encode()).hexdigest()


def _digest_of(paths: Mapping[str, Projected]) -> str | None:
    said = hashlib.sha256()
    for name, path in paths.items():
        said.update(name.encode())
        said.update(path.coordinates.tobytes())
    return said.hexdigest() if paths else None


def _bn(plane: Plane, recalibrate: int) -> str:
    return f"recalibrate:{recalibrate}" if recalibrate else str(plane.meta.get("bn", "frozen"))


def dtype_name(plane: Plane, dtype: torch.dtype | None) -> str:
    """The type of real numbers of a slice: the one asked for, or that of the parameters."""
    kinds = {str(plane.origin[info.name].dtype) for info in plane.layout.moving()}
    return str(dtype or next(iter(sorted(kinds)), "")).removeprefix("torch.")


def meta_of(task: Task, plane: Plane, paths: Mapping[str, Projected]) -> dict[str, Any]:
    """Return the metadata of a slice."""
    objective = task.objective
    about = {key: value for key, value in plane.meta.items() if key not in ("axes", "equal_aspect", "bn")}
    if "" in paths:
        about["motion_held"] = paths[""].motion_held
    return {
        "kind": "curve" if plane.dims == 1 else "trajectory" if paths else "surface",
        "problem": objective.problem,
        "problem_args": objective.problem_args,
        "splits": list(task.splits),
        "metrics": list(task.metrics),
        "units": {metric: objective.units[metric] for metric in task.metrics},
        "weight_decay": objective.weight_decay,
        "plane": about,
        "axes": plane.meta["axes"],
        "equal_aspect": plane.meta["equal_aspect"],
        **({"bn": _bn(plane, task.recalibrate)} if has_statistics(objective.model) else {}),
        "dtype": dtype_name(plane, task.dtype),
        "examples": objective.examples(task.splits),
        **({"notes": list(objective.notes)} if objective.notes else {}),
    }


def stored_directions(plane: Plane) -> dict[str, dict[str, Any]]:
    """Directions as arrays under x, y, ...; none where a seed draws them again and they are large or sharded."""
    large = _size(plane) > _LARGEST_STORED_DIRECTION
    if plane.kind == "random" and (large or any(map(is_sharded, plane.origin.values()))):
        return {}
    names = axis_names(plane.dims)
    return {axis: _arrays(direction) for axis, direction in zip(names, plane.directions, strict=True)}


def directions_of(planes: Repeats) -> tuple[str, dict[str, dict[str, Any]]]:
    """The digest of the directions of all repeats, and the directions under repeat0/x, ... if they are small."""
    said = hashlib.sha256()
    stored: dict[str, dict[str, Any]] = {}
    for index, plane in enumerate(planes):
        said.update(" ".join(digest(direction) for direction in plane.directions).encode())
        if _size(plane) * len(planes) <= _LARGEST_STORED_DIRECTION:
            stored |= {f"repeat{index}/{axis}": own for axis, own in stored_directions(plane).items()}
    return said.hexdigest(), stored


def repeated_meta(meta: Mapping[str, Any], planes: Repeats) -> dict[str, Any]:
    """Return the metadata of the first plane, as far as it holds for all."""
    about = {key: value for key, value in meta["plane"].items() if key != "cosine"}
    axes = [dict(own) for own in meta["axes"]]
    if planes.dims == 1:
        axes[0]["label"] = "random direction"
    return {"plane": {**about, "repeats": len(planes)}, "axes": axes}


def _size(plane: Plane) -> int:
    return sum(plane.layout[name].numel for direction in plane.directions for name in direction)


def _arrays(direction: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    double = any(tensor.dtype in (torch.float64, torch.complex128) for tensor in direction.values())
    dtype = None if double else torch.float32
    return {name: cast(tensor.detach().cpu(), dtype).numpy() for name, tensor in direction.items()}

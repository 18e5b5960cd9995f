"""Surface and direction files of tomgoldstein/loss-landscape (Li et al. 2018). No torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.storage import damage, require_file
from landscape.values.surface import Surface

# What their grids hold where nothing has been computed yet.
_PENDING = -1.0
# Their accuracies are percentages.
_PERCENT = 100.0
_SOURCE = "tomgoldstein/loss-landscape"
_GROUPS = ("xdirection", "ydirection")


def goldstein_kind(path: str | os.PathLike[str]) -> str | None:
    """Return ``"surface"`` or ``"directions"`` for a file of theirs, None for any other."""
    try:
        with h5py.File(path, "r") as file:
            if "xcoordinates" in file:
                return "surface"
            return "directions" if _GROUPS[0] in file else None
    except OSError:
        return None


def goldstein_surface(path: str | os.PathLike[str]) -> Surface:
    """Read a surface file of theirs.

    Their array has the shape (nx, ny) but is filled in the order of ``meshgrid(x, y)``: read row by row it is
    (ny, nx), for grids that are not square too. Points that were not computed (-1) are NaN and not done;
    ``train_acc``, a percentage, becomes ``train_error``, a share of 1.

    Args:
        path: The HDF5 file, with ``xcoordinates`` and ``train_loss``, and ``ycoordinates`` of a plane.

    Returns:
        The slice. Losses have no unit and no standard error: the file does not say which loss it was.

    Raises:
        LandscapeError: If the file cannot be read, or has no losses of that size.

    Source:
        Li, Xu, Taylor, Studer & Goldstein 2018; ``plot_surface.py`` and ``scheduler.py`` of their code.
    """
    place = Path(path)
    require_file(place)
    with damage(place, "not a surface file of tomgoldstein/loss-landscape"), h5py.File(place, "r") as file:
        x = np.asarray(file["xcoordinates"], np.float64)
        y = np.asarray(file["ycoordinates"], np.float64) if "ycoordinates" in file else None
        held = {name: np.asarray(file[name], np.float64) for name in file if name.endswith(("_loss", "_acc"))}
        directions = _text(file["dir_file"][()]) if "dir_file" in file else None
    shape = (len(x),) if y is None else (len(y), len(x))
    found = {name: values.reshape(shape) for name, values in held.items() if values.size == np.prod(shape)}
    losses = [name for name in found if name.endswith("_loss")]
    if not losses:
        raise LandscapeError(
            "holds no losses",
            where=place,
            got=", ".join(sorted(held)) or "no dataset that ends in _loss",
            expected=f"train_loss with {np.prod(shape)} values",
            mend="run plot_surface.py until it has written some",
        )
    losses.sort(key=lambda name: name != "train_loss")
    done = np.all([found[name] != _PENDING for name in losses], axis=0)
    fields = {name: np.where(done, found[name], np.nan) for name in losses}
    for name in sorted(name for name in found if name.endswith("_acc")):
        fields[f"{name.removesuffix('_acc')}_error"] = np.where(done, 1 - found[name] / _PERCENT, np.nan)
    meta: dict[str, Any] = {"kind": "curve" if y is None else "surface", "source": _SOURCE, "file": place.name}
    return Surface(x, y, fields, done=done, meta=meta | ({} if directions is None else {"dir_file": directions}))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def goldstein_directions(path: str | os.PathLike[str], layout: Layout) -> list[dict[str, NDArray[Any]]]:
    """Read a direction file of theirs, whose arrays have no names but an order.

    Args:
        path: The HDF5 file, with the groups ``xdirection`` and perhaps ``ydirection``.
        layout: The tensors of the model that it was made for.

    Returns:
        For each direction, name of a parameter -> array. Of directions over states (``--dir_type states``) what
        would move buffers is left out.

    Raises:
        LandscapeError: If the file cannot be read, or its arrays are not those of the model.
    """
    place = Path(path)
    require_file(place)
    with damage(place, "not a direction file of tomgoldstein/loss-landscape"), h5py.File(place, "r") as file:
        groups = [file[group] for group in _GROUPS if group in file]
        held = [[np.asarray(group[str(index)]) for index in range(len(group))] for group in groups]
    return [_named(place, one, layout) for one in held]


def _named(place: Path, held: list[NDArray[Any]], layout: Layout) -> dict[str, NDArray[Any]]:
    """Arrays by names: as many as there are parameters, or as there are tensors in the state dict."""
    parameters = [one for one in layout.tensors if one.kind == "parameter" and one.tied_to is None]
    states = _as_state_dict(layout)
    order = parameters if len(held) == len(parameters) else states
    if len(held) != len(order):
        raise LandscapeError(
            "the directions are not those of the model",
            where=place,
            got=f"{len(held)} arrays",
            expected=f"{len(parameters)} parameters, or {len(states)} tensors of the state dict",
        )
    for info, values in zip(order, held, strict=True):
        if info.shape != values.shape:
            raise LandscapeError(
                f"the direction of '{info.name}' has another shape than the model",
                where=place,
                got=values.shape,
                expected=info.shape,
            )
    kept = {info.name for info in parameters}
    return {info.name: values for info, values in zip(order, held, strict=True) if info.name in kept}


def _as_state_dict(layout: Layout) -> list[TensorInfo]:
    """The tensors in the order of the state dict: module by module, parameters before buffers."""
    modules: dict[str, list[TensorInfo]] = {}
    for info in layout.tensors:
        modules.setdefault(info.name.rpartition(".")[0], []).append(info)
    return [info for module in modules.values() for info in module]

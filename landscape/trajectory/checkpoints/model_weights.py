"""The weights of a checkpoint put into a model, tensor by tensor: no second copy is in memory at any time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.params import layout_of
from landscape.storage import PathLike
from landscape.trajectory.checkpoints.element_types import dtype_name, widens
from landscape.trajectory.checkpoints.files import holds_safetensors, read_start, weight_files
from landscape.trajectory.checkpoints.name_matches import match
from landscape.trajectory.checkpoints.readers import read_checkpoint
from landscape.wrappers import unwrapped


def load_weights(model: nn.Module, path: PathLike) -> None:
    """Put the weights of a checkpoint into a model.

    Tensors of safetensors files are mapped and copied one after the other; other files are read whole. Parameters
    and buffers of the model that are on the device meta get their first memory here.

    Args:
        model: The model; it is changed.
        path: A file, or a folder of Hugging Face's.

    Raises:
        LandscapeError: If the checkpoint cannot be read, does not fit, or would have to be rounded.
    """
    where = Path(path)
    model = unwrapped(model)
    layout = layout_of(model)
    homes = _homes(where)
    # Mapped tensors take no memory until their numbers are read.
    found = match(layout, read_checkpoint(where, None, layout).tensors, where, may_miss=False)
    read = None if homes else read_checkpoint(where, None, layout).tensors
    for info in layout:
        source = found.sources.get(info.name)
        if source is None:
            continue
        tensor = read[source] if read is not None else _mapped(homes[source], source)
        if dtype_name(tensor) != info.dtype and not widens(dtype_name(tensor), info.dtype):
            raise LandscapeError(
                f"tensor '{source}' would be rounded",
                where=where,
                got=dtype_name(tensor),
                expected=info.dtype,
                mend="make the model in the type of its weights",
            )
        _put(model, [other.name for other in layout if (other.tied_to or other.name) == info.name], tensor)
    left = [name for name, tensor in [*model.named_parameters(), *model.named_buffers()] if tensor.is_meta]
    if left:
        raise LandscapeError(
            f"'{left[0]}' is on the device meta, and the checkpoint does not hold it",
            where=where,
            mend="make buffers that are not stored outside of torch.device('meta')",
        )


def _homes(where: Path) -> Mapping[str, Path]:
    """The safetensors file of each tensor; empty where not all files are of that format."""
    files = weight_files(where) if where.is_dir() else {where: None}
    homes: dict[str, Path] = {}
    for file in files:
        if not file.is_file() or not holds_safetensors(file, read_start(file)):
            return {}
        with safe_open(str(file), framework="pt", device="cpu") as held:
            homes |= dict.fromkeys(held.keys(), file)
            homes |= {alias: file for alias, kept in (held.metadata() or {}).items() if kept in homes}
    return homes


def _mapped(file: Path, name: str) -> Tensor:
    """A tensor mapped from a file; what was read of it goes with it."""
    with safe_open(str(file), framework="pt", device="cpu") as held:
        stored = name if name in held.keys() else held.metadata()[name]  # noqa: SIM118, it is no dictionary
        return held.get_tensor(stored)


def _put(model: nn.Module, names: list[str], tensor: Tensor) -> None:
    """Copy a tensor into the model, or give it a place there; all its names share it."""
    made: Tensor | None = None
    for name in names:
        prefix, _, own = name.rpartition(".")
        module = model.get_submodule(prefix)
        held = module._parameters.get(own) if own in module._parameters else module._buffers[own]
        if held is None or not held.is_meta:
            if held is not None:
                with torch.no_grad():
                    held.copy_(tensor)
            continue
        if made is None:
            made = tensor.to(held.dtype, copy=True)
            made = nn.Parameter(made, held.requires_grad) if own in module._parameters else made
        setattr(module, own, made)

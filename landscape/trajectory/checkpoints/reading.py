"""One checkpoint, whatever its format: name -> tensor, and what it says of its step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.trajectory.checkpoints import folders
from landscape.trajectory.checkpoints.contents import epoch_in, find_state, step_in
from landscape.trajectory.checkpoints.files import SAFETENSORS, ending_of, read_start
from landscape.trajectory.checkpoints.pickles import READ_FAULTS, load_pickle, short_reason

# What Lightning writes into every checkpoint beside the weights.
_LIGHTNING = "pytorch-lightning_version"


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file or folder; where the format allows it they are mapped from there, not read.

    Attributes:
        path: The file or folder.
        format: ``"torch"``, ``"lightning"``, ``"safetensors"`` or ``"huggingface"``.
        key: Where in the file the tensors are; empty for the top level.
        tensors: Name -> tensor, detached, on the CPU.
        step: The step that it states, or None.
        epoch: The epoch that it states, or None.
    """

    path: Path
    format: str
    key: str
    tensors: Mapping[str, Tensor]
    step: int | None = None
    epoch: float | None = None


def read_checkpoint(path: Path, key: str | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: A file (.pt, .pth, .bin, .ckpt, .safetensors) or a Hugging Face folder.
        key: Where in a file the tensors are, if that is not plain.

    Raises:
        LandscapeError: If it needs more than weights, is damaged, or holds none, or several sets of them.
    """
    if path.is_dir():
        return _read_folder(path, key)
    ending = ending_of(path)
    stated = folders.trainer_state(path.parent) if folders.is_standard_name(path.name) else {}
    if ending == SAFETENSORS:
        tensors, metadata = read_safetensors(path)
        found = _under(tensors, key, path)
        stated = metadata | stated
        return Checkpoint(path, "safetensors", key or "", found, step_in(stated), epoch_in(stated))
    loaded = load_pickle(path)
    own_key, found = find_state(loaded, key, path)
    is_lightning = isinstance(loaded, Mapping) and _LIGHTNING in loaded
    # Without this a top level of tensors only would be asked for a tensor named "step".
    says = loaded if own_key and isinstance(loaded, Mapping) else {}
    step, epoch = step_in(stated), epoch_in(stated)
    return Checkpoint(
        path,
        "lightning" if is_lightning else "torch",
        own_key,
        found,
        step_in(says) if step is None else step,
        epoch_in(says) if epoch is None else epoch,
    )


def _read_folder(path: Path, key: str | None) -> Checkpoint:
    tensors: dict[str, Tensor] = {}
    stated: dict[str, Any] = {}
    for file, names in folders.weight_files(path).items():
        if file.suffix == SAFETENSORS:
            held, metadata = read_safetensors(file)
            stated |= metadata
        else:
            held = find_state(load_pickle(file), None, file)[1]
        tensors |= folders.select(held, names, file)
    stated |= folders.trainer_state(path)
    return Checkpoint(
        path, "huggingface", key or "", _under(tensors, key, path), step_in(stated), epoch_in(stated)
    )


def _under(tensors: dict[str, Tensor], key: str | None, where: Path) -> dict[str, Tensor]:
    return tensors if key is None else find_state(tensors, key, where)[1]


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, mapped from it, and its metadata.

    Names that share one tensor are stored once; `safetensors.torch.save_model` notes the others in the metadata
    (left out name -> name that was kept), and they are put back.

    Args:
        path: The file.

    Raises:
        LandscapeError: If it is damaged.
    """
    read_start(path)
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
    except (*READ_FAULTS, SafetensorError) as error:
        raise LandscapeError(
            "not a safetensors file, or a damaged one", where=path, got=short_reason(error)
        ) from error
    aliases = {alias: kept for alias, kept in metadata.items() if kept in tensors and alias not in tensors}
    return tensors | {alias: tensors[kept] for alias, kept in aliases.items()}, metadata

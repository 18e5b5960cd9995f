"""One checkpoint, whatever its format: name -> tensor, and what it says of its step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.trajectory.checkpoints import distributed, folders
from landscape.trajectory.checkpoints.contents import Said, said_in
from landscape.trajectory.checkpoints.files import holds_safetensors, read_start
from landscape.trajectory.checkpoints.numpy_files import holds_arrays, mostly_arrays, read_arrays, with_tensors
from landscape.trajectory.checkpoints.pickles import READ_FAULTS, load_pickle, short_reason
from landscape.trajectory.checkpoints.report import Names
from landscape.trajectory.checkpoints.weight_sets import find_state, left_out
from landscape.trajectory.checkpoints.zero import put_together

# What Lightning writes into every checkpoint beside the weights.
_LIGHTNING = "pytorch-lightning_version"


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file or folder; where the format allows it they are mapped from there, not read.

    Attributes:
        path: The file or folder.
        format: ``"torch"``, ``"lightning"``, ``"safetensors"``, ``"huggingface"``, ``"deepspeed"``,
            ``"distributed"`` or ``"numpy"``.
        key: Where in the file the tensors are; empty for the top level.
        tensors: Name -> tensor, detached, on the CPU.
        said: What it states of its step and epoch.
        notes: What else there is to say of it.
    """

    path: Path
    format: str
    key: str
    tensors: Mapping[str, Tensor]
    said: Said = field(default_factory=Said)
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path, key: str | None = None, layout: Layout | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: A file of `torch.save` or safetensors, or a folder that holds one checkpoint.
        key: Where in a file the tensors are, if that is not plain.
        layout: The tensors of the model, if it is known: of several sets of tensors that one is taken that fits.

    Raises:
        LandscapeError: If it needs more than weights, is damaged, or holds none, or several sets of them.
    """
    if path.is_dir():
        if (path / folders.METADATA).is_file():
            return _read_distributed(path, key, layout)
        return _read_folder(path, key, layout)
    if path.name == folders.METADATA or path.name.endswith(folders.PART):
        mend = f"name its folder, {path.absolute().parent}"
        raise LandscapeError("one of the files of a distributed checkpoint", where=path, mend=mend)
    stated = said_in(folders.trainer_state(path.parent)) if folders.is_standard_name(path.name) else Said()
    start = read_start(path)
    if holds_arrays(path, start):
        return _from_loaded(read_arrays(path), "numpy", path, key, layout)
    if holds_safetensors(path, start):
        tensors, metadata = read_safetensors(path)
        found = _under(tensors, key, path)
        return Checkpoint(path, "safetensors", key or "", found, _first(stated, said_in(metadata)))
    return _read_pickle(path, key, layout, stated)


def _read_pickle(path: Path, key: str | None, layout: Layout | None, stated: Said) -> Checkpoint:
    if folders.is_part_of_zero(path):
        folders.require_whole({}, path)
    loaded = load_pickle(path)
    kind = "lightning" if isinstance(loaded, Mapping) and _LIGHTNING in loaded else "torch"
    if mostly_arrays(loaded):
        loaded, kind = with_tensors(loaded), "numpy"
    read = _from_loaded(loaded, kind, path, key, layout, stated)
    if folders.is_of_deepspeed(path):
        folders.require_whole(read.tensors, path)
        return replace(read, format="deepspeed")
    return read


def _from_loaded(
    loaded: Any, kind: str, path: Path, key: str | None, layout: Layout | None, stated: Said | None = None
) -> Checkpoint:
    own_key, found = find_state(loaded, key, path, layout)
    notes = left_out(loaded, own_key, layout) if layout is not None and key is None else []
    said = _first(stated or Said(), said_in(loaded, own_key))
    return Checkpoint(path, kind, own_key, found, said, tuple(notes))


def _first(a: Said, b: Said) -> Said:
    """What the first says, and the second where it says nothing."""
    step = a if a.step is not None else b
    return Said(step.step, b.epoch if a.epoch is None else a.epoch, step.source, step.other)


def _read_folder(path: Path, key: str | None, layout: Layout | None) -> Checkpoint:
    whole = put_together(path) if key is None else None
    if whole is not None:
        return Checkpoint(path, "deepspeed", "", whole.tensors, said_in(whole.loaded), (whole.note,))
    wanted = folders.weight_files(path)
    if len(wanted) == 1 and folders.is_of_deepspeed(next(iter(wanted))):
        inner = _read_pickle(next(iter(wanted)), key, layout, Said())
        return Checkpoint(path, inner.format, inner.key, inner.tensors, inner.said, inner.notes)
    tensors: dict[str, Tensor] = {}
    stated: dict[str, Any] = {}
    for file, names in wanted.items():
        if holds_safetensors(file, read_start(file)):
            held, metadata = read_safetensors(file)
            stated |= metadata
        else:
            held = find_state(load_pickle(file), None, file)[1]
        held = folders.select(held, names, file)
        twice = held.keys() & tensors.keys()
        if twice:
            raise LandscapeError(
                "tensors are in several files of the checkpoint, as parts or copies",
                where=file,
                got=str(Names.of(sorted(twice))),
                mend="merge them with the framework that trained them, and import what it writes",
            )
        tensors |= held
    stated |= folders.trainer_state(path)
    return Checkpoint(path, "huggingface", key or "", _under(tensors, key, path), said_in(stated))


def _read_distributed(path: Path, key: str | None, layout: Layout | None) -> Checkpoint:
    held = distributed.read_contents(path)
    own_key, found = find_state(held.loaded, key, path, layout)
    said = said_in(held.loaded, own_key)
    notes = left_out(held.loaded, own_key, layout) if layout is not None and key is None else []
    tensors = {name: held.read(tensor) for name, tensor in found.items()}
    return Checkpoint(path, "distributed", own_key, tensors, said, tuple(notes))


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

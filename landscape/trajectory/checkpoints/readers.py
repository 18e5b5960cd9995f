"""One checkpoint, whatever its format: name -> tensor, and what it says of its step."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.trajectory.checkpoints import distributed, files
from landscape.trajectory.checkpoints.contents import Said, said_in
from landscape.trajectory.checkpoints.distributed import put_together
from landscape.trajectory.checkpoints.files import holds_safetensors, read_start
from landscape.trajectory.checkpoints.pickles import (
    READ_FAULTS,
    STAND_INS,
    Array,
    load_pickle,
    refused,
    require_intact,
    short_reason,
    unreadable,
)
from landscape.trajectory.checkpoints.report import Names
from landscape.trajectory.checkpoints.weight_sets import find_state, left_out

# What begins a file of `numpy.save`.
_MAGIC = b"\x93NUMPY"
_ENDING = ".npy"


def holds_arrays(path: Path, start: bytes) -> bool:
    """Return whether a file is one of `numpy.save` or `numpy.savez`.

    Args:
        path: The file.
        start: Its first bytes.
    """
    if start.startswith(_MAGIC):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except READ_FAULTS:
        return False
    return bool(names) and all(name.endswith(_ENDING) for name in names)


def read_arrays(path: Path) -> Any:
    """Read a file of `numpy.savez`, or one of `numpy.save` that holds a dictionary; numbers as tensors.

    Nothing that is pickled in it is run.

    Args:
        path: The file.

    Raises:
        LandscapeError: If it is damaged, needs more than numbers, or holds one array without a name.
    """
    try:
        if zipfile.is_zipfile(path):
            require_intact(path)
            with np.load(path, allow_pickle=False) as held:
                return {name: _tensor(held[name]) for name in held.files}
        return with_tensors(_object_in(path))
    except pickle.UnpicklingError as error:
        asked = str(error).removeprefix("GLOBAL ")
        raise refused([asked], path) if asked != str(error) else unreadable(path, error) from error
    except (*READ_FAULTS, MemoryError) as error:
        raise unreadable(path, error) from error


def _object_in(path: Path) -> Any:
    with path.open("rb") as raw:
        version = npy.read_magic(raw)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(raw)
        if dtype.hasobject:
            held = _Reader(raw).load()
            return held.held() if isinstance(held, Array) else None
    raise LandscapeError(
        "one array without a name",
        where=path,
        got=f"{dtype} {shape}",
        mend="save all of them with numpy.savez(path, **{name: array}), by the names of the model's state_dict()",
    )


class _Reader(pickle.Unpickler):
    """Makes NumPy's values and plain containers, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        for stand_in, known in STAND_INS:
            if known == f"{module}.{name}":
                return stand_in
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")


def with_tensors(loaded: Any) -> Any:
    """The same nested dictionaries and lists with tensors in place of arrays of numbers."""
    if isinstance(loaded, Array):
        numbers = loaded.numbers()
        return loaded if numbers is None else _tensor(numbers)
    if isinstance(loaded, Mapping):
        return {name: with_tensors(item) for name, item in loaded.items()}
    if isinstance(loaded, list | tuple):
        return [with_tensors(item) for item in loaded]
    return loaded


def mostly_arrays(loaded: Any) -> bool:
    """Return whether more numbers are in NumPy's arrays than in tensors: then those are the weights."""
    sizes = {Array: 0, Tensor: 0}
    for leaf in _leaves(loaded):
        if isinstance(leaf, Tensor):
            sizes[Tensor] += leaf.numel()
        elif isinstance(leaf, Array) and (numbers := leaf.numbers()) is not None:
            sizes[Array] += numbers.size
    return sizes[Array] > sizes[Tensor]


def _leaves(loaded: Any) -> Iterator[Any]:
    if isinstance(loaded, Mapping | list | tuple):
        for item in loaded.values() if isinstance(loaded, Mapping) else loaded:
            yield from _leaves(item)
    else:
        yield loaded


def _tensor(numbers: NDArray[Any]) -> Tensor:
    """A tensor of the same numbers; of those that NumPy alone has, such as texts, an error."""
    return torch.from_numpy(np.ascontiguousarray(numbers).reshape(numbers.shape))


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
        if (path / files.METADATA).is_file():
            return _read_distributed(path, key, layout)
        return _read_folder(path, key, layout)
    if path.name == files.METADATA or path.name.endswith(files.PART):
        mend = f"name its folder, {path.absolute().parent}"
        raise LandscapeError("one of the files of a distributed checkpoint", where=path, mend=mend)
    stated = said_in(files.trainer_state(path.parent)) if files.is_standard_name(path.name) else Said()
    start = read_start(path)
    if holds_arrays(path, start):
        return _from_loaded(read_arrays(path), "numpy", path, key, layout)
    if holds_safetensors(path, start):
        tensors, metadata = read_safetensors(path)
        found = _under(tensors, key, path)
        return Checkpoint(path, "safetensors", key or "", found, _first(stated, said_in(metadata)))
    return _read_pickle(path, key, layout, stated)


def _read_pickle(path: Path, key: str | None, layout: Layout | None, stated: Said) -> Checkpoint:
    if files.is_part_of_zero(path):
        files.require_whole({}, path)
    loaded = load_pickle(path)
    kind = "lightning" if isinstance(loaded, Mapping) and _LIGHTNING in loaded else "torch"
    if mostly_arrays(loaded):
        loaded, kind = with_tensors(loaded), "numpy"
    read = _from_loaded(loaded, kind, path, key, layout, stated)
    if files.is_of_deepspeed(path):
        files.require_whole(read.tensors, path)
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
    """Merge two statements: the first, completed by the second."""
    step = a if a.step is not None else b
    return Said(step.step, b.epoch if a.epoch is None else a.epoch, step.source, step.other)


def _read_folder(path: Path, key: str | None, layout: Layout | None) -> Checkpoint:
    whole = put_together(path) if key is None else None
    if whole is not None:
        return Checkpoint(path, "deepspeed", "", whole.tensors, said_in(whole.loaded), (whole.note,))
    wanted = files.weight_files(path)
    if len(wanted) == 1 and files.is_of_deepspeed(next(iter(wanted))):
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
        held = files.select(held, names, file)
        twice = held.keys() & tensors.keys()
        if twice:
            raise LandscapeError(
                "tensors are in several files of the checkpoint, as parts or copies",
                where=file,
                got=str(Names.of(sorted(twice))),
                mend="merge them with the framework that trained them, and import what it writes",
            )
        tensors |= held
    stated |= files.trainer_state(path)
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

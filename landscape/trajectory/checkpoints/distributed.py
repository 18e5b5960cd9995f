"""Checkpoints in parts, of torch.distributed.checkpoint and of DeepSpeed's ZeRO, read without a process group."""

from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.trajectory.checkpoints.files import METADATA, PART, ZERO_MEND, names_in, natural_order, plain_name
from landscape.trajectory.checkpoints.pickles import (
    READ_FAULTS,
    Inert,
    load_pickle,
    load_weights,
    refused,
    short_reason,
)
from landscape.trajectory.checkpoints.report import printable

# Whose classes the metadata may name; none of them is made.
_MODULES = ("torch.distributed.", "torch.serialization.", "torch.storage.", "pathlib.")
# Beyond numbers and texts nothing that is not a tensor is read.
_SMALL = 2**16


class _Record:
    """In place of any class of the metadata: what it would have been given."""

    # A pickle can make an instance without calling anything.
    arguments: tuple[Any, ...] = ()
    fields: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.fields = state
        elif isinstance(state, tuple):
            self.arguments = state

    def __getitem__(self, name: str) -> Any:
        return self.fields.get(name)


def _size(numbers: Iterable[int] = ()) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers)


class _Reader(pickle.Unpickler):
    """Makes records, sizes and element types, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch", "Size"):
            return _size
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if f"{module}.".startswith(_MODULES):
            return _Record
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")


@dataclass(frozen=True)
class Part:
    """Where in a file a piece of a tensor is.

    Attributes:
        file: The file.
        start: Its first byte there.
        length: How many bytes it has.
        offsets: Where in the tensor it belongs.
        sizes: Its shape.
    """

    file: Path
    start: int
    length: int
    offsets: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()


@dataclass
class Contents:
    """Contents of a checkpoint folder.

    Attributes:
        path: The folder.
        loaded: Nested dictionaries as they were saved; tensors without numbers stand for those in the files.
        parts: Identity of such a tensor -> the tensor, so that no other has its identity, and its parts.
    """

    path: Path
    loaded: dict[str, Any] = field(default_factory=dict)
    parts: dict[int, tuple[Tensor, tuple[Part, ...]]] = field(default_factory=dict)

    def read(self, tensor: Tensor) -> Tensor:
        """Read the tensor that one without numbers stands for.

        Raises:
            LandscapeError: If parts are missing, damaged, or are not those of the tensor.
        """
        if tensor.device.type != "meta":
            return tensor
        _, parts = self.parts[id(tensor)]
        pieces = [self._piece(part, tensor) for part in parts]
        if len(pieces) == 1 and pieces[0].shape == tensor.shape:
            return pieces[0]
        found = torch.empty(tensor.shape, dtype=tensor.dtype)
        written = torch.zeros(tensor.shape, dtype=torch.bool)
        for part, piece in zip(parts, pieces, strict=True):
            place = tuple(slice(a, a + n) for a, n in zip(part.offsets, part.sizes, strict=True))
            found[place], written[place] = piece, True
        if not bool(written.all()):
            raise _damaged(self.path, "parts of a tensor are missing")
        return found

    def _piece(self, part: Part, tensor: Tensor) -> Tensor:
        loaded = _load(part, self.path)
        if not isinstance(loaded, Tensor) or loaded.shape != part.sizes or loaded.dtype != tensor.dtype:
            raise _damaged(self.path, "a part of a tensor is something else")
        return loaded.detach()


def read_contents(path: Path) -> Contents:
    """Read a folder by its metadata; of the files only numbers and texts beside the weights are read.

    Args:
        path: The folder.

    Raises:
        LandscapeError: If the metadata is damaged, asks for code, or names files elsewhere.
    """
    try:
        metadata = _Reader(io.BytesIO((path / METADATA).read_bytes())).load()
        contents = Contents(path)
        for name, steps, value in _entries(metadata, path, contents):
            _put(contents.loaded, steps, value, name)
    except pickle.UnpicklingError as error:
        asked = str(error).removeprefix("GLOBAL ")
        raise refused([asked], path / METADATA) if asked != str(error) else _damaged(path, asked) from error
    except READ_FAULTS as error:
        raise _damaged(path, short_reason(error)) from error
    return contents


def _entries(metadata: Any, path: Path, contents: Contents) -> Iterable[tuple[str, list[str], Any]]:
    """Flat name, path in the nested dictionaries, and value, of all that was saved."""
    stored: dict[str, list[Part]] = {}
    for index, info in metadata["storage_data"].items():
        stored.setdefault(index["fqn"], []).append(_part(path, index, info))
    flattened = metadata["planner_data"] or {}
    for name, info in metadata["state_dict_metadata"].items():
        steps = [str(step) for step in flattened.get(name, (name,))]
        if info["size"] is None:
            yield name, steps, _plain(stored[name], path)
        else:
            tensor, parts = _tensor(name, info, stored.get(name, []), path)
            contents.parts[id(tensor)] = tensor, parts
            # A number can say the step.
            small = not tensor.shape and len(parts) == 1 and parts[0].length <= _SMALL
            yield name, steps, contents.read(tensor) if small else tensor


def _part(path: Path, index: Any, info: Any) -> Part:
    if info["transform_descriptors"]:
        raise LandscapeError("a compressed checkpoint", where=path, mend="save it without extensions")
    file = path / plain_name(info["relative_path"], path / METADATA, (PART,))
    return Part(file, int(info["offset"]), int(info["length"]), _size(index["offset"] or ()))


def _tensor(name: str, info: Any, stored: list[Part], path: Path) -> tuple[Tensor, tuple[Part, ...]]:
    """A tensor without numbers, and the parts of it; a file must not claim more than it has."""
    shape = _size(info["size"])
    dtype = info["properties"].arguments[0]
    places = {part.offsets: part for part in stored}
    parts = []
    for chunk in info["chunks"]:
        offsets, sizes = _size(chunk["offsets"]), _size(chunk["sizes"])
        part = places[offsets]
        parts.append(Part(part.file, part.start, part.length, offsets, sizes))
    held = sum(math.prod(part.sizes) for part in parts)
    fits = all(
        a >= 0 and n >= 0 and a + n <= whole
        for part in parts
        for a, n, whole in zip(part.offsets, part.sizes, shape, strict=True)
    )
    if not fits or held != math.prod(shape) or held * dtype.itemsize > sum(part.length for part in parts):
        raise _damaged(path, f"'{printable(name)}' is not whole")
    return torch.empty(shape, dtype=dtype, device="meta"), tuple(parts)


def _plain(stored: list[Part], path: Path) -> Any:
    """A number or text beside the weights; None for all else."""
    if len(stored) != 1 or stored[0].length > _SMALL:
        return None
    try:
        found = _load(stored[0], path)
    except LandscapeError:
        # Something that is no weight and could run code: a configuration, the state of a random generator.
        return None
    return found if isinstance(found, bool | int | float | str | Tensor | Mapping) else None


def _load(part: Part, path: Path) -> Any:
    try:
        with part.file.open("rb") as file:
            file.seek(part.start)
            return load_weights(io.BytesIO(file.read(part.length)))
    except READ_FAULTS as error:
        raise _damaged(part.file, short_reason(error)) from error


def _put(loaded: dict[str, Any], steps: list[str], value: Any, name: str) -> None:
    inside = loaded
    for step in steps[:-1]:
        inner = inside.setdefault(step, {})
        if not isinstance(inner, dict):
            # Flat names, one of which begins as another: they are kept.
            inside, steps = loaded, [name]
            break
        inside = inner
    inside[steps[-1]] = value


def _damaged(where: Path, got: str) -> LandscapeError:
    return LandscapeError(
        "not a folder of torch.distributed.checkpoint, or a damaged one",
        where=where,
        got=printable(got),
        mend="copy the whole folder",
    )


_OPTIMIZER = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt")
_MODEL = re.compile(r"(?:zero_pp_rank_(\d+)_)?mp_rank_(\d+)_model_states\.pt")
# Where the parts of weights in full precision are, by stage.
_PARTS = {
    1: "single_partition_of_fp32_groups",
    2: "single_partition_of_fp32_groups",
    3: "fp32_flat_groups",
}


@dataclass(frozen=True)
class Whole:
    """Weights that were put together.

    Attributes:
        tensors: Name -> tensor, parameters in full precision.
        loaded: What one of the files of the model says beside them.
        note: What was done, in words.
    """

    tensors: dict[str, Tensor]
    loaded: Mapping[str, Any]
    note: str


def put_together(folder: Path) -> Whole | None:
    """The weights in a folder that DeepSpeed wrote; None where ZeRO keeps none in parts there.

    Args:
        folder: The folder.

    Raises:
        LandscapeError: If parts are missing, damaged, of an unknown kind, or of a model that is split too.
    """
    names = names_in(folder)
    optimizers = natural_order(folder / name for name in names if _OPTIMIZER.fullmatch(name))
    models = natural_order(folder / name for name in names if _MODEL.fullmatch(name))
    if not optimizers or not models:
        return None
    states = [_optimizer(path) for path in optimizers]
    if not all(states):
        return None
    if any(int(found[2]) for path in models if (found := _MODEL.fullmatch(path.name))):
        raise _refusal(folder, "parts of model parallelism")
    try:
        return _whole(folder, states, models)
    except READ_FAULTS as error:
        raise _refusal(folder, short_reason(error)) from error


def _optimizer(path: Path) -> dict[str, Any]:
    """Return the optimizer state of one process; empty without weights."""
    loaded = load_pickle(path, inert="deepspeed")
    held = loaded.get("optimizer_state_dict") if isinstance(loaded, Mapping) else None
    return dict(held) if isinstance(held, Mapping) and "zero_stage" in held else {}


def _whole(folder: Path, states: Sequence[Mapping[str, Any]], models: Sequence[Path]) -> Whole:
    stage, processes = states[0]["zero_stage"], states[0]["partition_count"]
    # Newer versions write a member of an enumeration.
    stage = stage.arguments[0] if isinstance(stage, Inert) else stage
    processes = max(processes) if isinstance(processes, list) else processes
    if stage not in _PARTS:
        raise _refusal(folder, f"ZeRO of stage {stage}")
    if processes != len(states) or (stage == 3 and processes != len(models)):
        raise _refusal(folder, f"{len(states)} of {processes} parts")
    # Each process of stage 3 has its own share of what is frozen.
    loaded = [load_pickle(path, inert="deepspeed") for path in (models if stage == 3 else models[:1])]
    parts = [state[_PARTS[stage]] for state in states]
    put = _each_cut if stage == 3 else _groups_cut
    tensors = dict(put(loaded[0]["param_shapes"], parts))
    tensors.update(_frozen(loaded, stage))
    buffers = loaded[0].get("buffer_names") or ()
    tensors |= {name: loaded[0]["module"][name] for name in buffers if name in loaded[0]["module"]}
    shared = dict(loaded[0].get("shared_params") or {})
    tensors |= {name: tensors[kept] for name, kept in shared.items() if kept in tensors}
    note = f"put together from {processes} parts of ZeRO stage {stage}, in full precision"
    return Whole(tensors, loaded[0], note)


def _groups_cut(shapes: Sequence[Mapping[str, Any]], parts: Sequence[Any]) -> Iterator[tuple[str, Tensor]]:
    """Parameters of stages 1 and 2."""
    for group, own in zip(shapes, zip(*parts, strict=True), strict=True):
        if len({len(part) for part in own}) != 1:
            raise ValueError("parts of several lengths")
        flat = torch.cat(list(own))
        place = 0
        for name, shape in group.items():
            yield name, flat.narrow(0, place, math.prod(shape)).view(tuple(shape))
            place += math.prod(shape)
        # NCCL is faster with buffers that are so aligned.
        align = 2 * len(parts)
        if -(-place // align) != -(-len(flat) // align):
            raise ValueError(f"{len(flat)} numbers for {place}")


def _each_cut(shapes: Sequence[Mapping[str, Any]], parts: Sequence[Any]) -> Iterator[tuple[str, Tensor]]:
    """Parameters of stage 3."""
    flats = [torch.cat(list(part)) for part in parts]
    place = 0
    for name, shape in ((name, shape) for group in shapes for name, shape in group.items()):
        share = -(-math.prod(shape) // len(parts))
        yield name, _joined([flat.narrow(0, place, share) for flat in flats], shape)
        place += share
    if any(len(flat) != place for flat in flats):
        raise ValueError(f"{len(flats[0])} numbers for {place} in a part")


def _frozen(loaded: Sequence[Mapping[str, Any]], stage: int) -> Iterator[tuple[str, Tensor]]:
    """Parameters that are not trained."""
    for name, shape in (loaded[0].get("frozen_param_shapes") or {}).items():
        shares = [one["frozen_param_fragments"][name] for one in loaded]
        yield name, _joined(shares, shape) if stage == 3 else shares[0].view(tuple(shape))


def _joined(shares: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    return torch.cat([share.flatten() for share in shares])[: math.prod(shape)].view(tuple(shape))


def _refusal(folder: Path, got: str) -> LandscapeError:
    return LandscapeError(
        "parts in which ZeRO keeps weights cannot be put together", where=folder, got=got, mend=ZERO_MEND
    )

"""Which tensor of a checkpoint is which of a model, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.params import resolve
from landscape.trajectory.checkpoints.element_types import dtype_name, same_values
from landscape.trajectory.checkpoints.renaming import Renaming, is_of_adapter, renamings, unwrapped
from landscape.trajectory.checkpoints.report import Names, printable


@dataclass(frozen=True)
class Match:
    """The tensors of a checkpoint under the names of a model.

    Attributes:
        sources: First name of each tensor in the model -> the name it has in the checkpoint.
        words: What was done to names; empty if nothing.
        missing: What the model has and the checkpoint does not.
        extra: Names in the checkpoint that are not in the model.
    """

    sources: Mapping[str, str]
    words: str
    missing: tuple[TensorInfo, ...]
    extra: tuple[str, ...]


def layout_of_state(tensors: Mapping[str, Tensor], where: Path) -> Layout:
    """The layout that a state dict suggests: kinds told by name and type, tied tensors by shared memory.

    Args:
        tensors: Name -> tensor, as a checkpoint has them.
        where: The file, for messages.

    Returns:
        The layout, under names without what torch.compile and parallel wrappers add.

    Raises:
        LandscapeError: If a tensor repeats fewer numbers than it has elements: a file of a few bytes could
            otherwise ask for any amount of room.
    """
    for name, tensor in tensors.items():
        if _is_plain(tensor) and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise LandscapeError(
                f"tensor '{printable(name)}' has more elements than numbers",
                where=where,
                got=_shape(tensor.shape),
                mend="pass --problem, or a model, that has it so",
            )
    names = unwrapped(list(tensors)).targets
    first: dict[tuple[object, ...], Tensor] = {}
    shared = {
        # Tensors without elements have no memory to share.
        names[name]: first.setdefault(_memory(tensor), tensor) if tensor.numel() else tensor
        for name, tensor in tensors.items()
    }
    return resolve(shared)[0]


def _memory(tensor: Tensor) -> tuple[object, ...]:
    if not _is_plain(tensor):
        return (id(tensor),)
    return (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.device.type == "cpu"


def match(layout: Layout, tensors: Mapping[str, Tensor], where: Path, *, may_miss: bool) -> Match:
    """Find the tensors of a model in a checkpoint.

    Of the ways to read its names (see `renamings`) the one is taken under which most tensors fit, the simplest
    where several do.

    Args:
        layout: The tensors of the model.
        tensors: Those of the checkpoint.
        where: The file, for messages.
        may_miss: Whether tensors may be missing.

    Raises:
        LandscapeError: If tensors are missing or have another shape, if nothing fits, if several prefixes fit
            equally well, or if the names of one tied tensor have different values.
    """
    owners = {info.name: info.tied_to or info.name for info in layout}
    shapes = {info.name: info.shape for info in layout}
    if all(map(is_of_adapter, tensors)) and not any(map(is_of_adapter, owners)):
        raise LandscapeError(
            "the file holds an adapter, without the weights that it adapts",
            where=where,
            got=str(Names.of(tensors)),
            expected=str(Names.of(owners)),
            mend="merge it into its model (merge_and_unload of peft) and save that, or let the problem build the "
            "model with the adapter and pass --missing initial",
        )
    best = _best(owners, shapes, tensors, where)
    found: dict[str, list[str]] = {}
    for name, target in best.targets.items():
        found.setdefault(owners[target], []).append(name)
    wrong = [
        f"{name} is {_shape(tensors[name].shape)}, not {_shape(shapes[own])}"
        for own, names in found.items()
        for name in names
        if tuple(tensors[name].shape) != shapes[own]
    ]
    missing = tuple(info for info in layout if info.tied_to is None and info.name not in found)
    extra = tuple(name for name in tensors if name not in best.targets)
    if not found:
        raise LandscapeError(
            "no tensor of the model is in the file",
            where=where,
            got=str(Names.of(tensors)),
            expected=str(Names.of(owners)),
            mend="choose the problem and the options that the checkpoint was trained with",
        )
    if wrong or (missing and not may_miss):
        raise _misfit(where, best.words, missing, wrong, extra)
    _require_one_value(found, tensors, where)
    # The model's own first name, where the file has it.
    sources = {own: own if own in names else names[0] for own, names in found.items()}
    return Match(sources, best.words, missing, extra)


def _best(
    owners: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], where: Path
) -> Renaming:
    def fit(renaming: Renaming) -> tuple[int, int]:
        """How many tensors of the model it finds in their shape, and how many by name."""
        named = {owners[target] for target in renaming.targets.values()}
        fits = {owners[t] for name, t in renaming.targets.items() if tuple(tensors[name].shape) == shapes[t]}
        return len(fits), len(named)

    tried = [(fit(renaming), renaming) for renaming in renamings(list(owners), list(tensors))]
    most = max(score for score, _ in tried)
    equal = [renaming for score, renaming in tried if score == most]
    equal = [equal[0], *(other for other in equal[1:] if other.targets != equal[0].targets)]
    if equal[0].beginning and len(equal) > 1:
        raise LandscapeError(
            "the names fit the model in several ways",
            where=where,
            got=", ".join(printable(renaming.words) for renaming in equal),
            mend=f"choose the beginning of the right ones, such as --key {printable(equal[0].beginning)}",
        )
    return equal[0]


def _misfit(
    where: Path, words: str, missing: tuple[TensorInfo, ...], wrong: list[str], extra: tuple[str, ...]
) -> LandscapeError:
    faults = []
    if missing:
        described = Names.of(f"{info.name} {_shape(info.shape)}" for info in missing)
        faults.append(f"{len(missing)} missing: {described}")
    if wrong:
        faults.append(f"{len(wrong)} of another shape: {Names.of(wrong)}")
    if extra:
        faults.append(f"{len(extra)} extra: {Names.of(extra)}")
    if words:
        faults.append(f"names with {printable(words)}")
    can_miss = bool(missing) and not wrong
    return LandscapeError(
        "the tensors are not those of the model",
        where=where,
        got=" | ".join(faults),
        mend="--missing initial takes missing ones from the problem's initial model" if can_miss else None,
    )


def _require_one_value(found: Mapping[str, list[str]], tensors: Mapping[str, Tensor], where: Path) -> None:
    for names in found.values():
        for other in names[1:]:
            if not same_values(tensors[names[0]], tensors[other]):
                raise LandscapeError(
                    "names that are one tensor in the model have different values in the file",
                    where=where,
                    got=" and ".join(f"{printable(n)} ({dtype_name(tensors[n])})" for n in (names[0], other)),
                    mend="build the problem without tied weights",
                )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"

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
from landscape.trajectory.checkpoints.names import Renaming, is_counter, is_of_adapter, renamings, unwrapped
from landscape.trajectory.checkpoints.report import Names, printable

# BatchNorm counts batches since torch 0.4.1; torch itself loads files without the count.
_COUNT, _COUNTED = "num_batches_tracked", ("running_mean", "running_var")
# What FSDP keeps in place of parameters unless it is asked for whole ones.
_FLAT = ("_flat_param", "flat_param")


@dataclass(frozen=True)
class Match:
    """The tensors of a checkpoint under the names of a model.

    Attributes:
        sources: First name of each tensor in the model -> the name it has in the checkpoint.
        words: What was done to names; empty if nothing.
        missing: What the model has and the checkpoint does not.
        extra: Names in the checkpoint that are not in the model.
        uncounted: Counters of BatchNorm layers whose statistics are in the checkpoint without them.
        notes: What else there is to say.
    """

    sources: Mapping[str, str]
    words: str
    missing: tuple[TensorInfo, ...]
    extra: tuple[str, ...]
    uncounted: tuple[TensorInfo, ...] = ()
    notes: tuple[str, ...] = ()


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
    tensors = {name: tensor for name, tensor in tensors.items() if name in names}
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


def match(layout: Layout, tensors: Mapping[str, Tensor], where: Path, *, may_miss: bool, key: str = "") -> Match:
    """Find the tensors of a model in a checkpoint.

    Of the ways to read its names (see `renamings`) the one is taken under which most tensors fit, the simplest
    where several do.

    Args:
        layout: The tensors of the model.
        tensors: Those of the checkpoint.
        where: The file, for messages.
        may_miss: Whether tensors may be missing.
        key: Where in the file they are, for messages.

    Raises:
        LandscapeError: If tensors are missing or have another shape, if nothing fits, if the file holds several
            sets of weights that fit, or if the names of one tied tensor have different values.
    """
    owners = {info.name: info.tied_to or info.name for info in layout}
    shapes = {info.name: info.shape for info in layout}
    if all(map(is_of_adapter, tensors)) and not any(map(is_of_adapter, owners)):
        raise _nothing(owners, tensors, where)
    readings = _Readings.of(layout, tensors)
    best = readings.best(where, key)
    found: dict[str, list[str]] = {}
    for name, target in best.targets.items():
        found.setdefault(owners[target], []).append(name)
    wrong = [
        f"{name} is {_shape(tensors[name].shape)}, not {_shape(shapes[own])}"
        for own, names in found.items()
        for name in names
        if tuple(tensors[name].shape) != shapes[own]
    ]
    absent = tuple(info for info in layout if info.tied_to is None and info.name not in found)
    uncounted = tuple(info for info in absent if _is_uncounted(info, found))
    missing = tuple(info for info in absent if info not in uncounted)
    extra = tuple(name for name in tensors if name not in best.targets)
    counters = tuple(name for name in extra if is_counter(name) and tensors[name].numel() == 1)
    if not found:
        raise _nothing(owners, tensors, where)
    if wrong or (missing and not may_miss):
        raise _misfit(where, best.words, missing, wrong, extra)
    _require_one_value(found, tensors, where)
    # The model's own first name, where the file has it.
    sources = {own: own if own in names else names[0] for own, names in found.items()}
    notes = [f"an average of weights: {printable(name)} is {tensors[name].item():g}" for name in counters]
    notes += readings.unused(best, key)
    kept = tuple(name for name in extra if name not in counters)
    return Match(sources, best.words, missing, kept, uncounted, tuple(notes))


def _is_uncounted(info: TensorInfo, found: Mapping[str, list[str]]) -> bool:
    before, _, last = info.name.rpartition(".")
    beside = [f"{before}.{name}" if before else name for name in _COUNTED]
    return last == _COUNT and info.kind == "buffer" and info.shape == () and all(name in found for name in beside)


def covers(layout: Layout, tensors: Mapping[str, Tensor]) -> tuple[bool, int]:
    """Return whether all parameters of a model are among some tensors, and how many of its tensors are.

    Args:
        layout: The tensors of the model.
        tensors: Name -> tensor, as a checkpoint has them.
    """
    scores = [(score[0], score[2]) for score, _ in _Readings.of(layout, tensors).tried]
    return max(scores)


@dataclass(frozen=True)
class _Readings:
    """The ways to read the names of a checkpoint.

    Attributes:
        tried: (score, renaming), the simplest first; a score says whether all parameters are found in their shape,
            whether nothing is done to names, how many tensors are found in their shape, and how many by name.
        tensors: Those of the checkpoint.
    """

    tried: list[tuple[tuple[bool, bool, int, int], Renaming]]
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, layout: Layout, tensors: Mapping[str, Tensor]) -> _Readings:
        owners = {info.name: info.tied_to or info.name for info in layout}
        shapes = {info.name: info.shape for info in layout}
        parameters = {owners[info.name] for info in layout if info.kind == "parameter"} or set(owners.values())
        given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}

        def score(renaming: Renaming) -> tuple[bool, bool, int, int]:
            named = {owners[target] for target in renaming.targets.values()}
            fits = {owners[t] for name, t in renaming.targets.items() if given[name] == shapes[t]}
            return parameters <= fits, not renaming.words, len(fits), len(named)

        return cls([(score(one), one) for one in renamings(shapes, given)], tensors)

    def best(self, where: Path, key: str) -> Renaming:
        """The one under which most tensors fit, the simplest of several.

        Raises:
            LandscapeError: If others fit as well, and take other tensors.
        """
        most = max(score[2:] for score, _ in self.tried)
        equal = [one for score, one in self.tried if score[2:] == most]
        rivals = [equal[0], *(one for one in equal[1:] if equal[0].beginning)]
        rivals += self._whole() if equal[0].words else []
        rivals = self._distinct(rivals)
        if len(rivals) == 1 or not equal[0].targets:
            return equal[0]
        keys = [_key(one, key) for one in rivals]
        raise LandscapeError(
            "several sets of weights in the file fit the model",
            where=where,
            got=", ".join(printable(one) for one in keys),
            mend=f"choose one, such as --key {printable(keys[0])}",
        )

    def unused(self, best: Renaming, key: str) -> list[str]:
        """Note other sets of weights that fit."""
        others = self._distinct([best, *self._whole()])[1:]
        return [f"other weights in the file fit too: --key {printable(_key(one, key))}" for one in others]

    def _whole(self) -> list[Renaming]:
        return [one for score, one in self.tried if score[0]]

    def _distinct(self, several: list[Renaming]) -> list[Renaming]:
        """Those that give a model other values than the ones before them."""
        kept: list[Renaming] = []
        for one in several:
            if not any(self._same(other, one) for other in kept):
                kept.append(one)
        return kept

    def _same(self, a: Renaming, b: Renaming) -> bool:
        """Return whether the second gives nothing that the first does not."""
        first, second = ({target: name for name, target in one.targets.items()} for one in (b, a))
        return first.keys() <= second.keys() and all(
            name == second[t] or same_values(self.tensors[name], self.tensors[second[t]])
            for t, name in first.items()
        )


def _key(renaming: Renaming, key: str) -> str:
    """The ``--key`` under which the tensors of a renaming are, and no others."""
    beginnings = {
        name.removesuffix(target).rstrip(".") for name, target in renaming.targets.items() if name.endswith(target)
    }
    beginning = beginnings.pop() if len(beginnings) == 1 else renaming.beginning
    return ".".join(part for part in (key, beginning) if part)


def _nothing(owners: Mapping[str, str], tensors: Mapping[str, Tensor], where: Path) -> LandscapeError:
    """Return the error for a file that holds no tensor of the model."""
    got, expected = str(Names.of(tensors)), str(Names.of(owners))
    what = "no tensor of the model is in the file"
    mend = "choose the problem and the options that the checkpoint was trained with"
    if all(map(is_of_adapter, tensors)):
        what = "the file holds an adapter, without the weights that it adapts"
        mend = (
            "merge it into its model (merge_and_unload of peft) and save that, or let the problem build the "
            "model with the adapter and pass --missing initial"
        )
    elif any(name.rsplit(".", 1)[-1] in _FLAT for name in tensors):
        what = "the file holds the flat parameters of FSDP, of which no tensor of the model can be told"
        mend = "save with FSDP's StateDictType.FULL_STATE_DICT, or torch.distributed.checkpoint"
    return LandscapeError(what, where=where, got=got, expected=expected, mend=mend)


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

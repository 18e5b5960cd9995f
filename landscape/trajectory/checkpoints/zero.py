"""Weights that DeepSpeed's ZeRO keeps in parts, put together as its own script does.

Source: zero_to_fp32.py of DeepSpeed. Stages 1 and 2 cut each group of parameters, laid end to end, into equal
parts; stage 3 cuts each parameter. Parts are padded, so that all processes have as much.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.trajectory.checkpoints.files import natural_order
from landscape.trajectory.checkpoints.folders import ZERO_MEND, names_in
from landscape.trajectory.checkpoints.numpy_values import Inert
from landscape.trajectory.checkpoints.pickles import READ_FAULTS, load_pickle, short_reason

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
    """What the optimizer of one process keeps; empty without weights."""
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

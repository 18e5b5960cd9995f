"""The part of a sharded model that a process writes to a file of its own."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import Layout, PartInfo, TensorInfo
from landscape.params import Weights, layout_of
from landscape.storage import part_path
from landscape.trajectory.gathered import GatheredWeights, OwnWeights, is_shared
from landscape.wrappers import axis_of, bare, first_of, is_engine, is_partitioned, is_sharded, own_part, reshard


def weights_of(model: Weights, shards: bool) -> OwnWeights:
    """The weights that are recorded of a model.

    Args:
        model: The model; where its parameters are sharded, they are gathered.
        shards: Take the part of this process instead.

    Raises:
        LandscapeError: If there are no parts.
    """
    shared = model if isinstance(model, nn.Module) and is_shared(model) else None
    if shards and shared is None:
        raise LandscapeError(
            "each process has the whole model, and no part of its own to record",
            where="shards",
            mend="leave it out",
        )
    if shared is None:
        return OwnWeights(model)
    return PartWeights(shared) if shards else GatheredWeights(shared)


class PartWeights(OwnWeights):
    """The part of a sharded model in this process: while they record, no process waits for another.

    What each process has whole (buffers, say) is in the file of the first.

    Args:
        model: A model of which each process has a part, as FSDP2, tensor parallelism and ZeRO-3 leave it.

    Raises:
        LandscapeError: If a parameter is spread otherwise than along one axis, or not over all processes.
    """

    part: Mapping[str, int]

    def __init__(self, model: nn.Module) -> None:
        self._model: nn.Module = bare(model)
        self._steps_late = is_engine(model) or any(map(is_partitioned, model.parameters()))
        rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.part = {"rank": rank, "of": count}
        reshard(self._model)
        state = self._state()
        whole = layout_of(self._model, sharded=True)
        parts = (_part_of(info, state[info.tied_to or info.name], rank, count) for info in whole)
        self.layout = Layout(tuple(part for part in parts if part is not None))

    def _state(self) -> dict[str, Tensor]:
        return dict(self._model.named_parameters()) | dict(self._model.named_buffers())

    def file(self, path: Path, branch: str | None) -> Path:
        """The file of this process, beside those of the others.

        Raises:
            LandscapeError: If the parts could not be read by the name that is given.
        """
        if branch is not None:
            raise LandscapeError("a branch is recorded whole", where="shards", mend="leave it out")
        if os.path.lexists(path):
            raise LandscapeError(
                "the file exists, and would be read in place of the parts",
                where=path,
                mend="remove it, or give another name",
            )
        return part_path(path, self.part["rank"], self.part["of"])

    def new_id(self) -> str:
        """The name of a new run, which all processes give it."""
        told: list[Any] = [super().new_id()]
        torch.distributed.broadcast_object_list(told, 0)
        return str(told[0])

    def agreed(self, path: Path, run_id: str, steps: list[int], *, same: bool = False) -> list[int]:
        """The steps that all processes have: one may have been killed before it wrote what another did.

        Raises:
            LandscapeError: In all processes, if they have other runs, or snapshots that do not go on from others'.
        """
        told: list[Any] = [None] * self.part["of"]
        torch.distributed.all_gather_object(told, (run_id, steps))
        fewest = min((found for _, found in told), key=len)
        differ = any(found[: len(fewest)] != fewest or (same and found != fewest) for _, found in told)
        if differ or len({name for name, _ in told}) > 1:
            raise LandscapeError(
                "the files of the processes hold other runs, or other snapshots of one",
                where=path,
                mend="begin another run, or go on from a checkpoint of your own with recorder.rewind(step)",
            )
        return fewest

    def tensors(self, given: Weights | None) -> Mapping[str, Tensor]:
        """The parts, in the same memory.

        Raises:
            LandscapeError: If others are given.
        """
        if given is not None:
            raise LandscapeError("of a sharded model only its own weights are recorded", where="weights")
        reshard(self._model)
        state = self._state()
        owners = (info for info in self.layout if info.tied_to is None)
        return {info.name: _held(state[info.name])[: info.numel] for info in owners}


def _held(tensor: Any) -> Tensor:
    """The numbers of a tensor in this process, flat."""
    return (tensor.ds_tensor.detach() if is_partitioned(tensor) else own_part(tensor.detach())).reshape(-1)


def _part_of(info: TensorInfo, tensor: Any, rank: int, count: int) -> PartInfo | None:
    """The part of a tensor in this process; None where it has no numbers of its own, and is not the first."""
    rows, start, numel, group = 1, 0, info.numel, None
    if is_partitioned(tensor):
        group = torch.distributed.get_world_size(tensor.ds_process_group)
        held = int(tensor.ds_tensor.ds_numel)
        start = min(info.numel, held * rank)
        numel = min(held, info.numel - start)
    elif is_sharded(tensor) and info.numel and (axis := axis_of(info.name, tensor)) is not None:
        group, numel = tensor.device_mesh.size(), own_part(tensor.detach()).numel()
        rows, start = math.prod(info.shape[:axis]), first_of(tensor, axis) * math.prod(info.shape[axis + 1 :])
    if group not in (None, count):
        raise LandscapeError(
            f"'{info.name}' is spread over some processes only",
            where="shards",
            got=f"{group} of {count}",
            mend="leave it out: the weights are then gathered",
        )
    if rank and (group is None or not numel):
        return None
    return PartInfo.of(info, numel, rows, start)

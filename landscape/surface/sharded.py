"""Lines and planes of a model whose parameters are sharded over processes (FSDP2): each moves its own shard.

Every process draws the blocks of its own rows only, bit for bit those that one process alone would draw, and moves
them just before the unit that they belong to is gathered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard

from landscape.errors import LandscapeError
from landscape.layout import TensorInfo
from landscape.objective.displacement import Displacement, Readers
from landscape.params import layout_of
from landscape.projection.blocks import BlockDirection, BlockTensor
from landscape.surface.in_place import Moved


class ShardedPlane:
    """Random directions through the weights of a sharded model, drawn shard by shard.

    Args:
        model: A model that `torch.distributed.fsdp.fully_shard` was applied to, over one mesh dimension.
        dims: The number of directions.
        normalize: ``"filter"``, ``"layer"``, ``"weight"`` or ``"none"``; see `random_direction`.
        seed: Draws the directions: those of ``random_plane(..., generator="blocks")``.
        one_d: ``"ignore"`` or ``"norm"``.

    Attributes:
        directions: Of what this process holds.
        starts: Name -> the flat index (of real numbers) at which this process's part of a tensor begins.

    Raises:
        LandscapeError: If a tensor is cut otherwise than by rows, or its filters are not rows.

    Example:
        >>> plane = ShardedPlane(model, seed=0)
        >>> with plane.at(0.5), torch.no_grad():
        ...     mean = model(x).mean()
    """

    def __init__(
        self, model: nn.Module, *, dims: int = 1, normalize: str = "filter", seed: int = 0, one_d: str = "ignore"
    ) -> None:
        self._units = [module for module in model.modules() if isinstance(module, FSDPModule)]
        layout = layout_of(model, sharded=True)
        parameters = dict(model.named_parameters())
        moving = layout.moving()
        drawn = [info for info in moving if len(info.shape) > 1 or one_d == "norm"]
        self._tensors: dict[str, Tensor] = {}
        self.starts: dict[str, int] = {}
        totals: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {}
        for info in moving:
            parameter = parameters[info.name]
            self._tensors[info.name], row, group = _held(info, parameter)
            self.starts[info.name] = row * max(1, info.numbers // max(1, info.shape[0] if info.shape else 1))
            if group is not None and (normalize == "layer" or len(info.shape) <= 1):
                totals[info.name] = functools.partial(_added, group=group)
        self.directions = [
            BlockDirection.of_parts(
                {
                    info.name: BlockTensor.of(
                        info,
                        self._tensors[info.name],
                        normalize,
                        seed,
                        index,
                        start=self.starts[info.name],
                        total=totals.get(info.name),
                    )
                    for info in drawn
                }
            )
            for index in range(dims)
        ]
        names = [info.name for info in drawn]
        self._displacement = Displacement(
            {name: self._tensors[name] for name in names}, _units_of(model, names), watched=False
        )

    @contextmanager
    def at(self, *point: float) -> Iterator[None]:
        """Passes inside see the weights at a point; afterwards all is as it was, bit for bit.

        Args:
            point: One coordinate per direction; the same in all processes.
        """
        if len(point) != len(self.directions):
            raise LandscapeError("one coordinate per direction", got=len(point), expected=len(self.directions))
        # What was gathered in an earlier pass is of other weights.
        self._reshard()
        try:
            with self._displacement.at(Moved(self.directions, point, self.starts)):
                yield
        finally:
            self._reshard()

    def _reshard(self) -> None:
        for unit in self._units:
            unit.reshard()

    def values(self, measure: Callable[[], Any], points: Sequence[Sequence[float]]) -> list[float]:
        """Numbers measured at each point, which all processes take together.

        Args:
            measure: Passes data through the model and gives a number; called without gradients.
            points: Coordinates.
        """
        found = []
        for point in points:
            with self.at(*point), torch.no_grad():
                found.append(float(measure()))
        return found


def _held(info: TensorInfo, parameter: Tensor) -> tuple[Tensor, int, Any]:
    """The part of a parameter in this process, its first row, and the group that holds the rest."""
    if not isinstance(parameter, DTensor):
        return parameter.detach(), 0, None
    mesh = parameter.device_mesh
    if mesh.ndim != 1 or tuple(parameter.placements) != (Shard(0),) or info.complex:
        raise LandscapeError(
            f"'{info.name}' is not cut into rows over one mesh dimension",
            got=", ".join(map(str, parameter.placements)),
            mend="apply fully_shard over a mesh of one dimension",
        )
    if len(info.shape) > 1 and info.filter_axis != 0:
        raise LandscapeError(f"the filters of '{info.name}' are not rows, so shards cut them")
    held, rows = parameter.to_local().detach(), info.shape[0]
    size = -(-rows // mesh.size())
    return held, min(rows, mesh.get_local_rank() * size), mesh.get_group()


def _added(squares: NDArray[np.float64], group: Any) -> NDArray[np.float64]:
    """The sum over all processes, in the order of their ranks."""
    own = torch.from_numpy(squares)
    parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size(group))]
    torch.distributed.all_gather(parts, own, group)
    total: NDArray[np.float64] = torch.stack(parts).cumsum(0)[-1].numpy()
    return total


def _units_of(model: nn.Module, names: Sequence[str]) -> Readers:
    """The unit that gathers each parameter; of one outside of all, the whole pass."""
    modules = dict(model.named_modules())
    readers: Readers = {}
    for name in names:
        parts = name.split(".")[:-1]
        above = [modules[".".join(parts[:end])] for end in range(len(parts), -1, -1)]
        units = (module for module in above if isinstance(module, FSDPModule))
        unit: Any = next(units, None)
        readers[name] = [unit]
    return readers

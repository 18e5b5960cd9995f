"""Weights that a recorder reads: a model's own, or whole tensors gathered from the processes that share them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.params import Tensors, Weights, layout_of, resolve
from landscape.wrappers import is_sharded


@dataclass
class Decision:
    """Decision about a snapshot: is it wanted?"""

    wanted: bool = False


class OwnWeights:
    """The weights of what one process holds.

    Args:
        model: A model, or anything that stands for its weights.

    Attributes:
        layout: Of its tensors.
    """

    def __init__(self, model: Weights) -> None:
        self._model = model
        self.layout: Layout = resolve(model)[0]

    def follow(self) -> bool:
        """Take part where another process decides; False, since nothing is recorded here."""
        return False

    @contextmanager
    def decision(self) -> Iterator[Decision]:
        """Decide in the process that records."""
        yield Decision()

    def tensors(self, given: Weights | None) -> Mapping[str, Tensor]:
        """Those of the model, or of what is given instead."""
        given = self._model if given is None else given
        return given if isinstance(given, Mapping) else resolve(given)[1]

    def require_watchable(self) -> None:
        """Check that a hook may record: other processes need not know."""


class GatheredWeights:
    """The whole tensors of a model that processes share, gathered one by one; all processes take part.

    Args:
        model: A model whose parameters are distributed tensors, as FSDP2's are.

    Attributes:
        layout: Of the whole tensors.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.layout: Layout = layout_of(model, sharded=True)

    def follow(self) -> bool:
        """Give what is wanted; False, since nothing is recorded here."""
        if self._agreed(False):
            self._gather(keep=False)
        return False

    @contextmanager
    def decision(self) -> Iterator[Decision]:
        """Decide in the process that records; the others are told, whatever is raised."""
        made = Decision()
        try:
            yield made
        except BaseException:
            made.wanted = False
            raise
        finally:
            self._agreed(made.wanted)

    def _agreed(self, wanted: bool) -> bool:
        flag = torch.tensor(int(wanted), device=next(self._model.parameters()).device)
        torch.distributed.broadcast(flag, 0)
        return bool(flag)

    def tensors(self, given: Weights | None) -> Mapping[str, Tensor]:
        """The whole tensors, on the host.

        Raises:
            LandscapeError: If others are given: the processes have agreed on those of the model.
        """
        gathered = self._gather(keep=True)
        if given is not None:
            raise LandscapeError("of a sharded model only its own weights are recorded", where="weights")
        return gathered

    def _gather(self, keep: bool) -> Tensors:
        state: dict[str, Tensor] = dict(self._model.named_parameters()) | dict(self._model.named_buffers())
        whole: Tensors = {}
        for info in self.layout:
            if info.tied_to is None:
                own: Any = state[info.name].detach()
                tensor = own.full_tensor() if is_sharded(own) else own
                if keep:
                    whole[info.name] = tensor.cpu()
        return whole

    def require_watchable(self) -> None:
        """Refuse a hook: only the process that records would know when to gather.

        Raises:
            LandscapeError: Always.
        """
        raise LandscapeError(
            "of a sharded model each process has to call snapshot itself",
            where="watch",
            mend="call recorder.snapshot(step) in every process, at the same steps",
        )


def weights_of(model: Weights) -> OwnWeights | GatheredWeights:
    """The weights of a model, gathered where its parameters are sharded."""
    if isinstance(model, nn.Module) and any(map(is_sharded, model.parameters())):
        return GatheredWeights(model)
    return OwnWeights(model)

"""Weights that a recorder reads: a model's own, or whole tensors gathered from the processes that share them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.params import Tensors, Weights, layout_of, resolve
from landscape.wrappers import bare, gathered, is_engine, is_partitioned, is_sharded


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
        part: What a file says of the part that it holds; None where it holds all.
    """

    part: Mapping[str, int] | None = None

    def __init__(self, model: Weights) -> None:
        self._model = model
        # DeepSpeed steps an optimizer, and then moves the parameters.
        self._steps_late = is_engine(model)
        self.layout: Layout = resolve(model)[0]

    def file(self, path: Path, branch: str | None) -> Path:
        """The file of this process."""
        return path

    def new_id(self) -> str:
        """The name of a new run."""
        return uuid.uuid4().hex

    def agreed(self, path: Path, run_id: str, steps: list[int], *, same: bool = False) -> list[int]:
        """The steps to go on from: nobody else records."""
        return steps

    def follow(self) -> bool:
        """Take part where another process decides; False, since nothing is recorded here."""
        return False

    def pass_over(self) -> None:
        """Decide against a snapshot; nobody waits for that."""

    @contextmanager
    def decision(self) -> Iterator[Decision]:
        """Decide in the process that records."""
        yield Decision()

    def tensors(self, given: Weights | None) -> Mapping[str, Tensor]:
        """Those of the model, or of what is given instead."""
        given = self._model if given is None else given
        return given if isinstance(given, Mapping) else resolve(given)[1]

    def require_watchable(self) -> None:
        """Check that a hook of the optimizer may record: when it is called, the update is over.

        Raises:
            LandscapeError: If DeepSpeed trains the model.
        """
        if self._steps_late:
            raise LandscapeError(
                "DeepSpeed moves the parameters after the step of its optimizer",
                where="optimizer",
                mend="call recorder.snapshot(engine.global_steps) after engine.step()",
            )


class GatheredWeights(OwnWeights):
    """The whole tensors of a model that processes share, gathered one by one; all processes take part.

    Args:
        model: A model of which each process has a part, as FSDP2 and DeepSpeed's ZeRO-3 leave it.

    Attributes:
        layout: Of the whole tensors.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model: nn.Module = bare(model)
        self.layout: Layout = layout_of(self._model, sharded=True)

    def follow(self) -> bool:
        """Give what is wanted; False, since nothing is recorded here."""
        if self._agreed(False):
            self._gather(keep=False)
        return False

    def pass_over(self) -> None:
        """Decide against a snapshot; the others are told."""
        self._agreed(False)

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
                tensor = gathered(state[info.name])
                if keep:
                    whole[info.name] = tensor.detach().cpu()
        return whole

    def require_watchable(self) -> None:
        """Refuse a hook: only the process that records would know when to gather.

        Raises:
            LandscapeError: Always.
        """
        raise LandscapeError(
            "of a sharded model each process has to call snapshot itself",
            where="optimizer",
            mend="call recorder.snapshot(step) in every process, at the same steps",
        )


def is_shared(model: nn.Module) -> bool:
    """Return whether each process has a part of the parameters of a model."""
    return any(is_sharded(own) or is_partitioned(own) for own in model.parameters())

"""Session shared by the callbacks: one recorder over one training, in every process that has a say in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.params import Weights, resolve
from landscape.trajectory import Recorder, Trajectory, open_trajectory
from landscape.trajectory.gathered import is_shared
from landscape.wrappers import peeled

Numbers = Mapping[str, float]


class Session:
    """Opens the file when a training begins, goes on with it when one goes on, and finishes it at the end.

    Args:
        path: The trajectory file.
        model: The dotted name of the submodule to record; None for the whole model.
        overwrite: Replace a file that exists when a training begins at step 0.
        **options: Further arguments of `Recorder`.
    """

    def __init__(self, path: Any, model: str | None, overwrite: bool, **options: Any) -> None:
        self.path = Path(path)
        self._model = model
        self._overwrite = overwrite
        self._options = options
        self._recorder: Recorder | None = None
        self._shared = False
        self._newest = -1
        self._began = 0.0
        self._earlier = 0.0

    def begin(self, model: nn.Module, step: int, *, records: bool, optimizer: Any = None) -> None:
        """Open the file, and record the state before the first update.

        Args:
            model: The model that is trained.
            step: Updates so far: more than 0 where a training goes on from a checkpoint.
            records: Whether this process is the one that records.
            optimizer: What trains it, or several, where steps are recorded.

        Raises:
            LandscapeError: If there is a file already, and the training starts at step 0 or the run is finished.
        """
        self.abandon()
        own = chosen(model, self._model)
        self._shared = is_shared(own)
        if not (records or self._shared):
            return
        held = self._held(step) if records else None
        self._recorder = Recorder(
            self.path,
            own,
            overwrite=self._overwrite and held is None,
            resume=held is not None,
            **self._options,
            **({"optimizer": optimizer} if self._options.get("record") else {}),
        )
        self._began, self._earlier = time.monotonic(), 0.0
        # The same in all processes: what the file has is known to one only.
        self._newest = step - 1
        if held is not None:
            self._recorder.rewind(step)
            known = held.seconds[: len(self._recorder)]
            self._earlier = float(known[-1]) if len(known) else 0.0
        self.offer(step)

    def _held(self, step: int) -> Trajectory | None:
        """The run to go on with, if any."""
        if not self.path.exists() or (step == 0 and self._overwrite):
            return None
        if step == 0:
            raise LandscapeError(
                "the file exists, and the training begins at step 0",
                where=self.path,
                mend="pass overwrite=True to replace it, or give another path",
            )
        held = open_trajectory(self.path)
        if held.finished:
            raise LandscapeError(
                "the run in the file is finished, and the training goes on",
                where=self.path,
                mend="give the callback another path",
            )
        return held

    def due(self, step: int) -> bool:
        """Return whether a copy is worth taking for `offer`: of a sharded model none can be taken."""
        if self._recorder is None or self._shared or step <= self._newest:
            return False
        return self._recorder.due(step)

    def offer(
        self,
        step: int,
        *,
        epoch: float | None = None,
        metrics: Callable[[], Numbers] = dict,
        weights: Weights | None = None,
    ) -> None:
        """Record the state after an update, if it is its turn and was not offered before.

        Args:
            step: Updates so far.
            epoch: Epochs so far.
            metrics: Called only for what is recorded.
            weights: The state, if the model may no longer be in it.
        """
        if self._recorder is None or step <= self._newest:
            return
        self._newest = step
        values = metrics() if self._recorder.due(step) else {}
        self._record(self._recorder, step, values, epoch=epoch, hold=False, weights=weights)

    def hold(
        self,
        step: int,
        *,
        epoch: float | None = None,
        metrics: Numbers | None = None,
        weights: Weights | None = None,
    ) -> None:
        """Take a state that becomes the last snapshot unless a later one is recorded.

        Args:
            step: Updates so far.
            epoch: Epochs so far.
            metrics: Name -> value.
            weights: The state, if the model is no longer in it.
        """
        if self._recorder is not None:
            self._record(self._recorder, step, metrics or {}, epoch=epoch, hold=True, weights=weights)

    def _record(self, recorder: Recorder, step: int, metrics: Numbers, **given: Any) -> None:
        if recorder.last_step is not None and step <= recorder.last_step:
            recorder.pass_over()
            return
        seconds = self._earlier + time.monotonic() - self._began
        recorder.snapshot(step, seconds=seconds, **given, **dict[str, Any](plain(metrics)))

    def copy(self, model: nn.Module) -> dict[str, Tensor]:
        """The weights of a model as they are now; empty where this process takes no part.

        Raises:
            LandscapeError: If the model is sharded.
        """
        if self._recorder is None:
            return {}
        return {name: tensor.clone() for name, tensor in resolve(chosen(model, self._model))[1].items()}

    def end(self) -> None:
        """Finish the run."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.finish()

    def abandon(self) -> None:
        """Leave the run unfinished, with all that was recorded in the file."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.flush()


def chosen(model: nn.Module, name: str | None) -> nn.Module:
    """A submodule by its dotted name, without what `torch.compile` puts around it.

    Args:
        model: The model.
        name: Such as ``"net"``; None for the model itself.

    Raises:
        LandscapeError: If it has no such submodule.
    """
    found: Any = model
    for part in name.split(".") if name else ():
        found = getattr(peeled(found), part, None)
        if not isinstance(found, nn.Module):
            known = ", ".join(child for child, _ in model.named_children())
            raise LandscapeError("no such submodule", where="model", got=repr(name), expected=f"one of {known}")
    return peeled(found)


def plain(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics under names that can be stored: ``train/loss`` becomes ``train_loss``."""
    taken = ("step", "epoch", "seconds", "weights", "resume_state", "hold", "self")
    named = {name.replace("/", "_"): float(value) for name, value in metrics.items()}
    return {f"logged_{name}" if name in taken else name: value for name, value in named.items()}

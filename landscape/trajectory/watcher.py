"""Recording from within an optimizer: a hook that counts updates."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from landscape.trajectory.recorder import Recorder


class Watch:
    """Offers a snapshot after each update of an optimizer, until it is removed.

    Attributes:
        updates: How many there were.
    """

    def __init__(self, recorder: Recorder, optimizer: torch.optim.Optimizer, updates: int | None) -> None:
        if updates is not None:
            recorder.rewind(operator.index(updates))
        self.updates = (recorder.last_step or 0) if updates is None else operator.index(updates)
        self._recorder = recorder
        self._hook = optimizer.register_step_post_hook(self._after_update)
        self._watching = True
        if not len(recorder):
            recorder.snapshot(self.updates, hold=False)

    def _after_update(self, _optimizer: Any, _arguments: Any, _keywords: Any) -> None:
        self.updates += 1
        # The last state is taken when the watch is removed; holding each one would copy the weights each time.
        self._recorder.snapshot(self.updates, hold=False)

    def remove(self) -> None:
        """Stop watching; the state after the newest update is held for `Recorder.finish` to write."""
        watching = self._watching
        self.detach()
        if watching and not self._recorder.finished and self.updates > (self._recorder.last_step or 0):
            self._recorder.snapshot(self.updates, hold=True)

    def detach(self) -> None:
        """Stop watching and take nothing."""
        self._hook.remove()
        self._watching = False


def rank() -> int:
    """That of this process among those that train together; 0 where there are no others."""
    distributed = torch.distributed
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0

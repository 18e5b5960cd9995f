"""A snapshot on its way into the file: taken, queued, written, and tried again where a disk is full."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from landscape.errors import LandscapeError, MachineError
from landscape.layout import Layout
from landscape.trajectory.resume import Arrays
from landscape.trajectory.rounding import Taken, rounded
from landscape.trajectory.run_file import RunFile
from landscape.trajectory.schedule import Turn
from landscape.trajectory.validation import plain_name
from landscape.trajectory.writer import Row

_MODES = ("raise", "warn")


class Outage:
    """Errors of the machine, told once until something could be written again.

    Args:
        mode: ``"raise"`` or ``"warn"``.

    Raises:
        LandscapeError: If it is something else.
    """

    def __init__(self, mode: str) -> None:
        if mode not in _MODES:
            raise LandscapeError("not a reaction", where="on_error", got=repr(mode), expected="'raise' or 'warn'")
        self._mode = mode
        self._told = False

    def tell(self, error: MachineError) -> None:
        """Raise an error or warn of it, if that was not done yet."""
        told, self._told = self._told, True
        if told:
            return
        if self._mode == "raise":
            raise error
        warnings.warn(f"nothing is recorded until this is mended: {error}", stacklevel=4)

    def over(self) -> None:
        """Something could be written: the next error is told again."""
        self._told = False


# Snapshots that may wait while one is written: each takes the memory of the weights once more.
BACKLOG = 2

# Held while a job is done, and while the process forks (as data loaders do): HDF5 has a lock of its own, and a
# child that was born while a thread held it would wait for it for ever.
_working = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_working.acquire, after_in_parent=_working.release, after_in_child=_working.release)


class Foreground:
    """Does each job when it is submitted."""

    later = False

    def check(self) -> bool:
        """Nothing can have gone wrong in the meantime."""
        return False

    def make_room(self) -> bool:
        """Nothing waits."""
        return False

    def submit(self, job: Callable[[], None]) -> None:
        """Do a job."""
        job()

    def flush(self) -> bool:
        """Nothing waits."""
        return False

    def drop(self) -> None:
        """Nothing waits."""


class Background:
    """Does jobs in the order in which they come; after one that failed it does no other.

    A process that ends of its own accord does the jobs that wait before it goes.
    """

    later = True

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="landscape-recorder")
        self._jobs: deque[Future[None]] = deque()

    def check(self) -> bool:
        """Raise what a job has raised, now and at every later call; otherwise, whether one was done."""
        done = False
        while self._jobs and self._jobs[0].done():
            self._jobs[0].result()
            self._jobs.popleft()
            done = True
        return done

    def make_room(self) -> bool:
        """Wait until no more than `BACKLOG` jobs would wait if one more came; whether one was done."""
        done = self.check()
        while len(self._jobs) > BACKLOG:
            wait([self._jobs[0]])
            done = self.check()
        return done

    def submit(self, job: Callable[[], None]) -> bool:
        """Do a job when those before it are done."""
        before = self._jobs[-1] if self._jobs else None

        def run() -> None:
            # There is one thread, so it is done; what it raised is raised here too, and this job is not done.
            if before is not None:
                before.result()
            with _working:
                job()

        self._jobs.append(self._executor.submit(run))
        return False

    def flush(self) -> bool:
        """Wait until all jobs are done; whether one was."""
        wait(self._jobs)
        return self.check()

    def drop(self) -> None:
        """Forget the jobs: after one that failed none of them is done."""
        wait(self._jobs)
        self._jobs.clear()


@dataclass(frozen=True)
class Offer:
    """A copy of all weights, and what is to be written beside them.

    Attributes:
        step: Optimizer updates.
        epoch: Epochs, or NaN.
        seconds: Training time, or NaN.
        metrics: Name -> value.
        taken: The weights, not yet rounded.
    """

    step: int
    epoch: float
    seconds: float
    metrics: Mapping[str, float]
    taken: Taken

    @classmethod
    def of(
        cls, step: int, epoch: float | None, seconds: float | None, metrics: Mapping[str, float], taken: Taken
    ) -> Offer:
        """An offer from what a user gave, where None is not known."""
        named = {plain_name(name, "metric"): float(value) for name, value in metrics.items()}
        epoch, seconds = (math.nan if value is None else float(value) for value in (epoch, seconds))
        return cls(step, epoch, seconds, named, taken)


def write(
    offer: Offer, file: RunFile, layout: Layout, storage: str | None, turn: Turn, state: Arrays | None
) -> None:
    """Write a snapshot behind those that stay.

    Args:
        offer: The snapshot.
        file: The file; what need not be rewritten is left.
        layout: The tensors.
        storage: The element type that wider parameters are rounded to, if any.
        turn: Which snapshots stay, and the schedule from then on.
        state: The resume state that goes with it, if any.

    Raises:
        LandscapeError: If a value overflows the storage type, or the file cannot be written.
    """
    values, rounding = rounded(offer.taken, layout, storage)
    row = Row(offer.step, offer.epoch, offer.seconds, offer.metrics, values, rounding)
    if turn.thins:
        file.thin(turn.rows, recording(turn.pace, storage), row, state)
    else:
        file.append(len(turn.rows), row, state)


def recording(pace: Any, storage: str | None) -> dict[str, Any]:
    """Return what a run stores of its recording: ``every``, ``keep``, ``stride`` and ``dtype``, if set."""
    return {**pace.to_json(), **({"dtype": storage} if storage else {})}

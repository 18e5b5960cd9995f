"""Interface of executors (tasks in, results or failures out), and the one that does tasks in this process."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from landscape.errors import LandscapeError, MachineError


class Progress(Protocol):
    """Takes how far a task is."""

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """Take work done, work in all, and in a few words what is at work, where that is told."""


Work = Callable[[Any, Progress], Any]


class Task(Protocol):
    """Something to be done."""

    @property
    def key(self) -> str:
        """Key that identifies it: equal keys have equal results."""

    @property
    def title(self) -> str:
        """A few words for people."""


@dataclass(frozen=True)
class Failure:
    """Why a task was not done.

    Attributes:
        message: One line.
        expected: Whether it is the user's to mend; otherwise the machine lacks something, or it is a fault of this
            package.
        trace: Where in the code it happened, if it is a fault of this package.
        lost: Whether the process died that did the task.
    """

    message: str
    expected: bool = True
    trace: str = ""
    lost: bool = False

    def error(self) -> Exception:
        """Return the exception that says so."""
        if self.trace:
            return RuntimeError(f"{self.message}\n{self.trace}")
        return LandscapeError(self.message) if self.expected else MachineError(self.message)


@dataclass(frozen=True)
class Event:
    """Something that happened while tasks are done.

    Attributes:
        kind: ``"plan"`` (before the first task), ``"begin"``, ``"progress"`` or ``"end"`` of a task.
        worker: Which worker, from 0.
        step: The task; None for a plan.
        done: Work done in the task, or 0.
        total: Work in the task; of a plan the tasks to be done; 0 while another process does the same task.
        what: The part of the task that is at work, in a few words; empty where that is not told.
    """

    kind: str
    worker: int = 0
    step: Any = None
    done: int = 0
    total: int = 0
    what: str = ""


Notify = Callable[[Event], None]


class Executor(Protocol):
    """Does tasks."""

    def free(self) -> bool:
        """Return whether a task can be given away now."""

    def give(self, task: Task) -> None:
        """Give away a task, when `free`."""

    def finished(self) -> list[tuple[Any, Any]]:
        """Wait until at least one task has ended, well or not; tasks with what became of them."""

    def close(self) -> None:
        """End all work; what it kept so far stays."""


class Slots:
    """Places of several workers, each with the task that it does.

    Args:
        jobs: How many.
        notify: Told what happens.
    """

    def __init__(self, jobs: int, notify: Notify) -> None:
        self._jobs, self._notify = jobs, notify
        self._workers: dict[int, Any] = {}

    def free(self) -> bool:
        """Return whether a task can be given away now."""
        return sum(worker.task is not None for worker in self._workers.values()) < self._jobs

    def _vacant(self) -> int:
        return next(n for n in range(self._jobs) if n not in self._workers or self._workers[n].task is None)


def attempt(work: Work, task: Task, progress: Progress) -> Any:
    """Do a task; whatever goes wrong in it becomes a `Failure`, for other tasks do not depend on it."""
    try:
        return work(task, progress)
    except LandscapeError as error:
        return Failure(f"{task.title}: {error}", expected=not isinstance(error, MachineError))
    except Exception as error:  # noqa: BLE001 - a task may raise anything, and the others shall go on
        message = " ".join(f"{task.title}: {type(error).__name__}: {error}".split())
        return Failure(message, expected=False, trace=traceback.format_exc())


class SerialExecutor:
    """Does tasks in this process, one after the other.

    Args:
        work: Does a task.
        notify: Told what happens.
    """

    def __init__(self, work: Work, notify: Notify) -> None:
        self._work, self._notify = work, notify
        self._task: Task | None = None

    def free(self) -> bool:  # noqa: D102
        return self._task is None

    def give(self, task: Task) -> None:  # noqa: D102
        self._task = task

    def finished(self) -> list[tuple[Any, Any]]:  # noqa: D102
        task, self._task = self._task, None
        if task is None:
            return []

        def told(done: int, total: int, what: str = "") -> None:
            self._notify(Event("progress", 0, task, done, total, what))

        self._notify(Event("begin", 0, task))
        outcome = attempt(self._work, task, told)
        self._notify(Event("end", 0, task))
        return [(task, outcome)]

    def close(self) -> None:  # noqa: D102
        self._task = None

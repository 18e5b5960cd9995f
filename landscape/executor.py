"""Executors: what fans out is a set of tasks, done in this process or in several, of which none can end the rest.

A task is a value with a `key` and a `title`. One function of (task, progress) does it and keeps its own results,
under the key, so that a task may be done twice. Only the process that asked decides what comes next: a worker that
dies costs its task.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from landscape.errors import LandscapeError, MachineError

Progress = Callable[[int, int], None]
Work = Callable[[Any, Progress], Any]

# Seconds between two messages about one task: what an eye can follow.
_NEWS = 0.1
# Seconds that an interrupted worker has to write down what it computed.
_GRACE = 10.0


class Task(Protocol):
    """Something to be done."""

    @property
    def key(self) -> str:
        """What tells it from others: equal keys have equal results."""

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
    """

    message: str
    expected: bool = True
    trace: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened while tasks are done.

    Attributes:
        kind: ``"plan"`` (before the first task), ``"begin"``, ``"progress"`` or ``"end"`` of a task.
        worker: Which worker, from 0.
        step: The task; None for a plan.
        done: Work done in the task, or 0.
        total: Work in the task; of a plan the tasks to be done; 0 while another process does the same task.
    """

    kind: str
    worker: int = 0
    step: Any = None
    done: int = 0
    total: int = 0


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


def executor(work: Work, jobs: int, notify: Notify, threads: int | None = None) -> Executor:
    """One that does tasks in this process, or several at once in processes of their own.

    Args:
        work: Does a task; must be picklable for several processes.
        jobs: How many at once.
        notify: Told what happens.
        threads: Of each of several processes; None shares the cores among them.
    """
    return SerialExecutor(work, notify) if jobs == 1 else ProcessExecutor(work, jobs, notify, threads)


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
        self._notify(Event("begin", 0, task))
        outcome = attempt(
            self._work, task, lambda done, total: self._notify(Event("progress", 0, task, done, total))
        )
        self._notify(Event("end", 0, task))
        return [(task, outcome)]

    def close(self) -> None:  # noqa: D102
        self._task = None


@dataclass
class _Worker:
    """A process and the task that it does."""

    process: Any
    line: Connection
    task: Task | None = None


class ProcessExecutor:
    """Does tasks in processes of their own, which share the cores among them.

    Args:
        work: Does a task; must be picklable.
        jobs: How many processes.
        notify: Told what happens.
        threads: Of each process; None shares the cores among them.
    """

    def __init__(self, work: Work, jobs: int, notify: Notify, threads: int | None = None) -> None:
        self._work, self._jobs, self._notify = work, jobs, notify
        self._threads = threads or max(1, _cores() // jobs)
        self._workers: dict[int, _Worker] = {}

    def free(self) -> bool:  # noqa: D102
        return sum(worker.task is not None for worker in self._workers.values()) < self._jobs

    def give(self, task: Task) -> None:  # noqa: D102
        place = next(n for n in range(self._jobs) if n not in self._workers or self._workers[n].task is None)
        if place not in self._workers:
            self._workers[place] = self._hire()
        worker = self._workers[place]
        worker.task = task
        self._notify(Event("begin", place, task))
        # A worker that is dead by now is found out while waiting for it.
        with suppress(OSError):
            worker.line.send(task)

    def finished(self) -> list[tuple[Any, Any]]:  # noqa: D102
        found: list[tuple[Any, Any]] = []
        while not found:
            busy = {worker.line: place for place, worker in self._workers.items() if worker.task is not None}
            for line in wait(list(busy)):
                outcome = self._hear(busy[line])  # type: ignore[index]
                if outcome is not None:
                    found.append(outcome)
        return found

    def _hear(self, place: int) -> tuple[Any, Any] | None:
        worker = self._workers[place]
        task = worker.task
        if task is None:
            return None
        try:
            said = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            del self._workers[place]
            said = Failure(f"{task.title}: its process died ({_cause(worker.process.exitcode)})", expected=False)
        if isinstance(said, tuple):
            self._notify(Event("progress", place, task, *said))
            return None
        worker.task = None
        self._notify(Event("end", place, task))
        return task, said

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._work, self._threads)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        with _deaf():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def close(self) -> None:  # noqa: D102
        for worker in self._workers.values():
            worker.line.close()
            if worker.task is not None and worker.process.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGINT)
        deadline = time.monotonic() + _GRACE
        for worker in self._workers.values():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code}{', perhaps for want of memory' if -code == 9 else ''}"
    return f"exit code {code}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started here do not hear Ctrl-C before they listen for it: in an import it is a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


def _serve(line: Connection, work: Work, threads: int) -> None:
    """What a worker does until its line is closed."""
    # Threads that wait by spinning stall where another process shares their cores; read when torch starts.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while True:
            task = line.recv()
            line.send(attempt(work, task, _Teller(line)))
    except EOFError:
        return
    except (KeyboardInterrupt, OSError):
        # Files are whole at any moment; a second Ctrl-C shall not find us in the middle of leaving.
        os._exit(130)


class _Teller:
    """Tells how far a task is, not too often."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._told = -_NEWS

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= _NEWS or not total:
            self._told = now
            try:
                self._line.send((done, total))
            except OSError:
                # Whoever gave the work is gone.
                os._exit(1)

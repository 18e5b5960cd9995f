"""Executors: what fans out is a set of tasks, done in this process or in several, of which none can end the rest.

A task is a value with a `key` and a `title`. One function of (task, progress) does it and keeps its own results,
under the key, so that a task may be done twice. Only the process that asked decides what comes next: a worker that
dies costs its task.
"""

from __future__ import annotations

import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from landscape.errors import LandscapeError, LandscapeWarning
from landscape.executor.interface import Event, Executor, Failure, Notify, Progress, SerialExecutor, Task, Work
from landscape.executor.processes import ProcessExecutor
from landscape.executor.ray_cluster import RayExecutor, cluster, connected

__all__ = [
    "Event",
    "Executor",
    "Failure",
    "Notify",
    "ProcessExecutor",
    "Progress",
    "RayExecutor",
    "SerialExecutor",
    "Task",
    "Work",
    "cluster",
    "executor",
    "results",
    "several",
]

# How often a task may cost a worker before it is given up.
_TRIES = 3


def _unheard(done: int, total: int, what: str = "") -> None:
    """Tell nobody."""


def executor(work: Work, jobs: int, notify: Notify, threads: int | None = None) -> Executor:
    """One that does tasks in this process, several at once in processes of their own, or on a `cluster`.

    Args:
        work: Does a task; must be picklable for several processes.
        jobs: How many at once.
        notify: Told what happens.
        threads: Of each of several processes; None shares the cores among them.
    """
    machines = connected()
    if machines is not None:
        return RayExecutor(work, jobs, notify, threads or 1, machines)
    return SerialExecutor(work, notify) if jobs == 1 else ProcessExecutor(work, jobs, notify, threads)


def results(work: Work, tasks: Iterable[Task], workers: Executor | None = None) -> Generator[Any]:
    """Yield the results of tasks, in the order of the tasks.

    Args:
        work: The function that does a task.
        tasks: The tasks.
        workers: The executor; None does each task here, when its result is asked for.

    Yields:
        The results. If a worker dies, another does its task.

    Raises:
        LandscapeError: If a task cannot be done, or cost three workers.
    """
    if workers is None:
        for task in tasks:
            yield work(task, _unheard)
        return
    left, again, given = iter(tasks), list[Task](), deque[str]()
    done: dict[str, Any] = {}
    lost: Counter[str] = Counter()
    running = 0
    while True:
        while workers.free() and (following := again.pop() if again else next(left, None)) is not None:
            task = following
            given.extend([] if lost[task.key] else [task.key])
            workers.give(task)
            running += 1
        while given and given[0] in done:
            yield done.pop(given.popleft())
        if not running:
            return
        for task, outcome in workers.finished():
            running -= 1
            if not isinstance(outcome, Failure):
                done[task.key] = outcome
                continue
            lost[task.key] += 1
            if not outcome.lost or lost[task.key] == _TRIES:
                raise outcome.error()
            warnings.warn(f"{outcome.message}; another does it", LandscapeWarning, stacklevel=2)
            again.append(task)


@contextmanager
def several(work: Work, count: int, threads: int | None = None) -> Iterator[Executor | None]:
    """Workers for `results`: they end with the context; None where this process is enough.

    Args:
        work: Does a task.
        count: How many at once.
        threads: Of each; None shares the cores among them.

    Raises:
        LandscapeError: If the count is less than 1, or what the work holds cannot be sent to another process.
    """
    if count < 1:
        raise LandscapeError("at least one worker is needed", where="workers", got=count)
    if count == 1 and connected() is None:
        yield None
        return
    workers = executor(work, count, lambda event: None, threads)
    try:
        yield workers
    finally:
        workers.close()

"""Tasks in processes of their own."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from landscape.executor.interface import Event, Failure, Notify, Slots, Task, Work, attempt
from landscape.executor.payload import packed, unpacked

# Seconds between two messages about one task: what an eye can follow.
_NEWS = 0.1
# Seconds that an interrupted worker has to write down what it computed.
_GRACE = 10.0
# What a worker's interpreter begins with: where modules are found, then `serve` on the line.
_BEGIN = "import sys; sys.path[:] = {path!r}; from landscape.executor.processes import serve; serve({line})"


@dataclass
class _Worker:
    """A process and the task that it does."""

    process: subprocess.Popen[bytes]
    line: Connection
    task: Task | None = None


class ProcessExecutor(Slots):
    """Does tasks in processes of their own, which share the cores among them.

    Args:
        work: Does a task; functions and classes in it may be of a notebook, a script or a file of the user's.
        jobs: How many processes.
        notify: Told what happens.
        threads: Of each process; None shares the cores among them.

    Raises:
        LandscapeError: If the work cannot be sent to other processes.
    """

    def __init__(self, work: Work, jobs: int, notify: Notify, threads: int | None = None) -> None:
        super().__init__(jobs, notify)
        self._work = packed(work)
        self._threads = threads or max(1, _cores() // jobs)

    def give(self, task: Task) -> None:  # noqa: D102
        place = self._vacant()
        if place not in self._workers:
            self._workers[place] = self._hire()
        worker = self._workers[place]
        worker.task = task
        self._notify(Event("begin", place, task))
        # A worker that is dead by now is found out while waiting for it.
        with suppress(OSError):
            worker.line.send_bytes(packed(task))

    def finished(self) -> list[tuple[Any, Any]]:  # noqa: D102
        found: list[tuple[Any, Any]] = []
        while not found:
            busy = {worker.line: place for place, worker in self._workers.items() if worker.task is not None}
            for line in wait(list(busy)):
                outcome = self._hear(busy[line])
                if outcome is not None:
                    found.append(outcome)
        return found

    def _hear(self, place: int) -> tuple[Any, Any] | None:
        worker = self._workers[place]
        task = worker.task
        if task is None:
            return None
        try:
            ended, said = worker.line.recv()
        except (EOFError, OSError):
            del self._workers[place]
            cause = _cause(worker.process.wait())
            ended, said = True, Failure(f"{task.title}: its process died ({cause})", expected=False, lost=True)
        if not ended:
            self._notify(Event("progress", place, task, *said))
            return None
        worker.task = None
        self._notify(Event("end", place, task))
        return task, said

    def _hire(self) -> _Worker:
        ours, theirs = Pipe()
        begin = _BEGIN.format(path=sys.path, line=theirs.fileno())
        with _deaf():
            # A process of its own making: it needs nothing of the script or notebook that runs here.
            process = subprocess.Popen(
                [sys.executable, "-c", begin], stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),)
            )
        theirs.close()
        with suppress(OSError):
            ours.send(self._threads)
            ours.send_bytes(self._work)
        return _Worker(process, ours)

    def close(self) -> None:  # noqa: D102
        for worker in self._workers.values():
            worker.line.close()
            if worker.task is not None:
                worker.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _GRACE
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
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


def serve(descriptor: int) -> None:
    """Do the tasks that come on a line until it is closed: what a worker's process is for."""
    line = Connection(descriptor)
    try:
        threads = line.recv()
        work = unpacked(line.recv_bytes(), threads)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        while True:
            task = pickle.loads(line.recv_bytes())
            line.send((True, attempt(work, task, _Teller(line))))
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

    def __call__(self, done: int, total: int, what: str = "") -> None:
        now = time.monotonic()
        if now - self._told >= _NEWS or not total:
            self._told = now
            try:
                self._line.send((False, (done, total, what)))
            except OSError:
                # The process that gave the work is gone.
                os._exit(1)

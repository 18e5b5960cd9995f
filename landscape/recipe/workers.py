"""Who makes the steps: this process itself, or several others, of which none can take the rest down."""

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
from landscape.recipe.cache import Cache
from landscape.recipe.making import Made, Progress, make
from landscape.recipe.report import Event, Failure
from landscape.recipe.steps import Step

Notify = Callable[[Event], None]
Finished = tuple[Step, "Made | Failure"]

# Seconds between two messages about one step: what an eye can follow.
_NEWS = 0.1
# Seconds that an interrupted worker has to write down what it computed.
_GRACE = 10.0


class Crew(Protocol):
    """Those who make steps."""

    def free(self) -> bool:
        """Whether a step can be given away now."""

    def give(self, step: Step) -> None:
        """Give a step to someone who is free."""

    def finished(self) -> list[Finished]:
        """Wait until at least one step has ended, well or not."""

    def close(self) -> None:
        """Send all away; what they computed so far is kept."""


def attempt(step: Step, cache: Cache, progress: Progress, force: bool) -> Made | Failure:
    """Make a step; whatever goes wrong in it becomes a value, for other steps do not depend on it."""
    try:
        return make(step, cache, progress, force=force)
    except LandscapeError as error:
        return Failure(f"{step.title}: {error}", expected=not isinstance(error, MachineError))
    except Exception as error:  # noqa: BLE001 - a step may raise anything, and the others shall go on
        message = " ".join(f"{step.title}: {type(error).__name__}: {error}".split())
        return Failure(message, expected=False, trace=traceback.format_exc())


class Alone:
    """Makes steps in this process, one after the other.

    Args:
        cache: Where results are kept.
        force: Make what is made already.
        notify: Told what happens.
    """

    def __init__(self, cache: Cache, force: bool, notify: Notify) -> None:
        self._cache, self._force, self._notify = cache, force, notify
        self._step: Step | None = None

    def free(self) -> bool:  # noqa: D102
        return self._step is None

    def give(self, step: Step) -> None:  # noqa: D102
        self._step = step

    def finished(self) -> list[Finished]:  # noqa: D102
        step, self._step = self._step, None
        if step is None:
            return []
        self._notify(Event("begin", 0, step))

        def progress(done: int, total: int) -> None:
            self._notify(Event("progress", 0, step, done, total))

        outcome = attempt(step, self._cache, progress, self._force)
        self._notify(Event("end", 0, step))
        return [(step, outcome)]

    def close(self) -> None:  # noqa: D102
        self._step = None


@dataclass
class _Worker:
    """A process and what it is at."""

    process: Any
    line: Connection
    step: Step | None = None


class Several:
    """Makes steps in processes of their own, which share the cores among them.

    Args:
        jobs: How many processes.
        cache: Where results are kept.
        force: Make what is made already.
        notify: Told what happens.
        threads: Of each process; None shares the cores among them.
    """

    def __init__(self, jobs: int, cache: Cache, force: bool, notify: Notify, threads: int | None = None) -> None:
        self._jobs, self._cache, self._force, self._notify = jobs, cache, force, notify
        self._threads = threads or max(1, _cores() // jobs)
        self._workers: dict[int, _Worker] = {}

    def free(self) -> bool:  # noqa: D102
        return sum(worker.step is not None for worker in self._workers.values()) < self._jobs

    def give(self, step: Step) -> None:  # noqa: D102
        place = next(n for n in range(self._jobs) if n not in self._workers or self._workers[n].step is None)
        if place not in self._workers:
            self._workers[place] = self._hire()
        worker = self._workers[place]
        worker.step = step
        self._notify(Event("begin", place, step))
        # A worker that is dead by now is found out while waiting for it.
        with suppress(OSError):
            worker.line.send(step)

    def finished(self) -> list[Finished]:  # noqa: D102
        found: list[Finished] = []
        while not found:
            busy = {worker.line: place for place, worker in self._workers.items() if worker.step is not None}
            for line in wait(list(busy)):
                outcome = self._hear(busy[line])  # type: ignore[index]
                if outcome is not None:
                    found.append(outcome)
        return found

    def _hear(self, place: int) -> Finished | None:
        worker = self._workers[place]
        step = worker.step
        if step is None:
            return None
        try:
            said = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            del self._workers[place]
            said = Failure(f"{step.title}: its process died ({_cause(worker.process.exitcode)})", expected=False)
        if isinstance(said, tuple):
            self._notify(Event("progress", place, step, *said))
            return None
        worker.step = None
        self._notify(Event("end", place, step))
        return step, said

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._cache, self._force, self._threads)
        process = context.Process(target=_work, args=arguments, daemon=True)
        with _deaf():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def close(self) -> None:  # noqa: D102
        for worker in self._workers.values():
            worker.line.close()
            if worker.step is not None and worker.process.is_alive():
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


def _work(line: Connection, cache: Cache, force: bool, threads: int) -> None:
    """What a worker does until its line is closed."""
    # Threads that wait by spinning stall where another process shares their cores; read when torch starts.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while True:
            step = line.recv()
            line.send(attempt(step, cache, _Teller(line), force))
    except EOFError:
        return
    except (KeyboardInterrupt, OSError):
        # Files are whole at any moment; a second Ctrl-C shall not find us in the middle of leaving.
        os._exit(130)


class _Teller:
    """Tells how far a step is, not too often."""

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

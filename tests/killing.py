"""Children that are killed while they work: forked, ready to work at once, from a server that has imported all."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from landscape import problems
from landscape.executor import processes
from landscape.objective import Objective

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *("landscape.problems", "landscape.training", "landscape.surface.evaluation", "landscape.projection"),
        # Imported late by an optimizer: seconds that every child would pay again.
        *("torch._dynamo", "landscape.trajectory.recorder"),
        *("landscape.cli.main", "landscape.recipe.render_recipe", "landscape.render.composition"),
        # Tests import them, and children their tests.
        *("pytest", "landscape.probes.retraining", "landscape.files.cells"),
        "killing_ready",
    ]
)
# Seconds between two looks at the work of a child.
_LOOK = 0.001
_HERE = str(Path(__file__).parent)


@functools.cache
def objective_of(name: str, *options: tuple[str, str]) -> Objective:
    """A problem of seed 0 on one thread; the server has built those that `killing_ready` names."""
    torch.set_num_threads(1)
    return problems.build(name, dict(options), seed=0)


def _ready() -> None:
    """Start the server, unless it runs."""
    with contextlib.ExitStack() as stack:
        # The server imports from where the tests are.
        old = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_HERE, old]))
        stack.callback(lambda: os.environ.pop("PYTHONPATH") if old is None else os.environ.update(PYTHONPATH=old))
        forkserver.ensure_running()


def started(work: Callable[[str], None], path: Path) -> tuple[multiprocessing.process.BaseProcess, float]:
    """A child and when it began to work."""
    _ready()
    begun = FORKS.Event()
    child = FORKS.Process(target=_work, args=(begun, work, str(path)))
    child.start()
    assert begun.wait(300)
    return child, time.monotonic()


def _work(begun: multiprocessing.synchronize.Event, work: Callable[[str], None], path: str) -> None:
    begun.set()
    work(path)


def run_to_the_end(work: Callable[[str], None], path: Path) -> float:
    """The seconds that the work took."""
    child, began = started(work, path)
    child.join()
    assert child.exitcode == 0
    return time.monotonic() - began


def run_and_kill(
    work: Callable[[str], None], path: Path, after: float, ready: Callable[[], bool] | None = None
) -> bool:
    """Whether the child was still at work when it was killed: so many seconds after it began, or was ready."""
    child, _ = started(work, path)
    while ready is not None and child.is_alive() and not ready():
        child.join(_LOOK)
    child.join(after)
    assert child.pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    return child.exitcode == -signal.SIGKILL


class Warm:
    """A worker of `ProcessExecutor` forked from the server: what it does of `subprocess.Popen` is asked of it."""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self._process = process
        process.start()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, number)

    def kill(self) -> None:
        self._process.kill()


def hired(own: processes.ProcessExecutor) -> processes._Worker:
    """In the place of `ProcessExecutor._hire`: a worker that has torch already."""
    _ready()
    ours, theirs = processes.Pipe()
    worker = Warm(FORKS.Process(target=_serve, args=(theirs, list(sys.path))))
    theirs.close()
    ours.send(own._threads)
    ours.send_bytes(own._work)
    return processes._Worker(worker, ours)  # type: ignore[arg-type]


def _serve(line: Connection, path: list[str]) -> None:
    sys.path[:] = path
    processes.serve(line.fileno())
    # It is closed there.
    os._exit(0)


def command(folder: Path, line: str, name: str = "said") -> multiprocessing.process.BaseProcess:
    """A command begun in a folder: ``landscape`` or ``python`` with its arguments, without the seconds of a start.

    What it prints is in ``<name>.out`` and ``<name>.err`` of that folder.
    """
    work = functools.partial(_command, program=shlex.split(line), name=name)
    return started(work, folder)[0]


def run_command(folder: Path, line: str) -> None:
    """Run a command in a folder; it must succeed."""
    child = command(folder, line)
    child.join()
    assert child.exitcode == 0, (line, (folder / "said.err").read_text())


def _command(folder: str, program: Sequence[str], name: str) -> None:
    from landscape.cli.main import main

    os.chdir(folder)
    with open(f"{name}.out", "w") as out, open(f"{name}.err", "w") as err:  # noqa: PTH123
        sys.stdout, sys.stderr = out, err
        if program[0] == "landscape":
            try:
                main(list(program[1:]))
            finally:
                # What comes now finds the command over.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            sys.argv = list(program[1:])
            sys.path.insert(0, folder)
            runpy.run_path(program[1], run_name="__main__")

"""Tasks on a Ray cluster, of this machine or of many (Moritz et al. 2018)."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from landscape.errors import LandscapeError, reason_of
from landscape.executor.interface import Event, Failure, Notify, Slots, Task, Work, attempt
from landscape.executor.payload import packed, unpacked

# Seconds between two looks at how far tasks are.
_NEWS = 0.25
LOCAL = "ray"
_CONNECTED: ContextVar[Connection | None] = ContextVar("cluster", default=None)


@dataclass
class Connection:
    """A cluster to do tasks on; connected to when the first executor needs it.

    Attributes:
        address: ``"ray"`` starts Ray on this machine; ``"auto"``, ``"HOST:PORT"`` and ``"ray://HOST:PORT"`` are
            clusters that run.
        gpus_per_worker: GPUs that Ray reserves for each worker, also a share of one.
        ours: Whether Ray was connected to here, and is left here.
    """

    address: str
    gpus_per_worker: float = 0.0
    ours: bool = False

    def connect(self, cores: int) -> Any:
        """Return Ray, connected.

        Args:
            cores: That Ray may use where it is started here: it gives each worker as many as it has threads.

        Raises:
            LandscapeError: If the cluster does not answer.
        """
        import ray

        if not ray.is_initialized():
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
            started = {"num_cpus": cores, "include_dashboard": False} if self.address == LOCAL else {}
            try:
                ray.init("local" if self.address == LOCAL else self.address, **started, **quiet)
            except Exception as error:
                mend = "give the address of a cluster that runs, or 'ray' to start one on this machine"
                raise LandscapeError(
                    f"no Ray cluster answers: {reason_of(error)}", where="cluster", got=self.address, mend=mend
                ) from error
            self.ours = True
        return ray


@contextmanager
def cluster(address: str = LOCAL, *, gpus_per_worker: float = 0.0) -> Iterator[None]:
    """Let whatever fans out do its tasks on a Ray cluster; ``workers`` and ``jobs`` say on how many workers.

    Only this process writes surfaces, tables and distances; recipes, studies and branches need a folder that all
    machines share.

    Args:
        address: ``"ray"`` starts Ray on this machine; ``"auto"``, ``"HOST:PORT"`` and ``"ray://HOST:PORT"`` are
            clusters that run.
        gpus_per_worker: GPUs that Ray reserves for each worker, also a share of one.

    Raises:
        LandscapeError: If Ray is not installed.

    Example:
        >>> with cluster("auto"):  # doctest: +SKIP
        ...     evaluate(objective, plane, grid(51), workers=64)
    """
    if importlib.util.find_spec("ray") is None:
        mend = "pip install 'loss-landscape-toolkit[distributed]'"
        raise LandscapeError("Ray is not installed", where="cluster", got=address, mend=mend)
    if gpus_per_worker < 0:
        raise LandscapeError("must not be negative", where="gpus_per_worker", got=gpus_per_worker)
    connection = Connection(address, gpus_per_worker)
    token = _CONNECTED.set(connection)
    try:
        yield
    finally:
        _CONNECTED.reset(token)
        if connection.ours:
            import ray

            ray.shutdown()


def connected() -> Connection | None:
    """Return the cluster that `cluster` named, if any."""
    return _CONNECTED.get()


class _Served:
    """A worker: an actor that does one task at a time, and says meanwhile how far it is."""

    def __init__(self, path: Sequence[str], threads: int, work: bytes) -> None:
        sys.path += [entry for entry in path if entry not in sys.path]
        self._work = unpacked(work, threads)
        self._told = (0, 0, "")

    def do(self, task: bytes) -> Any:
        """Do a task."""
        self._told = (0, 0, "")
        return attempt(self._work, pickle.loads(task), self._tell)

    def told(self) -> tuple[int, int, str]:
        """Return work done, work in all, and what is at work of the task at hand."""
        return self._told

    def _tell(self, done: int, total: int, what: str = "") -> None:
        self._told = (done, total, what)


@dataclass
class _Worker:
    """An actor, the task that it does, its result to be and its next word on how far it is."""

    actor: Any
    task: Task | None = None
    result: Any = None
    news: Any = None


class RayExecutor(Slots):
    """Does tasks on workers of a Ray cluster.

    Args:
        work: Does a task; functions and classes in it may be of a notebook, a script or a file of the user's.
        jobs: How many workers.
        notify: Told what happens.
        threads: Of each worker, which Ray counts as cores.
        connection: The cluster.

    Raises:
        LandscapeError: If the work cannot be sent to other processes, or the cluster does not answer.
    """

    def __init__(self, work: Work, jobs: int, notify: Notify, threads: int, connection: Connection) -> None:
        super().__init__(jobs, notify)
        self._threads = threads
        self._ray = connection.connect(jobs * threads)
        self._work = self._ray.put(packed(work))
        # Two at a time: a task, and the question how far it is.
        self._serving = self._ray.remote(_Served).options(
            num_cpus=threads, num_gpus=connection.gpus_per_worker, max_concurrency=2
        )

    def give(self, task: Task) -> None:  # noqa: D102
        place = self._vacant()
        if place not in self._workers:
            self._workers[place] = _Worker(self._serving.remote(sys.path, self._threads, self._work))
        worker = self._workers[place]
        worker.task, worker.result, worker.news = task, worker.actor.do.remote(packed(task)), None
        self._notify(Event("begin", place, task))

    def finished(self) -> list[tuple[Any, Any]]:  # noqa: D102
        busy = {worker.result: place for place, worker in self._workers.items() if worker.task is not None}
        ready: list[Any] = []
        while busy and not ready:
            ready, _ = self._ray.wait(list(busy), timeout=_NEWS)
            for place in () if ready else busy.values():
                self._ask(place)
        return [self._taken(busy[result]) for result in ready]

    def _ask(self, place: int) -> None:
        """Pass on how far a task is, and ask again."""
        worker = self._workers[place]
        if worker.news is not None:
            if not self._ray.wait([worker.news], timeout=0)[0]:
                return
            try:
                said = self._ray.get(worker.news)
            except self._ray.exceptions.RayError:
                # A worker that died is found by its result.
                return
            # There is nothing to tell before the task counts.
            if said[1]:
                self._notify(Event("progress", place, worker.task, *said))
        worker.news = worker.actor.told.remote()

    def _taken(self, place: int) -> tuple[Any, Any]:
        worker = self._workers[place]
        task: Any = worker.task
        try:
            outcome = self._ray.get(worker.result)
        except self._ray.exceptions.RayError as error:
            del self._workers[place]
            # Ray goes on for many lines.
            reason = " ".join(str(error).split()).split(". ")[0]
            outcome = Failure(f"{task.title}: its worker was lost ({reason})", expected=False, lost=True)
        worker.task = worker.result = None
        self._notify(Event("end", place, task))
        return task, outcome

    def close(self) -> None:  # noqa: D102
        for worker in self._workers.values():
            self._ray.kill(worker.actor)
        self._workers.clear()

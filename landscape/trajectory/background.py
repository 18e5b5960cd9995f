"""Jobs done one after the other: at once, or in a thread, so that training does not wait for the disk."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

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

"""Several workers side by side, each with its own state, their results in order.

Two workers of one thread each keep two cores busier than one worker of two threads: no operation waits
for the slower half of itself.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

_LOOKS = 5
Worker = TypeVar("Worker")
Item = TypeVar("Item")
Result = TypeVar("Result")


def undisturbed() -> float:
    """A clock, in seconds, that stands while other work has the core that this thread is ready for.

    Where the system does not say how long that was (Linux does), it is the clock on the wall.
    """
    for _ in range(_LOOKS):
        before, now = _waited(), time.perf_counter()
        # Whoever has to wait between the two reads them again.
        if _waited() == before:
            break
    return now - before


def _waited() -> float:
    """The seconds that this thread was ready and did not run."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def in_order(
    work: Callable[[Worker, Item], Result],
    workers: Sequence[Worker],
    items: Iterable[Item],
    threads: int | None,
) -> Generator[Result]:
    """Apply a function to every item; each call has a worker to itself.

    Args:
        work: (worker, item) -> result.
        workers: As many calls run at once.
        items: What to work on.
        threads: Threads inside one operation of torch; None leaves torch's own, and with one worker all is
            done in the thread of the caller.

    Yields:
        The results in the order of the items. When the caller stops early, calls under way are awaited.
    """
    if len(workers) == 1 and threads in (None, torch.get_num_threads()):
        for item in items:
            yield work(workers[0], item)
        return
    free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        free.put(worker)

    def call(item: Item) -> Result:
        worker = free.get()
        try:
            return work(worker, item)
        finally:
            free.put(worker)

    own = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        len(workers), "landscape", initializer=torch.set_num_threads, initargs=(threads or own,)
    )
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(call, item))
            # A second call per worker waits, so that none is idle while a result is taken.
            if len(under_way) >= 2 * len(workers):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        # The number that threads started from now on begin with.
        torch.set_num_threads(own)

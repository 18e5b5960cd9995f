"""What spreading over processes costs, by processor time: per point of W1 to W3, per worker and per task.

Run as ``python -m benchmarks.workers [W1 ...]``. A slice of few points and one of more are computed by one process
and by two workers of one thread each; the difference is what points take, the rest what workers take to start.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

import landscape as ls
from benchmarks.workloads import SPECS, build
from landscape.executor import results, several

# Points of the shorter and the longer slice.
_POINTS = {"W1": (64, 576), "W2": (9, 36), "W3": (9, 25)}
_TASKS = 400


def spent() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@dataclass(frozen=True)
class Trifle:
    """A task of no work."""

    number: int

    @property
    def key(self) -> str:
        """What tells it from others."""
        return str(self.number)

    @property
    def title(self) -> str:
        """What it is."""
        return f"trifle {self.number}"


def echo(task: Trifle, _: Any) -> int:
    """Do nothing."""
    return task.number


def per_task() -> tuple[float, float]:
    """Processor and clock seconds of a task of no work, its place in two workers that run included."""
    marks = []
    with several(echo, 2, 1) as shared:
        for done, _ in enumerate(results(echo, [Trifle(number) for number in range(_TASKS)], shared)):
            if done in (0, _TASKS - 1):
                marks.append((time.process_time(), time.perf_counter()))
    (spent_first, first), (spent_last, last) = marks
    return (spent_last - spent_first) / (_TASKS - 1), (last - first) / (_TASKS - 1)


def main() -> None:
    """Print a line per workload, and one for tasks."""
    torch.set_num_threads(1)
    driver, clock = per_task()
    print(f"a task of no work: {driver * 1e6:.0f} us of the driver's processor, {clock * 1e6:.0f} us of clock")
    for spec in SPECS:
        if spec.name in _POINTS and (len(sys.argv) < 2 or spec.name in sys.argv[1:]):
            work = build(spec)
            took: dict[tuple[int, int], float] = {}
            tune = {"batch_size": work.objective.batch_size, "threads": 1, "streams": 1, "rewrite": False}
            few, more = _POINTS[spec.name]
            for turn in (few, more):
                for workers in (1, 2):
                    began = spent()
                    grid = ls.grid(round(turn**0.5), dims=2)
                    ls.evaluate(work.objective, work.plane, grid, engine="sequential", tune=tune, workers=workers)
                    took[turn, workers] = spent() - began
            alone, shared = ((took[more, n] - took[few, n]) / (more - few) for n in (1, 2))
            start = took[few, 2] - took[few, 1] - few * (shared - alone)
            print(
                f"{spec.name}: {alone * 1e3:.2f} ms a point alone, {shared * 1e3:.2f} ms in two workers, "
                f"efficiency {alone / shared:.3f}; {start / 2:.1f} s to start a worker"
            )


if __name__ == "__main__":
    main()

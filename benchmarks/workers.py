"""Gain and cost of spreading over processes: per point of W1 to W3, per worker and per task.

Run as ``python -m benchmarks.workers [--rounds N] [W1 ...]``. A slice of few points and one of more are computed
by one process and by two workers of one thread each, in turns; the difference is what points take, the rest what
workers take to start. Speed is by the clock, so it needs an idle machine; cost is by the processor.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import landscape as ls
from benchmarks.workloads import SPECS, Spec, build
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
        """The key that tells it from others."""
        return str(self.number)

    @property
    def title(self) -> str:
        """Its name."""
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


def measured(spec: Spec, rounds: int) -> str:
    """Return the medians over rounds of all four slices, as a line."""
    work = build(spec)
    tune = {"batch_size": work.objective.batch_size, "threads": 1, "streams": 1, "rewrite": False}
    few, more = _POINTS[spec.name]
    took: dict[tuple[int, int], list[tuple[float, float]]] = {(n, w): [] for n in (few, more) for w in (1, 2)}
    for _ in range(rounds):
        for points, workers in took:
            began, clock = spent(), time.perf_counter()
            grid = ls.grid(round(points**0.5), dims=2)
            ls.evaluate(work.objective, work.plane, grid, engine="sequential", tune=tune, workers=workers)
            took[points, workers].append((time.perf_counter() - clock, spent() - began))
    middle = {which: np.median(own, axis=0) for which, own in took.items()}
    alone, shared = ((middle[more, n] - middle[few, n]) / (more - few) * 1e3 for n in (1, 2))
    start = (middle[few, 2] - middle[few, 1])[1] - few * (shared - alone)[1] / 1e3
    return (
        f"{spec.name}: {alone[0]:.2f} ms a point alone, {shared[0]:.2f} ms with two workers: "
        f"speed x {alone[0] / shared[0]:.2f}; processor {alone[1]:.2f} and {shared[1]:.2f} ms; "
        f"{start / 2:.1f} s of processor to start a worker"
    )


def main() -> None:
    """Print a line per workload, and one for tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", help="of W1, W2 and W3; all by default")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    driver, clock = per_task()
    print(f"a task of no work: {driver * 1e6:.0f} us of the driver's processor, {clock * 1e6:.0f} us of clock")
    for spec in SPECS:
        if spec.name in _POINTS and spec.name in (given.workloads or _POINTS):
            print(measured(spec, given.rounds), flush=True)


if __name__ == "__main__":
    main()

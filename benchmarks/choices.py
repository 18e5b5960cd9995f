"""Choices of engines, made again and again: ``python -m benchmarks.choices [--times N] [W1 ...]``.

Nothing is remembered between them. All candidates that any of them tried are then timed by turns, and what was
chosen is compared with the best of these.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence

import landscape as ls
from benchmarks.workloads import SPECS, Workload, build, objective_of
from landscape.surface.choice_cache import VARIABLE
from landscape.surface.engine import Choice
from landscape.surface.engine import build as engine_of
from landscape.surface.fill_grid import grid_points
from landscape.surface.task import Task
from landscape.surface.tuner import Tuner

_TURNS, _LEAST_SECONDS = 5, 0.5


def _chosen(work: Workload, times: int) -> tuple[list[Choice], list[float], set[Choice]]:
    """The choice of each time, the share of the run that it took, and all candidates that were tried."""
    points = list(grid_points(ls.grid(work.spec.small_side)))
    found, shares, tried = [], [], set()
    for _ in range(times):
        objective = objective_of(work.model, work.inputs, work.targets)
        began = time.perf_counter()
        plan = Tuner(Task(objective, ("train",), ("loss",)), work.plane, points).choose("auto").plan
        shares.append((time.perf_counter() - began) / plan.seconds)
        found.append(plan.choice)
        tried |= {choice for choice, _ in plan.tried} | {plan.choice}
    return found, shares, tried


def _seconds(work: Workload, choices: Sequence[Choice]) -> dict[Choice, float]:
    """Choice -> the least of the seconds per point of several turns."""
    task, points = Task(work.objective, ("train",), ("loss",)), list(grid_points(work.grid))
    engines = {choice: engine_of(choice, task, work.plane) for choice in choices}
    best = dict.fromkeys(choices, float("inf"))
    for turn in range(_TURNS + 1):
        for choice in choices if turn % 2 else choices[::-1]:
            count = 1 if turn == 0 else max(choice.streams * choice.chunk, int(_LEAST_SECONDS / best[choice]))
            few = points[: min(max(count, choice.streams * choice.chunk), len(points))]
            began = time.perf_counter()
            list(engines[choice].evaluate(few))
            best[choice] = min(best[choice], (time.perf_counter() - began) / len(few))
    return best


def _words(choice: Choice) -> str:
    tuning = choice.tuning
    words = [choice.engine, f"micro-batches of {tuning.batch_size}", f"{choice.streams} streams"]
    words += [f"{choice.chunk} points at once"] * (choice.engine == "batched")
    words += ["channels last"] * tuning.channels_last + ["rewritten"] * bool(tuning.rewrite)
    return ", ".join(words)


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose, time, and print a table."""
    parser = argparse.ArgumentParser("python -m benchmarks.choices", description=main.__doc__)
    parser.add_argument("workloads", nargs="*", default=[spec.name for spec in SPECS])
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args(arguments)
    os.environ[VARIABLE] = ""
    print("| | chosen | times | to the best | share of the run, median and largest |")
    print("|---|---|---|---|---|")
    for spec in SPECS:
        if spec.name not in given.workloads:
            continue
        work = build(spec)
        found, shares, tried = _chosen(work, given.times)
        seconds = _seconds(work, sorted(tried, key=_words))
        least = min(seconds.values())
        side = f"{spec.name}, {spec.small_side}x{spec.small_side}"
        spent = f"{statistics.median(shares):.3f}, {max(shares):.3f}"
        for choice, count in Counter(found).most_common():
            ratio = seconds[choice] / least
            print(f"| {side} | {_words(choice)} | {count} | {ratio:.2f} | {spent} |", flush=True)
            side = spent = ""


if __name__ == "__main__":
    main()

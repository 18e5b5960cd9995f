"""The worth of each part of an engine: ``python -m benchmarks.parts`` prints a table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks import limit
from benchmarks.workloads import SPECS, Workload
from benchmarks.workloads import build as make
from landscape.objective import Tuning
from landscape.surface.engine import Choice, build
from landscape.surface.fill_grid import grid_points
from landscape.surface.task import Task

_ROUNDS = 5
# Micro-batches near the best ones found, and points enough for half a second and more.
_SIZES = {"W1": (1797, 200), "W2": (128, 4), "W3": (42, 2), "W4": (32, 2)}


def main() -> None:
    """Time the parts of every workload against its bare limit, interleaved."""
    cores = torch.get_num_threads()
    print("|  | what | ms per point | ratio to bare |\n| --- | --- | --- | --- |")
    for spec in SPECS:
        workload = make(spec)
        timers = _timers(workload, spec.name, cores)
        bare = min(limit.search(workload), key=lambda found: found.seconds())
        rounds: dict[str, list[float]] = {}
        ratios: dict[str, list[float]] = {}
        for _ in range(_ROUNDS):
            reference = bare.seconds()
            for name, timer in timers.items():
                rounds.setdefault(name, []).append(timer())
                ratios.setdefault(name, []).append(rounds[name][-1] / reference)
        for name, seconds in rounds.items():
            middle, ratio = 1e3 * statistics.median(seconds), statistics.median(ratios[name])
            print(f"| {spec.name} | {name} | {middle:.3g} | {ratio:.2f} |")


def _timers(workload: Workload, name: str, cores: int) -> dict[str, Callable[[], float]]:
    size, points = _SIZES[name]
    chosen = grid_points(workload.grid)[:points]
    images = name in ("W2", "W3")
    return {
        what: _timer(workload, choice, chosen)
        for what, choice in _choices(size, cores, images, chain=name == "W1").items()
    }


def _choices(size: int, cores: int, images: bool, chain: bool) -> dict[str, Choice]:
    plain = Tuning(size, threads=cores)
    alone = Tuning(size, threads=1)
    found = {
        f"flat weights, {cores} threads": Choice("sequential", plain),
        "flat weights, 1 thread": Choice("sequential", alone),
        f"flat weights, {cores} streams": Choice("sequential", alone, streams=cores),
    }
    if images:
        last = Tuning(size, threads=cores, channels_last=True)
        folded = Tuning(size, threads=cores, channels_last=True, rewrite=True)
        side = Tuning(size, threads=1, channels_last=True, rewrite=True)
        found |= {
            f"channels last, {cores} threads": Choice("sequential", last),
            f"channels last, folded and fused, {cores} threads": Choice("sequential", folded),
            f"channels last, folded and fused, {cores} streams": Choice("sequential", side, streams=cores),
        }
    if chain:
        found |= {
            "batched, first layer affine, 1 thread": Choice("batched", alone, chunk=8),
            f"batched, first layer affine, {cores} streams": Choice("batched", alone, streams=cores, chunk=8),
        }
    return found


def _timer(workload: Workload, choice: Choice, points: list[tuple[float, ...]]) -> Callable[[], float]:
    engine = build(choice, Task(workload.objective, ("train",), ("loss",)), workload.plane)
    list(engine.evaluate(points[: max(2, choice.chunk * choice.streams)]))

    def seconds() -> float:
        began = time.perf_counter()
        for _ in engine.evaluate(points):
            pass
        return (time.perf_counter() - began) / len(points)

    return seconds


if __name__ == "__main__":
    main()

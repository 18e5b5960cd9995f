"""Every call of the library's own evaluation: where it changes, this is the only module to change."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

import landscape as ls
from benchmarks.workloads import Workload, objective_of
from landscape.surface.engine import ENGINES
from landscape.surface.fill_grid import grid_points
from landscape.surface.plan import Made, Plan
from landscape.surface.task import Task
from landscape.surface.tuner import Tuner

Point = tuple[float, float]

# The split and metric that is compared: the bare passes compute nothing but the mean loss.
_SPLITS, _METRICS, _KEY = ("train",), ("loss",), "train_loss"


def engines(workload: str) -> tuple[str, ...]:
    """The names of the engines to time, ``"auto"`` first.

    Mapping convolutions and attention over weights takes several times as long as a loop on a CPU, and there is
    nothing else left to choose from on the larger workloads.
    """
    return tuple(ENGINES) if workload == "W1" else ("auto",)


@functools.cache
def _made(workload: Workload, name: str, dtype: torch.dtype | None) -> Made:
    """An engine that was chosen for the whole grid and has run once: what is compiled first is not counted."""
    points = tuple(grid_points(workload.grid))
    made = Tuner(Task(workload.objective, _SPLITS, _METRICS, dtype), workload.plane, points).choose(name)
    list(made.engine.evaluate(points[:8]))
    return made


def forget() -> None:
    """Let go of the engines and their copies of the data."""
    _made.cache_clear()


def time_per_point(
    workload: Workload, engine: str, points: Sequence[Point], dtype: torch.dtype | None = None
) -> tuple[float, np.ndarray, float | None]:
    """The time of a point in steady state.

    Args:
        workload: What to evaluate.
        engine: One of `engines`.
        points: Coordinates in the plane of the workload.
        dtype: The type of real numbers; None is the model's own.

    Returns:
        Seconds per point; the mean losses, shape (points,), float64; the seconds per point that the engine
        foresaw, None where it does not say.

    Raises:
        LandscapeError: If the engine cannot evaluate this workload.
    """
    made = _made(workload, engine, dtype)
    start = time.perf_counter()
    estimates = list(made.engine.evaluate(points))
    elapsed = time.perf_counter() - start
    values = np.array([estimate[_KEY].mean for estimate in estimates])
    return elapsed / len(points), values, made.plan.seconds_per_point


def chosen(workload: Workload, engine: str, points: Sequence[Point], dtype: torch.dtype | None = None) -> str:
    """The name that the engine of `time_per_point` gives itself: what ``"auto"`` chose."""
    return _made(workload, engine, dtype).plan.describe().split(";")[0]


def small_grid_seconds(workload: Workload) -> tuple[float, float]:
    """The times of a small grid on an objective that nothing was evaluated on, and of the same grid again."""
    objective = objective_of(workload.model, workload.inputs, workload.targets)
    grid = ls.grid(workload.spec.small_side)
    first, second = (_seconds(lambda: ls.evaluate(objective, workload.plane, grid, metrics="loss")) for _ in "12")
    return first, second


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def full_grid_seconds(workload: Workload, engine: str) -> tuple[float, float | None]:
    """The time of the whole grid through the public function, set-up included, and what was foreseen."""
    foreseen: list[Plan] = []
    start = time.perf_counter()
    ls.evaluate(
        workload.objective,
        workload.plane,
        workload.grid,
        metrics="loss",
        engine=engine,
        notify=foreseen.append,
    )
    return time.perf_counter() - start, foreseen[0].seconds

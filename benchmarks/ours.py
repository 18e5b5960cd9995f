"""Every call of the library's own evaluation: where it changes, this is the only module to change."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import numpy as np
import torch

import landscape as ls
from benchmarks.workloads import Workload
from landscape.surface.engine import ENGINES, Engine, make_engine

Point = tuple[float, float]

# The split and metric that is compared: the bare passes compute nothing but the mean loss.
_SPLITS, _METRICS, _KEY = ("train",), ("loss",), "train_loss"


def engines() -> tuple[str, ...]:
    """The names of all engines, ``"auto"`` first."""
    return ("auto", *(name for name in ENGINES if name != "auto"))


@functools.cache
def _engine(workload: Workload, name: str, dtype: torch.dtype | None, points: tuple[Point, ...]) -> Engine:
    """An engine that has run once: what is prepared or compiled at first use is not counted."""
    engine = make_engine(name, workload.objective, workload.plane, _SPLITS, _METRICS, dtype)
    list(engine.evaluate(points))
    return engine


def forget() -> None:
    """Let go of the engines and their copies of the data."""
    _engine.cache_clear()


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
    made = _engine(workload, engine, dtype, tuple(points))
    start = time.perf_counter()
    estimates = list(made.evaluate(points))
    elapsed = time.perf_counter() - start
    values = np.array([estimate[_KEY].mean for estimate in estimates])
    return elapsed / len(points), values, None


def chosen(workload: Workload, engine: str, points: Sequence[Point], dtype: torch.dtype | None = None) -> str:
    """The name that the engine of `time_per_point` gives itself: what ``"auto"`` chose."""
    made = _engine(workload, engine, dtype, tuple(points))
    return f"{made.name}, micro-batch {made.batch_size}"


def full_grid_seconds(workload: Workload, engine: str) -> tuple[float, float | None]:
    """The time of the whole grid through the public function, set-up included, and what was foreseen."""
    start = time.perf_counter()
    ls.evaluate(workload.objective, workload.plane, workload.grid, metrics="loss", engine=engine)
    return time.perf_counter() - start, None

"""Which engine, and how: candidates are timed on the real objective, within a budget of time and memory."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.footprint import bytes_per_example
from landscape.objective.memory import KERNELS, SHARE, free_memory
from landscape.params import is_number
from landscape.projection import Plane
from landscape.surface.engine import Choice, Engine, build, plain_choice
from landscape.surface.plan import Made, Plan
from landscape.surface.sequential import Point, Sequential
from landscape.surface.task import Task
from landscape.surface.weight_stepper import Mover

# What takes less is not worth choosing for, and so always gets the same bits.
_QUICK_SECONDS = 2.0
# The share of the estimated run that choosing may take; 2 s it may take anyway, but no large part of a short run.
_BUDGET_SHARE = 0.05
_BUDGET_SECONDS = 2.0
_SHORT_SHARE = 0.25
# One measurement: long against the clock's grain, short against the budget.
_MEASURE_SECONDS = 0.06
# Timings of one candidate scatter by a few per cent; a change must gain more than that.
_GAIN = 0.95
# The first compilation in a process takes about 20 s, and gains a third of the time at best.
_COMPILE_SECONDS = 20.0
# Beyond that many examples per micro-batch nothing gains on a CPU.
_LARGEST_BATCH = {"cpu": 2048, "cuda": 65536, "mps": 8192}
# Rather one stream less than micro-batches below that.
_LEAST_BATCH = 8
# Several points at once pay where one alone does not fill the machine.
_SMALL_POINT_SECONDS = 0.05


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _fixed(objective: Objective, settings: Mapping[str, Any]) -> dict[str, int]:
    """The micro-batch where the loss depends on it."""
    size = objective.fixed_batch
    if size is None:
        return {}
    if settings.get("batch_size", size) != size:
        raise LandscapeError(
            "the loss depends on the batches, so their size is part of it",
            where="tune",
            got=f"batch_size={settings['batch_size']}",
            expected=size,
        )
    return {"batch_size": size}


# Where no more fit into a micro-batch, a pass takes long, and what the objective knows of its memory will do.
_FEW = 6


class Tuner:
    """Chooses for one slice.

    Args:
        task: What to measure.
        plane: Where.
        points: All points to be computed.
        memory: Bytes that evaluation may take; None is a quarter of what is free.
        settings: What is not to be chosen, as `parse_settings` gives it.
        workers: How many processes share memory and cores.
    """

    def __init__(
        self,
        task: Task,
        plane: Plane,
        points: Sequence[Point],
        *,
        memory: int | None = None,
        settings: Mapping[str, Any] | None = None,
        workers: int = 1,
    ) -> None:
        self._task, self._workers = task, workers
        self._objective = objective = task.objective
        self._points = list(points)
        self._settings = dict(settings or {}) | _fixed(task.objective, settings or {})
        whole = memory if memory is not None else int(SHARE * free_memory(objective.device))
        self._memory = whole // workers
        self._cores = max(1, min(_usable_cores(), torch.get_num_threads()) // workers)
        self._examples = sum(objective.data[split].count for split in task.splits)
        self._parameters = sum(info.numbers for info in plane.layout.stored("parameter"))
        self._directions = len(plane.directions)
        self._per_example = 0
        self._tried: dict[Choice, float] = {}
        self._deadline = float("inf")
        self._plane = plane
        self._mover: Mover | None = None
        native = [tensor.dtype for tensor in plane.origin.values() if is_number(tensor)]
        # Half-precision weights are summed in single precision.
        self._itemsize = max([4, *((task.dtype or kind).itemsize for kind in native)])

    def _build(self, choice: Choice) -> Engine:
        engine = build(choice, self._task, self._plane, self._mover)
        self._mover = engine.mover
        return engine

    def adopt(self, choice: Choice) -> Made:
        """The engine of a choice that was made before; only the number of streams is open.

        Raises:
            LandscapeError: If the engine cannot evaluate this, or it needs more than the memory.
        """
        alone = choice.tuning.threads == 1 and self._objective.device.type == "cpu"
        choice = replace(choice, streams=self._cores if alone else 1).forced(self._settings)
        sized = self._sized(choice)
        if sized.to_json() != choice.to_json():
            sized = replace(choice, streams=1)
        engine = self._build(sized)
        return Made(engine, self._plan(sized, engine, self._glance(engine)))

    def choose(self, engine: str) -> Made:
        """The engine to use, and the plan.

        Args:
            engine: ``"auto"``, or the name of one that is tuned.

        Raises:
            LandscapeError: If the engine cannot evaluate this, or one example needs more than the memory.
        """
        names = ["sequential", "batched"] if engine == "auto" else [engine]
        first = self._sized(plain_choice(self._objective, names[0]).forced(self._settings))
        built = self._build(first)
        seconds = self._glance(built)
        if seconds * len(self._points) < _QUICK_SECONDS or self._all_forced():
            return Made(built, self._plan(first, built, seconds))
        whole = seconds * len(self._points)
        self._deadline = time.monotonic() + max(_BUDGET_SHARE * whole, min(_BUDGET_SECONDS, _SHORT_SHARE * whole))
        best, made = first, built
        self._time(best, made)
        if "sequential" in names:
            best, made = self._tune_threads(best, made)
        if "batched" in names:
            best, made = self._tune_batched(best, made)
        if isinstance(made, Sequential):
            best, made = self._tune_batch(best, made)
            best, made = self._tune_rest(best, made)
            best, made = self._tune_compiled(best, made)
        return Made(made, self._plan(best, made, self._measure(made, precise=True)))

    def _plan(self, choice: Choice, engine: Engine, seconds: float) -> Plan:
        return Plan(
            replace(choice, tuning=engine.tuning),
            len(self._points),
            seconds,
            engine.rewrites,
            tuple(self._tried.items()),
            self._predict(choice) if self._per_example else None,
            self._objective.device.type,
            workers=self._workers,
        )

    def _all_forced(self) -> bool:
        return {"batch_size", "threads", "streams", "rewrite"} <= self._settings.keys()

    # Memory

    def _sized(self, choice: Choice) -> Choice:
        """The choice with streams and micro-batch cut down to the memory."""
        if not self._per_example:
            plain = replace(choice.tuning, rewrite=False, compiled=False)
            known = self._objective.example_bytes if plain.batch_size < _FEW and self._task.dtype is None else None
            self._per_example = known or bytes_per_example(
                self._objective.evaluator(self._task.dtype, plain), self._task.metrics
            )
        while self._predict(choice) > self._memory:
            least = _LEAST_BATCH if choice.streams > 1 else 1
            if choice.tuning.batch_size > least and not self._objective.fixed_batch:
                size = choice.tuning.batch_size // 2
                choice = replace(choice, tuning=replace(choice.tuning, batch_size=size))
            elif choice.streams > 1:
                full = self._objective.default_tuning().batch_size
                choice = replace(
                    choice, streams=choice.streams - 1, tuning=replace(choice.tuning, batch_size=full)
                )
            elif choice.chunk > 1:
                choice = replace(choice, chunk=choice.chunk // 2)
            else:
                raise LandscapeError(
                    "one example at one point needs more than the memory that may be used",
                    where="memory",
                    got=_megabytes(self._memory),
                    expected=f"at least {_megabytes(self._predict(choice))}",
                    mend="give more with --memory",
                )
        return choice

    def _predict(self, choice: Choice) -> int:
        """Bytes beside the model and the data as they are."""
        weights = self._parameters * self._itemsize
        # Origin and directions once; per stream the weights, their folded copy, and a kernel's reordered ones.
        fixed = (1 + self._directions) * weights + choice.streams * KERNELS
        batch = min(choice.tuning.batch_size, self._examples)
        if self._task.recalibrate:
            batch = max(batch, 128)
        points = choice.chunk if choice.engine == "batched" else 1
        return fixed + choice.streams * (points * batch * self._per_example + (2 + points) * weights)

    # Time

    def _some_points(self, count: int) -> list[Point]:
        step = max(1, len(self._points) // count)
        return (self._points[::step] * (1 + count // len(self._points)))[:count]

    def _glance(self, engine: Engine) -> float:
        """Seconds per point, roughly and at once: what comes first is slower than the rest."""
        if isinstance(engine, Sequential):
            return min(self._partly(engine, 1) for _ in range(2))
        return min(self._whole(engine, engine.chunk) for _ in range(2))

    def _measure(self, engine: Engine, precise: bool = False) -> float:
        """Seconds per point, the shorter of two measurements."""
        guess = self._glance(engine)
        limit = _MEASURE_SECONDS
        if precise:
            # The estimate that is said deserves more, but no large part of the run.
            limit = max(limit, min(4 * limit, 0.02 * guess * len(self._points)))
        if isinstance(engine, Sequential) and guess * engine.streams > limit:
            # A point that takes long is not needed whole.
            per_batch = guess * engine.streams * min(1.0, engine.tuning.batch_size / self._examples)
            batches = max(1, int(limit / per_batch))
            return min(self._partly(engine, batches) for _ in range(2))
        at_once = engine.streams * engine.chunk
        rounds = max(1, min(64, int(limit / max(guess * at_once, 1e-6))))
        return min(self._whole(engine, rounds * at_once) for _ in range(2))

    def _whole(self, engine: Engine, count: int) -> float:
        """Seconds per point from so many whole points."""
        points = self._some_points(count)
        began = time.perf_counter()
        for _ in engine.evaluate(points):
            pass
        return (time.perf_counter() - began) / count

    def _partly(self, engine: Sequential, batches: int) -> float:
        """Seconds per point from some micro-batches of every worker; moving there is needed once."""
        point = self._points[len(self._points) // 2]
        began = time.perf_counter()
        engine.try_out(point, 0)
        moving = time.perf_counter() - began
        seen = engine.try_out(point, batches)
        passing = time.perf_counter() - began - 2 * moving
        return (moving + max(0.0, passing) * self._examples / seen) / engine.streams

    def _time(self, choice: Choice, engine: Engine) -> float:
        self._tried[choice] = self._measure(engine)
        return self._tried[choice]

    @property
    def _has_time(self) -> bool:
        return time.monotonic() < self._deadline

    # Candidates

    def _tune_threads(self, best: Choice, made: Engine) -> tuple[Choice, Engine]:
        """Rewrites, with points side by side or threads inside operations."""
        ways: list[dict[str, Any]] = [{"rewrite": True}]
        if self._objective.device.type == "cpu" and self._cores > 1:
            ways = [
                {"rewrite": True, "threads": 1, "streams": self._cores},
                {"rewrite": True, "threads": self._cores, "streams": 1},
            ]
        for way in ways:
            best, made = self._try(best, made, way)
        return best, made

    def _tune_rest(self, best: Choice, made: Engine) -> tuple[Choice, Engine]:
        """Try what seldom pays: the other memory format, and no rewrites."""
        ways: list[dict[str, Any]] = []
        if self._has_images():
            ways.append({"channels_last": not best.tuning.channels_last})
        if made.rewrites:
            ways.append({"rewrite": False})
        for way in ways:
            best, made = self._try(best, made, way)
        return best, made

    def _has_images(self) -> bool:
        return any(isinstance(module, nn.Conv2d) for module in self._objective.model.modules())

    def _try(self, best: Choice, made: Engine, way: Mapping[str, Any]) -> tuple[Choice, Engine]:
        """The better of a choice and the same with some settings changed."""
        free = {name: value for name, value in way.items() if name not in self._settings}
        choice = self._sized(best.forced(free))
        if choice in self._tried or choice == best or not self._has_time:
            return best, made
        engine = self._build(choice)
        choice = replace(choice, tuning=engine.tuning)
        return (choice, engine) if self._beats(choice, engine, best, made) else (best, made)

    def _beats(self, choice: Choice, engine: Engine, best: Choice, made: Engine) -> bool:
        """Return whether a candidate is faster than the best so far, both timed now: other work comes and goes."""
        seconds = self._time(choice, engine)
        return seconds < _GAIN * self._time(best, made)

    def _tune_batch(self, best: Choice, made: Sequential) -> tuple[Choice, Sequential]:
        """Double or halve the micro-batch for as long as that gains."""
        if "batch_size" in self._settings:
            return best, made
        largest = min(self._examples, _LARGEST_BATCH.get(self._objective.device.type, 2048))
        for factor in (2.0, 0.5):
            improved = False
            while self._has_time:
                size = int(min(largest, best.tuning.batch_size * factor))
                choice = replace(best, tuning=replace(best.tuning, batch_size=size))
                if size < 1 or choice in self._tried or self._predict(choice) > self._memory:
                    break
                made.cut(size)
                seconds = self._time(choice, made)
                made.cut(best.tuning.batch_size)
                if seconds >= _GAIN * self._time(best, made):
                    break
                best, improved = choice, True
                made.cut(size)
            if improved:
                break
        return best, made

    def _tune_batched(self, best: Choice, made: Engine) -> tuple[Choice, Engine]:
        if self._task.recalibrate or self._tried.get(best, 0.0) > _SMALL_POINT_SECONDS:
            return best, made
        for way in self._ways_to_batch(best):
            choice = replace(best, engine="batched", tuning=replace(best.tuning, rewrite=False)).forced(way)
            choice = self._sized(choice.forced(self._settings))
            if choice in self._tried or not self._has_time:
                continue
            try:
                with warnings.catch_warnings():
                    # Operations that are mapped one by one are slow, which shows in the time.
                    warnings.filterwarnings("ignore", "There is a performance drop")
                    engine = self._build(choice)
                    gains = self._beats(choice, engine, best, made)
            except (LandscapeError, RuntimeError):
                # Whatever cannot be mapped over weights is evaluated point by point.
                return best, made
            if gains:
                best, made = choice, engine
        return best, made

    def _ways_to_batch(self, best: Choice) -> list[dict[str, Any]]:
        """On a CPU a layer of a micro-batch at all points should fit into its caches; a GPU takes all it gets."""
        if self._objective.device.type != "cpu":
            return [{"chunk": chunk} for chunk in (8, 32, 128)]
        shared = {"threads": 1, "streams": self._cores} if self._cores > 1 else {}
        sizes = ((4, 512), (8, 2048), (16, 128))
        ways: list[dict[str, Any]] = [
            {"chunk": chunk, "batch_size": min(size, self._examples), **shared} for chunk, size in sizes
        ]
        return [*ways, {"chunk": 4, "batch_size": min(512, self._examples), "threads": None, "streams": 1}]

    def _tune_compiled(self, best: Choice, made: Engine) -> tuple[Choice, Engine]:
        left = self._tried.get(best, 0.0) * len(self._points)
        can = self._objective.device.type == "cuda" or shutil.which("g++") or shutil.which("c++")
        long_enough = _BUDGET_SHARE * left > _COMPILE_SECONDS
        if "compiled" in self._settings or not (can and long_enough):
            return best, made
        try:
            return self._try(best, made, {"compiled": True})
        except (RuntimeError, TypeError):
            return best, made

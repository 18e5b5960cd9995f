"""Which engine, and how: candidates are timed in pairs on the real objective, for a small share of the run.

What was chosen is remembered, so that the same work is not timed again; see `choice_cache`.
"""

from __future__ import annotations

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
from landscape.objective.loan import least_of_all
from landscape.projection import Plane
from landscape.surface.choice_cache import Remembered, key_of, recall, remember, usable_cores
from landscape.surface.engine import Choice, Engine, build, plain_choice
from landscape.surface.memory_limit import MemoryLimit
from landscape.surface.plan import Made, Plan
from landscape.surface.sequential import Point, Sequential
from landscape.surface.stopwatch import Stopwatch
from landscape.surface.task import Task
from landscape.surface.weight_stepper import Mover

# What takes less is not worth choosing for, and so always gets the same bits.
_QUICK_SECONDS = 2.0
# The share of the estimated run that choosing may take.
_BUDGET_SHARE = 0.05
# A second look may take so much of the run: what comes first in a process is slower.
_LOOK_SHARE = 0.02
# One measurement: long against the clock's grain, short against the budget, of which it is this share.
_LEAST_SECONDS, _MOST_SECONDS = 0.002, 0.06
_MEASURE_SHARE = 1 / 30
# Pairs of measurements; the least of each side counts, for whatever else the machine does only adds to it.
_TURNS = 4
# A change must gain more than timings scatter by; what gains on most machines must not lose more.
_GAIN, _USUAL_GAIN = 0.97, 1.08
# Beyond these one pair decides.
_CLEAR_GAIN, _CLEAR_LOSS = 0.8, 1.25
# A remembered choice that is slower than it was by more is looked at: whether the machine is slower, or it alone.
_SLOW = 1.5
# A choice that was made in a hurry is made again for a run that allows so many times the time.
_MORE = 4.0
# The first compilation in a process takes about 20 s, and gains a third of the time at best.
_COMPILE_SECONDS = 20.0
# Beyond that many examples per micro-batch nothing gains on a CPU.
_LARGEST_BATCH = {"cpu": 2048, "cuda": 65536, "mps": 8192}
# Several points at once pay where one alone does not fill the machine.
_SMALL_POINT_SECONDS = 0.05


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
        self._task, self._plane, self._workers = task, plane, workers
        self._objective = objective = task.objective
        self._points = list(points)
        self._settings = dict(settings or {}) | _fixed(task.objective, settings or {})
        self._memory_asked, self._limit = memory, MemoryLimit(task, plane, memory, workers)
        self._cores = max(1, min(usable_cores(), torch.get_num_threads()) // workers)
        self._examples = sum(objective.data[split].count for split in task.splits)
        self._watch = Stopwatch(self._points, self._examples)
        self._tried: dict[Choice, float] = {}
        self._deadline, self._measuring = float("inf"), _MOST_SECONDS
        self._hurried, self._building, self._longest = False, 0.0, 0.0
        self._mover: Mover | None = None

    def _build(self, choice: Choice) -> Engine:
        began = time.monotonic()
        engine = build(choice, self._task, self._plane, self._mover)
        self._mover = engine.mover
        self._building = time.monotonic() - began
        return engine

    def adopt(self, choice: Choice) -> Made:
        """The engine of a choice that was made before; only the number of streams is open.

        Raises:
            LandscapeError: If the engine cannot evaluate this, or it needs more than the memory.
        """
        on_cpu = self._objective.device.type == "cpu" and not self._objective.in_place
        alone = choice.tuning.threads == 1 and on_cpu
        choice = replace(choice, streams=self._cores if alone else 1).forced(self._settings)
        sized = self._limit.fitted(choice)
        if self._objective.in_place:
            size = least_of_all(self._objective.model, sized.tuning.batch_size)
            sized = replace(sized, tuning=replace(sized.tuning, batch_size=size))
        if sized.to_json() != choice.to_json():
            sized = replace(choice, streams=1)
        engine = self._build(sized)
        return Made(engine, self._plan(sized, engine, self._watch.measure(engine, 0.0)))

    def choose(self, engine: str) -> Made:
        """The engine to use, and the plan.

        Args:
            engine: ``"auto"``, or the name of one that is tuned.

        Raises:
            LandscapeError: If the engine cannot evaluate this, or one example needs more than the memory.
        """
        began = time.monotonic()
        asked = {"engine": engine, "settings": self._settings, "memory": self._memory_asked}
        key = key_of(self._task, workers=self._workers, **asked)
        held = recall(self._objective, key)
        names = ["sequential", "batched"] if engine == "auto" else [engine]
        plain = self._plain(names[0])
        if held is not None and (again := self._choose_again(held, plain)) is not None:
            return again
        best = plain = self._limit.fitted(plain)
        made = self._build(best)
        seconds = self._look(made)
        whole = seconds * len(self._points)
        if whole < _QUICK_SECONDS or self._all_forced():
            return Made(made, self._plan(best, made, seconds))
        budget = _BUDGET_SHARE * whole
        self._deadline = began + budget
        self._measuring = min(max(_LEAST_SECONDS, _MEASURE_SHARE * budget), _MOST_SECONDS)
        self._tried[best] = seconds
        best, made = self._tune(names, best, made)
        seconds = self._tried[best]
        if len(self._tried) > 1:
            own, usual = seconds / self._examples, self._tried[plain] / self._examples
            found = Remembered(best, own, usual, self._limit.per_example, budget, not self._hurried)
            remember(self._objective, key, found)
        return Made(made, self._plan(best, made, seconds))

    def _plain(self, engine: str) -> Choice:
        return plain_choice(self._objective, engine).forced(self._settings)

    def _choose_again(self, held: Remembered, plain: Choice) -> Made | None:
        """Return what was chosen before; None where it turns out slow, or there was too little time to choose."""
        self._limit.per_example = held.per_example
        count = len(self._points) * self._examples
        if held.plain * count < _QUICK_SECONDS:
            engine = self._build(choice := self._limit.fitted(plain))
            return Made(engine, self._plan(choice, engine, held.plain * self._examples))
        if not held.settled and _BUDGET_SHARE * held.seconds * count > _MORE * held.budget:
            return None
        try:
            engine = self._build(choice := self._limit.fitted(held.choice))
            seconds = self._look(engine)
            if seconds > _SLOW * held.seconds * self._examples:
                other = self._build(plain := self._limit.fitted(plain))
                self._tried[plain] = self._watch.measure(other, 0.0)
                ratio = self._ratio(choice, engine, plain, other)
                self._tried.clear()
                if ratio > _SLOW * held.seconds / held.plain:
                    return None
        except (LandscapeError, RuntimeError):
            return None
        return Made(engine, self._plan(choice, engine, seconds))

    def _look(self, engine: Engine) -> float:
        """Seconds per point, at once."""
        seconds = self._watch.measure(engine, 0.0)
        whole = seconds * len(self._points)
        if whole < _QUICK_SECONDS or self._watch.least(engine, seconds) > _LOOK_SHARE * whole:
            return seconds
        return min(seconds, self._watch.measure(engine, 0.0))

    def _plan(self, choice: Choice, engine: Engine, seconds: float) -> Plan:
        return Plan(
            replace(choice, tuning=engine.tuning),
            len(self._points),
            seconds,
            engine.rewrites,
            tuple(self._tried.items()),
            self._limit.predict(choice) if self._limit.per_example else None,
            self._objective.device.type,
            workers=self._workers,
        )

    def _all_forced(self) -> bool:
        return {"batch_size", "threads", "streams", "rewrite"} <= self._settings.keys()

    def _tune(self, names: Sequence[str], best: Choice, made: Engine) -> tuple[Choice, Engine]:
        """Try what usually gains most first: time may end before all was tried."""
        plain = best
        small = self._tried[best] <= _SMALL_POINT_SECONDS and not self._task.recalibrate
        if "batched" in names and small and not self._has_images():
            best, made = self._tune_batched(best, made)
        if "sequential" in names:
            for way in self._ways_of_threads():
                best, made = self._try(best, made, plain.forced(way), usual=best == plain)
        if "batched" in names and small and self._has_images():
            best, made = self._tune_batched(best, made)
        if isinstance(made, Sequential):
            best, made = self._tune_batch(best, made)
            for way in self._ways_that_seldom_pay(best, made):
                best, made = self._try(best, made, best.forced(way))
            best, made = self._tune_compiled(best, made)
        if isinstance(made, Sequential):
            made.cut(best.tuning.batch_size)
        return best, made

    def _has_images(self) -> bool:
        return any(isinstance(module, nn.Conv2d) for module in self._objective.model.modules())

    def _ways_of_threads(self) -> list[dict[str, Any]]:
        """Rewrites, with points side by side or threads inside operations."""
        if self._objective.device.type != "cpu" or self._cores == 1:
            return [{"rewrite": True}]
        inside = None if self._cores == torch.get_num_threads() else self._cores
        return [
            {"rewrite": True, "threads": 1, "streams": self._cores},
            {"rewrite": True, "threads": inside, "streams": 1},
        ]

    def _ways_that_seldom_pay(self, best: Choice, made: Engine) -> list[dict[str, Any]]:
        """The other memory format, and no rewrites."""
        formats = [{"channels_last": not best.tuning.channels_last}] if self._has_images() else []
        return [*formats, *([{"rewrite": False}] if made.rewrites else [])]

    def _has_time(self, best: Choice, made: Engine) -> bool:
        """Return whether a challenge of the best can be decided before choosing has taken its share of the run."""
        alone = self._watch.least(made, self._tried[best]) / made.streams
        trial = 3 * max(self._measuring, self._longest, alone * self._cores)
        enough = time.monotonic() + self._building + trial < self._deadline
        self._hurried = self._hurried or not enough
        return enough

    def _try(
        self, best: Choice, made: Engine, choice: Choice, engine: Engine | None = None, usual: bool = False
    ) -> tuple[Choice, Engine]:
        """The better of the best so far and another choice, whose engine is built unless it is given.

        One that is `usual` is better on most machines, and so better here unless it is seen to be slower.
        """
        choice = self._limit.fitted(choice.forced(self._settings))
        if choice in self._tried or not self._has_time(best, made):
            return best, made
        engine = engine or self._build(choice)
        choice = replace(choice, tuning=replace(engine.tuning, batch_size=choice.tuning.batch_size))
        if choice in self._tried:
            # Nothing could be rewritten.
            return best, made
        gains = self._ratio(choice, engine, best, made) < (_USUAL_GAIN if usual else _GAIN)
        return (choice, engine) if gains else (best, made)

    def _ratio(self, choice: Choice, engine: Engine, best: Choice, made: Engine) -> float:
        """The time of a challenger to that of the best so far, both taken by turns: other work comes and goes."""
        # What is computed first prepares kernels.
        self._tried[choice] = self._seconds(choice, engine, 0.0)
        # Of two measurements the shorter meets other work less often.
        least = [self._watch.least(one, self._tried[of]) for of, one in ((choice, engine), (best, made))]
        self._longest = limit = max(self._measuring, *least)
        mine: list[float] = []
        its: list[float] = []
        for turn in range(_TURNS):
            sides = [(mine, choice, engine), (its, best, made)]
            for seconds, which, by in sides if turn % 2 else reversed(sides):
                seconds.append(self._seconds(which, by, limit))
            ratio = min(mine) / min(its)
            if not _CLEAR_GAIN < ratio < _CLEAR_LOSS or time.monotonic() + 2 * limit > self._deadline:
                break
        self._tried[choice], self._tried[best] = min(mine), min(its)
        return ratio

    def _seconds(self, choice: Choice, engine: Engine, limit: float) -> float:
        """Seconds per point, measured for so long or as short as can be."""
        if isinstance(engine, Sequential):
            engine.cut(choice.tuning.batch_size)
        return self._watch.measure(engine, self._tried.get(choice, 0.0), limit)

    def _tune_batch(self, best: Choice, made: Sequential) -> tuple[Choice, Sequential]:
        """Double or halve the micro-batch for as long as that gains."""
        if "batch_size" in self._settings:
            return best, made
        largest = min(self._examples, _LARGEST_BATCH.get(self._objective.device.type, 2048))
        for factor in (2.0, 0.5):
            begun = best
            while True:
                now = min(best.tuning.batch_size, self._examples)
                size = int(min(largest, now * factor))
                choice = replace(best, tuning=replace(best.tuning, batch_size=size))
                if size in (0, now) or not self._limit.allows(choice):
                    break
                before = best
                best, _ = self._try(best, made, choice, made)
                if best is before:
                    break
            if best is not begun:
                break
        return best, made

    def _tune_batched(self, best: Choice, made: Engine) -> tuple[Choice, Engine]:
        begun, plain = best, replace(best, engine="batched", tuning=replace(best.tuning, rewrite=False))
        for way in self._ways_to_batch():
            choice = self._limit.fitted(plain.forced(way).forced(self._settings))
            try:
                with warnings.catch_warnings():
                    # Operations that are mapped one by one are slow, which shows in the time.
                    warnings.filterwarnings("ignore", "There is a performance drop")
                    best, made = self._try(best, made, choice, usual=not self._has_images() and best == begun)
            except (LandscapeError, RuntimeError):
                # Whatever cannot be mapped over weights is evaluated point by point.
                break
            if self._tried.get(choice, 0.0) > _CLEAR_LOSS * self._tried[best]:
                break
        return best, made

    def _ways_to_batch(self) -> list[dict[str, Any]]:
        """On a CPU a layer of a micro-batch at all points should fit into its caches; a GPU takes all it gets."""
        if self._objective.device.type != "cpu":
            return [{"chunk": chunk} for chunk in (8, 32, 128)]
        shared = {"threads": 1, "streams": self._cores} if self._cores > 1 else {}
        ways: list[dict[str, Any]] = [
            {"chunk": chunk, "batch_size": min(size, self._examples), **shared}
            for chunk, size in ((8, 2048), (16, 512), (4, 512), (16, 128))
        ]
        return [*ways, {"chunk": 4, "batch_size": min(512, self._examples), "threads": None, "streams": 1}]

    def _tune_compiled(self, best: Choice, made: Engine) -> tuple[Choice, Engine]:
        left = self._tried[best] * len(self._points)
        can = self._objective.device.type == "cuda" or shutil.which("g++") or shutil.which("c++")
        long_enough = _BUDGET_SHARE * left > _COMPILE_SECONDS
        if "compiled" in self._settings or not (can and long_enough):
            return best, made
        try:
            return self._try(best, made, best.forced({"compiled": True}))
        except (RuntimeError, TypeError):
            return best, made

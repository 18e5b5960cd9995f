"""Points of planes in chunks, which workers evaluate in any order."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from landscape.executor import Executor, Progress, results
from landscape.objective import Estimate
from landscape.projection import Plane, Repeats
from landscape.surface.engine import Choice, Engine, build
from landscape.surface.plan import Plan
from landscape.surface.sequential import Point
from landscape.surface.task import Task

# A chunk takes about so long: long beside handing it over, short beside losing it.
_SECONDS = 0.5
# Chunks per worker at least, so that all end at nearly the same time.
_ROUNDS = 4


@dataclass(frozen=True)
class Chunk:
    """Some points of a plane.

    Attributes:
        plane: The number of the plane.
        points: Coordinates in it.
    """

    plane: int
    points: tuple[Point, ...]

    @property
    def key(self) -> str:
        """Key that identifies it."""
        return hashlib.sha256(repr((self.plane, self.points)).encode()).hexdigest()

    @property
    def title(self) -> str:
        """Where it is."""
        return f"the {len(self.points)} points from {tuple(round(x, 6) for x in self.points[0])}"


@dataclass
class Evaluation:
    """The work on chunks: evaluates them, in whatever process.

    Attributes:
        task: What is measured.
        plane: Where.
        choice: The engine and how it works.
    """

    task: Task
    plane: Plane | Repeats
    choice: Choice
    _engines: dict[int, Engine] = field(default_factory=dict, repr=False)

    def __call__(self, chunk: Chunk, progress: Progress) -> list[dict[str, Estimate]]:
        """Evaluate the points of a chunk."""
        if chunk.plane not in self._engines:
            plane = self.plane[chunk.plane] if isinstance(self.plane, Repeats) else self.plane
            # One at a time: an engine holds weights and directions.
            self._engines = {chunk.plane: build(replace(self.choice, streams=1), self.task, plane)}
        return list(self._engines[chunk.plane].evaluate(chunk.points))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engines": {}}


@dataclass(frozen=True)
class Spread:
    """An engine whose chunks are evaluated by workers.

    Attributes:
        work: What they do.
        workers: Who does it.
        plane: The number of the plane.
        group: Points whose last bits may depend on one another, and which stay together.
        size: Points in a chunk, about.
    """

    work: Evaluation
    workers: Executor
    plane: int
    group: int
    size: int

    @classmethod
    def of(cls, work: Evaluation, workers: Executor, plane: int, engine: Engine, plan: Plan) -> Spread:
        """One whose chunks take workers neither too short nor too long."""
        quick = math.ceil(_SECONDS / max(plan.seconds_per_point, 1e-9))
        fair = math.ceil(plan.points / (_ROUNDS * plan.workers))
        size = math.ceil(min(quick, fair) / engine.group) * engine.group
        return cls(work, workers, plane, engine.group, max(size, engine.group))

    def evaluate(self, points: Sequence[Point]) -> Generator[dict[str, Estimate]]:
        """The estimates at each point, in order."""
        chunks = [
            Chunk(self.plane, tuple(points[start : start + self.size]))
            for start in range(0, len(points), self.size)
        ]
        for found in results(self.work, chunks, self.workers):
            yield from found

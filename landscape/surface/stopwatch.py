"""Seconds per point of an engine, from as little work as tells them."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.surface.engine import Engine
from landscape.surface.sequential import Point, Sequential


class Stopwatch:
    """Times engines on the points of a run.

    Streams work on their own for all of a run, so their rates are added up: where other work holds one of them up,
    the others do not wait for it.

    Args:
        points: All points of the run.
        examples: Examples that a point takes.
    """

    def __init__(self, points: Sequence[Point], examples: int) -> None:
        self._points, self._examples = list(points), examples

    def least(self, engine: Engine, seconds: float) -> float:
        """The seconds of the shortest measurement, a micro-batch or chunk for every stream.

        Args:
            engine: What is measured.
            seconds: Its seconds per point.
        """
        return seconds * engine.streams * (engine.chunk / self._batches(engine))

    def measure(self, engine: Engine, guess: float, limit: float = 0.0) -> float:
        """Seconds per point.

        Args:
            engine: What is measured.
            guess: Its seconds per point, roughly.
            limit: The seconds that the measurement takes, where more than the shortest fits in.
        """
        rounds = max(1, int(limit / max(self.least(engine, guess), 1e-6)))
        batches = self._batches(engine)
        if rounds < batches:
            middle = self._points[len(self._points) // 2]
            own = engine.try_out([middle], rounds)
        else:
            count = min(64, rounds // batches) * engine.chunk
            step = max(1, len(self._points) // count)
            own = engine.try_out((self._points[::step] * (1 + count // len(self._points)))[:count])
        return 1 / sum(1 / max(seconds, 1e-9) for seconds in own)

    def _batches(self, engine: Engine) -> int:
        """Micro-batches of a point, where fewer can stand for it."""
        return -(-self._examples // engine.tuning.batch_size) if isinstance(engine, Sequential) else 1

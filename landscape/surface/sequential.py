"""The sequential engine: one point after the other, all data in one pass each."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import torch

from landscape.errors import LandscapeError
from landscape.objective import Estimate, Evaluator, Tuning
from landscape.objective.raw import RawPoint
from landscape.objective.shared_pass import run_together
from landscape.projection import Plane
from landscape.surface.streams import in_order, undisturbed
from landscape.surface.task import Task
from landscape.surface.weight_stepper import Mover

Point = tuple[float, ...]
# Points that share one pass over streamed data: reading takes a sixteenth then, and progress is still seen.
_TOGETHER = 16


class Sequential:
    """One point after the other: the weights are computed afresh from the origin, then all data pass once.

    Args:
        task: What to measure.
        plane: Where.
        tuning: How the passes are made; None is how `Objective.value` makes them.
        streams: How many points are worked on side by side, each with weights of its own.
        chunk: Points between two waits for the device.
        mover: That of another engine of the same task and plane, to share its memory.
    """

    name = "sequential"
    # No point knows of another.
    group = 1

    def __init__(
        self,
        task: Task,
        plane: Plane,
        *,
        tuning: Tuning | None = None,
        streams: int = 1,
        chunk: int = 1,
        mover: Mover | None = None,
    ) -> None:
        self.streams, self._task = streams, task
        self._workers = [task.objective.evaluator(task.dtype, tuning) for _ in range(streams)]
        self.chunk = together(self._workers[0], chunk)
        for worker in self._workers:
            worker.load(plane.origin)
        self._mover = mover or Mover(plane, self._workers[0], task.derived)

    @property
    def mover(self) -> Mover | None:
        """The origin and directions in memory; None where they are not stored."""
        return self._mover

    @property
    def tuning(self) -> Tuning:
        """Settings of the passes, by now."""
        return min((worker.tuning for worker in self._workers), key=lambda tuning: tuning.batch_size)

    @property
    def rewrites(self) -> dict[str, int]:
        """Rewrites made, name -> how often."""
        return self._workers[0].rewrites

    def evaluate(self, points: Sequence[Point]) -> Generator[dict[str, Estimate]]:
        """The estimates at each point, in order."""
        chunks = [points[start : start + self.chunk] for start in range(0, len(points), self.chunk)]
        for done in in_order(self._chunk, self._workers, chunks, self._workers[0].tuning.threads):
            yield from done

    def _chunk(self, worker: Evaluator, points: Sequence[Point]) -> list[dict[str, Estimate]]:
        while True:
            try:
                raw = self._raw(worker, points)
                return [worker.estimates(results, self._task.metrics) for results in worker.fetch(raw)]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            make_room(1 if self._task.objective.fixed_batch else worker.tuning.batch_size)
            worker.cut(worker.tuning.batch_size // 2)

    def _raw(self, worker: Evaluator, points: Sequence[Point]) -> list[RawPoint]:
        splits, metrics = self._task.splits, self._task.metrics
        if worker.streamed and len(points) > 1 and not self._task.recalibrate:
            return run_together(worker, points, lambda point: self._at(worker, point), splits, metrics)
        raw = []
        for point in points:
            with self._at(worker, point):
                raw.append(worker.run(splits, metrics))
        return raw

    @contextmanager
    def _at(self, worker: Evaluator, point: Point) -> Iterator[None]:
        """Passes inside are at a point."""
        self._move(worker, point)
        yield

    def _move(self, worker: Evaluator, point: Point) -> None:
        self._mover.move(worker, point)
        if self._task.recomputes(point):
            worker.recompute()
        if self._task.recalibrate:
            worker.recalibrate(self._task.splits[0], self._task.recalibrate)

    def cut(self, batch_size: int) -> None:
        """Take micro-batches of another size."""
        for worker in self._workers:
            worker.cut(batch_size)

    def try_out(self, points: Sequence[Point], batches: int | None = None) -> list[float]:
        """Work with every worker at once, to time it.

        Args:
            points: Where each worker goes.
            batches: So many micro-batches of the first split at the first point stand for all; None takes all.

        Returns:
            The seconds per point of each worker, without those that other work took from it.
        """
        split, metrics = self._task.splits[0], self._task.metrics

        def run(worker: Evaluator, _: int) -> float:
            began = undisturbed()
            if batches is None:
                self._chunk(worker, points)
                return (undisturbed() - began) / len(points)
            self._move(worker, points[0])
            moved = undisturbed()
            worker.run([split], metrics, batches)[split].loss.sum().item()
            seen = min(worker.data(split).count, batches * worker.tuning.batch_size)
            whole = sum(worker.data(name).count for name in self._task.splits)
            return moved - began + (undisturbed() - moved) * whole / seen

        return list(in_order(run, self._workers, range(self.streams), self._workers[0].tuning.threads))


def together(worker: Evaluator, chunk: int) -> int:
    """Points at once: more where all of them share what is read of the data."""
    return max(chunk, _TOGETHER) if worker.streamed else chunk


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is exhausted, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "out of memory" in str(error).lower() or "can't allocate memory" in str(error)


def make_room(size: int) -> None:
    """Give cached memory of a device back before a smaller attempt.

    Args:
        size: What is to be halved.

    Raises:
        LandscapeError: If it is 1.
    """
    if size <= 1:
        raise LandscapeError(
            "one example at one point does not fit into memory",
            where="evaluation",
            mend="give more with --memory, or use another device or a smaller model",
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

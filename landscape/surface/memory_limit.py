"""Choices that stay within the memory that an evaluation may take."""

from __future__ import annotations

from dataclasses import replace

from landscape.errors import LandscapeError
from landscape.objective.footprint import bytes_per_example
from landscape.objective.memory import KERNELS, SHARE, free_memory
from landscape.params import is_number
from landscape.projection import Plane
from landscape.surface.engine import Choice
from landscape.surface.task import Task
from landscape.vocabulary import IN_PLACE

# Rather one stream less than micro-batches below that.
_LEAST_BATCH = 8
# Where no more fit into a micro-batch, a pass takes long, and what the objective knows of its memory will do.
_FEW = 6


class MemoryLimit:
    """Predicts what a choice takes, and cuts it down.

    Args:
        task: What is measured.
        plane: Where.
        memory: Bytes that evaluation may take; None is a quarter of what is free.
        workers: How many processes share them.

    Attributes:
        per_example: Bytes that one example of a micro-batch takes; 0 until that is measured.
    """

    def __init__(self, task: Task, plane: Plane, memory: int | None, workers: int) -> None:
        self._task, self._objective = task, task.objective
        whole = memory if memory is not None else int(SHARE * free_memory(task.objective.device))
        self._bytes = whole // workers
        self._examples = sum(task.objective.data[split].count for split in task.splits)
        native = [tensor.dtype for tensor in plane.origin.values() if is_number(tensor)]
        # Half-precision weights are summed in single precision.
        itemsize = max([4, *((task.dtype or kind).itemsize for kind in native)])
        self._weights = sum(info.numbers for info in plane.layout.stored("parameter")) * itemsize
        self._largest = max((info.numbers for info in plane.layout.moving()), default=0) * itemsize
        self._directions = len(plane.directions)
        self.per_example = 0

    def fitted(self, choice: Choice) -> Choice:
        """The choice with streams and micro-batch cut down to the memory.

        Raises:
            LandscapeError: If one example at one point needs more.
        """
        self._measure(choice)
        while not self.allows(choice):
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
                    got=_megabytes(self._bytes),
                    expected=f"at least {_megabytes(self.predict(choice))}",
                    mend="give more with --memory",
                )
        return choice

    def allows(self, choice: Choice) -> bool:
        """Return whether a choice stays within the memory."""
        return self.predict(choice) <= self._bytes

    def predict(self, choice: Choice) -> int:
        """Bytes beside the model and the data as they are."""
        if choice.engine == IN_PLACE:
            # The largest tensor as it was, and the examples.
            return self._largest + KERNELS + min(choice.tuning.batch_size, self._examples) * self.per_example
        # Origin and directions once; per stream the weights, their folded copy, and a kernel's reordered ones.
        fixed = (1 + self._directions) * self._weights + choice.streams * KERNELS
        batch = min(choice.tuning.batch_size, self._examples)
        if self._task.recalibrate:
            batch = max(batch, 128)
        points = choice.chunk if choice.engine == "batched" else 1
        return fixed + choice.streams * (points * batch * self.per_example + (2 + points) * self._weights)

    def _measure(self, choice: Choice) -> None:
        if not self.per_example:
            plain = replace(choice.tuning, rewrite=False, compiled=False)
            few = choice.engine == IN_PLACE or plain.batch_size < _FEW
            known = self._objective.example_bytes if few and self._task.dtype is None else None
            self.per_example = known or bytes_per_example(
                self._objective.evaluator(self._task.dtype, plain), self._task.metrics
            )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"

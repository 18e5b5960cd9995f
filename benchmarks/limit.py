"""The bare limit: the same forward passes with nothing around them, and the matrix peak of the machine."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads import Workload

# Sides of square matrices: below, launching shows; above, the caches do.
_MATRIX_SIDES = (1024, 2048, 3072)
_MICRO_BATCHES = (16, 32, 64, 128, 256, 512, 1024)
# A timing shorter than this is repeated until it is not.
_LEAST_SECONDS = 0.2
# A search of micro-batches times each once and keeps this many times the wanted number for a second look.
_SECOND_LOOK = 3


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_counts() -> list[int]:
    """One, and all cores."""
    return sorted({1, cores()})


@contextmanager
def threads(count: int) -> Iterator[None]:
    """That many threads within an operation, as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class Bare:
    """The forward passes and mean loss over resident data in one setting.

    Attributes:
        model: A copy in the memory format.
        batches: Micro-batches that lie in memory already.
        channels_last: The memory format of images.
        batch: Examples of a micro-batch.
        threads: Threads within an operation.
    """

    model: nn.Module
    batches: list[tuple[Tensor, Tensor]] = field(repr=False)
    channels_last: bool
    batch: int
    threads: int

    @property
    def name(self) -> str:
        """The setting in words."""
        form = "channels-last, " if self.channels_last else ""
        return f"{form}micro-batch {self.batch}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def value(self) -> float:
        """One pass: the mean loss."""
        with torch.inference_mode():
            sums = [functional.cross_entropy(self.model(x), y, reduction="sum") for x, y in self.batches]
            return float(torch.stack(sums).sum()) / sum(y.numel() for _, y in self.batches)

    def seconds(self, least: float = _LEAST_SECONDS) -> float:
        """The mean time of a pass, over as many as fill the least time, after one that is not counted."""
        with threads(self.threads):
            self.value()
            return _mean_seconds(self.value, least)


def search(workload: Workload, keep: int = 3) -> list[Bare]:
    """The best settings of micro-batch, memory format and threads, quickest first.

    Every setting is timed once, the best of them again; which is the best is decided by the rounds.

    Args:
        workload: What passes forward.
        keep: How many settings are left.
    """
    candidates = list(_candidates(workload))
    for repeats in (1, 3):
        timed = [(min(c.seconds(0.0) for _ in range(repeats)), i, c) for i, c in enumerate(candidates)]
        candidates = [c for _, _, c in sorted(timed)[: keep * (_SECOND_LOOK if repeats == 1 else 1)]]
    return candidates


def _candidates(workload: Workload) -> Iterator[Bare]:
    count = len(workload.inputs)
    for channels_last in (False, True) if workload.is_image else (False,):
        form = torch.channels_last if channels_last else torch.contiguous_format
        model = copy.deepcopy(workload.model).eval().requires_grad_(False)
        if workload.is_image:
            model = model.to(memory_format=form)  # type: ignore[call-overload]
        for batch in (*(size for size in _MICRO_BATCHES if size < count), count):
            pieces = [
                (x.contiguous(memory_format=form), y)
                for x, y in zip(workload.inputs.split(batch), workload.targets.split(batch), strict=True)
            ]
            for number in thread_counts():
                yield Bare(model, pieces, channels_last, batch, number)


@dataclass(frozen=True)
class MatrixPeak:
    """The setting in which square float32 products run fastest.

    Attributes:
        side: Rows and columns.
        threads: Threads within an operation.
    """

    side: int
    threads: int

    def flops_per_second(self, repeats: int = 3) -> float:
        """The best of some products, after one that is not counted."""
        generator = torch.Generator().manual_seed(0)
        a, b = (torch.randn(self.side, self.side, generator=generator) for _ in range(2))
        product = torch.mm(a, b)
        with threads(self.threads), torch.inference_mode():
            best = math.inf
            for _ in range(repeats + 1):
                start = time.perf_counter()
                torch.mm(a, b, out=product)
                best = min(best, time.perf_counter() - start)
        return 2 * self.side**3 / best


def find_peak() -> MatrixPeak:
    """The side and threads of the fastest product."""
    settings = [MatrixPeak(side, number) for side in _MATRIX_SIDES for number in thread_counts()]
    return max(settings, key=lambda setting: setting.flops_per_second(2))


def _mean_seconds(run: Callable[[], object], least: float) -> float:
    passes, start = 0, time.perf_counter()
    while True:
        run()
        passes += 1
        elapsed = time.perf_counter() - start
        if elapsed >= least:
            return elapsed / passes

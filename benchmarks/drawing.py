"""Cost of the random numbers of directions, by generator; run as ``python -m benchmarks.drawing``."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from landscape.layout import TensorInfo
from landscape.params import gaussian
from landscape.projection.blocks import BlockTensor, NormalStream, parts

_COUNT = 10**9
_ROWS = 4096


def timed(work: Callable[[], object], count: int) -> str:
    """Nanoseconds of processor and of clock per number."""
    began, spent = time.perf_counter(), time.process_time()
    work()
    spent, began = time.process_time() - spent, time.perf_counter() - began
    return f"{spent / count * 1e9:5.1f} ns of processor, {began / count * 1e9:5.1f} ns of clock, {spent:.1f} s"


def main() -> None:
    """Print one line per generator and number of threads."""
    info = TensorInfo("w", "parameter", (_ROWS, _ROWS), "float32")
    torch.set_num_threads(1)
    print("streams, float64 of float32  ", timed(lambda: gaussian(info, 0), info.numel))
    weight = torch.randn(_ROWS, _ROWS).bfloat16()
    drawn = BlockTensor.of(info, weight, "filter", 0, 0)
    print("blocks, norms of filters     ", timed(lambda: BlockTensor.of(info, weight, "filter", 0, 0), info.numel))
    print("blocks, scaled, bfloat16     ", timed(lambda: drawn.whole(weight), info.numel))
    stream = NormalStream("w", _COUNT, 0)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        done = timed(lambda: [stream.read(*part) is None for part in parts(0, _COUNT)], _COUNT)
        print(f"blocks, 10^9 numbers, {threads} thread{'s' * (threads > 1)}", done)


if __name__ == "__main__":
    main()

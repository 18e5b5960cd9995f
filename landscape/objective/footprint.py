"""Memory of a forward pass."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.utils._pytree import tree_leaves

from landscape.objective.dispatch import DispatchMode
from landscape.objective.evaluator import Evaluator

# A process grows by more than its tensors: kernels take scratch memory, and the allocator keeps and scatters what
# is freed, in an arena for each thread. With ResNets it grew by up to 2.6 times the tensors.
_SCATTER = 3.0
# What a forward pass may take where nobody says more: scores of a language model fill gigabytes soon.
_DEFAULT_BYTES = 2**30


def _dense(tree: Any) -> list[Tensor]:
    """The tensors with a storage of their own, which sparse ones have not."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.layout == torch.strided]


class LiveBytes(DispatchMode):
    """Counts the bytes of the tensors that operations make, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {leaf.untyped_storage()._cdata for leaf in _dense((args, kwargs))}
        for leaf in _dense(result):
            self._meet(leaf.untyped_storage(), before)
        return result

    def _meet(self, storage: UntypedStorage, before: set[int]) -> None:
        key = storage._cdata
        if key in before or key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def bytes_per_example(evaluator: Evaluator, metrics: Sequence[str]) -> int:
    """The memory that one example of a micro-batch takes at the peak of a forward pass.

    Args:
        evaluator: Measures; its micro-batch is left as it was.
        metrics: What is measured.

    Returns:
        Bytes, with what kernels and the allocator take for themselves.
    """
    split = evaluator.splits[0]
    size = evaluator.tuning.batch_size
    if not evaluator.cuts:
        return max(1, int(_SCATTER * _peak(evaluator, metrics) / next(evaluator.each_batch(split)).count))
    # What a second pass takes beyond the first counts.
    few, more = (2, 6) if size >= 6 else (2, 3)
    peaks = []
    for examples in (few, more):
        evaluator.cut(examples)
        peaks.append(_peak(evaluator, metrics))
    evaluator.cut(size)
    return max(1, int(_SCATTER * (peaks[1] - peaks[0]) / (more - few)))


def _peak(evaluator: Evaluator, metrics: Sequence[str]) -> int:
    """Bytes that the first micro-batch takes at most."""
    with torch.random.fork_rng(devices=[]), LiveBytes() as counted:
        evaluator.run(evaluator.splits[:1], metrics, batches=1)
    return counted.peak


def largest_batch(bytes_per_example: int) -> int:
    """The most examples per micro-batch that take no more than a gigabyte or so; 1 at least."""
    return max(1, _DEFAULT_BYTES // bytes_per_example)

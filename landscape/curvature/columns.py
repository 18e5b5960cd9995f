"""Several products from one graph: one after the other or side by side, whichever is faster."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from landscape.curvature.graphs import Graph
from landscape.curvature.passes import Passes

# What products side by side may take: each takes about as much as the graph.
_BATCHED_BYTES = 2**28
_MOST = 64
# Fewer columns are not worth the trial; they go one by one after it too: no bit depends on what came before.
_FEWEST = 4


class Columns:
    """Multiplies several vectors by the matrix of a graph.

    Whether vectors side by side (one backward pass for all) are faster than one after the other depends on the
    model: small ones gain up to tenfold, convolutions lose, on a CPU so much that the trial alone would cost half
    a trace. The first time that there are enough both ways are timed; kernels that cannot be batched fall back.

    Args:
        graph_bytes: What the graph of a micro-batch takes.
        passes: The model, and where it is.
    """

    def __init__(self, graph_bytes: int, passes: Passes) -> None:
        self._chunk = max(1, min(_MOST, _BATCHED_BYTES // max(1, graph_bytes)))
        if passes.evaluator.device.type == "cpu" and any(map(_convolves, passes.evaluator.model.modules())):
            self._chunk = 1
        self._decided = self._chunk < _FEWEST

    def add(self, total: Tensor, graph: Graph, rows: Tensor, passes: Passes) -> None:
        """Add the products with some vectors to a sum.

        Args:
            total: Shape (K, P).
            graph: The matrix of a micro-batch.
            rows: Shape (K, P).
            passes: Says how vectors are cut.
        """
        wanted = rows.to(passes.dtype)
        many = len(rows) >= _FEWEST
        if many and not self._decided:
            self._decide(graph, wanted, passes)
        chunk = self._chunk if many else 1
        for start in range(0, len(rows), chunk):
            part = wanted[start : start + chunk]
            total[start : start + chunk] += _product(graph, part, passes, len(part) > 1)

    def _decide(self, graph: Graph, rows: Tensor, passes: Passes) -> None:
        self._decided = True
        part = rows[: self._chunk]
        try:
            # The first time counts for nothing: kernels are chosen and code is loaded.
            together = min(_seconds(lambda: _product(graph, part, passes, True), rows.device) for _ in range(2))
        except RuntimeError:
            self._chunk = 1
            return
        alone = min(_seconds(lambda: _product(graph, part[:1], passes, False), rows.device) for _ in range(2))
        if together >= alone * len(part):
            self._chunk = 1


def _convolves(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Conv3d)


def _seconds(work: Callable[[], Tensor], device: torch.device) -> float:
    start = time.perf_counter()
    work().sum().item()
    return time.perf_counter() - start


def _product(graph: Graph, rows: Tensor, passes: Passes, batched: bool) -> Tensor:
    """Shape (K, P) in float64, from vectors of shape (K, P); one only where it is not batched."""
    vectors = passes.vectors
    given = vectors.cut(rows if batched else rows[0])
    directions = [part.to(leaf.dtype) for part, leaf in zip(given, passes.variables, strict=True)]
    with warnings.catch_warnings():
        # Kernels without a rule for batches are slower, which is timed, and say so.
        warnings.simplefilter("ignore", UserWarning)
        found = graph.apply(directions, batched)
    return vectors.join(found, rows if batched else rows[0]).reshape(len(rows), -1)

"""Traces of the Hessian seen through linear maps, with random vectors of its own for every micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from landscape.curvature.graphs import HessianGraph
from landscape.curvature.operator import Curvature
from landscape.curvature.random_vectors import Estimate, generator_of
from landscape.errors import LandscapeError
from landscape.values.result import Result

# B: vectors, shape (K, P), -> B times each of them, the same shape.
Map: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Scattered(Result):
    """An estimate of tr(Bᵀ H B).

    Attributes:
        whole: The trace.
        parts: Name of a parameter -> the trace of its block, with a standard error of its own.
    """

    whole: Estimate
    parts: dict[str, Estimate]


def scattered_traces(
    operator: Curvature,
    maps: Sequence[Map],
    *,
    samples: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Scattered]:
    """tr(Bᵀ H B) for several maps B at once, by (B z) . H_b (B z) with other signs z for every micro-batch b.

    The mean of z . Bᵀ H_b B z over random signs is the trace for the micro-batch alone, so that a single pass over
    n micro-batches takes n independent samples where one product with the mean Hessian would be one. All maps
    share the graph of a micro-batch, and all see the same signs. With one sample each the standard error is that
    over micro-batches, which counts their being different data too: it is then too large rather than too small.

    Args:
        operator: The Hessian, in micro-batches: small ones give the smaller error for the same work.
        maps: Of vectors, shape (K, P), float64.
        samples: Vectors of signs for every micro-batch.
        seed: Draws the signs.
        progress: Called with (examples done, examples in all).

    Returns:
        An estimate for each map.

    Raises:
        LandscapeError: If there are too few samples to tell the error from, or a product is not finite.

    Source:
        Hutchinson 1990, for each micro-batch; their sum as in stratified sampling (Cochran 1977, section 5.3).

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 1)
        >>> objective = Objective(model, loss=torch.nn.functional.mse_loss, train=(x, y))
        >>> operator = Curvature(objective, model, batch_size=1)
        >>> (found,) = scattered_traces(operator, [lambda rows: rows], samples=2)
        >>> round(found.whole.value, 6)  # 2 tr(x^T x) / n
        5.0
    """
    generator = generator_of(seed)
    found: list[Tensor] = []
    counts: list[float] = []
    done = 0
    with operator.shares() as shares:
        for share in shares:
            if not isinstance(share.graph, HessianGraph):
                raise LandscapeError("only a Hessian has scattered traces", got=operator.kind)
            drawn = torch.randint(0, 2, (samples, operator.size), generator=generator, dtype=torch.int8)
            rows = (2 * drawn - 1).to(torch.float64)
            found.append(torch.stack([_quadratic(share.graph, operator, one(rows)) for one in maps]))
            counts.append(share.count)
            done += share.examples
            if progress is not None:
                progress(done, operator.examples)
    sums = torch.stack(found, 1)
    if not bool(sums.isfinite().all()):
        raise LandscapeError("a product with the Hessian is not finite", where="scattered trace")
    return [_summed(one, torch.tensor(counts, dtype=torch.float64), operator.names) for one in sums]


def _quadratic(graph: HessianGraph, operator: Curvature, rows: Tensor) -> Tensor:
    """v . H v of each vector and parameter: shape (K, parameters), float64, on the CPU."""
    return torch.tensor([graph.blocks(operator.parts(row)) for row in rows], dtype=torch.float64)


def _summed(sums: Tensor, counts: Tensor, names: Sequence[str]) -> Scattered:
    """From sums over micro-batches, shape (micro-batches, samples, parameters)."""
    batches, samples, _ = sums.shape
    if batches * samples < 2:
        raise LandscapeError(
            "too few samples to tell the error",
            where="samples",
            got=samples,
            expected="2 for a single micro-batch",
        )
    total = float(counts.sum())
    each = torch.cat([sums, sums.sum(2, keepdim=True)], 2)
    means = each.mean(1)
    if samples > 1:
        variances = each.var(1).sum(0) / samples
    else:
        away = means - counts[:, None] * (means.sum(0) / total)
        variances = (away**2).sum(0) * batches / (batches - 1)
    values, errors = (means.sum(0) / total).tolist(), (variances.sqrt() / total).tolist()
    found = [Estimate(value, error, samples, "scattered") for value, error in zip(values, errors, strict=True)]
    return Scattered(found[-1], dict(zip(names, found[:-1], strict=True)))

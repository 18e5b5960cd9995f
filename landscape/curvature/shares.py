"""The parts of a curvature matrix that belong to one micro-batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from landscape.curvature.finite_differences import DifferencedHessian, DifferencedOuter
from landscape.curvature.graphs import Graph, HessianGraph, OuterGraph, Parts
from landscape.curvature.passes import Batch, Passes
from landscape.curvature.separation import Separated, loss_curvature

Differenced: TypeAlias = DifferencedHessian | DifferencedOuter


@dataclass(frozen=True)
class Share:
    """The part of one micro-batch in a matrix.

    Attributes:
        graph: The matrix of the sum of its shares of the loss.
        count: What they count.
        examples: How many there are.
    """

    graph: Graph
    count: float
    examples: int


def share_of(passes: Passes, batch: Batch, kind: str) -> Share:
    """The part of a micro-batch in a matrix.

    Args:
        passes: Say how derivatives are taken.
        batch: The micro-batch.
        kind: Which matrix.
    """
    if passes.derivatives.differenced:
        return differenced_share(passes, batch, kind, passes.derivatives.step)
    with passes.convolutions():
        variables = passes.variables
        if kind == "hessian":
            loss = passes.loss_of(batch)
            return Share(HessianGraph(loss.shares.sum(), variables), loss.count, batch.examples)
        if kind == "empirical-fisher":
            loss = passes.loss_of(batch)
            return Share(OuterGraph([loss.shares], variables, _unchanged), loss.count, batch.examples)
        parts, count = passes.separated(batch)
        between = loss_curvature(parts, passes.loss, kind)
        return Share(OuterGraph(parts.outputs, variables, between), count, batch.examples)


def differenced_share(passes: Passes, batch: Batch, kind: str, step: float) -> Share:
    """The same from differences of first derivatives.

    Args:
        passes: Say how first derivatives are taken.
        batch: The micro-batch.
        kind: Which matrix.
        step: See `Steps`.
    """
    count = passes.loss_of(passes.spare(batch)).count
    graph: Differenced
    if kind == "hessian":
        graph = DifferencedHessian(lambda: passes.gradient_of(passes.spare(batch)), passes.variables, step)
    elif kind == "empirical-fisher":
        graph = DifferencedOuter(
            lambda: _shares_apart(passes, passes.spare(batch)), lambda _parts: _unchanged, passes.variables, step
        )
    else:
        graph = DifferencedOuter(
            lambda: passes.separated(passes.spare(batch))[0],
            lambda parts: loss_curvature(parts, passes.loss, kind),
            passes.variables,
            step,
        )
    return Share(graph, count, batch.examples)


def _shares_apart(passes: Passes, batch: Batch) -> Separated:
    """One output per example, its share of the loss."""
    shares = passes.loss_of(batch).shares
    return Separated([shares], [shares.detach()], shares.sum())


def _unchanged(vectors: Parts, _batched: bool) -> Parts:
    return vectors

"""Matrices of second derivatives over one micro-batch, held as graphs that are differentiated once more."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from landscape.params import wide

Parts: TypeAlias = Sequence[Tensor | None]


class Graph(Protocol):
    """A symmetric matrix that belongs to one micro-batch."""

    def apply(self, directions: Sequence[Tensor], batched: bool) -> Parts:
        """The product with a vector that is cut into tensors; with several along axis 0 where it is batched."""

    def quadratic(self, directions: Sequence[Tensor]) -> float:
        """The vector times its product, which may take less work than the product."""


class HessianGraph:
    """The Hessian of a number: one backward pass is kept, and each product is the gradient of (gradient . v).

    Args:
        total: 0-dimensional, a function of the variables.
        variables: Leaves of its graph.

    Attributes:
        gradient: With respect to each variable; None where the number does not depend on it.
        linear: Whether the gradient is constant as far as its graph tells, so that the Hessian is zero.

    Source:
        Pearlmutter 1994, "Fast exact multiplication by the Hessian", section 3.
    """

    def __init__(self, total: Tensor, variables: Sequence[Tensor]) -> None:
        self._variables = variables
        self.gradient: Parts = gradient(total, variables)
        moving = {
            place: part for place, part in enumerate(self.gradient) if part is not None and part.requires_grad
        }
        self._moving, self._slopes = list(moving), list(moving.values())
        self._wanted: Sequence[int] = range(len(variables))
        self.linear = not moving

    def within(self, place: int) -> HessianGraph:
        """The Hessian with zeros outside the block of one variable, from the same graph."""
        block = copy.copy(self)
        held = self._moving.index(place) if place in self._moving else len(self._moving)
        block._moving, block._slopes = self._moving[held : held + 1], self._slopes[held : held + 1]
        block._wanted = [place]
        return block

    def apply(self, directions: Sequence[Tensor], batched: bool) -> Parts:
        """The Hessian times a vector."""
        wanted = [self._variables[place] for place in self._wanted]
        found = pulled(self._slopes, wanted, [directions[place] for place in self._moving], batched)
        if len(found) == len(self._variables):
            return found
        parts = dict(zip(self._wanted, found, strict=True))
        return [parts.get(place) for place in range(len(self._variables))]

    def quadratic(self, directions: Sequence[Tensor]) -> float:
        """v . H v."""
        return math.fsum(self.blocks(directions))

    def blocks(self, directions: Sequence[Tensor]) -> list[float]:
        """v_i . (H v)_i for each part v_i of a vector; parts that are zero take no part in the work."""
        places = [place for place, part in enumerate(directions) if bool(part.any())]
        moving = [
            (slope, place) for slope, place in zip(self._slopes, self._moving, strict=True) if place in places
        ]
        found = pulled(
            [slope for slope, _ in moving],
            [self._variables[place] for place in places],
            [directions[place] for _, place in moving],
            False,
        )
        values = [0.0] * len(directions)
        for place, part in zip(places, found, strict=True):
            if part is not None:
                values[place] = float((wide(directions[place]) * wide(part.detach())).sum())
        return values


class OuterGraph:
    """J^T A J, with J the Jacobian of outputs with respect to variables and A a matrix between outputs.

    J^T u is linear in u, so that the gradient of (J^T u . v) with respect to u is J v.

    Args:
        outputs: Functions of the variables.
        variables: Leaves of their graph.
        between: Tensors like the outputs -> A times them; with vectors along axis 0 where the flag says so.

    Source:
        Schraudolph 2002, "Fast curvature matrix-vector products for second-order gradient descent", section 4;
        the gradient of a linear map as its transpose after Townsend 2017, "A new trick for calculating Jacobian
        vector products".
    """

    def __init__(
        self,
        outputs: Sequence[Tensor],
        variables: Sequence[Tensor],
        between: Callable[[Sequence[Tensor], bool], Parts],
    ) -> None:
        self._outputs, self._variables, self._between = outputs, variables, between
        self._covectors = [torch.zeros_like(output, requires_grad=True) for output in outputs]
        found = dense(
            torch.autograd.grad(outputs, variables, self._covectors, create_graph=True, allow_unused=True)
        )
        moving = {place: part for place, part in enumerate(found) if part is not None and part.requires_grad}
        self._moving, self._pulled = list(moving), list(moving.values())

    def apply(self, directions: Sequence[Tensor], batched: bool) -> Parts:
        """J^T A J times a vector."""
        bent = self._between(self._pushed(directions, batched), batched)
        kept = [place for place, part in enumerate(bent) if part is not None]
        outputs = [self._outputs[place] for place in kept]
        return pulled(outputs, self._variables, [bent[place] for place in kept], batched)

    def quadratic(self, directions: Sequence[Tensor]) -> float:
        """(J v) . A (J v)."""
        pushed = self._pushed(directions, False)
        pairs = zip(pushed, self._between(pushed, False), strict=True)
        return math.fsum(float((wide(a) * wide(b.detach())).sum()) for a, b in pairs if b is not None)

    def _pushed(self, directions: Sequence[Tensor], batched: bool) -> list[Tensor]:
        """J v."""
        pushed = pulled(self._pulled, self._covectors, [directions[place] for place in self._moving], batched)
        lead = directions[0].shape[:1] if batched else ()
        return [
            output.new_zeros(*lead, *output.shape) if part is None else part.detach()
            for output, part in zip(self._outputs, pushed, strict=True)
        ]


def gradient(total: Tensor, variables: Sequence[Tensor]) -> Parts:
    """The gradient of a number, with its graph; None where the number does not depend on a variable."""
    if not total.requires_grad:
        return [None] * len(variables)
    return dense(torch.autograd.grad(total, variables, create_graph=True, allow_unused=True))


def pulled(outputs: Sequence[Tensor], variables: Sequence[Tensor], covectors: Parts, batched: bool) -> Parts:
    """Vector-Jacobian products; the graph is kept."""
    if not outputs:
        return [None] * len(variables)
    return dense(
        torch.autograd.grad(
            outputs, variables, covectors, retain_graph=True, allow_unused=True, is_grads_batched=batched
        )
    )


def dense(parts: Parts) -> Parts:
    """The same without sparse tensors, which embeddings may give."""
    return [part.to_dense() if part is not None and part.is_sparse else part for part in parts]

"""Square roots of the Hessian of the loss by the outputs: S with S S^T = A, for every example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.curvature.graphs import HessianGraph
from landscape.curvature.separation import Separated
from landscape.errors import LandscapeError

# The Hessian of an example's loss is written out for so many outputs at most.
_WRITTEN_OUT = 1024
# A loss that is not convex by more than rounding has no square root.
_CONVEX = 1e-6
# Shapes of the Hessian are told apart by a product with a random vector; a wrong one is off by far more.
_SAME = 1e-3


@dataclass(frozen=True)
class Factor:
    """S of a micro-batch.

    Attributes:
        width: Columns of S for one example.
        multiply: Vectors, shape (..., examples, width) -> S times them, one tensor per output, shape
            (..., *shape of the output).
    """

    width: int
    multiply: Callable[[Tensor], list[Tensor]]


def factor_of(parts: Separated) -> Factor:
    """The square root of the Hessian of a loss by its outputs.

    Softmax cross-entropies have A = w (diag p - p p^T) along the axis of classes, with S = sqrt(w) (diag sqrt p -
    p sqrt p^T); losses of single outputs have a diagonal one. Which it is, is found by trying a product; otherwise
    A is written out and decomposed, for up to 1,024 outputs per example.

    Args:
        parts: The loss of a micro-batch as a function of outputs; a sum over examples along their first axis.

    Raises:
        LandscapeError: If the loss is linear or not convex in the outputs, or has too many of them.
    """
    hessian = HessianGraph(parts.total, parts.leaves)
    if hessian.linear:
        raise LandscapeError("the loss is linear in the model's output: its Gauss-Newton matrix is zero")
    if len(parts.leaves) == 1:
        for attempt in (_softmax, _diagonal):
            found = attempt(hessian, parts.leaves[0].detach())
            if found is not None:
                return found
    return _written_out(hessian, parts.leaves)


def _product(hessian: HessianGraph, vector: Tensor) -> Tensor:
    (found,) = hessian.apply([vector], False)
    return torch.zeros_like(vector) if found is None else found


def _agree(hessian: HessianGraph, guess: Callable[[Tensor], Tensor], leaf: Tensor) -> bool:
    # Alternating numbers of different sizes: no state of any generator is touched.
    places = torch.arange(leaf.numel(), device=leaf.device, dtype=leaf.dtype)
    vector = torch.sin(1.7 * places + 0.3).reshape(leaf.shape)
    truth, guessed = _product(hessian, vector), guess(vector)
    return float((truth - guessed).abs().max()) <= _SAME * float(truth.abs().max())


def _softmax(hessian: HessianGraph, leaf: Tensor) -> Factor | None:
    for axis in {1, leaf.ndim - 1} if leaf.ndim > 1 else ():
        if leaf.shape[axis] < 2:
            continue
        p = leaf.softmax(axis)
        weight = _weights(hessian, p, axis)

        def guess(vector: Tensor, p: Tensor = p, weight: Tensor = weight, axis: int = axis) -> Tensor:
            return weight * (p * vector - p * (p * vector).sum(axis, keepdim=True))

        if bool((weight >= 0).all()) and _agree(hessian, guess, leaf):
            return _softmax_factor(p, weight, axis - leaf.ndim)
    return None


def _weights(hessian: HessianGraph, p: Tensor, axis: int) -> Tensor:
    """Weight of each row, from A's entry at the second most probable class: w p (1 - p), with p at most 1/2."""
    second = p.topk(2, axis).indices.narrow(axis, 1, 1)
    unit = torch.zeros_like(p).scatter_(axis, second, 1.0)
    at, entry = p.gather(axis, second), _product(hessian, unit).gather(axis, second)
    return torch.where(at > 0, entry / (at * (1 - at)), 0.0)


def _softmax_factor(p: Tensor, weight: Tensor, axis: int) -> Factor:
    root, scale = p.sqrt(), weight.sqrt()

    def multiply(vectors: Tensor) -> list[Tensor]:
        shaped = vectors.reshape(*vectors.shape[:-1], *p.shape[1:])
        return [scale * (root * shaped - p * (root * shaped).sum(axis, keepdim=True))]

    return Factor(p[0].numel(), multiply)


def _diagonal(hessian: HessianGraph, leaf: Tensor) -> Factor | None:
    entries = _product(hessian, torch.ones_like(leaf))
    if not _agree(hessian, lambda vector: entries * vector, leaf):
        return None
    _require_convex(entries)
    root = entries.clamp(min=0).sqrt()
    return Factor(leaf[0].numel(), lambda vectors: [root * vectors.reshape(*vectors.shape[:-1], *leaf.shape[1:])])


def _written_out(hessian: HessianGraph, leaves: Sequence[Tensor]) -> Factor:
    examples, sizes = len(leaves[0]), [leaf[0].numel() for leaf in leaves]
    width = sum(sizes)
    if width > _WRITTEN_OUT or any(len(leaf) != examples for leaf in leaves):
        raise LandscapeError(
            "the Hessian of the loss by the outputs is too large to be written out",
            got=f"{width:,} outputs per example",
            expected=f"{_WRITTEN_OUT:,} at most, or a cross-entropy, or a loss of single outputs",
        )
    columns = []
    for place in range(width):
        units = torch.zeros(examples, width, dtype=leaves[0].dtype, device=leaves[0].device)
        units[:, place] = 1.0
        shaped = [part.reshape(leaf.shape) for part, leaf in zip(units.split(sizes, 1), leaves, strict=True)]
        found = hessian.apply(shaped, False)
        flat = [
            (torch.zeros_like(leaf) if part is None else part).reshape(examples, -1)
            for part, leaf in zip(found, leaves, strict=True)
        ]
        columns.append(torch.cat(flat, 1))
    values, vectors = torch.linalg.eigh(torch.stack(columns, 2).double())
    _require_convex(values)
    root = (vectors * values.clamp(min=0).sqrt()[:, None, :]).to(leaves[0].dtype)

    def multiply(given: Tensor) -> list[Tensor]:
        product = torch.einsum("nde,...ne->...nd", root, given)
        return [
            part.reshape(*given.shape[:-1], *leaf.shape[1:])
            for part, leaf in zip(product.split(sizes, -1), leaves, strict=True)
        ]

    return Factor(width, multiply)


def _require_convex(values: Tensor) -> None:
    if float(values.min()) < -_CONVEX * float(values.abs().max()):
        raise LandscapeError(
            "the loss is not convex in the model's outputs, so that its Gauss-Newton matrix is no sum of squares",
            where="Gauss-Newton diagonal",
            mend="take products with Curvature(kind='gauss-newton')",
        )

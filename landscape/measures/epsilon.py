"""Epsilon-sharpness: the highest loss in a ball around the weights (Dinh et al. 2017, definition 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.measures.ascent import Ball, Climb, Slope, best_of, climb
from landscape.measures.context import MeasureContext
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found

# A tensor whose norm is that of the ball to rounding fits into it.
_FITS = 1 + 1e-5
# What the columns of a subspace may take, in bytes.
_BASIS_BYTES = 2**31
# More starts of one kind would cost more than they find.
_TENSORS = 3


def subspace(field: LocalLoss, dimensions: int) -> Tensor:
    """Orthonormal columns that span a random subspace, shape (P, dimensions); the span of normal vectors.

    Raises:
        LandscapeError: If it has more dimensions than the whole, or less than one, or takes more than 2 GiB.
    """
    if not 1 <= dimensions <= field.size:
        raise LandscapeError("not a subspace", where="subspace", got=dimensions, expected=f"1 to {field.size}")
    if (taken := dimensions * field.size * field.origin.element_size()) > _BASIS_BYTES:
        raise LandscapeError(
            "the columns of the subspace take too much memory",
            where="subspace",
            got=f"{taken / 2**30:.1f} GiB",
            expected=f"{_BASIS_BYTES / 2**30:.0f} GiB at most",
            mend="take fewer dimensions, or select parameters",
        )
    columns = torch.stack([field.normal(f"subspace/{column}") for column in range(dimensions)], 1)
    return torch.linalg.qr(columns).Q


def within(slope: Slope, basis: Tensor | None) -> Slope:
    """A function of all parameters as one of coordinates in a subspace; None leaves it."""
    if basis is None:
        return slope

    def inner(u: Tensor) -> tuple[float, Tensor]:
        value, gradient = slope(basis @ u)
        return value, basis.T @ gradient

    return inner


def _starts(field: LocalLoss, ball: Ball, restarts: int, basis: Tensor | None) -> list[Tensor]:
    """Along the gradient, along random directions, and where a tensor that fits into the ball is 0."""
    _, gradient = within(field.slope, basis)(field.zero() if basis is None else field.zero() @ basis)
    drawn = [field.normal(f"start/{index}") for index in range(restarts - 1)]
    starts = [ball.steepest(gradient)] + [ball.steepest(z if basis is None else z @ basis) for z in drawn]
    if basis is None:
        parts = field.cut(field.origin)
        fitting = [at for at, part in enumerate(parts) if 0 < float(part.norm()) <= ball.radius * _FITS]
        for at in sorted(fitting, key=lambda at: -float(parts[at].norm()))[:_TENSORS]:
            starts.append(field.join(-part if k == at else torch.zeros_like(part) for k, part in enumerate(parts)))
    return starts


def epsilon_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Highest relative rise of the loss in a ball."""
    field = LocalLoss(context)
    basis = None if settings["subspace"] is None else subspace(field, settings["subspace"])
    ball = Ball("l2", float(settings["epsilon"]))
    slope = within(field.slope, basis)
    starts = _starts(field, ball, int(settings["restarts"]), basis)
    # Known from the gradient there.
    base = field.loss(field.zero())
    climbs: list[Climb] = []
    for start in starts:
        climbs.append(climb(slope, ball, start, int(settings["iterations"]), float(settings["tolerance"]), base))
        context.tell(len(climbs), len(starts))
    # The ball holds its centre.
    best, details = best_of(climbs, base, 1 / (1 + base))
    step = best.at if basis is None else basis @ best.at
    return Found(
        value=max(0.0, (best.value - base) / (1 + base)),
        converged=best.arrived,
        details={**details, "loss": base, "highest": max(best.value, base), "distance": float(step.norm())},
    )

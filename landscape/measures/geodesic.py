"""Geodesic sharpness: how far the loss rises within a ball of the orbits, not of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.curvature import Curvature
from landscape.errors import LandscapeError
from landscape.measures.context import MeasureContext
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found
from landscape.params import Tensors
from landscape.symmetry import Basis, Symmetries
from landscape.symmetry.axes import leading, restored
from landscape.symmetry.dimension import tangents
from landscape.symmetry.representative import slices

# Weights times directions of the orbit: 800 MB.
_MOST_NUMBERS = 10**8
# A tangent below this share of the longest is a combination of others.
_RANK = 1e-10
# Halvings of an interval to the last digit of float64.
_HALVINGS = 200


@dataclass(frozen=True, eq=False)
class _Quotient:
    """The representative of an orbit, with the geometry of the orbits about it.

    Attributes:
        context: The place of the representative, in float64.
        operator: The Hessian there.
        stretch: Shape (P,): 1 / the root of the metric of each weight.
        vertical: Shape (P, dimension): an orthonormal basis of the orbit's tangent in stretched coordinates.
    """

    context: MeasureContext
    operator: Curvature
    stretch: Tensor
    vertical: Tensor

    def horizontal(self, vector: Tensor) -> Tensor:
        """The part of a vector that no symmetry moves along."""
        return vector - self.vertical @ (self.vertical.T @ vector)

    def product(self, vector: Tensor) -> Tensor:
        """The Hessian between horizontal vectors."""
        moved = self.operator @ (self.stretch * self.horizontal(vector))
        return self.horizontal(self.stretch * moved.double())


def _quotient(context: MeasureContext) -> _Quotient:
    symmetries = context.symmetries
    there = context.at_representative()
    moved = {**there.weights.weights, **there.weights.buffers}
    operator = there.operator("hessian")
    stretch = operator.flatten(_stretches(symmetries, moved, operator.names)).double()
    names = list(operator.names)
    count = sum(generator.dimension for generator in symmetries.generators)
    if count * len(stretch) > _MOST_NUMBERS:
        raise LandscapeError(
            "the orbit has too many directions to be left out one by one",
            got=f"{count} directions of {len(stretch)} weights",
            expected=f"at most {_MOST_NUMBERS} numbers",
        )
    along = tangents(symmetries.generators, moved, names) / stretch[:, None]
    lengths = along.norm(dim=0)
    along = along[:, lengths > 0] / lengths[lengths > 0]
    vectors, values, _ = torch.linalg.svd(along, full_matrices=False)
    kept = values > _RANK * values[0] if len(values) else values > 0
    return _Quotient(there, operator, stretch, vectors[:, kept])


def _stretches(symmetries: Symmetries, state: Tensors, names: tuple[str, ...]) -> Tensors:
    """The length of each coordinate of a basis, and 1 elsewhere: the metric tr (WᵀW)⁻¹ ξᵀξ in a balanced gauge."""
    # Real and imaginary parts are two weights.
    found = {name: torch.ones_like(state[name]) * (1 + 1j if state[name].is_complex() else 1) for name in names}
    for one in symmetries.generators:
        if not isinstance(one, Basis):
            continue
        for dual in (False, True):
            own = [column for column in one.columns if column.dual == dual]
            sums = [slices(column, state).abs().square().sum(1) for column in own]
            lengths = torch.stack(sums).sum(0).sqrt() if sums else torch.ones(one.units)
            for column in own:
                if column.tensor in found:
                    whole = found[column.tensor]
                    along = leading(whole, column.dim)
                    along[column.places] *= lengths.reshape(-1, *(1,) * along.ndim)
                    found[column.tensor] = restored(along, column.dim, whole.shape)
    return found


def geodesic_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Highest or mean rise of the loss within a ball of the orbits."""
    quotient = _quotient(context)
    how = _worst if settings["case"] == "worst" else _average
    return how(quotient, float(settings["rho"]), int(settings["products"]))


def _worst(quotient: _Quotient, rho: float, products: int) -> Found:
    gradient = quotient.horizontal(quotient.stretch * quotient.operator.gradient().double())
    source = quotient.context.generator("geodesic")
    noise = quotient.horizontal(torch.randn(len(gradient), generator=source, dtype=torch.float64))
    # At a minimum there is no gradient to begin with.
    start = gradient + 1e-3 * rho * noise / noise.norm()
    basis = [start / start.norm()]
    images: list[Tensor] = []
    for step in range(products):
        quotient.context.tell(step, products)
        images.append(quotient.product(basis[-1]))
        rest = images[-1]
        for _ in range(2):
            known = torch.stack(basis, 1)
            rest = rest - known @ (known.T @ rest)
        if step + 1 == products or float(rest.norm()) <= _RANK * float(images[-1].norm()):
            break
        basis.append(rest / rest.norm())
    known, moved = torch.stack(basis, 1), torch.stack(images, 1)
    inner = known.T @ moved
    point = highest((inner + inner.T) / 2, known.T @ gradient, rho)
    value = float(point @ (known.T @ gradient) + point @ inner @ point / 2)
    loss = LocalLoss(quotient.context)
    rise = loss.loss(quotient.stretch * (known @ point)) - loss.loss(loss.zero())
    return Found(
        value,
        details={
            "rise": rise,
            "gap": rise - value,
            "dimension": quotient.vertical.shape[1],
            "gradient": float(gradient.norm()),
            "products": len(images),
        },
    )


def _average(quotient: _Quotient, rho: float, products: int) -> Found:
    size, vertical = quotient.vertical.shape
    source = quotient.context.generator("geodesic")
    draws = []
    for step in range(products):
        quotient.context.tell(step, products)
        signs = 2.0 * torch.randint(0, 2, (size,), generator=source).double() - 1
        draws.append(signs @ quotient.product(signs))
    found = torch.stack(draws) * rho**2 / (2 * (size - vertical))
    return Found(float(found.mean()), float(found.std()) / products**0.5, details={"dimension": vertical})


def highest(matrix: Tensor, gradient: Tensor, radius: float) -> Tensor:
    """The point of a ball where g . z + z . A z / 2 is largest.

    Args:
        matrix: A, shape (n, n), symmetric.
        gradient: g, shape (n,).
        radius: Of the ball.

    Source:
        Moré & Sorensen 1983, "Computing a trust region step".

    Example:
        >>> highest(torch.diag(torch.tensor([2.0, 1.0])), torch.zeros(2), 0.5).abs()
        tensor([0.5000, 0.0000])
    """
    values, vectors = torch.linalg.eigh(matrix)
    own = vectors.T @ gradient
    top = max(float(values[-1]), 0.0)

    def at(shift: float) -> Tensor:
        return own / (shift - values)

    low, high = top, top + float(own.norm()) / radius + 1e-300
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = middle > top and float(at(middle).norm()) <= radius
        low, high = (low, middle) if inside else (middle, high)
    found = torch.where(own == 0, torch.zeros_like(own), own / (high - values).clamp(min=1e-300))
    missing = radius**2 - float(found.square().sum())
    if float(values[-1]) > 0 and missing > 0:
        # Without a gradient along the steepest direction either side of it is as high.
        found[-1] = found[-1] + missing**0.5 * (1 if float(own[-1]) >= 0 else -1)
        found = found * radius / found.norm()
    return vectors @ found

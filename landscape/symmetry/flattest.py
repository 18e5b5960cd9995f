"""The flattest point of an orbit: the smallest Gauss-Newton trace that rescalings reach, and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import scipy.sparse as sparse
import torch
from torch import Tensor

from landscape.curvature import Kinks, gauss_newton_draws, kinks
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import Tensors
from landscape.symmetry.balance import balance
from landscape.symmetry.continuous import Mean, Rotation, Shift
from landscape.symmetry.elements import KINDS, Basis, Element, Generator, Scaling
from landscape.symmetry.factors import factors_of
from landscape.symmetry.flattest_basis import Bent, over_bases, rows_at
from landscape.symmetry.gauge import Gauge, factors_at
from landscape.symmetry.representative import representative_element
from landscape.symmetry.scale_terms import exponents_and_masses
from landscape.values.result import Result

if TYPE_CHECKING:
    from landscape.symmetry.symmetries import Symmetries

Progress: TypeAlias = Callable[[int, int], None]

GAUGE = "running_var + eps = 1"
REPRESENTATIVE = "shifts, means and rotations as of the representative"


@dataclass(frozen=True, eq=False)
class Flattest(Result):
    """The flattest point of the orbit of some weights under rescalings and changes of basis.

    Attributes:
        value: The smallest trace of the Gauss-Newton matrix; at interpolation that of the Hessian too.
        standard_error: Of the value, where derivatives were sampled; otherwise None. A minimum follows noise, so a
            sampled value is too small rather than too large.
        trace: The trace in the gauge.
        element: From the weights to the flattest point, the gauge first.
        gauge: What fixes the symmetries that the minimum is not over; an empty text where there are none.
        dead: Names of units without curvature, left alone.
        unattained: Names of units and bases that have a part which falls towards 0 for ever: the value is an
            infimum.
        gradient: The largest entry of the gradient of the trace at the point (of its Riemannian gradient, where
            bases take part), relative to the value. The problem is convex: this certifies the minimum.
        iterations: Newton steps; where bases take part, how often scales and bases were solved for in turn.
        note: What makes the value doubtful, such as data on kinks of the network; otherwise an empty text.
    """

    value: float
    standard_error: float | None
    trace: float
    element: Element
    gauge: str
    dead: tuple[str, ...]
    unattained: tuple[str, ...]
    gradient: float
    iterations: int
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain values."""
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "trace": self.trace,
            "gauge": self.gauge,
            "dead": list(self.dead),
            "unattained": list(self.unattained),
            "relative_gradient": self.gradient,
            "iterations": self.iterations,
            **({"note": self.note} if self.note else {}),
        }


def moves_curvature(generator: Generator) -> bool:
    """Return whether a symmetry that is no rescaling changes the trace of the curvature.

    Orthogonal maps do not, nor does what is added to one bias and taken from another.
    """
    if isinstance(generator, Shift):
        return any(sink.weight is not None for sink in generator.sinks)
    if isinstance(generator, Rotation):
        return any(column.gains for column in generator.columns)
    return isinstance(generator, Basis) or (isinstance(generator, Mean) and generator.gain is not None)


def flattest(
    symmetries: Symmetries,
    objective: Objective,
    weights: Tensors,
    *,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    seed: int = 0,
    samples: int | None = None,
    dtype: torch.dtype | None = torch.float64,
    kinds: Sequence[str] = KINDS,
    draws: Sequence[Mapping[str, Tensor]] | None = None,
    met: Kinks | None = None,
    progress: Progress | None = None,
) -> Flattest:
    """Minimise the Gauss-Newton trace over all rescalings and changes of basis of some weights.

    A rescaling multiplies parameter e by exp(<a_e, mu>), and the trace is sum_e G_e exp(-2 <a_e, mu>), convex in
    mu (see `balance`); for bases see `flattest_basis.over_bases`. Other symmetries are fixed first by a gauge, so
    that the value is the same from everywhere on the orbit. Filters in front of batch normalisation are free:
    their part of the trace falls towards 0 as they grow, and the gauge is running_var + eps = 1. Shifts of biases,
    means and rotations of a stream take their values at the representative (`Symmetries.canonical`), and so do
    bases where derivatives would be too many numbers.

    Args:
        symmetries: Those of the objective's model.
        objective: The objective.
        weights: Name -> tensor, buffers included.
        split: Which data.
        parameters: Globs that choose whose curvature counts; see `Layout.select`.
        seed: Draws the signs of sampled derivatives. Equal seeds give equal signs everywhere on the orbit, so that
            a sampled value is as invariant as an exact one.
        samples: Pairs of draws of signs; None decides between exact and sampled.
        dtype: The type of real numbers of the passes; None is the model's own.
        kinds: Kinds of symmetries that take part.
        draws: Diagonals at the weights, where they are known; see `gauss_newton_draws`. Of use only where all
            symmetries are rescalings, or keep the trace.
        met: The data on kinks of the network, where they are known.
        progress: Called with (done, in all).

    Returns:
        The flattest point.

    Raises:
        LandscapeError: If the model has no rescaling or basis, output and loss cannot be told apart, or the
            curvature is not finite.

    Source:
        Vardhan, Taheri & Mazumdar 2026 for two layers; Dinh et al. 2017, section 5.1, for what batch normalisation
        leaves free; Bhatia 2007, "Positive Definite Matrices", chapters 4 and 6, for bases.
    """
    generators = symmetries.of_kind(*kinds)
    scalings = [one for one in generators if isinstance(one, Scaling)]
    bases = [one for one in generators if isinstance(one, Basis)]
    if not scalings and not bases:
        reasons = "; ".join(map(str, symmetries.blocked[:3])) or "it has no hidden units"
        raise LandscapeError("this model has no rescaling symmetry, and no free basis", got=reasons)
    start = {name: _widened(tensor) for name, tensor in weights.items()}
    first, known = Element(), None
    if any(moves_curvature(one) for one in generators if not isinstance(one, Basis)):
        first = representative_element(generators, start, order=())
    if bases:
        there = first.then(Gauge(scalings, first.apply(start)).element()).apply(start)
        known = rows_at(objective, there, split, parameters, dtype, samples, seed, progress)
        if known is None and not first.factors:
            first = representative_element(generators, start, order=())
    coordinates = Gauge(scalings, first.apply(start))
    gauge = coordinates.element()
    if known is not None:
        found = over_bases(scalings, bases, coordinates, known, weights)
    else:
        if draws is None or first.factors:
            there = first.then(gauge).apply(start)
            draws = gauss_newton_draws(
                objective, there, split, parameters, samples, seed, dtype=dtype, progress=progress
            )
        else:
            # The gauge multiplies weights, and so divides their derivatives.
            factors = factors_of(gauge, weights) or {}
            draws = [
                {name: values / factors[name].to(values) ** 2 for name, values in draw.items()} for draw in draws
            ]
        found = _over_scales(scalings, coordinates, draws)
    units = [f"{one.name}[{unit}]" for one in scalings for unit in range(one.units)]
    names = [units[unit] for unit in coordinates.units]
    return Flattest(
        value=found.value,
        standard_error=found.standard_error,
        trace=found.trace,
        element=first.then(gauge).then(found.element),
        gauge="; ".join([*([REPRESENTATIVE] if first.factors else []), *([GAUGE] if gauge.factors else [])]),
        dead=tuple(names[place] for place in found.free),
        unattained=(*(names[place] for place in found.gone), *found.unattained),
        gradient=found.gradient,
        iterations=found.rounds,
        note=(met or kinks(objective, weights, split, parameters)).note,
    )


def _over_scales(scalings: Sequence[Scaling], coordinates: Gauge, draws: Sequence[Mapping[str, Tensor]]) -> Bent:
    exponents, masses = exponents_and_masses(coordinates.exponents, draws)
    found = balance(sparse.csr_matrix(exponents @ coordinates.basis), masses.mean(axis=0))
    each = masses @ found.shares
    return Bent(
        value=found.value,
        standard_error=float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else None,
        trace=found.before,
        element=Element(tuple(factors_at(scalings, coordinates.basis @ found.mu))),
        gradient=found.gradient,
        rounds=found.iterations,
        free=found.free,
        gone=found.unattained,
    )


def _widened(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor

"""The flattest point of an orbit over rescalings and changes of basis together, with a certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.curvature.diagonal import SAMPLED_BATCH
from landscape.curvature.factors import factor_of
from landscape.curvature.graphs import pulled
from landscape.curvature.passes import Passes
from landscape.curvature.random_vectors import generator_of
from landscape.objective import Objective
from landscape.params import Tensors
from landscape.symmetry.axes import leading, restored
from landscape.symmetry.balance import balance
from landscape.symmetry.elements import Basis, Element, Generator, Scaling
from landscape.symmetry.factors import factors_of
from landscape.symmetry.gauge import Gauge, factors_at
from landscape.symmetry.scale_terms import exponents_and_masses

# Derivatives of all outputs of all examples, as numbers: 800 MB.
_MOST_NUMBERS = 10**8
# Passes for the derivatives of single outputs take a millisecond or more each.
_MOST_BACKWARD = 5_000
# Of draws of signs for every micro-batch.
_PAIRS = 16
# Of the alternation; each closed form lowers a geodesically convex function, and tens are enough in trials.
_ROUNDS = 1_000
# A relative Riemannian gradient like this is rounding.
_FLAT = 1e-11
# A coordinate with a smaller share of the trace than this costs nothing but rounding.
_RANK = 1e-14


@dataclass(frozen=True, eq=False)
class Rows:
    """Derivatives whose squares add up to the Gauss-Newton diagonal.

    Attributes:
        parts: Name of a parameter -> shape (rows, *shape), float64.
        sampled: Whether rows are draws of signs, two after each other of the same micro-batch; otherwise each is
            of one output of one example.
    """

    parts: dict[str, Tensor]
    sampled: bool

    def error(self) -> float | None:
        """The standard error of the sum of squares; None where it is exact."""
        if not self.sampled:
            return None
        each = sum(part.flatten(1).square().sum(1) for part in self.parts.values())
        halves = each[0::2] - each[1::2]  # type: ignore[index]
        return float(halves.square().sum()) ** 0.5


@dataclass(frozen=True, eq=False)
class Bent:
    """Result of a search for a flattest point; see `flattest.Flattest`."""

    value: float
    standard_error: float | None
    trace: float
    element: Element
    gradient: float
    rounds: int
    free: NDArray[np.int64]
    gone: NDArray[np.int64]
    unattained: tuple[str, ...] = ()


def balanced(made: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
    """The changes X of what makes coordinates and Y of what reads them after which both have one second moment.

    That is diag(σ), and X Yᵀ = 1. The sum of both traces, 2 Σ σ = 2 tr (S^½ T S^½)^½, is the smallest that a
    change of basis gives. B = Yᵀ Y is the geometric mean: B T B = S. Coordinates whose σ is 0 are left out.

    Args:
        made: Shape (units, numbers), S = made madeᵀ.
        read: Shape (units, numbers), T = read readᵀ.

    Returns:
        X and Y, both of shape (coordinates, units).

    Source:
        Moore 1981, section V, which balances the two Gramians of a linear system by the same formula.

    Example:
        >>> x, y = balanced(torch.diag(torch.tensor([4.0, 1.0])), torch.eye(2))
        >>> (y.T @ y).diagonal()
        tensor([4., 1.])
    """
    upper, lower = (torch.linalg.qr(part.T, mode="r").R for part in (made, read))
    u, values, v = torch.linalg.svd(lower @ upper.T, full_matrices=False)
    kept = values > _RANK * values[0]
    root = values[kept].rsqrt()[:, None]
    return root * (u[:, kept].T @ lower), root * (v[kept] @ upper)


def over_bases(
    scalings: Sequence[Scaling],
    bases: Sequence[Basis],
    coordinates: Gauge,
    known: Rows,
    weights: Mapping[str, Tensor],
) -> Bent:
    """Minimise the Gauss-Newton trace over all rescalings and all changes of basis.

    With S the second moment of derivatives by the coordinates of a basis and T that by their duals, the trace
    after a change of basis A is tr(B^-1 S) + tr(B T), B = Aᵀ A, smallest at the geometric mean of T^-1 and S (see
    `balanced`). Together with rescalings (`balance`) this is geodesically convex on a product of cones, so
    solving for each in turn leads to the global minimum.

    Args:
        scalings: The rescalings.
        bases: The changes of basis.
        coordinates: Of the rescalings.
        known: Derivatives in the gauge.
        weights: Of the same shapes, statistics included.

    Source:
        Bhatia 2007, "Positive Definite Matrices", chapters 4 and 6, for geometric means and geodesic convexity;
        Vardhan, Taheri & Mazumdar 2026 for the flattest point.
    """
    rows = dict(known.parts)
    trace = value = _total(rows)
    element, unattained = Element(), dict[str, None]()
    free = gone = np.zeros(0, np.int64)
    gradient, rounds = float("inf"), 0
    while rounds < _ROUNDS and gradient > _FLAT:
        rounds += 1
        slope = 0.0
        step: list[tuple[Generator, Tensor]] = []
        if scalings:
            exponents, masses = exponents_and_masses(
                coordinates.exponents, [{name: part.square().sum(0) for name, part in rows.items()}]
            )
            problem = sparse.csr_matrix(exponents @ coordinates.basis)
            terms = masses.mean(axis=0)
            slope += float((2 * (problem.T @ terms) ** 2).sum())
            found = balance(problem, terms)
            free, gone = found.free, found.unattained
            scaling = Element(tuple(factors_at(scalings, coordinates.basis @ found.mu)))
            factors = factors_of(scaling, weights) or {}
            rows = {name: part / factors[name] for name, part in rows.items()}
            step += scaling.factors
        for one in bases:
            made, read = (_side(one, rows, dual) for dual in (False, True))
            slope += float((made @ made.T - read @ read.T).square().sum())
            x, y = balanced(made, read)
            rows = _moved(one, rows, x, y)
            if len(y) < one.units:
                unattained[one.name] = None
                # Any basis of the rest will do.
                y = torch.cat([y, torch.linalg.svd(x)[2][len(x) :]])
            step.append((one, y))
        element = element.then(Element(tuple(step)))
        before, value = value, _total(rows)
        gradient = slope**0.5 / value
        # The gradient is that where the round began; where nothing falls any more it is that of the end as well.
        if before - value <= 1e-16 * value:
            break
    error = Rows(rows, known.sampled).error()
    return Bent(value, error, trace, element, gradient, rounds, free, gone, tuple(unattained))


def _total(rows: Mapping[str, Tensor]) -> float:
    return float(sum(float(part.square().sum()) for part in rows.values()))


def _side(one: Basis, rows: Mapping[str, Tensor], dual: bool) -> Tensor:
    """Derivatives by the coordinates of a basis, or by their duals: shape (units, numbers)."""
    sides = [torch.zeros(one.units, 1, dtype=torch.float64)]
    for column in one.columns:
        if column.dual == dual and column.tensor in rows:
            own = leading(rows[column.tensor], column.dim, before=1)[column.places]
            sides.append(own.reshape(one.units, -1))
    return torch.cat(sides, 1)


def _moved(one: Basis, rows: Mapping[str, Tensor], x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Derivatives after a change of basis: each side takes the inverse of what its weights take, transposed."""
    found = dict(rows)
    for column in one.columns:
        if column.tensor in found:
            whole = found[column.tensor]
            part = leading(whole, column.dim, before=1).clone()
            moved = torch.einsum("ij,j...->i...", y if column.dual else x, part[column.places])
            part[column.places] = torch.cat([moved, moved.new_zeros(one.units - len(moved), *moved.shape[1:])])
            found[column.tensor] = restored(part, column.dim, whole.shape, before=1)
    return found


def rows_at(
    objective: Objective,
    weights: Tensors,
    split: str,
    parameters: str | Sequence[str] | None,
    dtype: torch.dtype | None,
    samples: int | None,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Rows | None:
    """Derivatives whose squares add up to the Gauss-Newton diagonal; None where they would be too many numbers.

    Args:
        objective: The objective.
        weights: Name -> tensor, buffers included.
        split: Which data.
        parameters: Globs that choose whose curvature counts.
        dtype: The type of real numbers of the passes.
        samples: Pairs of draws of signs for every micro-batch; None takes the derivatives of all outputs where
            they are few, and otherwise draws as many pairs as fit, 16 at most.
        seed: Draws the signs.
        progress: Called with (examples done, in all).
    """
    passes = Passes(objective, weights, split, parameters, dtype, 1)
    examples = passes.evaluator.data(split).count
    with passes.kernels():
        parts, _ = passes.separated(passes.trial(1))
        width = factor_of(parts).width
    most = _MOST_NUMBERS // passes.vectors.size
    pairs = samples or _PAIRS
    exact = samples is None and examples * width <= min(most, _MOST_BACKWARD)
    if not exact:
        passes = Passes(objective, weights, split, parameters, dtype, None)
        passes.evaluator.cut(min(SAMPLED_BATCH, passes.evaluator.batch_size))
        batches = -(-examples // passes.evaluator.batch_size)
        pairs = samples or min(_PAIRS, max(1, most // (2 * batches)))
        if 2 * pairs * batches > most:
            return None
    found: list[Tensor] = []
    generator, count, done = generator_of(seed), 0.0, 0
    with passes.kernels():
        for batch in passes.batches():
            parts, counted = passes.separated(batch)
            factor = factor_of(parts)
            signs = torch.eye(factor.width)[:, None]
            if not exact:
                drawn = (2 * pairs, batch.examples, factor.width)
                signs = 2.0 * torch.randint(0, 2, drawn, generator=generator) - 1
            for chosen in signs:
                covectors = factor.multiply(chosen.to(parts.outputs[0].device, parts.outputs[0].dtype))
                pulled_back = pulled(parts.outputs, passes.variables, covectors, False)
                row = passes.vectors.join(pulled_back, torch.zeros(passes.vectors.size, dtype=torch.float64))
                found.append(row if exact else row / (2 * pairs) ** 0.5)
            count, done = count + counted, done + batch.examples
            if progress is not None:
                progress(done, examples)
    whole = torch.stack(found) / count**0.5
    passes.vectors.require_finite(whole, "the Gauss-Newton diagonal")
    return Rows(dict(zip(passes.vectors.names, passes.vectors.cut_real(whole), strict=True)), not exact)

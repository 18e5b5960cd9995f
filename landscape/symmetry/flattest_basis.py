"""The flattest point of an orbit over rescalings and changes of basis together, with a certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import scipy.sparse as sparse
import torch
from torch import Tensor

from landscape.curvature.factors import factor_of
from landscape.curvature.graphs import pulled
from landscape.curvature.passes import Passes
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import Tensors, cast
from landscape.symmetry.balance import balance
from landscape.symmetry.elements import Basis, Element, Generator, Scaling
from landscape.symmetry.factors import factors_of
from landscape.symmetry.flattest import exponents_and_masses
from landscape.symmetry.gauge import Gauge, factors_at
from landscape.values.result import Result

# Derivatives of all outputs of all examples, as numbers: 800 MB.
_MOST_NUMBERS = 10**8
# Of the alternation; each closed form lowers a geodesically convex function, and tens are enough in trials.
_ROUNDS = 1_000
# A relative Riemannian gradient like this is rounding.
_FLAT = 1e-11
# A second moment with an eigenvalue below this share of its largest has directions that cost nothing.
_RANK = 1e-12


@dataclass(frozen=True, eq=False)
class FlattestBasis(Result):
    """The flattest point of the orbit of some weights under rescalings and changes of basis.

    Attributes:
        value: The smallest trace of the Gauss-Newton matrix.
        trace: The trace at the weights, after the gauge where there is batch normalisation.
        element: From the weights to the flattest point.
        gradient: The norm of the Riemannian gradient at the point, relative to the value: the certificate,
        since the
            trace is geodesically convex.
        rounds: How often scales and bases were solved for in turn.
        skipped: Names of bases left alone, because some of their directions cost nothing.
    """

    value: float
    trace: float
    element: Element
    gradient: float
    rounds: int
    skipped: tuple[str, ...]


def geometric_mean(x: Tensor, y: Tensor) -> Tensor:
    """The geometric mean X # Y = X^½ (X^-½ Y X^-½)^½ X^½ of two positive-definite matrices.

    Example:
        >>> x = torch.diag(torch.tensor([4.0, 1.0]))
        >>> geometric_mean(x, torch.eye(2)).diagonal()
        tensor([2., 1.])
    """
    root, back = _power(x, 0.5), _power(x, -0.5)
    return root @ _power(back @ y @ back, 0.5) @ root


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp(min=0) ** exponent) @ vectors.T


def flattest_over_bases(
    generators: Sequence[Generator],
    objective: Objective,
    weights: Mapping[str, Tensor],
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = torch.float64,
) -> FlattestBasis:
    """Minimise the Gauss-Newton trace over all rescalings and all changes of basis.

    With S the second moment of derivatives by the coordinates of a basis and T that by their duals, the trace
    after
    a change of basis A is tr(B^-1 S) + tr(B T), B = Aᵀ A, smallest at B = T^-1 # S (geometric mean), where it is
    2 tr (S^½ T S^½)^½. Together with rescalings (`balance`) this is geodesically convex on a product of cones, so
    solving for each in turn leads to the global minimum. Derivatives are taken once, and exactly.

    Args:
        generators: Those of the objective's model.
        objective: The objective.
        weights: Name -> tensor, buffers included.
        split: Which data.
        parameters: Globs that choose whose curvature counts.
        dtype: The type of real numbers of the passes.

    Raises:
        LandscapeError: If there is nothing to move, or derivatives would be more than 10^8 numbers.

    Source:
        Bhatia 2007, "Positive Definite Matrices", chapters 4 and 6, for geometric means and geodesic convexity;
        Vardhan, Taheri & Mazumdar 2026 for the flattest point.
    """
    scalings = [one for one in generators if isinstance(one, Scaling)]
    bases = [one for one in generators if isinstance(one, Basis)]
    if not scalings and not bases:
        raise LandscapeError("this model has neither a rescaling nor a change of basis")
    coordinates = Gauge(scalings, weights)
    start = {name: cast(tensor, torch.float64) for name, tensor in weights.items()}
    element = coordinates.element()
    state = element.apply(start)
    rows = _derivatives(objective, state, split, parameters, dtype)
    trace = value = _total(rows)
    skipped: dict[str, None] = {}
    gradient, rounds = float("inf"), 0
    while rounds < _ROUNDS:
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
            scaling = Element(tuple(factors_at(scalings, coordinates.basis @ found.mu)))
            factors = factors_of(scaling, state) or {}
            rows = {name: part / factors[name] for name, part in rows.items()}
            step += scaling.factors
        for one in bases:
            made, read = (_moment(one, rows, dual) for dual in (False, True))
            if min(_least(made), _least(read)) <= _RANK:
                skipped[one.name] = None
                continue
            slope += float((made - read).square().sum())
            matrix = _power(geometric_mean(torch.linalg.inv(read), made), 0.5)
            rows = _moved(one, rows, matrix)
            step.append((one, matrix))
        taken = Element(tuple(step))
        state, element = taken.apply(state), element.then(taken)
        before, value = value, _total(rows)
        gradient = slope**0.5 / value
        # The gradient is that where the round began; where nothing falls any more it is that of the end as well.
        if gradient <= _FLAT or before - value <= 1e-16 * value:
            break
    return FlattestBasis(value, trace, element, gradient, rounds, tuple(skipped))


def _total(rows: Mapping[str, Tensor]) -> float:
    return float(sum(float(part.square().sum()) for part in rows.values()))


def _least(moment: Tensor) -> float:
    values = torch.linalg.eigvalsh(moment)
    return float(values[0] / values[-1]) if float(values[-1]) > 0 else 0.0


def _slices(part: Tensor, dim: int, places: Tensor) -> Tensor:
    """Derivatives by the slices of a basis: shape (units, numbers)."""
    return part.movedim(dim + 1, 0)[places].reshape(len(places), -1)


def _moment(one: Basis, rows: Mapping[str, Tensor], dual: bool) -> Tensor:
    total = torch.zeros(one.units, one.units, dtype=torch.float64)
    for column in one.columns:
        if column.dual == dual and column.tensor in rows:
            own = _slices(rows[column.tensor], column.dim, column.places)
            total += own @ own.T
    return total


def _moved(one: Basis, rows: Mapping[str, Tensor], matrix: Tensor) -> dict[str, Tensor]:
    """Derivatives after a symmetric change of basis: each side takes the inverse of what its weights take."""
    found = dict(rows)
    for column in one.columns:
        if column.tensor in found:
            part = found[column.tensor].movedim(column.dim + 1, 0).clone()
            back = matrix if column.dual else torch.linalg.inv(matrix)
            part[column.places] = torch.einsum("ij,j...->i...", back, part[column.places])
            found[column.tensor] = part.movedim(0, column.dim + 1)
    return found


def _derivatives(
    objective: Objective,
    weights: Tensors,
    split: str,
    parameters: str | Sequence[str] | None,
    dtype: torch.dtype | None,
) -> dict[str, Tensor]:
    """Derivatives whose squares add up to the Gauss-Newton diagonal: name -> (rows, *shape), float64."""
    passes = Passes(objective, weights, split, parameters, dtype, 1)
    found: list[Tensor] = []
    count = 0.0
    with passes.kernels():
        for batch in passes.batches():
            parts, counted = passes.separated(batch)
            factor = factor_of(parts)
            examples = passes.evaluator.data(split).count
            if examples * factor.width * passes.vectors.size > _MOST_NUMBERS:
                raise LandscapeError(
                    "the flattest basis needs the derivatives of all outputs of all examples at once",
                    got=f"{examples} examples x {factor.width} outputs x {passes.vectors.size} weights",
                    expected=f"at most {_MOST_NUMBERS:.0e} numbers",
                    mend="take a subset of the examples: objective.subset(32)",
                )
            for output in range(factor.width):
                chosen = torch.zeros(batch.examples, factor.width)
                chosen[:, output] = 1
                covectors = factor.multiply(chosen.to(parts.outputs[0].device, parts.outputs[0].dtype))
                pulled_back = pulled(parts.outputs, passes.variables, covectors, False)
                found.append(
                    passes.vectors.join(pulled_back, torch.zeros(passes.vectors.size, dtype=torch.float64))
                )
            count += counted
    whole = torch.stack(found) / count**0.5
    return dict(
        zip(
            passes.vectors.names,
            (part.reshape(len(whole), *tensor.shape) for part, tensor in _cut(whole, passes)),
            strict=True,
        )
    )


def _cut(whole: Tensor, passes: Passes) -> list[tuple[Tensor, Tensor]]:
    sizes = [tensor.numel() for tensor in passes.variables]
    return list(zip(whole.split(sizes, dim=1), passes.variables, strict=True))

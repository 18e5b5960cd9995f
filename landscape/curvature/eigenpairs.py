"""Eigenvalues at the ends of a spectrum, each with its residual."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from landscape.curvature.krylov import WHOLE, Budget, Choice, Krylov, attainable
from landscape.curvature.matrix import SymmetricOperator
from landscape.curvature.random_vectors import generator_of
from landscape.errors import LandscapeError, did_you_mean
from landscape.values.result import Result, Tabular

WHICH = ("largest", "smallest", "magnitude")
# Of an eigenvalue: how well the ends of a spectrum are to be known where their ratio counts.
_OWN = 1e-2
# Of the larger of two ends: below, the smaller is 0 but for rounding.
_ROUNDING = 1e-9
# Whether an eigenvalue was missed shows long before it is known to many digits.
_GLANCE = 1e-2

Progress = Callable[[int], None]


@dataclass(frozen=True)
class EigenPairs(Tabular):
    """Eigenvalues and eigenvectors.

    Attributes:
        values: Shape (k,), float64, in the order asked for.
        vectors: Shape (P, k), orthonormal.
        residuals: Shape (k,), |H v - lambda v| with H v from products that were made: the matrix has an eigenvalue
            no farther from the value, and most often one far nearer (by the square of the residual over the gap).
        converged: Shape (k,), whether the residual is within the tolerance.
        tolerance: The residual allowed.
        products: Products with one vector that it took.
        beyond: How much farther out than the first value a missed eigenvalue may lie, but for one start in 1000;
            infinite where a start was given, which shows nothing of them.
        ritz: All Ritz values and vectors of the last space, shapes (m,) and (P, m); None unless they are kept.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    converged: Tensor
    tolerance: float
    products: int
    beyond: float = math.inf
    ritz: tuple[Tensor, Tensor] | None = None

    def turned(self, place: int) -> float:
        """Largest sine of the angle between a vector and the eigenvector, as far as the values found can tell.

        The residual over the distance to the nearest other value less its residual, 1 at most (Davis & Kahan
        1970): the vector of one of two eigenvalues within their residuals may be any mixture of theirs.

        Args:
            place: Which of the vectors.
        """
        gaps = (self.values - self.values[place]).abs() - self.residuals
        gaps[place] = math.inf
        gap = float(gaps.min())
        return min(1.0, float(self.residuals[place]) / gap) if gap > 0 else 1.0

    def _table(self) -> Mapping[str, Any]:
        return {"value": self.values.cpu(), "residual": self.residuals.cpu(), "converged": self.converged.cpu()}


@dataclass(frozen=True)
class BothEnds(Result):
    """The largest and the smallest eigenvalue.

    Attributes:
        largest: With one pair.
        smallest: With one pair.
        products: Products with one vector that both took.
        certified: Whether nothing that was missed lies farther out than a hundredth of either value (or than `tol`
            of it), but for one start in 1000. A small residual shows that an eigenvalue is near, not that it is
            the last.
    """

    largest: EigenPairs
    smallest: EigenPairs
    products: int
    certified: bool = False

    @property
    def ratio(self) -> float:
        """|smallest / largest|, what Li et al. 2018 map; NaN where the largest is 0."""
        largest = float(self.largest.values[0])
        return abs(float(self.smallest.values[0]) / largest) if largest else float("nan")


def eigenpairs(
    operator: SymmetricOperator,
    k: int = 1,
    which: str = "largest",
    tol: float = 1e-6,
    max_products: int = 1000,
    seed: int = 0,
    *,
    copies: bool | None = None,
    start: Tensor | None = None,
    keep: bool = False,
    progress: Progress | None = None,
) -> EigenPairs:
    """Eigenvalues at an end of the spectrum.

    Lanczos's method with every new vector made orthogonal to all before, twice, so that no eigenvalue shows up as
    a ghost of another; when the basis is full it is started anew from the best vectors in it. Nothing is taken to
    have converged: the residual |H v - lambda v| of every pair is computed from H v, the sum of products with the
    basis (or a product made for it, where they would not fit into memory), and where `max_products` ends the work
    the pairs say so.

    A start sees one vector of each eigenspace. With `copies` the method starts again orthogonally to the pairs
    found, until nothing better comes, which brings out equal eigenvalues. What a start is orthogonal to, by chance
    or by a symmetry, is seen through rounding only.

    Args:
        operator: Multiplies vectors by a symmetric matrix.
        k: How many pairs.
        which: ``"largest"``, ``"smallest"``, or ``"magnitude"``, the largest absolute values.
        tol: The residual allowed, relative to the largest absolute eigenvalue; 64 units in the last place of the
            operator's element type at least.
        max_products: Where to give up.
        seed: Draws the starts.
        copies: Look for equal eigenvalues; None does where k > 1.
        start: Shape (P,), a guess of the first vector: saves products where it is good, and changes nothing in
            what counts as converged.
        keep: Give the Ritz pairs too, which may serve as a guess elsewhere.
        progress: Called with the number of products so far.

    Returns:
        The pairs, the first wanted first.

    Raises:
        LandscapeError: If k or which is out of range.

    Source:
        Golub and Van Loan 2013, "Matrix Computations", sections 10.1 to 10.3; the new starts after Wu and Simon
        2000, "Thick-restart Lanczos method for large symmetric eigenvalue problems".

    Example:
        >>> class Ramp:
        ...     size = 100
        ...     def __matmul__(self, v):
        ...         return torch.diag(torch.arange(100, dtype=v.dtype)) @ v
        >>> found = eigenpairs(Ramp(), k=2)
        >>> [round(value, 6) for value in found.values.tolist()], found.converged.tolist()
        ([99.0, 98.0], [True, True])
    """
    if which not in WHICH:
        raise LandscapeError(f"unknown end '{which}'", where="which", mend=did_you_mean(which, WHICH))
    if not 1 <= k <= operator.size:
        raise LandscapeError(
            "must be the number of some eigenvalues", where="k", got=k, expected=f"1 to {operator.size}"
        )

    def keys(values: Tensor) -> Tensor:
        return {"largest": values, "smallest": -values, "magnitude": values.abs()}[which]

    def best(count: int) -> Choice:
        return lambda values: keys(values).argsort(descending=True)[:count]

    budget, generator = Budget(operator, max(k, max_products), progress), generator_of(seed)
    relative = attainable(operator, tol)
    space = Krylov(budget, k, generator, start=start)
    space.search(best(k), relative)
    found = _Found.at(space, best(k)(space.values))
    tolerance = relative * float(space.values.abs().max())
    if k > 1 if copies is None else copies:
        found = _with_copies(budget, generator, found, keys, relative, tolerance)
    checked = _checked(budget, found, keys, tolerance, space.beyond)
    return replace(checked, ritz=space.ritz) if keep else checked


@dataclass(frozen=True)
class _Found:
    """Ritz pairs: values, shape (k,), vectors, one per row, and what the matrix makes of them if that is known."""

    values: Tensor
    rows: Tensor
    images: Tensor | None

    @classmethod
    def at(cls, space: Krylov, places: Tensor) -> _Found:
        return cls(space.values[places], space.rows(places), space.images(places))

    def __getitem__(self, order: Tensor) -> _Found:
        return _Found(self.values[order], self.rows[order], None if self.images is None else self.images[order])

    def joined(self, other: _Found) -> _Found:
        known = self.images is not None and other.images is not None
        images = torch.cat([self.images, other.images]) if known else None  # type: ignore[list-item]
        return _Found(torch.cat([self.values, other.values]), torch.cat([self.rows, other.rows]), images)


def _with_copies(
    budget: Budget,
    generator: torch.Generator,
    found: _Found,
    keys: Callable[[Tensor], Tensor],
    relative: float,
    tolerance: float,
) -> _Found:
    """Pairs that were found, and those that one start cannot see; the best first, as many as were found."""
    count = len(found.values)

    def top(values: Tensor) -> Tensor:
        return keys(values).argsort(descending=True)[:1]

    while budget.left and len(found.rows) < found.rows.shape[1]:
        space = Krylov(budget, 1, generator, locked=found.rows)
        space.search(top, _GLANCE)
        worst = float(keys(found.values)[:count].min())
        place = top(space.values)
        if float(keys(space.values)[place] + space.errors[place]) <= worst:
            break
        space.search(top, relative)
        place = top(space.values)
        better = float(keys(space.values)[place]) > worst + tolerance
        found = found.joined(_Found.at(space, place))
        found = found[keys(found.values).argsort(descending=True, stable=True)]
        if not better:
            break
    return found[torch.arange(count)]


def both_ends(
    operator: SymmetricOperator,
    tol: float = 1e-6,
    max_products: int = 1000,
    seed: int = 0,
    *,
    certify: bool = False,
    progress: Progress | None = None,
) -> BothEnds:
    """The largest and the smallest eigenvalue from one Krylov space; see `eigenpairs`.

    Args:
        operator: Multiplies vectors by a symmetric matrix.
        tol: The residual allowed, relative to the larger absolute value of the two.
        max_products: Where to give up.
        seed: Draws the start.
        certify: Go on until each residual is a hundredth of its own eigenvalue, too. Where that leaves open
            whether the ends of the spectrum were met, and there are up to 1024 rows, complete the space as far as
            products last.
        progress: Called with the number of products so far.

    Example:
        >>> class Saddle:
        ...     size = 2
        ...     def __matmul__(self, v):
        ...         return torch.diag(torch.tensor([3.0, -1.0], dtype=v.dtype)) @ v
        >>> round(both_ends(Saddle()).ratio, 9)
        0.333333333
    """

    def ends(values: Tensor) -> Tensor:
        return torch.tensor([len(values) - 1, 0]).unique()

    budget = Budget(operator, max(2, max_products), progress)
    relative = attainable(operator, tol)
    space = Krylov(budget, 2, generator_of(seed))
    space.search(ends, relative, _OWN if certify else None)
    if certify and operator.size <= WHOLE and not _certified(space, relative):
        space.complete()
    tolerance = relative * float(space.values.abs().max())
    largest, smallest = (
        _checked(budget, _Found.at(space, torch.tensor([place])), torch.Tensor.clone, tolerance, space.beyond)
        for place in (len(space.values) - 1, 0)
    )
    return BothEnds(largest, smallest, budget.spent, _certified(space, relative))


def _certified(space: Krylov, relative: float) -> bool:
    """Return whether neither end of the spectrum lies beyond what was found by more than counts."""
    ends = space.values[[0, -1]].abs()
    return bool((space.beyond <= (max(_OWN, relative) * ends).clamp(min=_ROUNDING * float(ends.max()))).all())


def _checked(
    budget: Budget, found: _Found, keys: Callable[[Tensor], Tensor], tolerance: float, beyond: float
) -> EigenPairs:
    """Pairs with their residuals, the best first."""
    vectors = found.rows.T
    products = budget.multiply(vectors) if found.images is None else found.images.T
    # Of all numbers the Rayleigh quotient leaves the smallest residual.
    values = (vectors * products).sum(0).double().cpu()
    residuals = (products - vectors * values.to(vectors)).norm(dim=0).double().cpu()
    order = keys(values).argsort(descending=True)
    values, residuals = values[order], residuals[order]
    return EigenPairs(
        values,
        vectors[:, order.to(vectors.device)],
        residuals,
        residuals <= tolerance,
        tolerance,
        budget.spent,
        beyond,
    )

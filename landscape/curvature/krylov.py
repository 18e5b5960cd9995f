"""Lanczos's method with full reorthogonalisation and new starts, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from landscape.curvature.matrix import SymmetricOperator
from landscape.curvature.random_vectors import device_of, vector_type

# What a basis may take; with more parameters it is shorter, and started anew more often.
_BASIS_BYTES = 2**31
# So many vectors reach the ends of most spectra without a new start.
_BASIS = 128
# Beyond, orthogonality to all of them costs more than the products of a small model.
WHOLE = 1024
# Products carry a rounding error of some units in the last place, and no residual is smaller.
_UNITS = 64
# Where an eigenvalue is sought to a share of itself: at most so much finer than to the same share of the largest.
_FINEST = 1e-6
# Beyond, the bound on what was missed says nothing.
_HALF = 0.5
# The random share of a start that is given, so that nothing is missed only because the start is orthogonal to it.
_RANDOM = 0.1

# A bound holds with this probability of being wrong, over random starts.
RISK = 1e-3

Choice = Callable[[Tensor], Tensor]


class Budget:
    """Multiplies by an operator, and counts.

    Args:
        operator: Multiplies vectors.
        most: Products with one vector to spend.
        progress: Called with the number so far.
    """

    def __init__(
        self, operator: SymmetricOperator, most: int, progress: Callable[[int], None] | None = None
    ) -> None:
        self.operator, self.spent = operator, 0
        self._most, self._progress = most, progress

    @property
    def left(self) -> int:
        """Number of products left."""
        return max(0, self._most - self.spent)

    def multiply(self, vectors: Tensor) -> Tensor:
        """The product with a vector, shape (P,), or several, shape (P, K)."""
        self.spent += 1 if vectors.ndim == 1 else vectors.shape[1]
        if self._progress is not None:
            self._progress(self.spent)
        return (self.operator @ vectors).to(vectors)


def attainable(operator: SymmetricOperator, tol: float) -> float:
    """A relative tolerance that residuals can reach: 64 units in the last place, and the error of products."""
    own: torch.dtype = getattr(operator, "dtype", torch.float64)
    return max(tol, _UNITS * torch.finfo(own).eps, getattr(operator, "error", 0.0))


def missed_share(size: int, steps: int, risk: float = RISK) -> float:
    """The share of the spread of a spectrum by which Lanczos's method may miss an end of it, at most.

    After k steps from a random start the end is missed by more than the share e of the spread with a probability
    of at most 1.648 sqrt(n) exp(-sqrt(e) (2 k - 1)).

    Args:
        size: n, the number of rows.
        steps: k, without a new start.
        risk: The probability with which it may be more.

    Source:
        Kuczynski and Wozniakowski 1992, "Estimating the largest eigenvalue by the power and Lanczos algorithms
        with a random start", theorem 4.2.

    Example:
        >>> round(missed_share(10_000, 100), 4)
        0.0036
    """
    if steps >= size:
        return 0.0
    return min(1.0, (math.log(1.648 * math.sqrt(size) / risk) / (2 * steps - 1)) ** 2)


class Krylov:
    """An orthonormal basis V that grows by products, and the matrix T = V^T H V.

    Args:
        budget: Multiplies vectors.
        k: Pairs wanted, which a new start must keep.
        generator: Draws starts.
        locked: Shape (n, P), orthonormal vectors to which the basis stays orthogonal.
        start: Shape (P,), where to begin, give or take a random tenth; None begins anywhere.

    Attributes:
        values: Ritz values, the eigenvalues of T, rising.
        errors: The residual of each pair, as far as exact arithmetic goes.
        beyond: How far outside the Ritz values the spectrum may reach, but for a probability of `RISK`; infinite
            where the start was given and says nothing, 0 once the space is the whole one.

    The products with the basis are held as well where memory allows: what the matrix makes of a Ritz vector is
    then known, as the same sum of them, without another product.
    """

    def __init__(
        self,
        budget: Budget,
        k: int,
        generator: torch.Generator,
        locked: Tensor | None = None,
        start: Tensor | None = None,
    ) -> None:
        operator = budget.operator
        self._budget, self._generator, self._k = budget, generator, k
        self._dtype = vector_type(operator, _BASIS + 2 * k)
        device = device_of(operator)
        self._locked = (
            torch.zeros(0, operator.size, dtype=self._dtype, device=device) if locked is None else locked
        )
        self._free = operator.size - len(self._locked)
        most = _BASIS_BYTES // (operator.size * self._dtype.itemsize)
        wanted = operator.size if operator.size <= WHOLE else min(_BASIS + 2 * k, most)
        # A new start keeps the pairs and some more, and must leave room to go on.
        self._room = min(self._free, max(wanted, 2 * k + 4))
        # One vector per row, so that each is contiguous; rows that no search comes to take no memory.
        self._basis = torch.empty(self._room, operator.size, dtype=self._dtype, device=device)
        self._images = torch.empty_like(self._basis) if 2 * self._room <= most else None
        # What residuals need.
        self._kept_back = k if self._images is None and budget.left > k else 0
        self._matrix = torch.zeros(self._room, self._room, dtype=torch.float64)
        self._used = 0
        self._next = self._fresh() if start is None else self._near(start)
        self._random, self._restarted = start is None, False
        self.beyond = math.inf
        self.values = self.errors = torch.zeros(0, dtype=torch.float64)
        self._shapes = torch.zeros(0, 0, dtype=torch.float64)

    def _fresh(self) -> Tensor:
        """A random unit vector orthogonal to the basis."""
        drawn = torch.randn(self._basis.shape[1], generator=self._generator, dtype=self._dtype)
        rest = self._orthogonal(drawn.to(self._basis.device))[0]
        return rest / rest.norm()

    def _near(self, start: Tensor) -> Tensor:
        """A unit vector near a given one; a random one where that is 0 or not finite."""
        given = self._orthogonal(start.to(self._basis))[0]
        length = float(given.norm())
        if not 0 < length < float("inf"):
            return self._fresh()
        mixed = given / length + _RANDOM * self._fresh()
        return mixed / mixed.norm()

    def _orthogonal(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return the part of a vector outside the basis, and its coordinates inside.

        Done twice, which is enough (Parlett 1998, section 6.9, after Kahan).
        """
        basis = self._basis[: self._used]
        inside = torch.zeros(self._used, dtype=self._dtype, device=vector.device)
        for _ in range(2):
            vector = vector - (self._locked @ vector) @ self._locked
            found = basis @ vector
            inside += found
            vector = vector - found @ basis
        return vector, inside.double().cpu()

    def complete(self) -> None:
        """Grow the basis until it is that of the whole space, as far as products and room last."""
        coupling = None
        while self._used < min(self._free, self._room) and self._budget.left > self._kept_back:
            coupling = self._grow()
        if coupling is not None:
            self._solve(coupling)

    def search(self, choose: Choice, relative: float, own: float | None = None) -> None:
        """Grow the basis until the chosen pairs have residuals within a tolerance, or there is no more to find.

        Args:
            choose: Ritz values -> the places of those wanted.
            relative: The residual allowed, relative to the largest absolute Ritz value.
            own: Also relative to each of those wanted; None asks for no more.
        """
        while self._used < self._free and self._budget.left > self._kept_back:
            if self._used == self._room:
                self._restart(choose)
            self._solve(self._grow())
            wanted = choose(self.values)
            allowed = relative * self.values.abs().max()
            if own is not None:
                allowed = torch.minimum(allowed, (own * self.values[wanted].abs()).clamp(min=allowed * _FINEST))
            enough = self._used >= min(self._k, self._free)
            if enough and bool((self.errors[wanted] <= allowed).all()):
                return

    def _solve(self, coupling: float) -> None:
        self.values, self._shapes = torch.linalg.eigh(self._matrix[: self._used, : self._used])
        self.errors = coupling * self._shapes[-1].abs()
        self._bound()

    def _bound(self) -> None:
        """Bound the spectrum outside the space at hand; new starts show no more than the first."""
        if self._used >= self._free:
            self.beyond = 0.0
        elif self._random and not self._restarted:
            spread = float(self.values[-1] - self.values[0])
            share = missed_share(self._free, self._used)
            # Both ends may be missed, and the spread is wider by that.
            self.beyond = share * spread / (1 - 2 * share) if share < _HALF else math.inf

    def _grow(self) -> float:
        """One product; gives the length of what it has outside the basis."""
        vector = self._next
        self._basis[self._used] = vector
        self._used += 1
        image = self._budget.multiply(vector)
        if self._images is not None:
            self._images[self._used - 1] = image
        rest, inside = self._orthogonal(image)
        self._matrix[: self._used, self._used - 1] = inside
        self._matrix[self._used - 1, : self._used] = inside
        length = float(rest.norm())
        # What rounding leaves of a space that is closed under the matrix is no direction to go on in.
        if length > 10 * torch.finfo(self._dtype).eps * float(inside.norm()):
            self._next = rest / length
            return length
        if self._used < self._free:
            self._next = self._fresh()
        return 0.0

    def _restart(self, choose: Choice) -> None:
        """Keep the wanted vectors and their neighbours, half of the room in all."""
        self._restarted = True
        wanted, places = choose(self.values), torch.arange(len(self.values))
        distance = (places[:, None] - wanted[None, :]).abs().min(1).values
        kept = distance.argsort(stable=True)[: max(len(wanted), self._room // 2)]
        if (images := self.images(kept)) is not None and self._images is not None:
            self._images[: len(kept)] = images
        self._basis[: len(kept)] = self.rows(kept)
        self._used = len(kept)
        self._matrix.zero_()
        self._matrix[range(self._used), range(self._used)] = self.values[kept]

    def rows(self, wanted: Tensor) -> Tensor:
        """The Ritz vectors at some places, one per row."""
        return self._shapes[:, wanted].T.to(self._basis) @ self._basis[: self._used]

    def images(self, wanted: Tensor) -> Tensor | None:
        """Return the matrix times the Ritz vectors at some indices, one per row; None where it is not held."""
        if self._images is None:
            return None
        return self._shapes[:, wanted].T.to(self._images) @ self._images[: self._used]

    @property
    def ritz(self) -> tuple[Tensor, Tensor]:
        """All Ritz values, shape (m,), and their vectors, shape (P, m)."""
        return self.values, self.rows(torch.arange(len(self.values))).T

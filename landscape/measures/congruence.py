"""A symmetric operator seen through a linear map: Bᵀ A B."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from landscape.curvature import SymmetricOperator


class Congruent:
    """Bᵀ A B as an operator, so that its trace is what all traces are.

    Args:
        operator: A, a symmetric matrix with P rows.
        size: The number of columns of B.
        into: B: shape (size, K) -> (P, K).
        back: Bᵀ: shape (P, K) -> (size, K).

    Example:
        >>> double = Congruent(operator, operator.size, lambda v: 2 * v, lambda v: 2 * v)  # doctest: +SKIP
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        size: int,
        into: Callable[[Tensor], Tensor],
        back: Callable[[Tensor], Tensor],
    ) -> None:
        self._operator, self._into, self._back = operator, into, back
        self.size = size

    def __matmul__(self, other: Tensor) -> Tensor:
        """The product with a vector, shape (size,), or several, shape (size, K)."""
        columns = other.reshape(self.size, -1)
        return self._back(self._operator @ self._into(columns)).reshape(other.shape)


def scaled(operator: SymmetricOperator, scales: Tensor) -> Congruent:
    """D A D with a diagonal D.

    Args:
        operator: A.
        scales: Shape (P,), the diagonal of D.
    """

    def by(columns: Tensor) -> Tensor:
        return scales.to(columns).unsqueeze(1) * columns

    return Congruent(operator, operator.size, by, by)

"""Where a search for an eigenvector may begin: at what is known of the matrix from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class WarmStart:
    """A symmetric matrix as far as it is known: V diag(values) V^T.

    It says where to begin and nothing else: eigenvalues are found, and checked, by products with the matrix.

    Attributes:
        values: Shape (m,), float64.
        vectors: V, shape (P, m).
    """

    values: Tensor
    vectors: Tensor

    def carried(self, over: Callable[[Tensor], Tensor]) -> WarmStart:
        """B V diag(values) (B V)^T.

        Args:
            over: B, of columns, shape (P, m).
        """
        return replace(self, vectors=over(self.vectors))

    def end(self, which: str) -> Tensor:
        """The eigenvector at an end, ``"largest"`` or ``"smallest"``, shape (P,).

        Example:
            >>> guess = WarmStart(torch.tensor([3.0, 1.0]).double(), torch.eye(3, 2).double())
            >>> guess.carried(lambda columns: torch.tensor([[1.0], [2.0], [1.0]]) * columns).end("largest").abs()
            tensor([0., 1., 0.], dtype=torch.float64)
        """
        basis, triangle = torch.linalg.qr(self.vectors.double())
        _, inside = torch.linalg.eigh((triangle * self.values.to(triangle)) @ triangle.T)
        return basis @ inside[:, -1 if which == "largest" else 0]

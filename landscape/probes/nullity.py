"""Number of flat directions where the training error is zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.curvature import Curvature
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.tree import leaves
from landscape.params import Weights
from landscape.values.result import Result


@dataclass(frozen=True)
class Degeneracy(Result):
    """The eigenvalues of the Hessian, and how many of them must be zero.

    Attributes:
        eigenvalues: Shape (K,), float64, falling.
        equations: N C, numbers that the outputs have to match.
        tolerance: What is smaller in absolute value counts as zero.
        loss: The mean training loss there.
    """

    eigenvalues: NDArray[np.float64]
    equations: int
    tolerance: float
    loss: float

    @property
    def zero(self) -> int:
        """Number of eigenvalues that are zero within the tolerance."""
        return int((np.abs(self.eigenvalues) <= self.tolerance).sum())

    @property
    def rank(self) -> int:
        """Number of eigenvalues that are not zero within the tolerance."""
        return len(self.eigenvalues) - self.zero

    @property
    def bound(self) -> int:
        """K - N C: at a point of zero squared error there are at least so many zeros; 0 where that is negative."""
        return max(0, len(self.eigenvalues) - self.equations)


def degeneracy(objective: Objective, weights: Weights, *, tolerance: float | None = None) -> Degeneracy:
    """Count the zero eigenvalues of the Hessian of the mean training loss, in float64, by writing it out.

    Where the squared error is zero, the Hessian is 2 / (N C) J^T J with J of N C rows (N examples, C outputs), so
    its rank is at most N C, and at least K - N C of the K eigenvalues are zero: solutions of N C equations in
    K > N C unknowns form a set of dimension K - N C or more.

    Args:
        objective: Of a small model: K at most 8,192.
        weights: Where.
        tolerance: What counts as zero; by default K times the rounding of the largest eigenvalue, or the largest
            residual if that is more: where the error e is not quite zero, the second derivatives of the outputs
            add a matrix of order sqrt(loss).

    Returns:
        Eigenvalues, how many are zero, and the bound.

    Raises:
        LandscapeError: If the model is too large, or the targets are no numbers to be matched.

    Source:
        Liao & Poggio 2017, section 3 (Bezout); rank from the Gauss-Newton form of the Hessian.
    """
    split = objective.data["train"]
    targets = [tensor for tensor in leaves(split.targets) if tensor.is_floating_point()]
    if not targets:
        raise LandscapeError("the bound is about targets that are numbers", mend="use a squared error")
    operator = Curvature(objective, weights, dtype=torch.float64)
    values = torch.linalg.eigvalsh(operator.dense()).cpu().numpy()[::-1].copy()
    loss = operator.value()
    largest = float(np.abs(values).max())
    rounding = len(values) * largest * float(np.finfo(np.float64).eps)
    chosen = max(rounding, math.sqrt(max(loss, 0.0)) * largest) if tolerance is None else tolerance
    return Degeneracy(values, sum(tensor.numel() for tensor in targets), chosen, loss)

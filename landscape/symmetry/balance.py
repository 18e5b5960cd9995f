"""The smallest curvature trace that rescalings reach: a convex problem, solved to rounding. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg

from landscape.errors import LandscapeError
from landscape.values.result import Result

Array = NDArray[np.float64]

# Beyond so many scales the Hessian is not formed: it would take more than half a gigabyte.
_MOST_DENSE = 8_000
# No step multiplies a parameter by more than e^4 or less than e^-4, so that no term overflows.
_LONGEST_STEP = 4.0
# Armijo's constant, as in Boyd & Vandenberghe 2004, section 9.2.
_SUFFICIENT = 0.1


@dataclass(frozen=True)
class Balanced(Result):
    """The minimum of sum_e G_e exp(-2 <a_e, mu>) over mu.

    Attributes:
        mu: Shape (M,), natural logarithms of the scales; 0 for those that no term of the minimum depends on.
        value: The infimum, the sum of masses times shares.
        shares: Shape (E,), exp(-2 <a_e, mu>); 0 for terms that the infimum leaves out.
        before: The value at mu = 0.
        gradient: The largest entry of the gradient at `mu`, relative to the value: how far from flat it is.
        iterations: Newton steps.
        free: Indices of scales that no term with mass depends on (dead units): left alone.
        unattained: Indices of scales that have terms which fall towards 0 for ever: the infimum leaves these
            terms out, and no finite scale reaches it.
    """

    mu: Array
    value: float
    shares: Array
    before: float
    gradient: float
    iterations: int
    free: NDArray[np.int64]
    unattained: NDArray[np.int64]

    @property
    def attained(self) -> bool:
        """Return whether some point of the orbit has the value."""
        return self.unattained.size == 0


def balance(
    exponents: sparse.spmatrix | Array, masses: Array, *, tolerance: float = 1e-13, most_iterations: int = 500
) -> Balanced:
    """Minimise sum_e G_e exp(-2 <a_e, mu>), the curvature trace over all rescalings of the parameters.

    A rescaling multiplies parameter e by exp(<a_e, mu>), so its entry G_e of the Gauss-Newton diagonal is
    multiplied by exp(-2 <a_e, mu>). The sum is convex in mu. Terms that can be driven to 0 without raising
    others are found first (with one scale up and one down per term these are the edges between strongly
    connected components); the rest has a minimum, found by Newton's method with backtracking.

    Args:
        exponents: Shape (E, M), integers: how often scale m enters parameter e, with its sign. Parameters
            with equal rows may be given as one, with the sum of their masses.
        masses: Shape (E,), G_e, not negative.
        tolerance: Of the largest entry of the gradient, relative to the value.
        most_iterations: Newton steps at most.

    Returns:
        The minimum; see `Balanced`.

    Raises:
        LandscapeError: If a mass is negative or not finite, or Newton's method does not get there.

    Source:
        Osborne 1960 and Parlett & Reinsch 1969 for matrices; for networks cf. Neyshabur, Salakhutdinov &
        Srebro 2015 (path norms). Newton's method: Boyd & Vandenberghe 2004, section 9.5.

    Example:
        Two layers: the trace A exp(-2 mu) + B exp(2 mu) has the minimum 2 sqrt(A B).

        >>> round(balance(np.array([[1.0], [-1.0]]), np.array([2.3, 0.7])).value, 6)
        2.537716
    """
    whole = sparse.csr_matrix(exponents, dtype=np.float64)
    masses = np.asarray(masses, dtype=np.float64)
    if not np.isfinite(masses).all() or (masses < 0).any():
        raise LandscapeError(
            "curvature must be finite and not negative", where="masses", got=f"{masses.min()} to {masses.max()}"
        )
    held = np.flatnonzero(masses > 0)
    living, gone = _attained(whole[held])
    kept = held[living]
    matrix = whole[kept]
    touched = np.asarray(abs(matrix).sum(axis=0)).ravel() > 0
    active = np.flatnonzero(touched)
    mu = np.zeros(whole.shape[1])
    mu[active], gradient, iterations = _newton(matrix[:, active], masses[kept], tolerance, most_iterations)
    shares = np.zeros(len(masses))
    shares[kept] = np.exp(-2 * (matrix @ mu))
    free = np.flatnonzero(~touched & ~gone)
    return Balanced(
        mu, float(masses @ shares), shares, float(masses.sum()), gradient, iterations, free, np.flatnonzero(gone)
    )


def _attained(matrix: sparse.csr_matrix) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which terms stay at the infimum, and which scales run off to make the others vanish."""
    living = np.ones(matrix.shape[0], bool)
    gone = np.zeros(matrix.shape[1], bool)
    while True:
        leaving = _one_sided(matrix, living) | _between_components(matrix, living)
        if not leaving.any():
            return living, gone
        gone |= np.asarray(abs(matrix[leaving]).sum(axis=0)).ravel() > 0
        living &= ~leaving


def _one_sided(matrix: sparse.csr_matrix, living: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Terms with a scale that all living terms have with the same sign: it runs off and takes them along."""
    present = sparse.diags(living.astype(float)) @ matrix
    up = np.asarray((present > 0).sum(axis=0)).ravel() > 0
    down = np.asarray((present < 0).sum(axis=0)).ravel() > 0
    runs = (up ^ down).astype(float)
    return living & (np.asarray(abs(matrix) @ runs).ravel() > 0)


def _between_components(matrix: sparse.csr_matrix, living: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Terms between strongly connected components, where every term has at most one scale up and one down."""
    count = matrix.shape[1]
    coo = matrix.tocoo()
    kept = living[coo.row] & (coo.data != 0)
    rows, columns, data = coo.row[kept], coo.col[kept], coo.data[kept]
    ups = np.bincount(rows[data > 0], minlength=len(living))
    downs = np.bincount(rows[data < 0], minlength=len(living))
    plain = bool((abs(data) == 1).all() and (ups <= 1).all() and (downs <= 1).all())
    if not plain:
        return np.zeros(len(living), bool)
    # A term with one scale only is an edge from or to the ground, whose scale is 1.
    start, end = np.full(len(living), count), np.full(len(living), count)
    start[rows[data < 0]], end[rows[data > 0]] = columns[data < 0], columns[data > 0]
    edges = sparse.csr_matrix(
        (np.ones(int(living.sum())), (start[living], end[living])), shape=(count + 1, count + 1)
    )
    _, component = connected_components(edges, directed=True, connection="strong")
    return living & (component[start] != component[end])


def _newton(
    matrix: sparse.csr_matrix, masses: Array, tolerance: float, most_iterations: int
) -> tuple[Array, float, int]:
    """Newton's method from mu = 0: the minimum, its relative gradient, and the steps taken."""
    mu = np.zeros(matrix.shape[1])
    terms = masses.copy()
    value = float(terms.sum())
    flatness = 0.0
    for iteration in range(most_iterations):
        slope = -2 * (matrix.T @ terms)
        flatness = float(abs(slope).max() / value) if len(mu) and value > 0 else 0.0
        if flatness <= tolerance:
            return mu, flatness, iteration
        step = _newton_step(matrix, terms, slope)
        moves = matrix @ step
        length = min(1.0, _LONGEST_STEP / max(float(abs(moves).max()), 1e-300))
        foreseen = float(slope @ step)
        while True:
            tried = terms * np.exp(-2 * length * moves)
            # Near the minimum rounding of the value hides the last descent; the gradient decides there.
            if tried.sum() <= value + _SUFFICIENT * length * foreseen + 4 * np.finfo(float).eps * value:
                break
            length /= 2
        if length * abs(step).max() <= np.finfo(float).eps:
            return mu, flatness, iteration
        mu = mu + length * step
        terms = masses * np.exp(-2 * (matrix @ mu))
        value = float(terms.sum())
    raise LandscapeError(
        "the flattest point was not reached",
        got=f"a relative gradient of {flatness:.1e} after {most_iterations} steps",
        expected=f"{tolerance:.0e}",
    )


def _newton_step(matrix: sparse.csr_matrix, terms: Array, slope: Array) -> Array:
    """Minus the inverse Hessian times the slope, in coordinates in which the Hessian has a unit diagonal."""
    weighted = sparse.diags(4 * terms) @ matrix
    diagonal = np.asarray(matrix.multiply(weighted).sum(axis=0)).ravel()
    root = np.sqrt(diagonal)
    if len(slope) <= _MOST_DENSE:
        hessian = (matrix.T @ weighted).toarray() / np.outer(root, root)
        # Directions along which nothing changes have curvature 0 and slope 0: the ridge leaves them alone.
        hessian[np.diag_indices_from(hessian)] += 1e-14 * len(slope)
        solved = np.linalg.solve(hessian, -slope / root)
    else:
        product = LinearOperator((len(slope),) * 2, matvec=lambda v: (matrix.T @ (weighted @ (v / root))) / root)
        solved, _ = cg(product, -slope / root, rtol=1e-10, maxiter=2_000)
    step: Array = solved / root
    return step

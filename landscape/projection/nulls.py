"""Principal components of pure random walks: the shares to read those of a trajectory against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.projection.krylov import DENSE, leading
from landscape.vocabulary import CENTERS

Array = NDArray[np.float64]


def require_center(center: str) -> None:
    """Check the name of a centring.

    Raises:
        LandscapeError: If there is none of that name.
    """
    if center not in CENTERS:
        raise LandscapeError(f"unknown value '{center}'", where="center", expected="mean, last or initial")


def random_walk_null(snapshots: int, components: int, center: str = "mean") -> Array:
    """The shares of variance that PCA gives to a random walk in many dimensions.

    A random walk of T equal independent steps has E[Gram] proportional to min(i, j). Centred on the mean
    its eigenvalues are 1 / (4 sin^2(pi k / 2T)), k = 1 ... T - 1, whose shares tend to 6 / (pi k)^2:
    61 % and 15 %. Centred on the last snapshot they are 1 / (4 sin^2((2k - 1) pi / (4T - 2))), whose
    shares tend to 2 / ((k - 1/2) pi)^2: 81 % and 9 %. Centred on the initial snapshot they are the same as on
    the last: a random walk read backwards is one.

    Args:
        snapshots: T.
        components: How many shares to return.
        center: ``"mean"``, ``"last"`` or ``"initial"``.

    Returns:
        Shape (components,), each a share of 1.

    Example:
        >>> random_walk_null(100_000, 2).round(3).tolist()
        [0.608, 0.152]
    """
    require_center(center)
    k = np.arange(1, snapshots)
    angles = np.pi * k / (2 * snapshots) if center == "mean" else np.pi * (2 * k - 1) / (4 * snapshots - 2)
    eigenvalues = 1 / (4 * np.sin(angles) ** 2)
    shares: Array = eigenvalues / eigenvalues.sum()
    return shares[:components]


def random_walks_null(gram: Array, counts: Sequence[int], center: str = "mean") -> Array:
    """The shares of variance that PCA gives to several random walks from the starts that the runs really had.

    Every run r is replaced by a walk of T_r snapshots from its own first one, whose independent steps have the
    mean squared length of its own: with s_r its start and m_r that mean,

        E[Gram] between snapshot i of run r and snapshot j of run q = <s_r, s_q> + (m_r min(i, j) if r = q).

    The shares are those of its spectrum after centring. A common start drops out; starts that lie far apart are
    structure of their own, which the null has as the runs have it. For one run this is `random_walk_null`.

    Args:
        gram: Shape (T, T), inner products of the snapshots of all runs, one run after the other, about any point.
        counts: How many snapshots each run has.
        center: ``"mean"`` of all snapshots, the ``"last"`` or the ``"initial"`` one of the first run.

    Returns:
        Shape (T - 1,), falling, each a share of 1; zeros where the runs do not move.
    """
    require_center(center)
    return walks_null(Walks.of_gram(gram, counts), counts, center, len(gram) - 1)


@dataclass(frozen=True)
class Walks:
    """The runs as far as random walks in their place need them.

    Attributes:
        starts: Shape (R, R), inner products of the first snapshots of the runs, about any point.
        squares: Shape (R,), the mean squared length of the steps of each run.
    """

    starts: Array
    squares: Array

    @classmethod
    def of_gram(cls, gram: Array, counts: Sequence[int]) -> Walks:
        """Take them from the inner products of all snapshots about any point."""
        first = _first(counts)
        own = (slice(low, low + count) for low, count in zip(first, counts, strict=True))
        squares = [_squared_step(gram[one, one]) for one in own]
        return cls(gram[np.ix_(first, first)].astype(np.float64), np.array(squares))

    @classmethod
    def of_columns(cls, parts: Iterable[Array], counts: Sequence[int]) -> Walks:
        """Take them from the snapshots themselves about any point, some columns at a time."""
        first = _first(counts)
        starts, squares = np.zeros((len(first), len(first))), np.zeros(len(first))
        for values in parts:
            own = values[first]
            starts += own @ own.T
            for place, (low, count) in enumerate(zip(first, counts, strict=True)):
                steps = np.diff(values[low : low + count], axis=0)
                squares[place] += np.vdot(steps, steps) / max(1, count - 1)
        return cls(starts, squares)


def walks_null(walks: Walks, counts: Sequence[int], center: str, components: int) -> Array:
    """The leading shares of `random_walks_null`, of what it needs to know of the runs.

    Args:
        walks: Their starts and steps.
        counts: How many snapshots each run has.
        center: As there.
        components: How many shares to return.

    Returns:
        Shape (components,), falling; zeros where the runs do not move.
    """
    rows = sum(counts)
    if rows <= DENSE or components >= rows - 1:
        gram = centred(_expected(walks, counts, np.eye(rows)), counts, center)
        known: Array = np.maximum(np.linalg.eigvalsh(gram)[::-1][: rows - 1], 0.0)
        total = float(known.sum())
    else:

        def times(block: Array) -> Array:
            product = _expected(walks, counts, centring(block, counts, center))
            return product - about(product, counts, center)

        known = np.maximum(leading(times, rows, components).values, 0.0)
        total = _variance(walks, counts, center)
    shares: Array = known / total if total > 0 else known
    return shares[:components]


def _first(counts: Sequence[int]) -> NDArray[np.intp]:
    return np.cumsum([0, *counts[:-1]])


def _expected(walks: Walks, counts: Sequence[int], block: Array) -> Array:
    """The expected Gram matrix times a block: min(i, j) sums over all that comes after, and over all before."""
    first = _first(counts)
    sums = np.add.reduceat(block, first, axis=0)
    product = np.repeat(walks.starts @ sums, counts, axis=0)
    for low, count, square in zip(first, counts, walks.squares, strict=True):
        after = np.cumsum(block[low : low + count][::-1], axis=0)[::-1]
        product[low + 1 : low + count] += square * np.cumsum(after[1:], axis=0)
    return product


def _variance(walks: Walks, counts: Sequence[int], center: str) -> float:
    """The trace of C E C^T, E the expected Gram matrix: with C = I - 1 c^T, tr E - 2 c^T E 1 + T c^T E c."""
    rows = sum(counts)
    ages = np.concatenate([np.arange(count) for count in counts])
    own = np.repeat(np.diag(walks.starts), counts) + np.repeat(walks.squares, counts) * ages
    # C^T 1 = 1 - T c: the weights of the snapshots in the centre.
    weights = (1 - centring(np.ones(rows), counts, center)) / rows
    product = _expected(walks, counts, weights[:, None])[:, 0]
    return float(own.sum() - 2 * product.sum() + rows * weights @ product)


def about(rows: Array, counts: Sequence[int], center: str) -> Array:
    """The centre of some rows, one for each snapshot of all runs."""
    if center == "mean":
        mean: Array = rows.mean(axis=0)
        return mean
    return rows[0 if center == "initial" else counts[0] - 1].copy()


def centring(weights: Array, counts: Sequence[int], center: str) -> Array:
    """Weights of the snapshots themselves, of weights of their differences from the centre."""
    if center == "mean":
        mean: Array = weights - weights.mean(axis=0)
        return mean
    found = weights.copy()
    found[0 if center == "initial" else counts[0] - 1] -= weights.sum(axis=0)
    return found


def centred(gram: Array, counts: Sequence[int], center: str) -> Array:
    """The inner products about the centre, of those about any point."""
    rows = gram - about(gram, counts, center)
    columns: Array = rows - about(rows.T, counts, center)[:, None]
    return columns


def _squared_step(gram: Array) -> float:
    """The mean squared length of the steps of a run."""
    if len(gram) < 2:
        return 0.0
    squares = np.diag(gram)
    return float((squares[1:] + squares[:-1] - 2 * np.diag(gram, 1)).mean())

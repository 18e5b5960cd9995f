"""Principal components of one or several trajectories, from the Gram matrix of their snapshots. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.projection.krylov import DENSE, MANY, leading
from landscape.projection.nulls import (
    Walks,
    about,
    centred,
    centring,
    random_walk_null,
    require_center,
    walks_null,
)
from landscape.projection.side_by_side import held, is_held, stacked
from landscape.projection.walks import Globs, Snapshots
from landscape.values.result import Tabular

Array = NDArray[np.float64]

# Below this share of the largest eigenvalue a component is rounding of float32 weights, not motion.
_RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Components(Tabular):
    """The principal components of the snapshots of some runs, seen from the snapshots.

    Attributes:
        scores: Of each run, shape (T, K): coordinates of its snapshots along the components, from the centre.
        shares: Shape (rank,), the share of the variance about the centre along each component, falling; of more
            than 1,024 snapshots only the leading ones: K, and at least 10.
        null: As many, what random walks would show: see `random_walk_null` for one run, and
            `random_walks_null` for several.
        variance: The sum of the squared distances of all snapshots from the centre.
        center: ``"mean"``, ``"last"`` or ``"initial"``.
        mixing: Shape (T of all runs, K): component k is the sum of the snapshots weighted by column k.
    """

    scores: tuple[Array, ...]
    shares: Array
    null: Array
    variance: float
    center: str
    mixing: Array

    def _table(self) -> Mapping[str, Any]:
        return {"component": np.arange(1, len(self.shares) + 1), "share": self.shares, "null": self.null}


def principal_components(
    runs: Snapshots | Sequence[Snapshots],
    *,
    dims: int = 5,
    center: str = "mean",
    parameters: Globs | None = None,
) -> Components:
    """The principal components of one trajectory, or of several in one (Li et al. 2018, section 7).

    They are found from the T x T Gram matrix of all snapshots in float64, or, of more than 1,024 snapshots, from
    products with it. The weights are read some columns at a time, so a model of any size will do.

    Args:
        runs: A trajectory, or several of the same model; every snapshot counts alike.
        dims: How many components to return, at most; fewer where the snapshots span fewer.
        center: ``"mean"`` subtracts the mean of all snapshots, as PCA does; ``"last"`` and ``"initial"`` measure
            from the last or the first snapshot of the first run.
        parameters: Globs that choose which parameters count; see `Layout.select`.

    Returns:
        The components; the largest coefficient of each is positive.

    Raises:
        LandscapeError: If nothing moves, weights are not finite, or the runs are of different models.

    Example:
        >>> principal_components([ls.open("a.h5"), ls.open("b.h5")]).shares[:2]  # doctest: +SKIP
        array([0.71, 0.12])
    """
    require_center(center)
    chosen = as_runs(runs, parameters)
    return _signed(decompose(chosen, dims, center), chosen)


def as_runs(runs: Snapshots | Sequence[Snapshots], parameters: Globs | None = None) -> list[Snapshots]:
    """One run or several as a list, of which only some parameters count; short ones are read once, into memory."""
    several = list(runs) if isinstance(runs, Sequence) else [runs]
    return held(several if parameters is None else [run.select(parameters) for run in several])


def decompose(runs: Sequence[Snapshots], dims: int, center: str) -> Components:
    """The components, whose signs are not settled yet."""
    counts = [len(run) for run in runs]
    matrix_free = sum(counts) > DENSE and is_held(runs)
    found = (_by_products if matrix_free else _by_gram)(runs, max(dims, MANY), center)
    rank = int((found.values > _RANK_TOLERANCE * max(found.values[0], 1e-300)).sum())
    if rank == 0:
        raise LandscapeError("the snapshots are all the same", got=f"{sum(counts)} of them")
    null = (
        random_walk_null(counts[0], rank, center)
        if len(runs) == 1
        else walks_null(found.walks, counts, center, rank)
    )
    roots = np.sqrt(found.values[: min(dims, rank)])
    first = found.vectors[:, : len(roots)]
    edges = np.cumsum([0, *counts])
    return Components(
        scores=tuple((first * roots)[low:high] for low, high in pairwise(edges)),
        shares=found.values[:rank] / found.variance,
        null=null,
        variance=found.variance,
        center=center,
        mixing=centring(first / roots, counts, center),
    )


@dataclass(frozen=True)
class _Spectrum:
    """Eigenvalues of the centred Gram matrix, falling and not negative, their sum over all, and vectors."""

    values: Array
    vectors: Array
    variance: float
    walks: Walks


def _by_gram(runs: Sequence[Snapshots], many: int, center: str) -> _Spectrum:
    counts = [len(run) for run in runs]
    about_last = _gram(runs)
    gram = centred(about_last, counts, center)
    _require_finite(gram)
    walks = Walks.of_gram(about_last, counts)
    if len(gram) > DENSE:
        found = leading(gram.__matmul__, len(gram), many)
        return _Spectrum(np.maximum(found.values, 0.0), found.vectors, float(np.trace(gram)), walks)
    eigenvalues, vectors = np.linalg.eigh(gram)
    eigenvalues = np.maximum(eigenvalues[::-1], 0.0)
    return _Spectrum(eigenvalues, vectors[:, ::-1], float(eigenvalues.sum()), walks)


def _by_products(runs: Sequence[Snapshots], many: int, center: str) -> _Spectrum:
    """Read the snapshots once for every product with their Gram matrix, which is larger than they are."""
    counts = [len(run) for run in runs]

    def times(block: Array) -> Array:
        weights, product = centring(block, counts, center), np.zeros_like(block)
        for values in _about_last(runs):
            product += values @ (values.T @ weights)
        return product - about(product, counts, center)

    variance = 0.0
    for values in _about_last(runs):
        values -= about(values, counts, center)
        variance += float(np.vdot(values, values))
    _require_finite(np.asarray(variance))
    found = leading(times, sum(counts), many)
    walks = Walks.of_columns(_about_last(runs), counts)
    return _Spectrum(np.maximum(found.values, 0.0), found.vectors, variance, walks)


def _about_last(runs: Sequence[Snapshots]) -> Iterator[Array]:
    """Snapshots of all runs less the last one of the first run, so that far from 0 no digits are lost."""
    origin = len(runs[0]) - 1
    for _, _, _, values in stacked(runs):
        values -= values[origin].copy()
        yield values


def _require_finite(values: Array) -> None:
    if not np.isfinite(values).all():
        raise LandscapeError("the trajectory has weights that are not finite", mend="choose earlier snapshots")


def _gram(runs: Sequence[Snapshots]) -> Array:
    count = sum(len(run) for run in runs)
    total = np.zeros((count, count))
    for values in _about_last(runs):
        total += values @ values.T
    return total


def _signed(found: Components, runs: Sequence[Snapshots]) -> Components:
    """The largest coefficient of each component is positive."""
    peaks = np.zeros(found.mixing.shape[1])
    for values in _about_last(runs):
        peaks = larger(peaks, found.mixing.T @ values)
    signs = np.where(peaks < 0, -1.0, 1.0)
    return Components(
        tuple(scores * signs for scores in found.scores),
        found.shares,
        found.null,
        found.variance,
        found.center,
        found.mixing * signs,
    )


def larger(peaks: Array, rows: Array) -> Array:
    """Of each row the element of the largest magnitude, if it exceeds what was found before."""
    best = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(np.abs(best) > np.abs(peaks), best, peaks)

"""Principal components of pure random walks: the shares to read those of a trajectory against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
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
    first = np.cumsum([0, *counts[:-1]])
    owner = np.repeat(np.arange(len(counts)), counts)
    expected = gram[np.ix_(first, first)][np.ix_(owner, owner)].astype(np.float64)
    for start, count in zip(first, counts, strict=True):
        own = slice(start, start + count)
        expected[own, own] += _squared_step(gram[own, own]) * np.minimum.outer(np.arange(count), np.arange(count))
    eigenvalues = np.linalg.eigvalsh(centred(expected, counts, center))[::-1]
    known = np.maximum(eigenvalues[: len(owner) - 1], 0.0)
    total = known.sum()
    shares: Array = known / total if total > 0 else known
    return shares


def centred(gram: Array, counts: Sequence[int], center: str) -> Array:
    """The inner products about the centre, of those about any point."""
    if center == "mean":
        rows = gram - gram.mean(axis=0)
        mean: Array = rows - rows.mean(axis=1, keepdims=True)
        return mean
    at = 0 if center == "initial" else counts[0] - 1
    rows = gram - gram[at]
    about: Array = rows - rows[:, at : at + 1]
    return about


def _squared_step(gram: Array) -> float:
    """The mean squared length of the steps of a run."""
    if len(gram) < 2:
        return 0.0
    squares = np.diag(gram)
    return float((squares[1:] + squares[:-1] - 2 * np.diag(gram, 1)).mean())

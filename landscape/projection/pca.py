"""PCA of a trajectory through its Gram matrix, and what PCA says of a pure random walk."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.params import HasWeights, Tensors
from landscape.projection.plane import Globs, Plane
from landscape.projection.projecting import SnapshotMatrix

Array = NDArray[np.float64]

# Below this share of the largest eigenvalue a component is rounding of float32 weights, not motion.
_RANK_TOLERANCE = 1e-12


class Snapshots(SnapshotMatrix, Protocol):
    """A trajectory whose snapshots can be taken out."""

    def __getitem__(self, index: int) -> HasWeights: ...
    def select(self, parameters: Globs) -> Self: ...  # noqa: D102


def pca_plane(run: Snapshots, *, dims: int = 2, center: str = "mean", parameters: Globs | None = None) -> Plane:
    """The plane of largest motion of a trajectory, through its last snapshot.

    The directions are the leading principal components of the snapshots (Li et al. 2018, section 7): unit
    vectors over the trained parameters, found from the T x T Gram matrix in float64, so only blocks of
    columns are in memory. Buffers stay at those of the last snapshot.

    Args:
        run: A trajectory of at least dims + 1 snapshots.
        dims: The number of components.
        center: ``"mean"`` subtracts the mean of the snapshots, as PCA does; ``"last"`` measures the
            motion from the last snapshot.
        parameters: Globs that choose which parameters move and count; see `Layout.select`.

    Returns:
        A plane with its origin at the last snapshot, in Euclidean units. ``explained_variance_ratio`` has
        the share of each component, and ``meta["null_ratio"]`` what a random walk of as many snapshots
        would show (`random_walk_null`).

    Raises:
        LandscapeError: If the snapshots do not span so many directions.
    """
    if center not in ("mean", "last"):
        raise LandscapeError(f"unknown value '{center}'", where="center", expected="mean or last")
    run = run if parameters is None else run.select(parameters)
    count = len(run)
    centering = np.eye(count) - (1 / count if center == "mean" else 0.0)
    gram = centering @ _gram(run) @ centering
    if not np.isfinite(gram).all():
        raise LandscapeError("the trajectory has weights that are not finite", mend="choose earlier snapshots")
    eigenvalues, vectors = np.linalg.eigh(gram)
    order = np.argsort(eigenvalues)[::-1]
    eigenvalues, vectors = np.maximum(eigenvalues[order], 0.0), vectors[:, order]
    rank = int((eigenvalues > _RANK_TOLERANCE * max(eigenvalues[0], 1e-300)).sum())
    if rank < dims:
        raise LandscapeError(
            f"the trajectory spans {rank} direction{'s' if rank != 1 else ''}",
            got=f"{count} snapshots",
            expected=f"at least {dims + 1} different ones",
            mend="record more snapshots with --every",
        )
    mixing = centering @ vectors[:, :dims] / np.sqrt(eigenvalues[:dims])
    ratio = eigenvalues / eigenvalues.sum()
    null = random_walk_null(count, dims, center)
    meta: dict[str, Any] = {
        "explained_variance_ratio": ratio[:dims].tolist(),
        "null_ratio": null.tolist(),
        "center": center,
        "axes": [{"label": f"PC {i + 1}", "unit": "weight distance"} for i in range(dims)],
        "equal_aspect": True,
    }
    return Plane(run[-1], _components(run, mixing), kind="pca", meta=meta)


def _relative_to_last(values: NDArray[Any]) -> Array:
    exact = values.astype(np.float64)
    return exact - exact[-1]


def _gram(run: SnapshotMatrix) -> Array:
    total = np.zeros((len(run), len(run)))
    for block in run.column_blocks():
        moved = _relative_to_last(block.values)
        total += moved @ moved.T
    return total


def _components(run: SnapshotMatrix, mixing: Array) -> list[Tensors]:
    """Rows of mixing^T @ snapshots, as dictionaries; the largest coefficient of each is positive."""
    infos = {info.name: info for info in run.layout}
    parts: dict[str, list[Array]] = {}
    for block in run.column_blocks():
        parts.setdefault(block.name, []).append(mixing.T @ _relative_to_last(block.values))
    joined = {name: np.concatenate(pieces, axis=1) for name, pieces in parts.items()}
    directions = []
    for k in range(mixing.shape[1]):
        peak = max((part[k] for part in joined.values()), key=lambda row: float(np.abs(row).max()))
        sign = np.sign(peak[np.abs(peak).argmax()])
        directions.append(
            {
                name: torch.from_numpy(sign * part[k])
                .reshape(infos[name].shape)
                .to(getattr(torch, infos[name].dtype))
                for name, part in joined.items()
            }
        )
    return directions


def random_walk_null(snapshots: int, components: int, center: str = "mean") -> Array:
    """The shares of variance that PCA gives to a random walk in many dimensions.

    A random walk of T equal independent steps has E[Gram] proportional to min(i, j). Centred on the mean
    its eigenvalues are 1 / (4 sin^2(pi k / 2T)), k = 1 ... T - 1, whose shares tend to 6 / (pi k)^2:
    61 % and 15 %. Centred on the last snapshot they are 1 / (4 sin^2((2k - 1) pi / (4T - 2))), whose
    shares tend to 2 / ((k - 1/2) pi)^2: 81 % and 9 %.

    Args:
        snapshots: T.
        components: How many shares to return.
        center: ``"mean"`` or ``"last"``.

    Returns:
        Shape (components,), each a share of 1.

    Example:
        >>> random_walk_null(100_000, 2).round(3).tolist()
        [0.608, 0.152]
    """
    k = np.arange(1, snapshots)
    angles = np.pi * k / (2 * snapshots) if center == "mean" else np.pi * (2 * k - 1) / (4 * snapshots - 2)
    eigenvalues = 1 / (4 * np.sin(angles) ** 2)
    shares: Array = eigenvalues / eigenvalues.sum()
    return shares[:components]

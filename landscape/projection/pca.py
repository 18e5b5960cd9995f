"""The plane of largest motion of one or several trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.params import Tensors, from_real
from landscape.projection.components import as_runs, decompose
from landscape.projection.nulls import require_center
from landscape.projection.plane import Plane
from landscape.projection.side_by_side import stacked
from landscape.projection.walks import Globs, Snapshots

Array = NDArray[np.float64]


def pca_plane(
    runs: Snapshots | Sequence[Snapshots], *, dims: int = 2, center: str = "mean", parameters: Globs | None = None
) -> Plane:
    """The plane of largest motion of a trajectory, through its last snapshot; of several, one for all of them.

    The directions are the leading principal components of the snapshots (Li et al. 2018, section 7): unit
    vectors over the trained parameters, found as `principal_components` finds them. Buffers stay at those of the
    last snapshot.

    Args:
        runs: A trajectory of at least dims + 1 snapshots, or several of the same model.
        dims: The number of components.
        center: ``"mean"`` subtracts the mean of all snapshots, as PCA does; ``"last"`` and ``"initial"`` measure
            the motion from the last or the first snapshot (of the first run).
        parameters: Globs that choose which parameters move and count; see `Layout.select`.

    Returns:
        A plane with its origin at the last snapshot (of the first run), in Euclidean units.
        ``explained_variance_ratio`` has the share of each component, and ``meta["null_ratio"]`` what random walks
        of as many snapshots would show (`random_walk_null`, of several runs `random_walks_null`).

    Raises:
        LandscapeError: If the snapshots do not span so many directions, or the runs are of different models.

    Example:
        >>> plane = pca_plane([ls.open("a.h5"), ls.open("b.h5")], center="last")  # doctest: +SKIP
    """
    require_center(center)
    chosen = as_runs(runs, parameters)
    count = sum(len(run) for run in chosen)
    found = decompose(chosen, dims, center) if count > 1 else None
    rank = 0 if found is None else len(found.shares)
    if found is None or rank < dims:
        raise LandscapeError(
            f"the trajector{'y spans' if len(chosen) == 1 else 'ies span'} "
            f"{rank} direction{'s' if rank != 1 else ''}",
            got=f"{count} snapshots",
            expected=f"at least {dims + 1} different ones",
            mend="record more snapshots with --every",
        )
    meta: dict[str, Any] = {
        "explained_variance_ratio": found.shares[:dims].tolist(),
        "null_ratio": found.null[:dims].tolist(),
        "center": center,
        "axes": [{"label": f"PC {i + 1}", "unit": "weight distance"} for i in range(dims)],
        "equal_aspect": True,
        **({"runs": len(chosen)} if len(chosen) > 1 else {}),
    }
    return Plane(chosen[0][-1], _directions(chosen, found.mixing), kind="pca", meta=meta)


def _directions(runs: Sequence[Snapshots], mixing: Array) -> list[Tensors]:
    """Rows of mixing^T @ snapshots, as dictionaries; the largest coefficient of each is positive."""
    infos = {info.name: info for info in runs[0].layout}
    like = {name: torch.empty(0, dtype=getattr(torch, info.dtype)) for name, info in infos.items()}
    origin = len(runs[0]) - 1
    parts: dict[str, list[Array]] = {}
    for name, _, _, values in stacked(runs):
        parts.setdefault(name, []).append(mixing.T @ (values - values[origin]))
    joined = {name: np.concatenate(pieces, axis=1) for name, pieces in parts.items()}
    directions = []
    for k in range(mixing.shape[1]):
        peak = max((part[k] for part in joined.values()), key=lambda row: float(np.abs(row).max()))
        sign = np.sign(peak[np.abs(peak).argmax()])
        directions.append(
            {
                name: from_real(torch.from_numpy(sign * part[k]).reshape(infos[name].real_shape), like[name])
                for name, part in joined.items()
            }
        )
    return directions

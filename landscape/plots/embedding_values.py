"""Embeddings of the snapshots of runs, with their distances kept. No torch, unless snapshots are aligned."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.plots.source import Source
from landscape.projection.mds import mds, mds_by_layer
from landscape.projection.side_by_side import Representative
from landscape.trajectory import Trajectory
from landscape.values.embedding import Embedding

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.plots.embeddings import Embed

# What decides the distances; the other options decide what is made of them.
_OF_DISTANCES = ("layers", "per_layer", "branches", "align")


def embeddings_of(
    runs: Mapping[str, Trajectory],
    wanted: Embed,
    *,
    representative: Representative | None = None,
    save: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Embedding]:
    """Embed the snapshots of trajectories.

    Args:
        runs: Name -> trajectory of the same model.
        wanted: How.
        representative: Stands snapshots for others before they are compared, such as `aligned` ones.
        save: A file that the distances are kept in, and taken from.
        progress: Called with (numbers per snapshot read, in all).

    Returns:
        Name of a layer -> its embedding; ``"all layers"`` alone unless they are wanted layer by layer.

    Raises:
        LandscapeError: As `landscape.projection.mds.mds` does.
    """
    options: dict[str, Any] = {
        name: getattr(wanted, name)
        for name in ("dissimilarity", "method", "dims", "layers", "branches", "seed", "starts", "workers")
    }
    options |= {"representative": representative, "save": save, "progress": progress}
    if wanted.per_layer:
        return mds_by_layer(runs, **options)
    return {"all layers": mds(runs, **options)}


def aligned(objective: Objective, reference: Any) -> Representative:
    """Return a function that replaces snapshots, so that only what the network computes is compared.

    Every snapshot is replaced by the one of the same function whose units have norm 1, with its units in the
    order in which they fit those of a reference best.

    Args:
        objective: Its model and data say which symmetries there are.
        reference: The snapshot whose order of units is taken.

    Returns:
        A function of a snapshot, for `embeddings_of`.

    Raises:
        LandscapeError: If this version knows no symmetries.
    """
    from landscape import symmetry

    found = symmetry.symmetries_of(objective)
    first = found.canonical(reference)

    def represent(snapshot: Any) -> Any:
        return found.align(first, found.canonical(snapshot))

    represent.name = f"unit norm, aligned to {reference.digest}"  # type: ignore[attr-defined]
    return represent


def embedded(source: Source, wanted: Embed) -> dict[str, Embedding]:
    """Embed the snapshots of a source; of one file only once."""
    if len({(run.path, run.run_id) for run in source.runs.values()}) < len(source.runs):
        raise LandscapeError("a file is named twice", got=", ".join(source.names), mend="name each once")
    representative = aligned(source.objective(), source.first[-1]) if wanted.align else None
    return embeddings_of(
        source.runs,
        wanted,
        representative=representative,
        save=source.place_of("distances", {name: getattr(wanted, name) for name in _OF_DISTANCES}),
        progress=source.progress,
    )

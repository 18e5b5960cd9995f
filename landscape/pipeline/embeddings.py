"""What embedding is wanted, and from trajectories to it. No torch, unless snapshots are aligned."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError, did_you_mean
from landscape.projection.distances import DISSIMILARITIES
from landscape.projection.mds import METHODS, mds, mds_by_layer
from landscape.trajectory import Trajectory

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.projection.embedding import Embedding
    from landscape.projection.side_by_side import Representative

COLORS = ("run", "loss", "step")
VIEWS = ("map", "3d")
_SYMMETRY = "landscape.symmetry"


@dataclass(frozen=True)
class Embed:
    """What is to be embedded, and how it is shown.

    Attributes:
        dissimilarity: One of `DISSIMILARITIES`.
        method: ``"classical"`` or ``"metric"``.
        dims: 2 or 3 coordinates.
        layers: Globs that choose the parameters that count.
        per_layer: One embedding for each layer, and one for all of them.
        branches: Whether the branches in the files are embedded too.
        color: What colours tell: ``"run"``, ``"loss"`` or ``"step"``.
        view: ``"map"``, or ``"3d"`` for two coordinates with the loss as height.
        seed: Draws the random beginnings of the metric method.
        starts: How many beginnings it has, the classical embedding first.

    Raises:
        LandscapeError: Naming every option that is wrong.
    """

    dissimilarity: str = "euclidean"
    method: str = "classical"
    dims: int = 2
    layers: str = "*"
    per_layer: bool = False
    branches: bool = False
    color: str = "run"
    view: str = "map"
    seed: int = 0
    starts: int = 1

    def __post_init__(self) -> None:
        choices = {"dissimilarity": DISSIMILARITIES, "method": METHODS, "color": COLORS, "view": VIEWS}
        faults = [
            f"unknown {name} '{getattr(self, name)}', {did_you_mean(getattr(self, name), known)}"
            for name, known in choices.items()
            if getattr(self, name) not in known
        ]
        if self.dims not in (2, 3):
            faults.append(f"an embedding is drawn in 2 or 3 dims, got {self.dims}")
        if self.view == "3d" and self.dims == 3:
            faults.append("with view 3d the loss is the third axis: leave dims at 2")
        if self.seed < 0:
            faults.append(f"the seed must not be negative, got {self.seed}")
        if self.starts < 1:
            faults.append(f"starts must be at least 1, got {self.starts}")
        if faults:
            raise LandscapeError("; ".join(faults))


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
        for name in ("dissimilarity", "method", "dims", "layers", "branches", "seed", "starts")
    }
    options |= {"representative": representative, "save": save, "progress": progress}
    if wanted.per_layer:
        return mds_by_layer(runs, **options)
    return {"all layers": mds(runs, **options)}


def aligned(objective: Objective, reference: Any) -> Representative:
    """What stands for snapshots where only what the network computes is to be compared.

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
    require_symmetry()
    symmetry = importlib.import_module(_SYMMETRY)
    found = symmetry.symmetries_of(objective)
    first = found.canonical(reference)

    def represent(snapshot: Any) -> Any:
        return found.align(first, found.canonical(snapshot))

    represent.name = f"unit norm, aligned to {reference.digest}"  # type: ignore[attr-defined]
    return represent


def require_symmetry() -> None:
    """Check that this version knows symmetries.

    Raises:
        LandscapeError: If it does not.
    """
    if importlib.util.find_spec(_SYMMETRY) is None:
        raise LandscapeError(
            "distances after alignment need landscape.symmetry, which this version lacks",
            where="align",
            mend="leave it out, or pass a function of your own: mds(..., representative=)",
        )

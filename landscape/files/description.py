"""Contents of any file of this package, as plain values, and whether they are intact. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from landscape.files.cells import CELLS, describe_cells
from landscape.measures.table_store import MEASURES
from landscape.measures.table_summary import describe_table
from landscape.probes import table
from landscape.projection.distance_store import DISTANCES, describe_distances
from landscape.storage import kind_of, lacks_digests, steadily, verify_archive
from landscape.surface.directions import verify_directions
from landscape.surface.store import SURFACE
from landscape.surface.summary import describe_surface
from landscape.trajectory import summary
from landscape.trajectory.overview import verify_trajectory
from landscape.values.archive import describe_archive, holds_values

_DESCRIBERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    SURFACE.format: describe_surface,
    MEASURES.format: describe_table,
    DISTANCES.format: describe_distances,
    CELLS.format: describe_cells,
    table.FORMAT: table.describe_table,
}


def describe_file(path: str | os.PathLike[str], *, verify: bool = False) -> dict[str, Any]:
    """Describe a file of this package, or a folder of results, as plain values.

    Args:
        path: The file or the folder.
        verify: Read all of it, and compare it with its digests.

    Returns:
        What the describer of its kind says, its ``format`` among it; ``digests`` (whether it carries some),
        ``note`` (what cannot be verified of it, or None); with `verify` also ``verified``: ``digests``, and how
        many ``snapshots``, ``arrays`` or ``files`` were compared.

    Raises:
        LandscapeError: If it is missing, damaged, foreign, or of a newer version.
    """
    path = Path(path)
    if path.is_dir() or holds_values(path):
        return _kept_by_recipes(path, verify)
    describe = _DESCRIBERS.get(kind_of(path), lambda path: summary(path).to_json())
    # Opened once, so that the description of a file that is being written is of one state.
    document = describe(path)
    note = lacks_digests(path)
    document |= {"digests": note is None, "note": note}
    if verify:
        document["verified"] = steadily(path, lambda: _verified(path, document))
    return document


def _verified(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Compare a whole file with its digests; describing one has compared all but weights and directions."""
    if document["format"] in _DESCRIBERS:
        if document["format"] == SURFACE.format:
            verify_directions(path)
        return {"digests": document["digests"]}
    return asdict(verify_trajectory(path))


def _kept_by_recipes(path: Path, verify: bool) -> dict[str, Any]:
    if not path.is_dir():
        document = {**describe_archive(path), "digests": True, "note": None}
        return document | ({"verified": {"digests": True, "arrays": verify_archive(path)}} if verify else {})
    from landscape.recipe.cache import describe_cache, is_cache, verify_cache

    if not is_cache(path):
        # It says what a folder is, and how checkpoints in one are read.
        kind_of(path)
    document = {**describe_cache(path), "digests": True, "note": None}
    return document | ({"verified": {"digests": True, "files": verify_cache(path)}} if verify else {})

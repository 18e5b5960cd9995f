"""Reading all of a trajectory file once, to see that it is what was written. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py

from landscape.storage import PathLike, damage, open_read
from landscape.trajectory.columns import read_rows
from landscape.trajectory.resume import state_arrays
from landscape.trajectory.schema import FORMAT, SCHEMA, Header, datasets_of, read_header


@dataclass(frozen=True)
class Verification:
    """What was compared, and found to be as it was written.

    Attributes:
        snapshots: How many, those of branches included.
        digests: Whether all of them carry digests; otherwise only the checksums of HDF5 were compared.
    """

    snapshots: int
    digests: bool


def verify_trajectory(path: PathLike) -> Verification:
    """Read every snapshot of a trajectory and of its branches, and the resume states.

    Args:
        path: The file.

    Returns:
        What was compared.

    Raises:
        LandscapeError: At the first thing that is damaged; it names the snapshot.

    Example:
        >>> verify_trajectory("run.h5").snapshots
        41
    """
    path = Path(path)
    snapshots, digests = 0, True
    with open_read(path, format=FORMAT, schema=SCHEMA) as file:
        for run, header in _runs(file, path, "/"):
            for group in sorted(datasets_of(header.places)):
                for row in range(len(header.steps)):
                    read_rows(run, header, group, range(row, row + 1))
            with damage(path):
                state_arrays(run)
            snapshots += len(header.steps)
            digests = digests and header.digests
    return Verification(snapshots, digests)


def _runs(file: h5py.File, path: Path, prefix: str) -> Iterator[tuple[h5py.Group, Header]]:
    header = read_header(file, path, prefix)
    yield file[prefix], header
    for branch in header.branches:
        yield from _runs(file, path, f"{prefix.rstrip('/')}/branches/{branch.name}")

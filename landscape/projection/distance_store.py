"""The file that distances are kept in, by the content of the runs that they are of. No torch."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import LandscapeError
from landscape.projection.side_by_side import Representative
from landscape.projection.walks import Snapshots
from landscape.storage import (
    PathLike,
    create,
    damage,
    open_read,
    read_attr,
    read_json_attr,
    require_seal,
    require_writable,
    seal,
    write_attrs,
    write_json_attr,
)

FORMAT = "landscape/distances"
SCHEMA = 2
# Raised when the numbers change although the runs do not.
_VERSION = 1
# Seconds of reading that a killed process may lose.
_PATIENCE = 20.0

_Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """What a file holds.

    Attributes:
        finished: Name of a group -> the fields of its separations; empty while they are being computed.
        sums: Name of a group -> the sums so far.
        done: The parameters that are in the sums.
    """

    finished: Mapping[str, _Numbers]
    sums: Mapping[str, _Numbers]
    done: tuple[str, ...]


class Store:
    """Sums and separations of certain snapshots, in a file.

    Args:
        path: The file.
        identity: The digest of what decides the numbers.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self._written = time.monotonic()

    @classmethod
    def open(
        cls,
        path: PathLike,
        runs: Sequence[Snapshots],
        groups: Mapping[str, Sequence[str]],
        representative: Representative | None,
    ) -> Store:
        """The store for these snapshots and groups; nothing is written yet.

        Raises:
            LandscapeError: If the file cannot be written, or what stands for snapshots has no name.
        """
        require_writable(path, (".h5", ".hdf5"))
        return cls(Path(path), identity_of(runs, groups, representative))

    def read(self) -> Kept | None:
        """What the file holds of these snapshots; None if there is no file yet.

        Raises:
            LandscapeError: If the file is damaged, foreign, or of other snapshots, parameters or versions.
        """
        if not self.path.exists():
            return None
        with open_read(self.path, format=FORMAT, schema=SCHEMA) as file, damage(self.path):
            require_seal(file)
            identity, done = read_attr(file, "identity"), read_json_attr(file, "done", [])
            finished, sums = (_groups(file, room) for room in ("separations", "sums"))
        if identity != self.identity:
            raise LandscapeError(
                "the file holds distances of other snapshots or layers",
                where=self.path,
                mend="give another name, or delete it",
            )
        return Kept(finished, sums, tuple(done))

    def note(self, sums: Mapping[str, _Numbers], done: Sequence[str]) -> None:
        """Write the sums so far, if it is time to."""
        if time.monotonic() - self._written >= _PATIENCE:
            self._write("sums", sums, done)
            self._written = time.monotonic()

    def finish(self, separations: Mapping[str, _Numbers]) -> None:
        """Write the result."""
        self._write("separations", separations, ())

    def _write(self, room: str, groups: Mapping[str, _Numbers], done: Sequence[str]) -> None:
        with create(self.path) as file:
            write_attrs(file, {"format": FORMAT, "schema": np.int64(SCHEMA), "identity": self.identity})
            write_json_attr(file, "done", list(done))
            # Names of layers may hold slashes: they are attributes, not names of groups.
            write_json_attr(file, "groups", list(groups))
            for place, numbers in enumerate(groups.values()):
                for name, values in numbers.items():
                    file.create_dataset(f"{room}/{place}/{name}", data=np.asarray(values, dtype=np.float64))
            seal(file)


def _groups(file: h5py.File, room: str) -> dict[str, dict[str, Any]]:
    if room not in file:
        return {}
    names = read_json_attr(file, "groups", [])
    return {
        name: {
            key: dataset[()] if dataset.ndim else float(dataset[()])
            for key, dataset in file[f"{room}/{place}"].items()
        }
        for place, name in enumerate(names)
    }


def identity_of(
    runs: Sequence[Snapshots], groups: Mapping[str, Sequence[str]], representative: Representative | None
) -> str:
    """The digest of everything that decides the numbers.

    A trajectory only ever grows, and has an identifier of its own: with the steps of its snapshots, that
    tells what is in it.

    Args:
        runs: Trajectories.
        groups: Name -> parameters.
        representative: What stands for snapshots; its attribute ``name`` says which it is.

    Returns:
        64 hexadecimal digits.

    Raises:
        LandscapeError: If a run has no identifier, or `representative` no name.
    """
    entries = []
    for run in runs:
        if not getattr(run, "run_id", None):
            raise LandscapeError("distances can be kept of trajectories only", got=type(run).__name__)
        entries.append([getattr(run, "run_id"), np.asarray(getattr(run, "steps")).tolist()])  # noqa: B009
    name = None if representative is None else getattr(representative, "name", None)
    if representative is not None and not name:
        raise LandscapeError(
            "what stands for snapshots has no name to know it by",
            where="representative",
            mend="give it an attribute `name` that changes with what it does, or keep no distances",
        )
    tensors = [asdict(info) for info in runs[0].layout.moving()]
    told = [_VERSION, entries, {key: list(members) for key, members in groups.items()}, name, tensors]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

"""The file that distances are kept in, by the content of the runs that they are of. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import h5py
import numpy as np

from landscape.errors import LandscapeError
from landscape.files.checked import mapping
from landscape.files.result import Held, Kind, PathLike, ResultFile, load
from landscape.projection.side_by_side import Representative
from landscape.projection.walks import Snapshots
from landscape.storage import read_attr, read_json_attr, require_writable

# Raised when the numbers change although the runs do not.
_VERSION = 1

_Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """Contents of a file of distances.

    Attributes:
        finished: Name of a group -> the fields of its separations; empty while they are being computed.
        sums: Name of a group -> the sums so far.
        done: The parameters that are in the sums.
    """

    finished: Mapping[str, _Numbers] = field(default_factory=dict)
    sums: Mapping[str, _Numbers] = field(default_factory=dict)
    done: tuple[str, ...] = ()


def _read(file: h5py.File) -> Kept:
    finished, sums = (_groups(file, room) for room in ("separations", "sums"))
    return Kept(finished, sums, tuple(read_json_attr(file, "done", [])))


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


def _write(file: h5py.File, value: Kept) -> None:
    for room, groups in (("separations", value.finished), ("sums", value.sums)):
        for place, numbers in enumerate(groups.values()):
            for name, values in numbers.items():
                file.create_dataset(f"{room}/{place}/{name}", data=np.asarray(values, dtype=np.float64))


def _identity(file: h5py.File) -> dict[str, Any]:
    text = read_attr(file, "identity")
    return mapping(file, "identity") if text.startswith("{") else {"digest": text}


DISTANCES: Kind[Kept] = Kind(
    format="landscape/distances",
    noun="the file of distances",
    single="set of distances",
    other="distances of other snapshots or layers; they differ in",
    read=_read,
    write=_write,
    complete=lambda kept: bool(kept.finished),
    # Names of layers may hold slashes: they are no names of datasets.
    attributes=lambda kept: {"done": list(kept.done), "groups": list(kept.finished or kept.sums)},
    identity=_identity,
    # Old files do not say.
    closed=lambda kept: bool(kept.finished),
)


def describe_distances(path: PathLike) -> dict[str, Any]:
    """Describe a file of distances, as plain values for `landscape inspect`.

    Args:
        path: The file.

    Returns:
        format, schema, snapshots, layers (names), representative, complete, done (parameters that are in the sums
        of an unfinished one).

    Raises:
        LandscapeError: If it cannot be read, or is damaged.
    """
    held = load(DISTANCES, path)
    groups = held.value.finished or held.value.sums
    counts = {len(values) for numbers in groups.values() for values in numbers.values() if np.ndim(values)}
    return {
        "format": DISTANCES.format,
        "schema": held.schema,
        "snapshots": max(counts, default=0),
        "layers": list(groups),
        "representative": held.identity.get("representative", "none"),
        "complete": held.complete,
        "done": list(held.value.done),
    }


def _known_by(digest: str) -> Kind[Kept]:
    """Distances that old files know by a digest."""

    def differing(held: Held[Kept], identity: Mapping[str, Any], blank: Kept) -> list[str]:
        return [] if held.identity == {"digest": digest} else DISTANCES.differing(held, identity, blank)

    return replace(DISTANCES, differing=differing)


def open_distances(
    path: PathLike | None,
    runs: Sequence[Snapshots],
    groups: Mapping[str, Sequence[str]],
    representative: Representative | None,
) -> ResultFile[Kept]:
    """Begin a file of distances between snapshots, or go on with it; None keeps nothing.

    Raises:
        LandscapeError: If the file cannot be written, is damaged, or of other snapshots, parameters or versions,
            or what stands for snapshots has no name.
    """
    if path is None:
        return ResultFile(DISTANCES, Kept(), None, {})
    require_writable(path, (".h5", ".hdf5"))
    identity, digest = identity_of(runs, groups, representative)
    return ResultFile.open(_known_by(digest), path, Kept(), identity)


def identity_of(
    runs: Sequence[Snapshots], groups: Mapping[str, Sequence[str]], representative: Representative | None
) -> tuple[dict[str, Any], str]:
    """Everything that decides the numbers, and the digest of it that old files have.

    A trajectory only ever grows, and has an identifier of its own: with the steps of its snapshots, that
    tells what is in it.

    Args:
        runs: Trajectories.
        groups: Name -> parameters.
        representative: What stands for snapshots; its attribute ``name`` says which it is.

    Returns:
        Digests of the snapshots and of the layers by name, and 64 hexadecimal digits of all together.

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
    layers = {key: list(members) for key, members in groups.items()}
    identity = {
        "version": _VERSION,
        "snapshots": _digest(entries),
        "layers": _digest([layers, tensors]),
        "representative": name or "none",
    }
    return identity, _digest([_VERSION, entries, layers, name, tensors])


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

"""Summary of a trajectory, for people and ``landscape inspect``, and its verification. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.layout import Layout, TensorInfo
from landscape.storage import PathLike, damage, open_read, parts_of, steadily
from landscape.trajectory.columns import read_rows
from landscape.trajectory.parts import load_run
from landscape.trajectory.resume import state_arrays
from landscape.trajectory.schema import FORMAT, SCHEMA, Header, datasets_of, read_header
from landscape.trajectory.steps import datasets_of_steps, row_bytes
from landscape.values.result import Result


@dataclass(frozen=True)
class Verification:
    """Outcome of a verification: what was compared, and is intact.

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
    parts = [verify_trajectory(part) for part in parts_of(path)]
    if parts:
        return Verification(len(load_run(path).steps), all(part.digests for part in parts))
    snapshots, digests = 0, True
    with open_read(path, format=FORMAT, schema=SCHEMA) as file:
        for run, header in _runs(file, path, "/"):
            for group in sorted(datasets_of(header.places)):
                for row in range(len(header.steps)):
                    read_rows(run, header, group, range(row, row + 1))
            for group in datasets_of_steps(header.layout, header.optimizer) if header.optimizer else ():
                for row in np.flatnonzero(header.settings[:, 0] == header.steps).tolist():
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


@dataclass(frozen=True)
class Summary(Result):
    """Summary of a trajectory, for people and for ``landscape inspect --json``.

    Attributes:
        header: Everything but the weights.
    """

    header: Header

    def to_json(self) -> dict[str, Any]:
        """Plain values; a number that is not finite is None."""
        header = self.header
        return {
            "format": FORMAT,
            "schema": header.schema,
            "problem": header.problem,
            "problem_args": header.problem_args,
            "snapshots": len(header.steps),
            "parameters": header.layout.parameter_count,
            "steps": header.steps.tolist(),
            "metrics": {name: _extremes(values) for name, values in header.metrics.items()},
            "tensors": [_tensor(info) for info in header.layout],
            "branches": [asdict(branch) for branch in header.branches],
            "finished": header.finished,
            "seed": header.seed,
            "run_id": header.run_id,
            "created_utc": header.created_utc,
            "training": header.training,
            "versions": dict(header.versions),
            "epochs": [_finite(value) for value in header.epochs],
            "counts": _counts(header.layout),
            "recording": header.recording,
            "storage": _storage(header),
            **({"optimizer": _optimizer(header)} if header.optimizer else {}),
        }


def _optimizer(header: Header) -> dict[str, Any]:
    """Facts about the steps that are recorded, and their optimizer."""
    about = header.optimizer
    return {
        **{name: about[name] for name in ("kind", "name", "record", "dtype")},
        "steps": int((header.settings[:, 0] == header.steps).sum()),
        "bytes": row_bytes(header.layout, about),
    }


def _counts(layout: Layout) -> dict[str, int]:
    moving, parameters = layout.moving(), layout.stored("parameter")
    return {
        "moving": len(moving),
        "moving_numbers": sum(info.numel for info in moving),
        "frozen": len(parameters) - len(moving),
        "tied": sum(info.tied_to is not None for info in layout),
        "buffers": len(layout.stored("buffer")),
    }


def _storage(header: Header) -> dict[str, Any]:
    """The element types that parameters have in the file, and what rounding to them changed."""
    parameters = header.layout.stored("parameter")
    types = {info.name: header.places[info.name].group.split("/")[-1] for info in parameters}
    finite = header.rounding[np.isfinite(header.rounding)]
    return {
        "types": sorted(set(types.values())),
        "rounded": any(types[info.name] != info.dtype for info in parameters),
        "rounding": float(finite.max()) if len(finite) else 0.0,
    }


def _tensor(info: TensorInfo) -> dict[str, Any]:
    keys = ("name", "kind", "shape", "dtype", "tied_to", "trainable")
    return {key: list(info.shape) if key == "shape" else getattr(info, key) for key in keys}


def _extremes(values: NDArray[np.float64]) -> dict[str, float | None]:
    if not len(values):
        return {"first": None, "best": None, "last": None}
    finite = values[np.isfinite(values)]
    best = float(finite.min()) if len(finite) else None
    return {"first": _finite(values[0]), "best": best, "last": _finite(values[-1])}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def summary(path: PathLike) -> Summary:
    """Summarise a trajectory file.

    Args:
        path: The file.

    Returns:
        Its summary.

    Raises:
        LandscapeError: If it cannot be read.

    Example:
        >>> summary("run.h5").to_json()["snapshots"]
        41
    """
    return Summary(steadily(path, lambda: load_run(path)))

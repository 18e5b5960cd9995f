"""Trajectories as matrices of weights: read in blocks of columns, one alone or several side by side. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout

Globs: TypeAlias = str | Sequence[str]

# What may be held while several runs are read: all blocks together, and the numbers of one stretch of them.
_BYTES = 2**28
_NUMBERS = 2**25


class ColumnBlock(Protocol):
    """A range of the elements of one parameter, for all snapshots at once.

    ``values`` has shape (T, stop - start): elements start to stop of the flattened parameter ``name``.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def stop(self) -> int: ...  # noqa: D102
    @property
    def values(self) -> NDArray[Any]: ...  # noqa: D102


class SnapshotMatrix(Protocol):
    """The weights of a trajectory as a (T, P) matrix that is read in blocks of columns."""

    @property
    def layout(self) -> Layout: ...  # noqa: D102
    def __len__(self) -> int: ...
    def column_blocks(self, max_bytes: int = ...) -> Iterator[ColumnBlock]: ...  # noqa: D102


class Snapshots(SnapshotMatrix, Protocol):
    """A trajectory whose snapshots can be taken out, and whose parameters can be chosen."""

    def __getitem__(self, index: int) -> Any: ...
    def select(self, parameters: Globs) -> Self: ...  # noqa: D102


def stacked(runs: Sequence[SnapshotMatrix]) -> Iterator[tuple[str, int, int, NDArray[np.float64]]]:
    """The snapshots of several runs of one model as one matrix, some columns at a time.

    Every run is read in the blocks that suit it; they are cut where the block of any run ends.

    Args:
        runs: Trajectories of the same parameters.

    Yields:
        Name of a parameter, first element and one behind the last, and shape (snapshots of all runs, elements).

    Raises:
        LandscapeError: If the runs are of different models, or store their parameters in another order.
    """
    require_same_parameters(runs)
    rows = max(1, sum(len(run) for run in runs))
    readers = [run.column_blocks(_BYTES // len(runs)) for run in runs]
    held = [next(reader, None) for reader in readers]
    place: tuple[str, int] = ("", 0)
    while any(block is not None for block in held):
        found = [block for block in held if block is not None]
        name = found[0].name
        start = place[1] if place[0] == name else 0
        if len(found) < len(held) or any(block.name != name or block.start > start for block in found):
            raise LandscapeError(
                "the runs store their parameters in another order", got=f"a difference at '{name}'"
            )
        stop = min(block.stop for block in found)
        for low in range(start, stop, max(1, _NUMBERS // rows)):
            high = min(stop, low + max(1, _NUMBERS // rows))
            cut = [block.values[:, low - block.start : high - block.start] for block in found]
            yield name, low, high, np.concatenate(cut, dtype=np.float64)
        place = (name, stop)
        held = [
            next(reader, None) if block.stop == stop else block
            for block, reader in zip(found, readers, strict=True)
        ]


def require_same_parameters(runs: Sequence[SnapshotMatrix]) -> None:
    """Check that runs are of one model, and that the same parameters of it move.

    Raises:
        LandscapeError: Naming the first parameter that differs, and both shapes.
    """
    if not runs:
        raise LandscapeError("at least one run is needed")
    first = {info.name: info.shape for info in runs[0].layout.moving()}
    for place, run in enumerate(runs[1:], 2):
        own = {info.name: info.shape for info in run.layout.moving()}
        differing = [name for name in (*first, *own) if first.get(name) != own.get(name)]
        if differing:
            name = differing[0]
            raise LandscapeError(
                f"tensor '{name}' is not the same in the first run and in run {place}",
                got=own.get(name, "none"),
                expected=first.get(name, "none"),
                mend="take runs of one model",
            )

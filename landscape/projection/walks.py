"""Trajectories as matrices of weights that are read in blocks of columns. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self, TypeAlias

from numpy.typing import NDArray

from landscape.layout import Layout

Globs: TypeAlias = str | Sequence[str]


class ColumnBlock(Protocol):
    """A range of the elements of one parameter, for all snapshots at once.

    ``values`` has shape (T, stop - start): numbers start to stop of the flattened parameter ``name``, of which a
    complex element is two.
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

"""Reading several trajectories of one model together, a few columns at a time."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo

Representative = Callable[[Any], Mapping[str, Any]]
"""A snapshot -> the weights to be compared in its place, parameter name -> tensor or array."""


class Block(Protocol):
    """Some elements of one parameter in all snapshots; `values` has a row for each."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def stop(self) -> int: ...  # noqa: D102
    @property
    def values(self) -> NDArray[Any]: ...  # noqa: D102


class Rows(Protocol):
    """The snapshots of a run as the rows of a matrix that is read in blocks of columns, as `Trajectory` is."""

    @property
    def layout(self) -> Layout: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...
    def column_blocks(self, max_bytes: int = ...) -> Iterator[Block]: ...  # noqa: D102
    def select(self, parameters: str | Sequence[str]) -> Self: ...  # noqa: D102


@dataclass(frozen=True)
class Stretch:
    """A stretch of one tensor in the snapshots of all runs.

    Attributes:
        name: The tensor.
        start: The first element of the flattened tensor.
        stop: One behind the last element.
        parts: One array per run, shape (T of the run, stop - start).
    """

    name: str
    start: int
    stop: int
    parts: list[NDArray[Any]]


def require_same_model(runs: Sequence[Rows], names: Sequence[str]) -> None:
    """Check that runs can be compared element by element.

    Args:
        runs: The runs.
        names: What each is called.

    Raises:
        LandscapeError: Naming the first tensor in which a run differs from the first run.
    """
    first = _shapes(runs[0])
    for run, name in zip(runs[1:], names[1:], strict=True):
        own = _shapes(run)
        for tensor in (*first, *own):
            if first.get(tensor) != own.get(tensor):
                raise LandscapeError(
                    f"tensor '{tensor}' is not the same in '{name}' and in '{names[0]}'",
                    got=own.get(tensor, "none"),
                    expected=first.get(tensor, "none"),
                    mend="embed runs of one model together, or choose layers that they share",
                )


def _shapes(run: Rows) -> dict[str, tuple[int, ...]]:
    return {info.name: info.shape for info in run.layout.moving()}


def exactly(names: Sequence[str]) -> list[str]:
    """Globs that match these names and no others."""
    return [f".{glob.escape(name)}" for name in names]


def stretches(runs: Sequence[Rows], max_bytes: int) -> Iterator[Stretch]:
    """Everything that training moves, in stretches that are the same in all runs.

    Each run is read once, in the order of its file; runs that are stored differently are read tensor by tensor.

    Args:
        runs: Trajectories of one model.
        max_bytes: The memory that the values may take, over all runs.

    Yields:
        Disjoint stretches that cover every tensor. Their values share memory: use them before the next.
    """
    places = [getattr(getattr(run, "header", None), "places", None) for run in runs]
    if all(place == places[0] for place in places):
        yield from _together(runs, max_bytes)
        return
    for info in runs[0].layout.moving():
        yield from _together([run.select(exactly([info.name])) for run in runs], max_bytes)


def _together(runs: Sequence[Rows], max_bytes: int) -> Iterator[Stretch]:
    """Blocks of all runs, cut wherever one of them ends."""
    total = sum(map(len, runs))
    streams = [run.column_blocks(max(1, max_bytes * len(run) // total)) for run in runs]
    held: list[Block | None] = [None] * len(runs)
    at = 0
    while True:
        for i, stream in enumerate(streams):
            if held[i] is None:
                held[i] = next(stream, None)
        blocks = [block for block in held if block is not None]
        if not blocks:
            return
        start, stop = max(at, blocks[0].start), min(block.stop for block in blocks)
        yield Stretch(
            blocks[0].name,
            start,
            stop,
            [block.values[:, start - block.start : stop - block.start] for block in blocks],
        )
        del blocks
        held = [None if block is None or block.stop == stop else block for block in held]
        at = stop if any(block is not None for block in held) else 0


@contextmanager
def represented(runs: Sequence[Rows], representative: Representative | None) -> Iterator[Sequence[Rows]]:
    """Runs of which every snapshot is replaced by another one of the same layout, if that is wanted.

    The replacements are kept in temporary files, in float64: one snapshot at a time is in memory.

    Args:
        runs: The runs.
        representative: What stands for a snapshot; None leaves the runs as they are.

    Yields:
        The runs to be compared.

    Raises:
        LandscapeError: If a replacement lacks a tensor or has one of another shape.
    """
    if representative is None:
        yield runs
        return
    with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
        yield [_Replaced.of(run, representative, f"{folder}/{n}") for n, run in enumerate(runs)]


@dataclass(frozen=True)
class _Replaced:
    """A run whose rows lie in a file of float64, the moving tensors side by side."""

    run: Rows
    offsets: Mapping[str, int]
    rows: NDArray[np.float64]

    @classmethod
    def of(cls, run: Rows, representative: Representative, path: str) -> _Replaced:
        infos = run.layout.moving()
        ends = np.cumsum([info.numel for info in infos])
        offsets = {info.name: int(end) - info.numel for info, end in zip(infos, ends, strict=True)}
        rows = np.memmap(path, dtype=np.float64, mode="w+", shape=(len(run), int(ends[-1])))
        for index in range(len(run)):
            weights = representative(run[index])
            for info in infos:
                offset = offsets[info.name]
                rows[index, offset : offset + info.numel] = _numbers(weights, info)
        return cls(run, offsets, rows)

    @property
    def layout(self) -> Layout:
        return self.run.layout

    def __len__(self) -> int:
        return len(self.run)

    def __getitem__(self, index: int) -> Any:
        return self.run[index]

    def select(self, parameters: str | Sequence[str]) -> _Replaced:
        return _Replaced(self.run.select(parameters), self.offsets, self.rows)

    def column_blocks(self, max_bytes: int = 2**28) -> Iterator[_Piece]:
        width = max(1, max_bytes // (8 * len(self)))
        for info in self.layout.moving():
            for start in range(0, info.numel, width):
                stop = min(start + width, info.numel)
                offset = self.offsets[info.name]
                yield _Piece(info.name, start, stop, np.array(self.rows[:, offset + start : offset + stop]))


@dataclass(frozen=True)
class _Piece:
    name: str
    start: int
    stop: int
    values: NDArray[np.float64]


def _numbers(weights: Mapping[str, Any], info: TensorInfo) -> NDArray[np.float64]:
    if info.name not in weights:
        raise LandscapeError(f"tensor '{info.name}' is missing", where="representative")
    value = weights[info.name]
    # NumPy knows no bfloat16: tensors are widened by themselves.
    array = np.asarray(value.detach().double().cpu().numpy() if hasattr(value, "detach") else value, dtype=float)
    if array.shape != info.shape:
        raise LandscapeError(
            f"tensor '{info.name}' has another shape", where="representative", got=array.shape, expected=info.shape
        )
    return array.ravel()

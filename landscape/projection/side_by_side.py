"""Reading several trajectories of one model together, a few columns at a time."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.projection.walks import ColumnBlock, SnapshotMatrix, Snapshots

Representative = Callable[[Any], Mapping[str, Any]]
"""A snapshot -> the weights to be compared in its place, parameter name -> tensor or array."""


# What may be held while runs are stacked: bytes of all blocks together, and the numbers of one stretch of them,
# which fit into the caches of a core.
_BYTES = 2**28
_NUMBERS = 2**20
# Types whose numbers take eight bytes; all others are read as float32.
_WIDE = ("float64", "complex128")


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


def require_same_model(runs: Sequence[SnapshotMatrix], names: Sequence[str] | None = None) -> None:
    """Check that runs can be compared element by element.

    Args:
        runs: The runs.
        names: What each is called; None counts them.

    Raises:
        LandscapeError: Naming the first tensor in which a run differs from the first run, and both shapes.
    """
    if not runs:
        raise LandscapeError("at least one run is needed")
    first = _shapes(runs[0])
    for place, run in enumerate(runs[1:], 1):
        own = _shapes(run)
        for tensor in (*first, *own):
            if first.get(tensor) != own.get(tensor):
                counted = f"the first run and in run {place + 1}"
                where = counted if names is None else f"'{names[place]}' and in '{names[0]}'"
                raise LandscapeError(
                    f"tensor '{tensor}' is not the same in {where}",
                    got=own.get(tensor, "none"),
                    expected=first.get(tensor, "none"),
                    mend="embed runs of one model together, or choose layers that they share"
                    if names is not None
                    else "take runs of one model",
                )


def _shapes(run: SnapshotMatrix) -> dict[str, tuple[int, ...]]:
    return {info.name: info.real_shape for info in run.layout.moving()}


def exactly(names: Sequence[str]) -> list[str]:
    """Globs that match these names and no others."""
    return [f".{glob.escape(name)}" for name in names]


def stretches(runs: Sequence[Snapshots], max_bytes: int) -> Iterator[Stretch]:
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


def _together(runs: Sequence[Snapshots], max_bytes: int) -> Iterator[Stretch]:
    """Blocks of all runs, cut wherever one of them ends."""
    total = sum(map(len, runs))
    streams = [run.column_blocks(max(1, max_bytes * len(run) // total)) for run in runs]
    held: list[ColumnBlock | None] = [None] * len(runs)
    at = 0
    while True:
        for i, stream in enumerate(streams):
            if held[i] is None:
                held[i] = next(stream, None)
        blocks = [block for block in held if block is not None]
        if not blocks:
            return
        start, stop = max(at, blocks[0].start), min(block.stop for block in blocks)
        if len(blocks) < len(runs) or any(b.name != blocks[0].name or b.start > start for b in blocks):
            raise LandscapeError(
                "the runs store their parameters in another order", got=f"a difference at '{blocks[0].name}'"
            )
        yield Stretch(
            blocks[0].name,
            start,
            stop,
            [block.values[:, start - block.start : stop - block.start] for block in blocks],
        )
        del blocks
        held = [None if block is None or block.stop == stop else block for block in held]
        at = stop if any(block is not None for block in held) else 0


def stacked(runs: Sequence[Snapshots]) -> Iterator[tuple[str, int, int, NDArray[np.float64]]]:
    """The snapshots of several runs of one model as one matrix, some columns at a time.

    Args:
        runs: Trajectories of the same parameters.

    Yields:
        Name of a parameter, first element and one behind the last, and shape (snapshots of all runs, elements).

    Raises:
        LandscapeError: If the runs are of different models.
    """
    require_same_model(runs)
    width = max(1, _NUMBERS // max(1, sum(len(run) for run in runs)))
    for stretch in stretches(runs, _BYTES):
        for low in range(stretch.start, stretch.stop, width):
            high = min(stretch.stop, low + width)
            cut = [part[:, low - stretch.start : high - stretch.start] for part in stretch.parts]
            yield stretch.name, low, high, np.concatenate(cut, dtype=np.float64)


def held(runs: Sequence[Snapshots]) -> list[Snapshots]:
    """Runs read once, into memory, if they take less of it than blocks of them would, or than their Gram matrix.

    Args:
        runs: Trajectories of one model.

    Returns:
        The same runs, which are read from files at every pass if they are larger.
    """
    count = sum(map(len, runs))
    wide = sum(info.numbers * (8 if info.dtype in _WIDE else 4) for info in runs[0].layout.moving())
    if count * wide > max(_BYTES, 8 * count**2):
        return list(runs)
    return [_Held(run, tuple(run.column_blocks(_BYTES))) for run in runs]


def is_held(runs: Sequence[Snapshots]) -> bool:
    """Return whether runs are in memory."""
    return all(isinstance(run, _Held) for run in runs)


@dataclass(frozen=True)
class _Copied:
    """A run whose numbers are also held elsewhere."""

    run: Snapshots

    @property
    def layout(self) -> Layout:
        return self.run.layout

    def __len__(self) -> int:
        return len(self.run)

    def __getitem__(self, index: int) -> Any:
        return self.run[index]


@dataclass(frozen=True)
class _Held(_Copied):
    """A run whose numbers are in memory as they are stored."""

    blocks: tuple[ColumnBlock, ...]

    @property
    def header(self) -> Any:
        # Runs that are stored in other orders are read tensor by tensor.
        return getattr(self.run, "header", None)

    def select(self, parameters: str | Sequence[str]) -> _Held:
        run = self.run.select(parameters)
        names = {info.name for info in run.layout.moving()}
        return _Held(run, tuple(block for block in self.blocks if block.name in names))

    def column_blocks(self, max_bytes: int = 2**28) -> Iterator[ColumnBlock]:
        return iter(self.blocks)


@contextmanager
def represented(runs: Sequence[Snapshots], representative: Representative | None) -> Iterator[Sequence[Snapshots]]:
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
class _Replaced(_Copied):
    """A run whose rows lie in a file of float64, the moving tensors side by side."""

    offsets: Mapping[str, int]
    rows: np.memmap[Any, np.dtype[np.float64]]

    @classmethod
    def of(cls, run: Snapshots, representative: Representative, path: str) -> _Replaced:
        infos = run.layout.moving()
        ends = np.cumsum([info.numbers for info in infos])
        offsets = {info.name: int(end) - info.numbers for info, end in zip(infos, ends, strict=True)}
        rows = np.memmap(path, dtype=np.float64, mode="w+", shape=(len(run), int(ends[-1])))
        for index in range(len(run)):
            weights = representative(run[index])
            for info in infos:
                offset = offsets[info.name]
                rows[index, offset : offset + info.numbers] = _numbers(weights, info)
        return cls(run, offsets, rows)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process maps the same file.
        return _mapped, (self.run, self.offsets, self.rows.filename, self.rows.shape)

    def select(self, parameters: str | Sequence[str]) -> _Replaced:
        return _Replaced(self.run.select(parameters), self.offsets, self.rows)

    def column_blocks(self, max_bytes: int = 2**28) -> Iterator[_Piece]:
        width = max(1, max_bytes // (8 * len(self)))
        for info in self.layout.moving():
            for start in range(0, info.numbers, width):
                stop = min(start + width, info.numbers)
                offset = self.offsets[info.name]
                yield _Piece(info.name, start, stop, np.array(self.rows[:, offset + start : offset + stop]))


def _mapped(run: Snapshots, offsets: Mapping[str, int], file: Any, shape: tuple[int, ...]) -> _Replaced:
    return _Replaced(run, offsets, np.memmap(file, dtype=np.float64, mode="r", shape=shape))


@dataclass(frozen=True)
class _Piece:
    name: str
    start: int
    stop: int
    values: NDArray[np.float64]


def _numbers(weights: Mapping[str, Any], info: TensorInfo) -> NDArray[np.float64]:
    if info.name not in weights:
        raise LandscapeError(f"tensor '{info.name}' is missing", where="representative")
    array = _as_array(weights[info.name])
    if array.shape != info.shape:
        raise LandscapeError(
            f"tensor '{info.name}' has another shape",
            where="representative",
            got=array.shape,
            expected=info.shape,
        )
    # Complex numbers are two real ones each.
    parts = np.stack([array.real, array.imag], -1) if np.iscomplexobj(array) else array
    return parts.astype(np.float64).ravel()


def _as_array(value: Any) -> NDArray[Any]:
    """A tensor or array as an array, without importing torch."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    tensor = value.detach().cpu()
    # NumPy knows no bfloat16: tensors are widened by themselves.
    return np.asarray((tensor.resolve_conj() if tensor.is_complex() else tensor.double()).numpy())

"""Distances between snapshots: blocked inner products, straight from the files. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.executor import results, several
from landscape.files.result import ResultFile
from landscape.projection.distance_store import Kept, open_distances
from landscape.projection.inner_products import Sums
from landscape.projection.krylov import row_blocks
from landscape.projection.side_by_side import (
    Representative,
    Stretch,
    exactly,
    represented,
    require_same_model,
    stretches,
)
from landscape.projection.walks import Snapshots
from landscape.values.result import Result
from landscape.vocabulary import DISSIMILARITIES

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]


MAX_BYTES = 2**31
"""Bytes that the values being read may take: with sums of 2,000 snapshots, all stays below 4 GiB."""

# Bytes of the float64 copies that products are taken of: large enough for full speed, small beside the values.
_PANEL = 2**27
# Blocks of tensors at most: small beside all, and none is read for a few numbers.
_BLOCKS = 64
# Seconds of reading that a killed process may lose.
_PATIENCE = 20.0
# Where |a - b|^2 is a smaller share of |a - r|^2 + |b - r|^2, the difference of these sums has lost half of its 16
# digits: such pairs are subtracted directly.
_LOST = 1e-8
# Direct pairs per snapshot. Beyond, distances below 1e-4 of the extent keep an absolute error of 1e-8 of it.
_DIRECT = 8


@dataclass(frozen=True)
class Separations(Result):
    """Numbers from which all dissimilarities of T snapshots follow.

    Attributes:
        squared: Shape (T, T), squared Euclidean distances.
        excess: Shape (T,), squared norms less the one of the reference.
        square: The squared norm of the reference, the last snapshot of the first run.
    """

    squared: Array
    excess: Array
    square: float

    @property
    def norms(self) -> Array:
        """Shape (T,), the Euclidean norms of the snapshots."""
        norms: Array = np.sqrt(np.maximum(self.square + self.excess, 0.0))
        return norms

    def dissimilarities(self, kind: str = "euclidean") -> Array:
        """Dissimilarities of one kind.

        With u, v the weights of two snapshots: ``euclidean`` is |u - v|; ``cosine-chord`` is the distance
        between u / |u| and v / |v|, whose square is 2 (1 - cos); ``one-minus-cosine`` is 1 - cos itself, half a
        squared distance and no distance: it violates the triangle inequality. Both cosines come from

            2 (1 - cos) = (|u - v|^2 - (|u| - |v|)^2) / (|u| |v|)

        which keeps its digits where u and v are nearly the same and 1 - u.v / (|u| |v|) has none left.

        Args:
            kind: One of `DISSIMILARITIES`.

        Returns:
            Shape (T, T), symmetric, zero on the diagonal.

        Raises:
            LandscapeError: If the kind is not known, or an angle is wanted of weights that are all zero.

        Source:
            Liao & Poggio 2017, figures of section 5 (1 - cos); the chord is the distance that belongs to it.

        Example:
            >>> separations = Separations(np.array([[0.0, 2.0], [2.0, 0.0]]), np.zeros(2), 1.0)
            >>> separations.dissimilarities("cosine-chord")[0, 1].round(6)
            np.float64(1.414214)
        """
        require_kind(kind)
        if kind == "euclidean":
            return np.sqrt(self.squared)
        norms = self.norms
        if not norms.all():
            raise LandscapeError(
                f"the weights of snapshot {int(np.argmin(norms))} are all zero, so they have no direction",
                where=kind,
                mend="choose dissimilarity euclidean, or other layers",
            )
        found = np.empty_like(self.squared)
        for rows in row_blocks(len(norms)):
            longer = (self.excess[rows, None] - self.excess) / (norms[rows, None] + norms)
            chord = np.maximum(self.squared[rows] - longer**2, 0.0) / (norms[rows, None] * norms)
            found[rows] = np.sqrt(chord) if kind == "cosine-chord" else chord / 2
        return found


def require_kind(kind: str) -> None:
    """Check the name of a dissimilarity."""
    if kind not in DISSIMILARITIES:
        raise LandscapeError(
            f"unknown value '{kind}'", where="dissimilarity", mend=did_you_mean(kind, DISSIMILARITIES)
        )


def layers_of(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Parameters by the layer that holds them, in order.

    Example:
        >>> layers_of(["conv.weight", "conv.bias", "scale"])
        {'conv': ('conv.weight', 'conv.bias'), 'scale': ('scale',)}
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        layer = name.rpartition(".")[0] or name
        found[layer] = (*found.get(layer, ()), name)
    return found


def separations(
    runs: Sequence[Snapshots],
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    names: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
    representative: Representative | None = None,
    save: Any = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Separations]:
    """Compare all snapshots of several runs, of all parameters or of several groups of them in one pass.

    The files are read side by side in blocks of columns, and the sums are in float64. Snapshots are taken
    relative to the last one of the first run, so that what all have in common costs no digits; pairs so much
    nearer to each other that their distance would still lose half of its digits are subtracted directly, in a
    second pass over the files.

    Args:
        runs: Trajectories of one model; all parameters that move count, see `Trajectory.select`.
        groups: Name -> parameters that belong to it; None is one group ``"all"``.
        names: What the runs are called in messages.
        max_bytes: The memory that values being read may take; sums take 8 T^2 bytes for each group besides.
        representative: Stands a snapshot's weights for others, such as those of the same function in a normal
            form; None takes them as they are.
        save: A file that the sums are kept in: read if they are of the same snapshots, resumed if they are a part.
        workers: So many processes share the tensors and the memory.
        progress: Called with (numbers per snapshot read, in all).

    Returns:
        Name of a group -> its separations, the snapshots of all runs one after the other.

    Raises:
        LandscapeError: If the runs are of different models, a weight is not finite, or the file is of other runs.

    Example:
        >>> separations([run])["all"].dissimilarities("cosine-chord").shape  # doctest: +SKIP
        (41, 41)
    """
    called = list(names) if names is not None else [f"run {n + 1}" for n in range(len(runs))]
    require_same_model(runs, called)
    moving = [info.name for info in runs[0].layout.moving()]
    wanted = {"all": moving} if groups is None else {name: list(group) for name, group in groups.items()}
    chosen = [name for name in moving if any(name in group for group in wanted.values())]
    runs = [run.select(exactly(chosen)) for run in runs] if len(chosen) < len(moving) else list(runs)
    store = open_distances(save, runs, wanted, representative)
    if store.complete:
        return {name: Separations(**store.value.finished[name]) for name in wanted}
    with represented(runs, representative) as compared:
        sums = _sum_up(compared, wanted, store, max_bytes, workers, progress)
        _require_finite(sums, runs, called)
        found = {name: Separations(total.squared(), total.excess(), total.square) for name, total in sums.items()}
        _subtract_directly(compared, wanted, sums, found, max_bytes)
    store.write(Kept(finished={name: vars(separation) for name, separation in found.items()}))
    return found


@dataclass(frozen=True)
class Block:
    """Tensors one after the other in the files, to be compared.

    Attributes:
        names: Of the tensors.
        numbers: How many numbers of a snapshot they are.
    """

    names: tuple[str, ...]
    numbers: int

    @property
    def key(self) -> str:
        """Key that identifies it."""
        return " ".join(self.names)

    @property
    def title(self) -> str:
        """Its first tensor."""
        return f"the distances in {self.names[0]}" + (" and others" if len(self.names) > 1 else "")


@dataclass(frozen=True)
class Comparison:
    """The work on blocks: inner products of all snapshots over their tensors.

    Attributes:
        runs: Of one model.
        groups: Name -> tensors that belong to it.
        max_bytes: What values being read may take.
    """

    runs: Sequence[Snapshots]
    groups: Mapping[str, Sequence[str]]
    max_bytes: int

    def __call__(self, block: Block, progress: Progress) -> dict[str, tuple[Array, Array, float]]:
        """Return the sums of a block, by name of a group."""
        count, last = sum(map(len, self.runs)), len(self.runs[0]) - 1
        sums: dict[str, Sums] = {}
        for stretch in stretches([run.select(exactly(block.names)) for run in self.runs], self.max_bytes):
            groups = [name for name, members in self.groups.items() if stretch.name in members]
            for values in _panels(stretch, count):
                reference = values[last].copy()
                values -= reference
                for name in groups:
                    sums.setdefault(name, Sums.none(count)).add_values(values, reference)
            # The next values take their place.
            del stretch
        return {name: (own.gram, own.along, own.square) for name, own in sums.items()}


def _sum_up(
    runs: Sequence[Snapshots],
    wanted: Mapping[str, Sequence[str]],
    store: ResultFile[Kept],
    max_bytes: int,
    workers: int,
    progress: Progress | None,
) -> dict[str, Sums]:
    sums = {name: Sums.none(sum(map(len, runs))) for name in wanted}
    done = list(store.value.done)
    if done:
        sums = {name: Sums(**store.value.sums[name]) for name in wanted}
    sizes = {info.name: info.numbers for info in runs[0].layout.moving()}
    left = _blocks({name: size for name, size in sizes.items() if name not in done}, sum(sizes.values()))
    read = sum(sizes[name] for name in done)
    work = Comparison(runs, wanted, max_bytes // workers)
    with several(work, workers) as shared:
        for block, found in zip(left, results(work, left, shared), strict=True):
            for name, own in found.items():
                sums[name].add(*own)
            read += block.numbers
            if progress is not None:
                progress(read, sum(sizes.values()))
            done.extend(block.names)
            if store.due(_PATIENCE):
                store.write(Kept(sums={name: vars(own) for name, own in sums.items()}, done=tuple(done)))
    return sums


def _blocks(sizes: Mapping[str, int], total: int) -> list[Block]:
    """Tensors in blocks that are alike in size, however many workers there are: the sums have the same bits."""
    blocks: list[Block] = []
    names: list[str] = []
    for name in sizes:
        names.append(name)
        numbers = sum(sizes[own] for own in names)
        if numbers * _BLOCKS >= total or name == list(sizes)[-1]:
            blocks.append(Block(tuple(names), numbers))
            names = []
    return blocks


def _panels(stretch: Stretch, count: int) -> Iterator[Array]:
    """The snapshots of all runs one below the other in float64, some columns at a time; each is new memory."""
    width = max(1, _PANEL // (8 * count))
    for start in range(0, stretch.stop - stretch.start, width):
        parts = [part[:, start : start + width] for part in stretch.parts]
        yield np.concatenate(parts, axis=0, dtype=np.float64)


def _require_finite(sums: Mapping[str, Sums], runs: Sequence[Snapshots], names: Sequence[str]) -> None:
    for group, total in sums.items():
        broken = np.flatnonzero(~np.isfinite(np.diag(total.gram)))
        if not len(broken):
            continue
        # Where the reference itself is broken, all are.
        place = len(runs[0]) - 1 if len(broken) == len(total.gram) else int(broken[0])
        for run, name in zip(runs, names, strict=True):
            if place < len(run):
                step = getattr(run[place], "step", None)
                at = f"snapshot {place}" + ("" if step is None else f" (step {step})")
                layer = "" if group == "all" else f" in layer '{group}'"
                raise LandscapeError(
                    f"{at} of '{name}' has weights that are not finite{layer}",
                    mend="choose earlier snapshots, such as run[:10]",
                )
            place -= len(run)


def _subtract_directly(
    runs: Sequence[Snapshots],
    wanted: Mapping[str, Sequence[str]],
    sums: Mapping[str, Sums],
    found: Mapping[str, Separations],
    max_bytes: int,
) -> None:
    """Replace the squared distances that are differences of much larger numbers."""
    pairs = {name: near for name, total in sums.items() if len((near := _near(total.own, found[name].squared))[0])}
    if not pairs:
        return
    exact = {name: np.zeros(len(first)) for name, (first, _) in pairs.items()}
    members = list(dict.fromkeys(member for name in pairs for member in wanted[name]))
    count = sum(map(len, runs))
    for stretch in stretches([run.select(exactly(members)) for run in runs], max_bytes):
        for values in _panels(stretch, count):
            for name in (name for name in pairs if stretch.name in wanted[name]):
                _add_squares(exact[name], values, *pairs[name])
        del stretch
    for name, (first, second) in pairs.items():
        squared = found[name].squared
        squared[first, second] = squared[second, first] = exact[name]


def _near(own: Array, squared: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs to be subtracted directly, the nearest first."""
    found: list[tuple[Array, NDArray[np.intp], NDArray[np.intp]]] = []
    for rows in row_blocks(len(own)):
        scale = own[rows, None] + own
        share = np.divide(squared[rows], scale, out=np.ones_like(scale), where=scale > 0)
        first, second = np.nonzero(np.triu(share < _LOST, 1 + rows.start))
        found.append((share[first, second], first + rows.start, second))
    share, first, second = (np.concatenate(parts) for parts in zip(*found, strict=True))
    nearest = np.argsort(share, kind="stable")[: _DIRECT * len(own)]
    return first[nearest], second[nearest]


def _add_squares(found: Array, values: Array, first: NDArray[np.intp], second: NDArray[np.intp]) -> None:
    """Add |a - b|^2 of pairs of rows, so many at a time that they take no more memory than the rows do."""
    for start in range(0, len(found), len(values)):
        part = slice(start, start + len(values))
        difference = values[first[part]] - values[second[part]]
        found[part] += np.einsum("ij,ij->i", difference, difference)

"""Multidimensional scaling of snapshots: classical (strain) and metric (stress, by SMACOF). No torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.projection.distances import (
    MAX_BYTES,
    Progress,
    layers_of,
    require_kind,
    separations,
)
from landscape.projection.embedding import distances_of, metric, scaled, stress_error
from landscape.projection.side_by_side import Representative
from landscape.projection.walks import Snapshots
from landscape.values.embedding import Array, Embedding, stress_1
from landscape.vocabulary import EMBEDDINGS

ALL = "all layers"
"""Name of the embedding over all layers beside those of single layers."""


class Run(Snapshots, Protocol):
    """Interface of a trajectory, as far as an embedding needs it."""

    @property
    def run_id(self) -> str: ...  # noqa: D102
    @property
    def problem(self) -> str: ...  # noqa: D102
    @property
    def steps(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def metrics(self) -> Mapping[str, Array]: ...  # noqa: D102
    @property
    def parent(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def branches(self) -> Mapping[str, Self]: ...  # noqa: D102


Runs: TypeAlias = Run | Sequence[Run] | Mapping[str, Run]


def mds(
    runs: Runs,
    *,
    dissimilarity: str = "euclidean",
    dims: int = 2,
    layers: str | Sequence[str] = "*",
    method: str = "classical",
    branches: bool = False,
    starts: int = 1,
    seed: int = 0,
    representative: Representative | None = None,
    save: Any = None,
    max_bytes: int = MAX_BYTES,
    workers: int = 1,
    progress: Progress | None = None,
) -> Embedding:
    """Embed the snapshots of runs so that distances between points are about those between weights.

    ``classical`` takes the leading eigenvectors of B = -1/2 J D^2 J, with J the centring matrix, scaled by the
    square roots of their eigenvalues: exact where the distances fit into so many dimensions. ``metric`` lowers
    sum (d - delta)^2 over the points themselves by majorisation (SMACOF), beginning at the classical
    embedding, and is never worse in stress than that. Of more than 1,024 snapshots, the eigenvectors are iterated,
    and ``meta["stress_error"]`` bounds the difference of the stress from that of the exact ones; the metric method
    then places 500 of them first.

    Args:
        runs: One trajectory, several, or name -> trajectory, of one model.
        dissimilarity: ``"euclidean"``, ``"cosine-chord"`` or ``"one-minus-cosine"``; see
            `Separations.dissimilarities`.
        dims: The number of coordinates.
        layers: Globs that choose the parameters that count; see `Trajectory.select`.
        method: ``"classical"`` or ``"metric"``.
        branches: Whether the branches of the runs are embedded with them, called ``"run/branch"``.
        starts: Beginnings of the metric method: the classical embedding and so many less one at random.
        seed: Draws the random ones.
        representative: Stands a snapshot's weights for others before they are compared: a function of a
            snapshot that returns name -> tensor.
        save: A file that the distances are kept in, and taken from if they are of the same snapshots.
        max_bytes: The memory that weights being read may take.
        workers: So many processes share tensors and memory.
        progress: Called with (numbers per snapshot read, in all).

    Returns:
        The points, their stress, and all distances. Every axis has its largest coordinate positive; those of
        ``metric`` are its principal axes.

    Raises:
        LandscapeError: If an option is not known, there are fewer than 2 snapshots, the runs are of different
            models, or a weight is not finite.

    Source:
        Torgerson 1952, "Multidimensional scaling: I. Theory and method", Psychometrika 17 (classical); de Leeuw
        1977 (SMACOF), by scikit-learn. Of training: Liao & Poggio 2017, "Theory II", section 5.

    Example:
        >>> embedding = mds([run_a, run_b], dissimilarity="cosine-chord")
        >>> embedding.coordinates.shape, embedding.stress < 0.2
        ((82, 2), True)
    """
    way = _Way(
        dissimilarity,
        dims,
        layers,
        method,
        branches,
        starts,
        seed,
        representative,
        save,
        max_bytes,
        workers,
        progress,
    )
    gathered = _Gathered.of(runs, way)
    return _embeddings(gathered, {"all": gathered.moving}, way)["all"]


def mds_by_layer(runs: Runs, **options: Any) -> dict[str, Embedding]:
    """Embed snapshots layer by layer, and over all these layers, in one pass over the files.

    A layer is what holds parameters: a convolution with its bias.

    Args:
        runs: As for `mds`.
        **options: Those of `mds`, with the same defaults.

    Returns:
        Name of a layer -> its embedding, in the order of the model; ``"all layers"`` is the last.

    Raises:
        LandscapeError: As `mds` does.

    Example:
        >>> list(mds_by_layer(run, layers="*.weight"))
        ['0', '2', '4', 'all layers']
    """
    way = _Way(**{**(mds.__kwdefaults__ or {}), **options})
    gathered = _Gathered.of(runs, way)
    found = _embeddings(gathered, {**layers_of(gathered.moving), ALL: gathered.moving}, way)
    return {layer: replace(own, meta={**own.meta, "layer": layer}) for layer, own in found.items()}


@dataclass(frozen=True)
class _Way:
    """The options of `mds`."""

    dissimilarity: str
    dims: int
    layers: str | Sequence[str]
    method: str
    branches: bool
    starts: int
    seed: int
    representative: Representative | None
    save: Any
    max_bytes: int
    workers: int
    progress: Progress | None

    def __post_init__(self) -> None:
        require_kind(self.dissimilarity)
        if self.method not in EMBEDDINGS:
            mend = did_you_mean(self.method, EMBEDDINGS)
            raise LandscapeError(f"unknown value '{self.method}'", where="method", mend=mend)
        for name in ("dims", "starts"):
            if getattr(self, name) < 1:
                raise LandscapeError("must be at least 1", where=name, got=getattr(self, name))


@dataclass(frozen=True)
class _Gathered:
    """The runs to be embedded, with their names."""

    runs: list[Run]
    names: list[str]

    @classmethod
    def of(cls, runs: Runs, way: _Way) -> _Gathered:
        named = _named(runs)
        if way.branches:
            named = [pair for name, run in named for pair in _with_branches(name, run)]
        named = [(name, run) for name, run in named if len(run)]
        count = sum(len(run) for _, run in named)
        if count < 2:
            raise LandscapeError("an embedding needs at least 2 snapshots", got=count, mend="give more runs")
        return cls([run.select(way.layers) for _, run in named], [name for name, _ in named])

    @property
    def moving(self) -> list[str]:
        return [info.name for info in self.runs[0].layout.moving()]

    def told(self, way: _Way) -> dict[str, Any]:
        problems = dict.fromkeys(run.problem for run in self.runs)
        return {
            "dissimilarity": way.dissimilarity,
            "method": way.method,
            "problem": ", ".join(filter(None, problems)),
            "layers": way.layers if isinstance(way.layers, str) else ",".join(way.layers),
            "numbers": sum(info.numbers for info in self.runs[0].layout.moving()),
            "run_ids": [run.run_id for run in self.runs],
            "representative": getattr(way.representative, "name", None if way.representative is None else "own"),
        }

    def parents(self) -> dict[int, int]:
        """Number of a run -> the snapshot it starts from, among all that are embedded."""
        first = dict(zip(range(len(self.runs)), _starts(self.runs), strict=True))
        found = {}
        for child, run in enumerate(self.runs):
            for number, other in enumerate(self.runs):
                steps = np.flatnonzero(other.steps == run.parent.get("parent_step", -1))
                if number != child and other.run_id == run.parent.get("parent_run_id") and len(steps):
                    found[child] = first[number] + int(steps[0])
        return found


def _starts(runs: Sequence[Run]) -> list[int]:
    return [0, *itertools.accumulate(len(run) for run in runs[:-1])]


def _named(runs: Runs) -> list[tuple[str, Run]]:
    """Runs with the names given, or those of their files where these differ."""
    if isinstance(runs, Mapping):
        return list(runs.items())
    listed: list[Any] = list(runs) if isinstance(runs, list | tuple) else [runs]
    stems = [getattr(getattr(run, "path", None), "stem", None) for run in listed]
    alike = len(set(stems)) < len(stems) or None in stems
    names = [f"run {n + 1}" for n in range(len(listed))] if alike else [str(stem) for stem in stems]
    return list(zip(names, listed, strict=True))


def _with_branches(name: str, run: Run) -> list[tuple[str, Run]]:
    found = [(name, run)]
    for branch, child in run.branches.items():
        found += _with_branches(f"{name}/{branch}", child)
    return found


def _embeddings(gathered: _Gathered, groups: Mapping[str, Sequence[str]], way: _Way) -> dict[str, Embedding]:
    """Name of a group of parameters -> the embedding over these."""
    compared = separations(
        gathered.runs,
        groups,
        names=gathered.names,
        max_bytes=way.max_bytes,
        workers=way.workers,
        representative=way.representative,
        save=way.save,
        progress=way.progress,
    )
    kind = way.dissimilarity
    # Separations are as large as the distances made of them: none stays longer than it is needed.
    return {group: _embedding(gathered, compared.pop(group).dissimilarities(kind), way) for group in groups}


def _embedding(gathered: _Gathered, distances: Array, way: _Way) -> Embedding:
    found = scaled(distances, way.dims, flat=way.dissimilarity != "one-minus-cosine")
    points = found.points
    if way.method == "metric":
        points = metric(distances, points, way.starts, way.seed)
    fitted = distances_of(points)
    share = found.eigenvalues / found.size if found.size > 0 else np.zeros_like(found.eigenvalues)
    iterated = found.error and way.method == "classical"
    error = {"stress_error": stress_error(found, distances, fitted)} if iterated else {}
    kinds = dict.fromkeys(name for run in gathered.runs for name in run.metrics)
    counts = [len(run) for run in gathered.runs]
    return Embedding(
        coordinates=points,
        run=np.repeat(np.arange(len(counts)), counts),
        steps=np.concatenate([run.steps for run in gathered.runs]),
        names=tuple(gathered.names),
        parents=gathered.parents(),
        stress=stress_1(distances, fitted),
        eigenvalues=found.eigenvalues,
        share=np.append(share, np.zeros(way.dims))[: way.dims],
        negative=abs(float(share[share < 0].sum())),
        distances=distances,
        fitted=fitted,
        metrics={name: np.concatenate([_metric_of(run, name) for run in gathered.runs]) for name in kinds},
        meta={**gathered.told(way), **error},
    )


def _metric_of(run: Run, name: str) -> Array:
    return run.metrics[name] if name in run.metrics else np.full(len(run), np.nan)

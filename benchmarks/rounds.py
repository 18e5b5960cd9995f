"""Interleaved rounds: everything is timed once in each, so that what slows the machine slows all of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import agreement, limit, ours, peers, truth
from benchmarks.workloads import Spec, Workload, build
from landscape.errors import LandscapeError

Log = Callable[[str], None]

# So many points of ours are compared with float64, evenly over those of a round.
_JUDGED = 5
# Reduced precision may be slow where the processor lacks it: a part of the points suffices.
_SHARE_OF_REDUCED = 8
# Small grids take seconds, and their ratios swing less than those of points.
_WHOLES = 3
# Types of table 3.
REDUCED = {"bfloat16": torch.bfloat16}


class Ratio(NamedTuple):
    """Ratios taken within rounds.

    Attributes:
        median: Their median.
        low: The smallest.
        high: The largest.
    """

    median: float
    low: float
    high: float


@dataclass
class Result:
    """Measurements of a workload.

    Attributes:
        name: ``"W1"`` ...
        title: One line.
        data: Where the examples come from.
        examples: How many.
        flops: Of one pass.
        side: Points along each axis of the full grid.
        points: Points of a round of ours.
        peer_side: Points along each axis of a round of a peer.
        seconds: Kind (``"bare"``, ``"ours"``, ``"reduced"``, ``"peer"``) -> name -> seconds per point, one for
            each round.
        peak: Operations per second of the matrix product, one a round.
        peak_setting: Of which matrices.
        errors: Kind -> name -> largest relative error against float64.
        chosen: Engine -> what it says that it is.
        estimates: Engine -> seconds per point that it foresaw, where it says.
        small_side: Points along each axis of the small grid.
        whole: Seconds per point of the small grid: of the limit, of ours with set-up, and of ours a second time.
        full: Engine -> seconds of the full grid, set-up included.
        failures: Name -> why it was left out.
        agreements: Of the values of other packages.
    """

    name: str
    title: str
    data: str
    examples: int
    flops: int
    side: int
    points: int
    peer_side: int
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    peak: list[float] = field(default_factory=list)
    peak_setting: str = ""
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    estimates: dict[str, float] = field(default_factory=dict)
    small_side: int = 0
    whole: list[tuple[float, float, float]] = field(default_factory=list)
    full: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    agreements: list[agreement.Agreement] = field(default_factory=list)

    @property
    def best_bare(self) -> str:
        """The bare setting of the smallest median: the limit."""
        return min(self.seconds["bare"], key=lambda name: statistics.median(self.seconds["bare"][name]))

    @property
    def bare(self) -> list[float]:
        """The seconds of the limit, one a round."""
        return self.seconds["bare"][self.best_bare]

    def share_of_peak(self, seconds: Sequence[float]) -> float:
        """The median over rounds of the operations per second divided by those of a matrix product."""
        return statistics.median(self.flops / s / p for s, p in zip(seconds, self.peak, strict=True))


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """The ratio within each round: median, smallest, largest."""
    within = [a / b for a, b in zip(above, below, strict=True)]
    return Ratio(statistics.median(within), min(within), max(within))


def measure(spec: Spec, rounds: int, *, with_peers: bool, judged: bool, full: bool, log: Log) -> Result:
    """Build a workload, time everything in interleaved rounds, and judge the values.

    Args:
        spec: The workload.
        rounds: How many times everything is timed.
        with_peers: Whether other packages take part.
        judged: Whether their values are compared with float64.
        full: Whether the full grid is evaluated once per engine, set-up included.
        log: Takes a line about what is being done.

    Returns:
        The samples.
    """
    log(f"{spec.name}: building")
    workload = build(spec)
    result = Result(
        spec.name,
        spec.title,
        workload.data,
        len(workload.inputs),
        workload.flops,
        spec.side,
        spec.points,
        spec.peer_side,
    )
    log(f"{spec.name}: searching the bare limit")
    peak = limit.find_peak()
    result.peak_setting = f"{peak.side}x{peak.side}, {peak.threads} thread{'s' if peak.threads > 1 else ''}"
    timers = _Timers(workload, result, with_peers)
    for number in range(rounds):
        log(f"{spec.name}: round {number + 1} of {rounds}")
        result.peak.append(peak.flops_per_second())
        timers.round(number)
    _whole(workload, result, timers.bare(result.best_bare), log)
    if full:
        for engine in result.seconds["ours"]:
            log(f"{spec.name}: the full grid by {engine}")
            result.full[engine], _ = ours.full_grid_seconds(workload, engine)
    if with_peers and judged:
        _judge(workload, result, log)
    ours.forget()
    return result


def _whole(workload: Workload, result: Result, bare: Callable[[], float], log: Log) -> None:
    """Time small grids through the public function beside the limit."""
    result.small_side = workload.spec.small_side
    ours.forget()
    for number in range(_WHOLES):
        log(f"{workload.spec.name}: small grid {number + 1} of {_WHOLES}")
        before = bare()
        times = ours.small_grid_seconds(workload)
        first, second = (seconds / result.small_side**2 for seconds in times)
        result.whole.append(((before + bare()) / 2, first, second))


class _Timers:
    """All that is timed in a round; what fails is left out of this and all later rounds, with its reason."""

    def __init__(self, workload: Workload, result: Result, with_peers: bool) -> None:
        self._workload, self._result = workload, result
        self._points = workload.points()
        self._few = self._points[: max(1, len(self._points) // _SHARE_OF_REDUCED)]
        self._right: dict[tuple[float, float], float] = {}
        self._timers: list[tuple[str, str, Callable[[], float]]] = []
        for bare in limit.search(workload):
            self._timers.append(("bare", bare.name, bare.seconds))
        for engine in ours.engines(workload.spec.name):
            self._timers.append(("ours", engine, self._ours(engine)))
        for word, dtype in REDUCED.items():
            self._timers.append(("reduced", word, self._ours("auto", "reduced", word, dtype)))
        for peer in peers.PEERS if with_peers else ():
            if peer.version is None:
                result.failures[peer.name] = "not installed"
                continue
            try:
                peer.load()
            except peers.FAILURES as error:
                result.failures[peer.name] = _reason(error)
            else:
                self._timers.append(("peer", peer.name, self._peer(peer)))

    def round(self, number: int) -> None:
        """Time everything once, beginning elsewhere in each round."""
        start = number % len(self._timers)
        for timer in (*self._timers[start:], *self._timers[:start]):
            kind, name, run = timer
            try:
                seconds = run()
            except (LandscapeError, *peers.FAILURES) as error:
                self._result.failures[name] = _reason(error)
                self._result.seconds.get(kind, {}).pop(name, None)
                self._timers.remove(timer)
            else:
                self._result.seconds.setdefault(kind, {}).setdefault(name, []).append(seconds)

    def bare(self, name: str) -> Callable[[], float]:
        """The limit in one setting."""
        return next(run for kind, own, run in self._timers if (kind, own) == ("bare", name))

    def _peer(self, peer: peers.Peer) -> Callable[[], float]:
        return lambda: peer.seconds_per_point(self._workload)

    def _ours(
        self, engine: str, kind: str = "ours", word: str = "", dtype: torch.dtype | None = None
    ) -> Callable[[], float]:
        points = self._points if dtype is None else self._few
        name = word or engine

        def run() -> float:
            seconds, values, foreseen = ours.time_per_point(self._workload, engine, points, dtype)
            if name not in self._result.chosen:
                self._result.chosen[name] = ours.chosen(self._workload, engine, points, dtype)
                self._result.errors.setdefault(kind, {})[name] = self._error(points, values)
                if foreseen is not None:
                    self._result.estimates[name] = foreseen
            return seconds

        return run

    def _error(self, points: list[tuple[float, float]], values: np.ndarray) -> float:
        """The largest relative error against float64 at some points."""
        chosen = np.unique(np.linspace(0, len(points) - 1, _JUDGED).round().astype(int)).tolist()
        unknown = [points[i] for i in chosen if points[i] not in self._right]
        self._right.update(zip(unknown, truth.on_plane(self._workload, unknown).tolist(), strict=True))
        return max(abs(float(values[i]) / self._right[points[i]] - 1) for i in chosen)


def _judge(workload: Workload, result: Result, log: Log) -> None:
    for package, judge in agreement.JUDGES.items():
        if package and peers.version(package) is None:
            continue
        log(f"{workload.spec.name}: comparing {package or 'the re-implemented loop'} with float64")
        try:
            result.agreements.append(judge(workload))
        except peers.FAILURES as error:
            result.failures[f"values of {package or 'the re-implemented loop'}"] = _reason(error)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]

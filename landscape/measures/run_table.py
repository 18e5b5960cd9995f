"""Measures along training: from a trajectory to a table."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from landscape.errors import LandscapeError
from landscape.executor import Executor, Progress, results, several
from landscape.files.result import ResultFile
from landscape.measures.along_options import Along
from landscape.measures.computation import Measured, described, globs_of, measure_at, step_after
from landscape.measures.context import MeasureContext
from landscape.measures.registry import measure_named, settled_settings
from landscape.measures.stability import stability_threshold, threshold_words
from landscape.measures.table_store import MEASURES
from landscape.objective import Objective
from landscape.optimizers import KINDS, Step
from landscape.options import read_options
from landscape.params import Held
from landscape.trajectory import Snapshot, Trajectory
from landscape.values.measure_table import Column, LongTable, Table

# Of these, a run without momentum hovers where the threshold says.
_THRESHOLD_OF = "hessian_top"


def measures_along(
    run: Trajectory,
    objective: Objective,
    wanted: Along,
    *,
    save: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep: Callable[[int, Measured], None] | None = None,
    trial: bool = False,
) -> Table:
    """Take measures at the snapshots of a run.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: What to measure, and by how many workers: they take whole snapshots, and get the weights from here.
        save: A file of measures to write and to resume from; each value is in it as soon as it is taken.
        progress: Called with (values taken, values in all).
        keep: Called with (step, what is measured) as soon as a value is taken; not for those that the file held.
        trial: Try every claim of invariance under rescalings at the last of the snapshots; see `Measured.notes`.

    Returns:
        The table.

    Raises:
        LandscapeError: If a step does not exist, or a measure cannot be taken.

    Example:
        >>> measures_along(run, objective, Along(("hessian_top",)))["hessian_top"].values  # doctest: +SKIP
        array([ 0.72,  9.81, 20.3 ])
    """
    rows = sorted({run.index_of(step) for step in wanted.at}) if wanted.at else list(range(len(run)))
    objective.require((wanted.split,), ())
    if not rows:
        raise LandscapeError("the trajectory holds no snapshot yet", where=run.path, mend="train longer")
    settled = settled_settings(wanted.measures, wanted.settings)
    blank = _blank(run, rows, objective, wanted, settled)
    partial = ResultFile.open(MEASURES, save, blank, _identity(run, rows, objective, wanted, settled))
    if not partial.value.complete:
        left = sum(not all(partial.value[name].done[row] for name in settled) for row in range(len(rows)))
        work = Taking(objective, wanted, settled)
        with several(work, min(wanted.workers, left)) as shared:
            _fill(partial, [run[row] for row in rows], work, shared, progress, keep, trial)
    return partial.write(partial.value)


def along(run: Trajectory, objective: Objective, names: str | Sequence[str], **options: Any) -> LongTable:
    """Take measures along a run; those of steps need a run that records them.

    Args:
        run: The trajectory.
        objective: Its objective, or another with the same model: critical sharpness is then relative to its data.
        names: Names of measures.
        **options: Those of `landscape measure`: ``at``, ``split``, ``seed``, ``parameters``, ``dtype``,
            ``products``, ``settings``, ``workers``; and ``save``, ``progress``.

    Returns:
        The table; ``to_dataframe()`` has the columns step, measure, value, standard_error.

    Raises:
        LandscapeError: If a measure does not exist or cannot be taken.

    Example:
        >>> ls.measures.along(run, objective, ["step_gain", "lr_headroom"]).to_dataframe()  # doctest: +SKIP
    """
    how = {name: options.pop(name) for name in ("save", "progress") if name in options}
    wanted = read_options(Along, {"measures": [names] if isinstance(names, str) else list(names), **options}, None)
    table = measures_along(run, objective, wanted, **how)
    return LongTable(table.steps, table.epochs, table.columns, table.metrics, table.meta)


@dataclass(frozen=True)
class Place:
    """Measures to take at a snapshot.

    Attributes:
        row: Of the table.
        at: The optimizer steps before it.
        names: Of the measures.
        held: Its weights.
        globs: What chooses parameters, one by one.
        step: Reads the optimizer step that follows.
        trial: Try every claim of invariance.
    """

    row: int
    at: int
    names: tuple[str, ...]
    held: Held
    globs: tuple[str, ...] | None
    step: Callable[[], Step | None] | None
    trial: bool

    @property
    def key(self) -> str:
        """Key that identifies it."""
        return f"{self.row} {' '.join(self.names)}"

    @property
    def title(self) -> str:
        """Where it is."""
        return f"the measures at step {self.at}"


@dataclass
class Taking:
    """The work on snapshots: takes measures there, in whatever process.

    Attributes:
        objective: What is measured.
        wanted: What is common to all measures.
        settled: Name of a measure -> all its settings.
    """

    objective: Objective
    wanted: Along
    settled: Mapping[str, Mapping[str, Any]]
    _context: MeasureContext | None = None

    def __call__(self, place: Place, progress: Progress) -> tuple[int, list[Measured]]:
        """Take the measures of a snapshot; with its row."""
        return place.row, list(self.each(place))

    def each(self, place: Place) -> Iterator[Measured]:
        """Yield the measures of a snapshot as they are taken."""
        if self._context is None:
            dtype = getattr(torch, self.wanted.dtype) if self.wanted.dtype else None
            self._context = MeasureContext(
                self.objective,
                place.held,
                self.wanted.split,
                place.globs,
                self.wanted.seed,
                dtype,
                step=place.step,
                products=self.wanted.products,
            )
        else:
            self._context = self._context.moved(place.held, place.step)
        for name in place.names:
            yield measure_at(self._context, {name: self.settled[name]}, trial=place.trial)[name]


def _fill(
    partial: ResultFile[Table],
    snapshots: Sequence[Snapshot],
    work: Taking,
    shared: Executor | None,
    progress: Callable[[int, int], None] | None,
    keep: Callable[[int, Measured], None] | None,
    trial: bool,
) -> None:
    table = partial.value
    tell = progress or (lambda done, total: None)
    tell(table.taken, table.size)
    for row, found in _taken(_places(table, snapshots, work, shared is not None, trial), work, shared):
        table[found.name].put(row, found.value, found.standard_error, found.converged)
        partial.flush(row)
        if keep is not None:
            keep(snapshots[row].step, found)
        tell(table.taken, table.size)


def _places(table: Table, snapshots: Sequence[Snapshot], work: Taking, sent: bool, trial: bool) -> Iterator[Place]:
    """Yield the snapshots where something is missing; what is sent elsewhere holds all it needs."""
    for row, snapshot in enumerate(snapshots):
        names = tuple(name for name in work.settled if not table[name].done[row])
        if not names:
            continue
        step = step_after(snapshot)
        if sent and step is not None:
            step = partial(_same, step() if any(measure_named(name).of_step for name in names) else None)
        held, globs = Held.of(snapshot, work.wanted.parameters), globs_of(snapshot, work.wanted.parameters)
        yield Place(row, snapshot.step, names, held, globs, step, trial and row == len(snapshots) - 1)


def _same(step: Step | None) -> Step | None:
    return step


def _taken(places: Iterator[Place], work: Taking, shared: Executor | None) -> Iterator[tuple[int, Measured]]:
    """Yield (row, measure): each as soon as it is taken here, or those of a snapshot together from workers."""
    if shared is None:
        yield from ((place.row, found) for place in places for found in work.each(place))
        return
    for row, measured in results(work, places, shared):
        yield from ((row, found) for found in measured)


def _blank(
    run: Trajectory,
    rows: Sequence[int],
    objective: Objective,
    wanted: Along,
    settled: Mapping[str, Mapping[str, Any]],
) -> Table:
    columns = {
        name: Column.blank(
            len(rows), {**described(measure_named(name), objective.unit, settings), "settings": settings}
        )
        for name, settings in settled.items()
    }
    threshold = stability_threshold(run.training)
    edge: dict[str, Any] = {}
    if threshold is not None:
        edge = {"measure": _THRESHOLD_OF, "value": threshold, "words": threshold_words(run.training)}
    known = ("optimizer", "lr", "momentum", "nesterov", "batch_size", "weight_decay", "schedule")
    meta = {
        "problem": objective.problem,
        "problem_args": objective.problem_args,
        "run_id": run.run_id,
        "run_seed": run.seed,
        "split": wanted.split,
        "seed": wanted.seed,
        "parameters": wanted.parameters,
        "dtype": wanted.dtype,
        "unit": objective.unit,
        "training": {name: run.training[name] for name in known if name in run.training},
        "threshold": edge,
        "finished": bool(run.finished),
        **({"optimizer": _optimizer(run, objective)} if run.optimizer else {}),
    }
    metrics = {name: values[rows] for name, values in run.metrics.items()}
    return Table(run.steps[rows], run.epochs[rows], columns, metrics, meta)


def _optimizer(run: Trajectory, objective: Objective) -> dict[str, Any]:
    """Facts for a verdict on the edge of stability: the threshold by name, and whether batches are full."""
    about = run.optimizer
    steps = (one.next_step for one in run)
    step = next((one for one in steps if one is not None), None)
    size, full = run.training.get("batch_size"), run.training.get("optimizer") == "gd"
    examples = objective.data["train"].count
    minibatch = 0 if size is None else size if size < examples and not full else None
    words = None if step is None else step.words
    return {
        "kind": about["kind"],
        "name": about["name"],
        "words": words,
        "threshold": words if step is not None and step.uniform and about["kind"] in KINDS else None,
        "minibatch": minibatch,
    }


def _identity(
    run: Trajectory,
    rows: Sequence[int],
    objective: Objective,
    wanted: Along,
    settled: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Everything that decides the numbers: a file with another identity holds other measures."""
    last = run[rows[-1]]
    return {
        **objective.fingerprint(last),
        "run": run.run_id,
        "weights": last.digest,
        "steps": " ".join(map(str, run.steps[rows].tolist())),
        f"{wanted.split} data": objective.data_digest(wanted.split),
        "split": wanted.split,
        "seed": wanted.seed,
        "parameters": wanted.parameters,
        "dtype": wanted.dtype,
        "weight_decay": objective.weight_decay,
        **({} if wanted.products == "auto" else {"products": wanted.products}),
        **{f"{name} settings": dict(settings) for name, settings in settled.items()},
        "measures": " ".join(settled),
        "torch": importlib.metadata.version("torch"),
        "device": objective.device.type,
    }

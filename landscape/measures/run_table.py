"""Measures along training: from a trajectory to a table."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from landscape.errors import LandscapeError
from landscape.files.result import ResultFile
from landscape.measures.along_options import Along
from landscape.measures.computation import Measured, described, globs_of, measure_at, settled_settings, step_after
from landscape.measures.context import MeasureContext
from landscape.measures.registry import measure_named
from landscape.measures.stability import stability_threshold, threshold_words
from landscape.measures.table_store import MEASURES
from landscape.objective import Objective
from landscape.optimizers import KINDS
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
        wanted: What to measure.
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
        _fill(partial, [run[row] for row in rows], objective, wanted, settled, progress, keep, trial)
    return partial.write(partial.value)


def along(run: Trajectory, objective: Objective, names: str | Sequence[str], **options: Any) -> LongTable:
    """Take measures along a run; those of steps need a run that records them.

    Args:
        run: The trajectory.
        objective: Its objective, or another with the same model: critical sharpness is then relative to its data.
        names: Names of measures.
        **options: Those of `landscape measure`: ``at``, ``split``, ``seed``, ``parameters``, ``dtype``,
            ``products``, ``settings``; and ``save``, ``progress``.

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


def _fill(
    partial: ResultFile[Table],
    snapshots: Sequence[Snapshot],
    objective: Objective,
    wanted: Along,
    settled: Mapping[str, Mapping[str, Any]],
    progress: Callable[[int, int], None] | None,
    keep: Callable[[int, Measured], None] | None,
    trial: bool,
) -> None:
    table = partial.value
    tell = progress or (lambda done, total: None)
    context: MeasureContext | None = None
    for row, snapshot in enumerate(snapshots):
        missing = {name: own for name, own in settled.items() if not table[name].done[row]}
        if not missing:
            continue
        context = _context_at(context, snapshot, objective, wanted)
        for name, own in missing.items():
            tell(table.taken, table.size)
            found = measure_at(context, {name: own}, trial=trial and row == len(snapshots) - 1)[name]
            table[name].put(row, found.value, found.standard_error, found.converged)
            partial.flush(row)
            if keep is not None:
                keep(snapshot.step, found)
    tell(table.size, table.size)


def _context_at(
    before: MeasureContext | None, snapshot: Snapshot, objective: Objective, wanted: Along
) -> MeasureContext:
    held, step = Held.of(snapshot, wanted.parameters), step_after(snapshot)
    if before is not None:
        return before.moved(held, step)
    dtype = getattr(torch, wanted.dtype) if wanted.dtype else None
    globs = globs_of(snapshot, wanted.parameters)
    return MeasureContext(
        objective, held, wanted.split, globs, wanted.seed, dtype, step=step, products=wanted.products
    )


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

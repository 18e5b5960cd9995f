"""Checkpoints that exist already -> a trajectory, one at a time, wholly or not at all."""

from __future__ import annotations

import datetime
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.params import Weights, resolve
from landscape.storage import (
    PathLike,
    create,
    digest,
    require_writable,
    safe_point,
    versions,
    write_json_attr,
    write_lines,
)
from landscape.trajectory.checkpoints.element_types import Rounding, dtype_name, require_storable, widens
from landscape.trajectory.checkpoints.files import differ_in_numbers_only, expand, find_paths, natural_order
from landscape.trajectory.checkpoints.name_matches import Match, layout_of_state, match
from landscape.trajectory.checkpoints.readers import Checkpoint, read_checkpoint
from landscape.trajectory.checkpoints.report import Conversion, FileReport, ImportReport, Names, printable
from landscape.trajectory.checkpoints.steps import Moment, check_given, moment_of, named_alike, require_growth
from landscape.trajectory.digests import digests_of, seal_run
from landscape.trajectory.resume import tensor_to_numpy
from landscape.trajectory.schema import groups_of
from landscape.trajectory.trajectory import Trajectory, open_trajectory
from landscape.trajectory.writer import Row, append_row, create_run

Progress: TypeAlias = Callable[[int, int], None]


def import_checkpoints(
    path: PathLike,
    files: PathLike | Sequence[PathLike],
    model_or_layout: Weights | Layout | None = None,
    *,
    problem: str = "",
    problem_args: Mapping[str, Any] | None = None,
    steps: Sequence[int] | None = None,
    steps_per_epoch: int | None = None,
    key: str | None = None,
    missing: str = "refuse",
    extra: str = "ignore",
    cast: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Trajectory, ImportReport]:
    """Import checkpoints as the snapshots of a new trajectory.

    Read are files of ``torch.save`` (.pt, .pth, .bin, .t7), Lightning's .ckpt, .safetensors and folders (Hugging
    Face, DeepSpeed, torch.distributed.checkpoint), one at a time; no code in them is ever run. Nothing is written
    unless all of them fit.

    Args:
        path: The trajectory file to write.
        files: Checkpoints: paths, or patterns such as ``"ckpts/epoch*.pt"``, which expand in natural order. A
            folder that is no checkpoint itself stands for those in it. Names that differ in numbers only are
            taken in natural order unless `steps` is given.
        model_or_layout: What the snapshots are of: a model, a layout, a snapshot or a name -> tensor dictionary.
            None derives it from the first checkpoint; then parameters and buffers are told by name and type.
        problem: The name of the problem that the model belongs to, if `landscape plot` shall rebuild it.
        problem_args: Its arguments.
        steps: The step of each checkpoint; None takes it from the checkpoint or its name.
        steps_per_epoch: Optimizer updates per epoch, where a checkpoint only says its epoch.
        key: Where in a file the weights are (``"model"``, ``"ema.state_dict"``), if there are several.
        missing: ``"refuse"``, or ``"initial"``: take tensors that a file lacks from the model.
        extra: ``"ignore"`` (and report) tensors that the model lacks, or ``"refuse"``.
        cast: Whether numbers may be rounded to a narrower element type of the model.
        overwrite: Replace a file that exists.
        progress: Called with (checkpoints done, checkpoints in all).

    Returns:
        The trajectory and what was found in each file.

    Raises:
        LandscapeError: If a file cannot be read or does not fit, or no steps are known; nothing is written.

    Example:
        >>> run, report = import_checkpoints("imported.h5", "ckpts/epoch*.pt", model, steps_per_epoch=391)
        >>> run.steps, report.files[0].names
        (array([391, 782]), "'module.' stripped")
    """
    path = Path(path)
    _check(path, missing, extra, overwrite)
    paths = [path for given in find_paths(files) for path in (expand(given) if given.is_dir() else [given])]
    if steps is None and differ_in_numbers_only(paths):
        paths = natural_order(paths)
    check_given(steps, steps_per_epoch, paths)
    wanted = _Wanted(missing == "initial", extra == "refuse", cast, steps_per_epoch, named_alike(paths))
    layout: Layout | None = None
    if isinstance(model_or_layout, Layout):
        layout = model_or_layout
    elif model_or_layout is not None:
        layout, wanted.initial = resolve(model_or_layout)
    if wanted.may_miss and not wanted.initial:
        raise LandscapeError(
            "missing tensors can be taken from a model only",
            where="--missing initial",
            mend="pass --problem, or a model",
        )
    attrs = {"problem": problem, "run_id": uuid.uuid4().hex}
    reports: list[FileReport] = []
    with create(path) as file:
        for index, one in enumerate(paths):
            checkpoint = read_checkpoint(one, key, layout)
            given = None if steps is None else steps[index]
            layout = layout_of_state(checkpoint.tensors, one) if layout is None else layout
            if not index:
                _begin(file, layout, attrs, problem_args or {})
            reports.append(_import_one(file, index, checkpoint, layout, given, wanted))
            # Or the next would be read beside it.
            del checkpoint
            safe_point()
            if progress is not None:
                progress(index + 1, len(paths))
        _finish(file, reports)
    run = open_trajectory(path)
    report = ImportReport(str(path), problem, model_or_layout is None, run.layout.parameter_count, tuple(reports))
    return run, report


def _check(path: Path, missing: str, extra: str, overwrite: bool) -> None:
    choices = {"--missing": (missing, ("refuse", "initial")), "--extra": (extra, ("ignore", "refuse"))}
    faults = [
        f"{where} must be {' or '.join(known)}, got {got}"
        for where, (got, known) in choices.items()
        if got not in known
    ]
    if faults:
        raise LandscapeError(" | ".join(faults))
    require_writable(path)
    if path.exists() and not overwrite:
        raise LandscapeError("the file exists", where=path, mend="pass --overwrite to replace it, or another name")


@dataclass
class _Wanted:
    """Options of an import, and its progress so far."""

    may_miss: bool
    no_extra: bool
    cast: bool
    steps_per_epoch: int | None
    alike: bool
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    before: tuple[Path, Moment] | None = None


def _begin(file: h5py.File, layout: Layout, attrs: Mapping[str, Any], problem_args: Mapping[str, Any]) -> None:
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    create_run(file, layout, {**attrs, "created_utc": created})
    write_json_attr(file, "problem_args", dict(problem_args))
    write_json_attr(file, "training", {})
    write_json_attr(file, "versions", versions())


def _finish(file: h5py.File, reports: Sequence[FileReport]) -> None:
    """Say where each snapshot is from; an attribute could not hold as much."""
    keys = ("file", "format", "key", "step_from", "names")
    lines = [json.dumps({key: getattr(report, key) for key in keys}) for report in reports]
    write_lines(file, "imported", lines)
    file.attrs.modify("finished", np.bool_(True))
    seal_run(file)


def _import_one(
    file: h5py.File, index: int, checkpoint: Checkpoint, layout: Layout, given: int | None, wanted: _Wanted
) -> FileReport:
    where = checkpoint.path
    moment = moment_of(checkpoint, given, wanted.steps_per_epoch, alike=wanted.alike)
    require_growth(wanted.before, where, moment)
    wanted.before = (where, moment)
    found = match(layout, checkpoint.tensors, where, may_miss=wanted.may_miss, key=checkpoint.key)
    if found.extra and wanted.no_extra:
        raise LandscapeError("tensors are not in the model", where=where, got=str(Names.of(found.extra)))
    for info in layout:
        if info.name in found.sources:
            name = found.sources[info.name]
            require_storable(checkpoint.tensors[name], name, info, where, cast=wanted.cast)
    conversions = _write(file, index, checkpoint, layout, found, wanted.initial)
    epoch = np.nan if moment.epoch is None else moment.epoch
    append_row(file, index, Row(moment.step, epoch, np.nan, {}, {}))
    return FileReport(
        file=os.fspath(where),
        format=checkpoint.format,
        key=checkpoint.key,
        step=moment.step,
        step_from=moment.source,
        epoch=moment.epoch,
        tensors=len(found.sources),
        names=printable(found.words),
        missing=Names.of(info.name for info in found.missing),
        extra=Names.of(found.extra),
        conversions=conversions,
        notes=(*checkpoint.notes, *found.notes, *_counter_notes(found)),
    )


def _counter_notes(found: Match) -> list[str]:
    """Note which counters of BatchNorm a file lacks, as files of torch before 0.4.1 do."""
    if not found.uncounted:
        return []
    return [f"num_batches_tracked of {len(found.uncounted)} layers is not in the file: that of a new model"]


def _tensor_of(
    info: TensorInfo, checkpoint: Checkpoint, found: Match, initial: Mapping[str, Tensor]
) -> tuple[str, Tensor]:
    """The name that is told of a tensor in reports, and the tensor."""
    name = found.sources.get(info.name)
    if name is not None:
        return name, checkpoint.tensors[name]
    if info.name in initial:
        return info.name, initial[info.name]
    return info.name, torch.zeros(info.shape, dtype=getattr(torch, info.dtype))


def _write(
    file: h5py.File,
    row: int,
    checkpoint: Checkpoint,
    layout: Layout,
    found: Match,
    initial: Mapping[str, Tensor],
) -> tuple[Conversion, ...]:
    """Write all tensors of a snapshot, converted on the way, in memory of one chunk."""
    changed: dict[tuple[str, str], list[str]] = {}
    costs: dict[tuple[str, str], Rounding] = {}
    for group, infos in groups_of(layout).items():
        buffer = _Buffer(file[group], file[digests_of(group)], row)
        for info in infos:
            name, tensor = _tensor_of(info, checkpoint, found, initial)
            types = (dtype_name(tensor), info.dtype)
            if types[0] == types[1]:
                buffer.add(tensor)
                continue
            changed.setdefault(types, []).append(name)
            cost = costs.setdefault(types, Rounding())
            for before, after in buffer.add_in_pieces(tensor):
                if not widens(*types):
                    cost.add(before, after, name, checkpoint.path)
        buffer.finish()
    return tuple(Conversion(*types, Names.of(names), costs[types].relative) for types, names in changed.items())


class _Buffer:
    """One row of a dataset, written chunk by chunk: a chunk that is written twice is read in between."""

    def __init__(self, dataset: h5py.Dataset, digests: h5py.Dataset, row: int) -> None:
        self._dataset, self._digests, self._row = dataset, digests, row
        self._found: list[int] = []
        dataset.resize(row + 1, axis=0)
        width = min(dataset.chunks[1], dataset.shape[1])
        self._numbers = torch.empty(width, dtype=getattr(torch, dataset.name.rsplit("/", 1)[-1]))
        self._column = self._used = 0

    def add(self, tensor: Tensor) -> None:
        """Take in a tensor of the dataset's own element type."""
        for _ in self.add_in_pieces(tensor):
            pass

    def add_in_pieces(self, tensor: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Take in a tensor; each piece is given as it was and as it is stored, before the next is taken."""
        flat = tensor.detach().reshape(-1)
        start = 0
        while start < len(flat):
            count = min(len(flat) - start, len(self._numbers) - self._used)
            stored = self._numbers[self._used : self._used + count]
            before = flat[start : start + count]
            stored.copy_(before)
            yield before, stored
            self._used += count
            start += count
            if self._used == len(self._numbers):
                self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._used:
            values, _ = tensor_to_numpy(self._numbers[: self._used])
            self._dataset[self._row, self._column : self._column + self._used] = values
            self._found.append(digest(values))
            safe_point()
        self._column += self._used
        self._used = 0

    def finish(self) -> None:
        """Write what is held, and the digests of all chunks."""
        self.flush()
        self._digests.resize(self._row + 1, axis=0)
        self._digests[self._row] = np.array(self._found or [digest(np.empty(0, self._dataset.dtype))], np.uint64)

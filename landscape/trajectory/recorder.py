"""Writing a trajectory, snapshot by snapshot, so that a killed process loses at most the one in flight."""

from __future__ import annotations

import datetime
import io
import operator
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.params import Weights, require_same_shapes, resolve
from landscape.storage import (
    FAULTS,
    PathLike,
    change,
    create,
    damage,
    integer_attr,
    open_read,
    read_attr,
    require_writable,
    versions,
    write_json_attr,
)
from landscape.trajectory.resume import read_state, tensor_to_numpy, write_state
from landscape.trajectory.schema import FORMAT, SCHEMA, Header, count_of, groups_of, read_header
from landscape.trajectory.writer import Row, append_row, compact, create_run

_RESERVED = {
    "format",
    "schema",
    "problem",
    "problem_args",
    "seed",
    "run_id",
    "created_utc",
    "versions",
    "training",
}
_RESERVED |= {"finished", "n_valid", "parent_run_id", "parent_step", "perturbation"}


class Recorder:
    """Records snapshots of a model into a trajectory file.

    The file is opened, changed and closed for every snapshot, and each change happens wholly or not at all.
    Left without an exception, the run is marked as finished; with one, it can be resumed.

    Args:
        path: The file.
        model: The model to be recorded, or anything that stands for its weights.
        problem: The name of the recipe that built the objective.
        problem_args: The arguments of that recipe: plain JSON values.
        seed: The seed of the run.
        training: The settings of the optimizer and the loop: plain JSON values.
        overwrite: Replace a file (or branch) that exists.
        resume: Go on with a run that is not finished; begin one where there is none.
        extra_attrs: Further attributes of the file.
        branch: Write a branch of this name into an existing trajectory file.
        parent_run_id: For a branch: the run it starts from.
        parent_step: For a branch: the step it starts from.
        perturbation: For a branch: what was done to the weights there: plain JSON values.

    Raises:
        LandscapeError: If the file exists and neither `overwrite` nor `resume` is given, cannot be written, or
            is to be resumed and is finished or of another layout.

    Example:
        >>> with Recorder("run.h5", model, problem="mine", seed=0) as recorder:
        ...     for step in range(0, 1000, 10):
        ...         recorder.snapshot(step, train_loss=train(model, updates=10))
    """

    def __init__(
        self,
        path: PathLike,
        model: Weights,
        *,
        problem: str = "",
        problem_args: Mapping[str, Any] | None = None,
        seed: int | None = None,
        training: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        resume: bool = False,
        extra_attrs: Mapping[str, Any] | None = None,
        branch: str | None = None,
        parent_run_id: str | None = None,
        parent_step: int | None = None,
        perturbation: Any = None,
    ) -> None:
        self.path = Path(path)
        self._model = model
        self.layout: Layout = resolve(model)[0]
        self._prefix = "/" if branch is None else f"/branches/{_plain_name(branch, 'branch')}"
        self._check_modes(overwrite, resume)
        require_writable(self.path)
        exists = self._exists()
        if exists and resume:
            self._continue()
            return
        self.run_id = uuid.uuid4().hex
        self._count = self._stored = 0
        self._last_step: int | None = None
        self.finished = False
        attrs = {"problem": problem, "run_id": self.run_id, **_checked_extra(extra_attrs or {})}
        attrs["created_utc"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        numbers = {"seed": seed, "parent_step": parent_step}
        attrs |= {name: np.int64(value) for name, value in numbers.items() if value is not None}
        attrs |= {} if parent_run_id is None else {"parent_run_id": parent_run_id}
        settings = {"problem_args": dict(problem_args or {}), "training": dict(training or {})}
        settings |= {"versions": versions()} | ({} if perturbation is None else {"perturbation": perturbation})
        self._create(attrs, settings, replace=exists)

    def _check_modes(self, overwrite: bool, resume: bool) -> None:
        if overwrite and resume:
            raise LandscapeError("overwrite and resume exclude each other", where=self.path)
        if self._prefix != "/" and not self.path.exists():
            raise LandscapeError("no such file to write a branch into", where=self.path)
        if self._exists() and not (overwrite or resume):
            thing = "the file exists" if self._prefix == "/" else f"the file has '{self._prefix}' already"
            raise LandscapeError(
                thing, where=self.path, mend="pass overwrite=True to replace it or resume=True to go on with it"
            )

    def _exists(self) -> bool:
        if self._prefix == "/" or not self.path.is_file():
            return self.path.is_file()
        with open_read(self.path, format=FORMAT, schema=SCHEMA) as file:
            return self._prefix in file

    def _create(self, attrs: Mapping[str, Any], settings: Mapping[str, Any], *, replace: bool) -> None:
        def fill(group: h5py.Group) -> None:
            create_run(group, self.layout, attrs)
            for name, value in settings.items():
                write_json_attr(group, name, value)

        if self._prefix == "/":
            with create(self.path) as file:
                fill(file)
            return
        with change(self.path) as under_way, damage(self.path):
            if replace:
                del under_way.file[self._prefix]
            fill(under_way.file.create_group(self._prefix))

    def _continue(self) -> None:
        with open_read(self.path, format=FORMAT, schema=SCHEMA) as file:
            header = read_header(file, self.path, self._prefix)
            # More than there are snapshots where a dataset lost some.
            self._stored = integer_attr(file[self._prefix], "n_valid")
        if header.finished:
            raise LandscapeError(
                "the run is finished and cannot be resumed",
                where=self.path,
                mend="pass overwrite=True to replace it",
            )
        _require_same_layout(header, self.layout)
        self.layout = header.layout
        self.run_id = header.run_id
        self._count = len(header.steps)
        self._last_step = int(header.steps[-1]) if self._count else None
        self.finished = False

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self.finished:
            self.finish()

    @property
    def last_step(self) -> int | None:
        """The step of the newest snapshot, or None before the first."""
        return self._last_step

    def snapshot(
        self,
        step: int,
        *,
        epoch: float | None = None,
        seconds: float | None = None,
        weights: Weights | None = None,
        resume_state: Mapping[str, Any] | None = None,
        **metrics: float,
    ) -> None:
        """Append a snapshot.

        Args:
            step: Optimizer updates so far; larger than at the snapshot before.
            epoch: Epochs so far.
            seconds: Training time so far.
            weights: What to record instead of the model, of the same layout.
            resume_state: What is needed to go on from here; replaces the state before, in the same change.
            **metrics: Name -> value, such as ``train_loss``; a name may appear first at any snapshot.

        Raises:
            LandscapeError: If the step does not grow, a tensor has another shape or type, or the file was
                changed by someone else.
        """
        self._require_open()
        step = operator.index(step)
        if self._last_step is not None and step <= self._last_step:
            raise LandscapeError(
                "steps must grow from snapshot to snapshot",
                where=self.path,
                got=step,
                expected=f"more than {self._last_step}",
            )
        row = Row(
            step=step,
            epoch=np.nan if epoch is None else float(epoch),
            seconds=np.nan if seconds is None else float(seconds),
            metrics={_plain_name(name, "metric"): float(value) for name, value in metrics.items()},
            values=self._values(self._model if weights is None else weights),
        )
        with change(self.path) as under_way:
            run = self._run(under_way.file)
            with damage(self.path):
                append_row(run, self._count, row)
            if resume_state is not None:
                write_state(under_way, run, dict(resume_state), self._count + 1)
        self._count += 1
        self._stored, self._last_step = self._count, step

    def _values(self, weights: Weights) -> dict[str, NDArray[Any]]:
        """Each dataset's columns, from a model or a dictionary."""
        tensors = weights if isinstance(weights, Mapping) else resolve(weights)[1]
        require_same_shapes(self.layout, tensors, "snapshot")
        values = {}
        for group, infos in groups_of(self.layout).items():
            for info in infos:
                dtype = str(tensors[info.name].dtype).removeprefix("torch.")
                if dtype != info.dtype:
                    what = f"tensor '{info.name}' has another element type"
                    raise LandscapeError(what, where="snapshot", got=dtype, expected=info.dtype)
            flat = torch.cat([tensors[info.name].detach().reshape(-1) for info in infos])
            values[group] = tensor_to_numpy(flat)[0]
        return values

    def _require_open(self) -> None:
        if self.finished:
            raise LandscapeError("the run is finished; nothing can be added to it", where=self.path)

    def _run(self, file: h5py.File) -> h5py.Group:
        """The group of the run, if nobody else has touched it."""
        with damage(self.path):
            run = file.get(self._prefix)
            ours = run is not None and (read_attr(run, "run_id"), integer_attr(run, "n_valid")) == (
                self.run_id,
                self._stored,
            )
        if not ours:
            raise LandscapeError(
                "the file was changed by someone else while it was recorded",
                where=self.path,
                mend="give every run a file of its own",
            )
        return run

    def save_resume_state(self, state: Mapping[str, Any]) -> None:
        """Store what is needed to go on from the newest snapshot; replaces what was stored before.

        Args:
            state: Nested dictionaries (keys: strings, integers), lists and tuples of numbers, strings, booleans,
                None, tensors and NumPy arrays.

        Raises:
            LandscapeError: If something else is in it.
        """
        self._require_open()
        with change(self.path) as under_way:
            write_state(under_way, self._run(under_way.file), dict(state), self._count)

    def load_resume_state(self) -> dict[str, Any] | None:
        """The state stored last, and go on from the snapshot it goes with.

        Snapshots after that one stay in the file until the next is recorded, which takes the place of the
        first of them.

        Returns:
            The same values, tensors on the CPU; None if none was stored.
        """
        self._require_open()
        with open_read(self.path, format=FORMAT, schema=SCHEMA) as file:
            run = self._run(file)
            with damage(self.path):
                found = read_state(run)
                if found is None:
                    return None
                state, count = found
                last = int(run["steps/step"][count - 1]) if count else None
                if count > count_of(run):
                    raise LookupError("a resume state without its snapshot")
        self._count, self._last_step = count, last
        return state

    def finish(self) -> None:
        """Mark the run as finished and remove its resume state; nothing can be added afterwards."""
        self._require_open()
        with change(self.path) as under_way:
            run = self._run(under_way.file)
            run.attrs.modify("finished", np.bool_(True))
            resumable = "resume" in run
            if resumable:
                del run["resume"]
        self.finished = True
        if resumable:
            compact(self.path)


def _plain_name(name: str, what: str) -> str:
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise LandscapeError(f"not a name for a {what}", got=repr(name), expected="one without '/'")
    return name


def _checked_extra(attrs: Mapping[str, Any]) -> dict[str, Any]:
    taken = sorted(_RESERVED & attrs.keys())
    if taken:
        raise LandscapeError(
            "these attributes are written by the recorder", where="extra_attrs", got=", ".join(taken)
        )
    with h5py.File(io.BytesIO(), "w") as trial:
        for name, value in attrs.items():
            try:
                trial.attrs[name] = value
            except FAULTS as error:
                raise LandscapeError(
                    "cannot be stored as an attribute",
                    where=f"extra_attrs[{name!r}]",
                    got=type(value).__name__,
                    expected="a short text, a number, a truth value or a small array of numbers",
                ) from error
    return dict(attrs)


def _require_same_layout(header: Header, layout: Layout) -> None:
    """The run's tensors are the model's: names, shapes, element types."""
    ours = {info.name: info for info in layout}
    for info in header.layout:
        where = header.path
        if info.name not in ours:
            raise LandscapeError(f"tensor '{info.name}' of the run is not in the model", where=where)
        mine = ours.pop(info.name)
        if (mine.shape, mine.dtype) != (info.shape, info.dtype):
            raise LandscapeError(
                f"tensor '{info.name}' of the run differs from the model's",
                where=where,
                got=f"{mine.dtype} {mine.shape}",
                expected=f"{info.dtype} {info.shape}",
            )
    if ours:
        raise LandscapeError(f"tensor '{next(iter(ours))}' of the model is not in the run", where=header.path)

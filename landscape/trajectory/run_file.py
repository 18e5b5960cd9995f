"""The file of a run that is being recorded: every change happens wholly or not at all. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.storage import (
    change,
    create,
    damage,
    integer_attr,
    open_read,
    read_attr,
    require_writable,
    write_json_attr,
)
from landscape.trajectory.digests import ROOMS, reseal, seal_run, stamp
from landscape.trajectory.resume import Arrays, read_state, remove_states, write_state
from landscape.trajectory.schema import FORMAT, SCHEMA, WITHOUT_STEPS, Header, count_of, read_header
from landscape.trajectory.steps import write_step
from landscape.trajectory.validation import require_same_layout
from landscape.trajectory.writer import Row, append_row, compact, create_run

# The groups of a run whose datasets have a row per snapshot.
_ROOMS = (*ROOMS, "digests")


def copy_thinned(source: h5py.File, target: h5py.File, prefix: str, rows: Sequence[int]) -> None:
    """Copy a file, of one run only some snapshots; a snapshot's bits are the same afterwards.

    A resume state is left out where the snapshot that it goes with is.

    Args:
        source: The file.
        target: An empty file.
        prefix: The group of the run.
        rows: The snapshots that stay, in order.
    """
    names = [name for name in prefix.split("/") if name]
    _copy(source, target, names, rows)
    run = target[prefix]
    run.attrs.modify("n_valid", np.int64(len(rows)))
    home = run.get("resume")
    if home is not None and "valid" in home.attrs:
        state = home[read_attr(home, "valid")]
        count = integer_attr(state, "n_valid")
        if count == 0 or count - 1 in rows:
            state.attrs.modify("n_valid", np.int64(sum(row < count for row in rows)))
        else:
            del run["resume"]


def _copy(source: h5py.Group, target: h5py.Group, names: Sequence[str], rows: Sequence[int]) -> None:
    """Copy a group; the rows are chosen in the run that the names lead to."""
    target.attrs.update(source.attrs)
    for name in source:
        if names and name == names[0]:
            _copy(source[name], target.create_group(name), names[1:], rows)
        elif not names and name in _ROOMS:
            room = target.create_group(name)
            for key, dataset in source[name].items():
                _copy_rows(dataset, room, key, rows)
        else:
            source.copy(name, target)


def _copy_rows(dataset: h5py.Dataset, room: h5py.Group, name: str, rows: Sequence[int]) -> None:
    copied = room.create_dataset(
        name,
        shape=(len(rows), *dataset.shape[1:]),
        maxshape=dataset.maxshape,
        chunks=dataset.chunks,
        dtype=dataset.dtype,
        fletcher32=dataset.fletcher32,
        fillvalue=dataset.fillvalue,
    )
    for index, row in enumerate(rows):
        copied[index] = dataset[row]


@dataclass
class RunFile:
    """The run under a group of a file, as its only writer knows it.

    Attributes:
        path: The file.
        prefix: The group.
        run_id: That of the run; another one in its place is noticed.
        stored: The number of snapshots in the file.
        reopened: Whether a finished run goes on: the next snapshot says so.
        training: What that says of the training; None leaves what is there.
    """

    path: Path
    prefix: str
    run_id: str
    stored: int = 0
    reopened: bool = False
    training: Mapping[str, Any] | None = None

    @classmethod
    def resumed(
        cls,
        path: Path,
        prefix: str,
        layout: Layout,
        *,
        reopen: bool = False,
        training: Mapping[str, Any] | None = None,
    ) -> tuple[RunFile, Header]:
        """The file of a run to go on with, and what is in it.

        Args:
            path: The file.
            prefix: The group.
            layout: The tensors of its snapshots.
            reopen: Go on with a finished run too.
            training: What a reopened run says of its training from its next snapshot on; None leaves what is
                there.

        Raises:
            LandscapeError: If the run is finished, or of another layout.
        """
        with open_read(path, format=FORMAT, schema=SCHEMA) as file:
            header = read_header(file, path, prefix)
            # More than there are snapshots where a dataset lost some.
            stored = integer_attr(file[prefix], "n_valid")
        if header.finished and not reopen:
            mend = "pass reopen=True to go on, or overwrite=True to replace it"
            raise LandscapeError("the run is finished and cannot be resumed", where=path, mend=mend)
        require_same_layout(header, layout)
        return cls(path, prefix, header.run_id, stored, reopen, training), header

    def exists(self) -> bool:
        """Return whether the file holds this run."""
        if self.prefix == "/" or not self.path.is_file():
            return self.path.is_file()
        with open_read(self.path, format=FORMAT, schema=SCHEMA) as file:
            return self.prefix in file

    def require_mode(self, *, overwrite: bool, resume: bool) -> None:
        """Check that it is clear what to do with a run that is there.

        Raises:
            LandscapeError: If it is not, or there is no file for a branch.
        """
        if overwrite and resume:
            raise LandscapeError("overwrite and resume exclude each other", where=self.path)
        if self.prefix != "/" and not self.path.exists():
            raise LandscapeError("no such file to write a branch into", where=self.path)
        if self.exists() and not (overwrite or resume):
            thing = "the file exists" if self.prefix == "/" else f"the file has '{self.prefix}' already"
            raise LandscapeError(
                thing, where=self.path, mend="pass overwrite=True to replace it or resume=True to go on with it"
            )
        require_writable(self.path)

    def create(
        self,
        layout: Layout,
        storage: str | None,
        attrs: Mapping[str, Any],
        settings: Mapping[str, Any],
        *,
        replace: bool,
        optimizer: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the run without snapshots.

        Args:
            layout: The tensors of its snapshots.
            storage: The element type that wider parameters are rounded to, if any.
            attrs: Plain attributes of it, its ``run_id`` among them.
            settings: Attributes that are stored as JSON.
            replace: Whether there is another run in its place.
            optimizer: What is recorded of the steps of which optimizer, if any.
        """

        def fill(group: h5py.Group) -> None:
            create_run(group, layout, attrs, storage, optimizer)
            for name, value in settings.items():
                write_json_attr(group, name, value)
            seal_run(group)

        if self.prefix == "/":
            with create(self.path) as file:
                fill(file)
            return
        with change(self.path) as under_way, damage(self.path):
            file = under_way.file
            if replace:
                del file[self.prefix]
            fill(file.create_group(self.prefix))
            # A version that cannot read a branch must not open the file.
            needed = SCHEMA if optimizer else WITHOUT_STEPS
            if integer_attr(file, "schema", default=1) < needed:
                file.attrs.modify("schema", np.int64(needed))
            reseal(file)

    def append(self, count: int, row: Row, state: Arrays | None) -> None:
        """Write a snapshot behind the first `count`, and the state that goes with it, if any."""
        with change(self.path) as under_way:
            run = self._run(under_way.file)
            with damage(self.path):
                append_row(run, count, row)
            reopened = self._reopen(run)
            if state is not None:
                write_state(under_way, run, state, count + 1)
            (reseal if reopened else stamp)(run)
        self.stored, self.reopened = count + 1, False

    def thin(self, rows: Sequence[int], recording: Mapping[str, Any], row: Row, state: Arrays | None) -> None:
        """Drop snapshots and write one behind those that stay: the file is rewritten and then renamed.

        A resume state stays if its snapshot does.

        Args:
            rows: The snapshots that stay.
            recording: What the run says from then on of how it is recorded.
            row: The snapshot.
            state: The state that goes with it, if any.
        """
        with open_read(self.path, format=FORMAT, schema=SCHEMA) as source, create(self.path) as target:
            self._run(source)
            with damage(self.path):
                copy_thinned(source, target, self.prefix, rows)
            run = target[self.prefix]
            write_json_attr(run, "recording", recording)
            append_row(run, len(rows), row)
            self._reopen(run)
            if state is not None:
                run.pop("resume", None)
                write_state(None, run, state, len(rows) + 1)
            reseal(run)
        self.stored, self.reopened = len(rows) + 1, False

    def add_step(self, row: int, values: Mapping[str, NDArray[Any]]) -> None:
        """Write the optimizer step that followed a snapshot.

        Args:
            row: The snapshot.
            values: Dataset -> its columns.
        """
        with change(self.path) as under_way:
            run = self._run(under_way.file)
            with damage(self.path):
                write_step(run, row, values)
            stamp(run)

    def save_state(self, state: Arrays, count: int) -> None:
        """Store the state that goes with the first `count` snapshots."""
        with change(self.path) as under_way:
            run = self._run(under_way.file)
            write_state(under_way, run, state, count)
            stamp(run)

    def load_state(self) -> tuple[dict[str, Any], int] | None:
        """The state that counts and the number of snapshots it goes with, or None where there is none."""
        with open_read(self.path, format=FORMAT, schema=SCHEMA) as file:
            run = self._run(file)
            with damage(self.path):
                found = read_state(run)
                if found is not None and found[1] > count_of(run):
                    raise LookupError("a resume state without its snapshot")
        return found

    def finish(self, count: int, *, keep_state: bool = False) -> None:
        """Say that the run is finished with its first `count` snapshots.

        Args:
            count: How many snapshots count.
            keep_state: Leave the resume state of the last of them, and remove any other; by default all go.
        """
        with change(self.path) as under_way:
            run = self._run(under_way.file)
            self._reopen(run)
            run.attrs.modify("finished", np.bool_(True))
            if count < self.stored:
                run.attrs.modify("n_valid", np.int64(count))
            removed = remove_states(run, count if keep_state else None)
            reseal(run)
        self.reopened = False
        if removed:
            compact(self.path)

    def _reopen(self, run: h5py.Group) -> bool:
        if not self.reopened:
            return False
        run.attrs.modify("finished", np.bool_(False))
        if self.training is not None:
            write_json_attr(run, "training", dict(self.training))
        return True

    def _run(self, file: h5py.File) -> h5py.Group:
        """The group of the run, if nobody else has touched it."""
        with damage(self.path):
            run = file.get(self.prefix)
            ours = run is not None and (read_attr(run, "run_id"), integer_attr(run, "n_valid")) == (
                self.run_id,
                self.stored,
            )
        if not ours:
            raise LandscapeError(
                "the file was changed by someone else while it was recorded",
                where=self.path,
                mend="give every run a file of its own",
            )
        return run


def adopt_branch(path: Path, name: str, part: Path) -> None:
    """Copy the run of a file into a branch of another file, wholly or not at all.

    Args:
        path: The file that gets the branch.
        name: The branch, which it has not.
        part: A file of one finished run.
    """
    with open_read(part, format=FORMAT, schema=SCHEMA) as source, change(path) as under_way, damage(path):
        run = under_way.file.create_group(f"/branches/{name}")
        for item in source:
            source.copy(item, run)
        run.attrs.update(source.attrs)
        if integer_attr(run, "schema", default=1) > WITHOUT_STEPS:
            under_way.file.attrs.modify("schema", np.int64(SCHEMA))
        reseal(run)
        reseal(under_way.file)

"""The surface file: written beside readers, refused where it is not what was written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from spoiling import SPOILT, edited, put, spoilt

from landscape import journal
from landscape.errors import LandscapeError
from landscape.surface import Grid, Path, Surface, grid, read_surface, save_surface
from landscape.surface.store import PartialSurface
from landscape.surface.summary import describe_surface

GRID = grid((4, 3))
IDENTITY = {"weights": "abc", "batch_size": 7}


class Estimate(NamedTuple):
    mean: float
    standard_error: float


def begin(path: FilePath, over: Grid = GRID) -> PartialSurface:
    return PartialSurface.open(path, over, ["train_loss"], IDENTITY, {"kind": "surface"}, {})


def fill(partial: PartialSurface, rows: range = range(3)) -> None:
    for row in rows:
        for column in range(4):
            partial.put(row, column, {"train_loss": Estimate(10 * row + column, 0.5)})
        partial.flush(row)


def whole() -> Surface:
    values = np.arange(12.0).reshape(3, 4)
    walk = Path(np.arange(3), *(np.arange(3.0) + i for i in range(5)))
    return Surface(GRID.x, GRID.y, {"train_loss": values}, {"train_loss": values / 10}, None, {"a": 1}, walk)


def refused(path: FilePath) -> str:
    with pytest.raises(LandscapeError) as caught:
        read_surface(path)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["here", "r"])
def test_a_reader_that_stays_does_not_stop_the_writer(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    quiet, held = tmp_path / "quiet.h5", tmp_path / "held.h5"
    for path in (quiet, held):
        fill(begin(path), range(1))
    partial = begin(quiet)
    fill(partial, range(1, 3))
    partial.finish(None)
    partial = begin(held)
    if mode == "here":
        with h5py.File(held, "r"):
            fill(partial, range(1, 3))
            partial.finish(None)
    else:
        code = "import h5py, sys; f = h5py.File(sys.argv[1], 'r'); print('open', flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", code, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            fill(partial, range(1, 3))
            partial.finish(None)
            reader.kill()
    assert held.read_bytes() == quiet.read_bytes()


def test_a_writer_that_stays_is_an_error_of_one_line(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.h5"
    partial = begin(path)
    monkeypatch.setattr(journal, "_PATIENCE", 0.05)
    with (
        h5py.File(path, "a"),
        pytest.raises(LandscapeError, match=f"^{re.escape(str(path))}: another process is writing this file$"),
    ):
        partial.flush(0)


def test_a_partial_file_keeps_its_structure_while_it_grows(tmp_path: FilePath) -> None:
    path = tmp_path / "s.h5"
    partial = begin(path)
    before = path.read_bytes()
    with h5py.File(path, "r") as file:
        ranges = [
            range(item.id.get_offset(), item.id.get_offset() + item.id.get_storage_size())
            for item in (file["train_loss"], file["standard_error/train_loss"], file["done"], file["digests/rows"])
        ]
    fill(partial)
    after = path.read_bytes()
    assert len(after) == len(before)
    changed = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
    assert all(any(place in one for one in ranges) for place in changed.tolist())


def test_values_go_before_what_says_that_they_are_done(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.h5"
    partial = begin(path)
    with h5py.File(path, "r") as file:
        done = file["done"].id.get_offset()
        values = file["train_loss"].id.get_offset()
    written: list[int] = []
    whole_write = journal._write_fully
    monkeypatch.setattr(
        journal, "_write_fully", lambda raw, offset, data: written.append(offset) or whole_write(raw, offset, data)
    )
    fill(partial, range(1))
    assert written.index(values) < written.index(done)


def test_a_file_taken_by_another_slice_is_left_alone(tmp_path: FilePath) -> None:
    path = tmp_path / "s.h5"
    partial = begin(path)
    save_surface(whole(), path)
    before = path.read_bytes()
    mend = "give every slice a file of its own"
    expected = f"{path}: the file was changed by someone else while it was computed; {mend}"
    with pytest.raises(LandscapeError, match=f"^{re.escape(expected)}$"):
        partial.flush(0)
    assert path.read_bytes() == before


def test_a_file_removed_meanwhile(tmp_path: FilePath) -> None:
    partial = begin(tmp_path / "s.h5")
    (tmp_path / "s.h5").unlink()
    with pytest.raises(LandscapeError, match=f"^{re.escape(str(tmp_path))}/s.h5: no such file$"):
        partial.flush(0)


def test_a_pipe_is_refused(tmp_path: FilePath) -> None:
    os.mkfifo(tmp_path / "s.h5")
    with pytest.raises(LandscapeError, match=r"this is a pipe or a device; expected a file$"):
        begin(tmp_path / "s.h5")


def test_a_whole_surface_comes_back(tmp_path: FilePath) -> None:
    path = tmp_path / "deep" / "s.h5"
    save_surface(whole(), path)
    read = read_surface(path)
    assert np.array_equal(read.values, whole().values)
    assert read.path is not None
    assert read.path.step.tolist() == [0, 1, 2]
    assert read.complete


@pytest.mark.parametrize(
    "name", ["x", "y", "train_loss", "standard_error/train_loss", "path/step", "path/x", "path/plane_loss"]
)
def test_a_digest_guards_every_value_of_a_complete_file(tmp_path: FilePath, name: str) -> None:
    path = tmp_path / "s.h5"
    save_surface(whole(), path)
    with h5py.File(path, "a") as file:
        file[name][...] = np.nextafter(file[name][...], 99).astype(file[name].dtype) + (name == "path/step")
    got = "row 0 is" if name.endswith("train_loss") else "something in it is"
    assert (
        refused(path)
        == f"{path}: the surface file is damaged; got {got} not what was written; restore it from a copy"
    )


def test_digests_guard_a_partial_file_too(tmp_path: FilePath) -> None:
    path = tmp_path / "s.h5"
    fill(begin(path), range(2))
    assert read_surface(path).done is not None
    with h5py.File(path, "a") as file:
        file["train_loss"][1, 1] += 1
    assert "got row 1 is not what was written" in refused(path)


@pytest.mark.parametrize(
    ("name", "value", "got"),
    [
        ("meta", "[1]", "attribute 'meta' is not a JSON object"),
        ("identity", "3", "attribute 'identity' is not a JSON object"),
        ("fields", "3", "attribute 'fields' is not a list of names"),
        ("fields", "[]", "attribute 'fields' is not a list of names"),
        ("fields", "[1]", "attribute 'fields' is not a list of names"),
        ("complete", "x", "attribute 'complete' is not what 'done' says"),
        ("identity", None, "attribute 'identity' is not a JSON object"),
        ("meta", None, "attribute 'meta' is not a JSON object"),
        ("complete", None, "attribute 'complete' is not what 'done' says"),
    ],
)
def test_attributes_that_are_wrong_or_missing(tmp_path: FilePath, name: str, value: Any, got: str) -> None:
    path = tmp_path / "s.h5"
    save_surface(whole(), path)
    with edited(path) as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    assert refused(path) == f"{path}: the surface file is damaged; got {got}; restore it from a copy"
    with pytest.raises(LandscapeError, match="the surface file is damaged"):
        begin(path)


@pytest.mark.parametrize(
    ("name", "values", "got"),
    [
        ("x", np.zeros((2, 2)), "dataset 'x' is of another type"),
        ("y", np.zeros(5), "dataset 'done' is of another shape"),
        ("done", np.zeros((3, 4)), "dataset 'done' is of another type"),
        ("done", np.zeros((4, 3), bool), "dataset 'done' is of another shape"),
        ("done", np.zeros((3, 4), bool), "attribute 'complete' is not what 'done' says"),
        ("train_loss", np.zeros((4, 3)), "dataset 'train_loss' is of another shape"),
        ("train_loss", np.zeros((3, 4), int), "dataset 'train_loss' is of another type"),
        ("standard_error/train_loss", np.zeros(4), "dataset 'standard_error/train_loss' is of another type"),
        ("path/x", np.zeros(2), "dataset 'path/x' is of another shape"),
    ],
)
def test_datasets_of_the_wrong_kind(tmp_path: FilePath, name: str, values: Any, got: str) -> None:
    path = tmp_path / "s.h5"
    save_surface(whole(), path)
    with edited(path) as file:
        del file[name]
        file[name] = values
    assert refused(path) == f"{path}: the surface file is damaged; got {got}; restore it from a copy"


@pytest.mark.parametrize("complete", [True, False])
def test_flipped_bytes_never_end_in_a_traceback(tmp_path: FilePath, complete: bool) -> None:
    path = tmp_path / "s.h5"
    done = np.arange(12).reshape(3, 4) < 7
    save_surface(whole() if complete else replace(whole(), done=done), path, identity=IDENTITY)
    content = path.read_bytes()
    expected = read_surface(path)
    kept = 0
    for copy in spoilt(content):
        put(path, copy)
        with contextlib.suppress(LandscapeError):
            begin(path)
        put(path, copy)
        with contextlib.suppress(LandscapeError):
            read = read_surface(path)
            json.dumps(describe_surface(path))
            kept += 1
            assert not complete or np.array_equal(read.values, expected.values)
    assert 0 < kept < SPOILT

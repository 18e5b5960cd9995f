"""Recording at a pace, in bounded room, rounded, in the background: what is in the file is what was there."""

from __future__ import annotations

import functools
import json
import math
import multiprocessing
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import make_convnet, state_of
from hypothesis import given
from hypothesis import strategies as st
from killing import run_to_the_end, started
from spoiling import edited
from torch import nn

from landscape.errors import LandscapeError
from landscape.params import digest, layout_of, resolve
from landscape.storage import open_read
from landscape.trajectory import Recorder, Trajectory, open_trajectory, summary
from landscape.trajectory.background import BACKLOG, _working
from landscape.trajectory.run_file import RunFile
from landscape.trajectory.schedule import Pace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def message(text: str) -> str:
    return f"^{re.escape(text)}$"


def fill(model: nn.Module, step: int) -> None:
    """Weights that a step decides."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for tensor in resolve(model)[1].values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def digest_at(model: nn.Module, step: int) -> str:
    fill(model, step)
    return digest(state_of(model))


def offer_all(recorder: Recorder, model: nn.Module, steps: range, **options: Any) -> list[bool]:
    recorded = []
    for step in steps:
        fill(model, step)
        recorded.append(recorder.snapshot(step, train_loss=step / 2, **options))
    return recorded


def digests(run: Trajectory) -> dict[int, str]:
    return {snapshot.step: snapshot.digest for snapshot in run}


def test_every(path: Path) -> None:
    model = nn.Linear(3, 2)
    with Recorder(path, model, every=5) as recorder:
        assert [recorder.due(step) for step in (0, 1, 5)] == [True, False, True]
        assert [s for s, was in enumerate(offer_all(recorder, model, range(13))) if was] == [0, 5, 10]
        assert (len(recorder), recorder.last_step) == (3, 10)
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 5, 10]
    assert run.recording == {"every": 5}
    assert digests(run) == {step: digest_at(model, step) for step in (0, 5, 10)}


def test_the_last_state_is_held_where_that_is_asked_for(path: Path) -> None:
    model = nn.Linear(3, 2)
    with Recorder(path, model, every=5) as recorder:
        offer_all(recorder, model, range(12))
        fill(model, 12)
        assert recorder.snapshot(12, hold=True, train_loss=6.0) is False
        fill(model, 99)
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 5, 10, 12]
    assert run[-1].digest == digest_at(model, 12)
    assert run.metrics["train_loss"].tolist() == [0.0, 2.5, 5.0, 6.0]


@pytest.mark.parametrize(("name", "least"), [("every", 1), ("keep", 2)])
@pytest.mark.parametrize("value", [0, -3, 1.5, "2", True])
def test_what_is_no_pace(path: Path, name: str, least: int, value: Any) -> None:
    expected = f"{name}: not a number of snapshots; got {value!r}; expected a whole number, {least} or more"
    with pytest.raises(LandscapeError, match=message(expected)):
        Recorder(path, nn.Linear(2, 1), **{name: value})
    assert not path.exists()


@given(
    every=st.none() | st.integers(1, 7),
    keep=st.integers(2, 9),
    count=st.integers(1, 300),
    gap=st.integers(1, 50),
)
def test_any_run_is_thinned_evenly(every: int | None, keep: int, count: int, gap: int) -> None:
    pace, steps, offered = Pace(every, keep), [], 0
    candidates = [index * (every or gap) for index in range(count)]
    for step in candidates:
        offered += 1
        turn = pace.turn(steps, step, offered)
        if turn is not None:
            steps, pace, offered = [*(steps[row] for row in turn.rows), step], turn.pace, 0
        assert len(steps) <= keep
    stride = pace.stride * (every or gap)
    assert steps == [index * stride for index in range(len(steps))]
    assert candidates[-1] - steps[-1] < 2 * stride
    # Never fewer than half of what may be there, but for the first one.
    assert count < keep or len(steps) >= keep // 2 + 1 - (keep % 2)
    room = pace.room(steps)
    assert len(room.rows) < keep
    assert room.rows[0] == 0


def test_keep_is_as_if_only_those_had_been_recorded(path: Path, tmp_path: Path) -> None:
    model = make_convnet()
    with Recorder(path, model, keep=6) as recorder:
        offer_all(recorder, model, range(41))
        assert len(recorder) <= 6
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 8, 16, 24, 32, 40]
    assert run.recording == {"keep": 6, "stride": 8}
    with Recorder(tmp_path / "plain.h5", model) as recorder:
        offer_all(recorder, model, range(0, 41, 8))
    plain = open_trajectory(tmp_path / "plain.h5")
    assert digests(run) == digests(plain)
    assert run.metrics["train_loss"].tolist() == plain.metrics["train_loss"].tolist()
    for block, other in zip(run.column_blocks(), plain.column_blocks(), strict=True):
        np.testing.assert_array_equal(block.values, other.values)


@pytest.mark.parametrize("count", range(1, 30))
@pytest.mark.parametrize("keep", [2, 3, 4, 7])
@pytest.mark.parametrize("every", [None, 3])
def test_the_first_and_the_last_are_always_there(path: Path, keep: int, count: int, every: int | None) -> None:
    model = nn.Linear(1, 1)
    steps = range(0, count * (every or 1), every or 1)
    with Recorder(path, model, keep=keep, every=every) as recorder:
        offer_all(recorder, model, steps)
    run = open_trajectory(path)
    assert len(run) <= keep
    assert run.steps[0] == 0
    assert run.steps[-1] == steps[-1]
    assert digests(run) == {step: digest_at(model, step) for step in run.steps.tolist()}


def test_a_long_run_takes_bounded_room(path: Path, tmp_path: Path) -> None:
    model = nn.Linear(250, 100)
    row = 25_100 * 4
    largest = 0
    with Recorder(path, model, keep=10) as recorder:
        for step in range(700):
            recorder.snapshot(step, train_loss=1.0)
            largest = max(largest, path.stat().st_size)
    assert 9 * row < largest < 11 * row + 40_000
    assert [item.name for item in tmp_path.iterdir()] == ["run.h5"]
    # The control: a run that keeps all.
    with Recorder(tmp_path / "control.h5", model) as recorder:
        for step in range(50):
            recorder.snapshot(step, train_loss=1.0)
    assert (tmp_path / "control.h5").stat().st_size > 50 * row


def test_thinning_goes_on_after_an_interruption(path: Path, tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(ZeroDivisionError), Recorder(path, model, keep=4, every=2) as recorder:  # noqa: PT012
        offer_all(recorder, model, range(27))
        raise ZeroDivisionError
    assert open_trajectory(path).steps.tolist() == [0, 8, 16, 24]
    with Recorder(path, model, resume=True) as recorder:
        assert offer_all(recorder, model, range(27, 60)).count(True) == 2
    with Recorder(tmp_path / "whole.h5", model, keep=4, every=2) as recorder:
        offer_all(recorder, model, range(60))
    assert digests(open_trajectory(path)) == digests(open_trajectory(tmp_path / "whole.h5"))
    assert open_trajectory(path).steps.tolist() == [0, 32, 58]


def test_a_run_goes_on_as_it_began(path: Path) -> None:
    model = nn.Linear(3, 2)
    Recorder(path, model, every=4, dtype="float16")
    for name, options, was in (
        ("every", {"every": 5}, 4),
        ("keep", {"keep": 9}, None),
        ("dtype", {"dtype": "bfloat16"}, "float16"),
    ):
        expected = f"{path}: the run was recorded with another {name}; got {name}={options[name]!r}; "
        with pytest.raises(LandscapeError, match=message(expected + f"expected {name}={was!r}")):
            Recorder(path, model, resume=True, **options)
    recorder = Recorder(path, model, resume=True, dtype=torch.float16)
    assert offer_all(recorder, model, range(9)).count(True) == 3


def test_a_branch_is_thinned_and_the_rest_of_the_file_stays(path: Path) -> None:
    model = make_convnet()
    with Recorder(path, model) as recorder:
        offer_all(recorder, model, range(5))
    with Recorder(path, model, branch="other") as recorder:
        offer_all(recorder, model, range(3))
    before = open_trajectory(path)
    others = digests(before), digests(before.branches["other"])
    with Recorder(path, model, branch="kick", keep=3, parent_run_id=before.run_id, parent_step=4) as recorder:
        offer_all(recorder, model, range(100, 120))
    run = open_trajectory(path)
    assert (digests(run), digests(run.branches["other"])) == others
    branch = run.branches["kick"]
    assert branch.steps.tolist() == [100, 116, 119]
    assert digests(branch) == {step: digest_at(model, step) for step in (100, 116, 119)}
    assert branch.parent["parent_step"] == 4
    assert run.run_id == before.run_id


def test_the_main_run_is_thinned_and_its_branches_stay(path: Path) -> None:
    model = nn.Linear(3, 2)
    recorder = Recorder(path, model, keep=2)
    offer_all(recorder, model, range(2))
    with Recorder(path, model, branch="kick") as branch:
        offer_all(branch, model, range(3))
    offer_all(recorder, model, range(2, 9))
    recorder.finish()
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 8]
    assert digests(run.branches["kick"]) == {step: digest_at(model, step) for step in range(3)}


def test_thinning_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(3, 2)
    recorder = Recorder(path, model, keep=2)
    offer_all(recorder, model, range(2))
    before = path.read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    mend = "free some space, or write elsewhere"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(
            LandscapeError, match=message(f"{path}: cannot be written; got No space left on device; {mend}")
        ):
            recorder.snapshot(2)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["run.h5"]
    assert recorder.snapshot(2)
    recorder.finish()
    assert open_trajectory(path).steps.tolist() == [0, 2]


def test_a_resume_state_goes_with_its_snapshot(path: Path) -> None:
    model = nn.Linear(3, 2)
    recorder = Recorder(path, model, keep=4)
    for step in range(4):
        recorder.snapshot(step)
    recorder.save_resume_state({"at": 2})
    recorder.snapshot(4, resume_state={"at": 4})
    assert recorder.snapshot(5, resume_state={"at": 5}) is False
    again = Recorder(path, model, resume=True)
    assert again.load_resume_state() == {"at": 4}
    assert again.last_step == 4
    # The next thinning keeps step 4, and the state with it.
    assert [again.snapshot(step) for step in (5, 6, 7, 8)] == [False, True, False, True]
    assert open_trajectory(path).steps.tolist() == [0, 4, 8]
    third = Recorder(path, model, resume=True)
    assert third.load_resume_state() == {"at": 4}
    assert (third.last_step, len(third)) == (4, 2)


def test_a_resume_state_goes_when_its_snapshot_does(path: Path) -> None:
    model = nn.Linear(3, 2)
    recorder = Recorder(path, model, keep=2)
    recorder.snapshot(0)
    recorder.snapshot(1, resume_state={"at": 1})
    recorder.snapshot(2)
    assert Recorder(path, model, resume=True).load_resume_state() is None


def test_a_finished_run_can_be_reopened(path: Path) -> None:
    model = nn.Linear(3, 2)
    with Recorder(path, model, training={"epochs": 1}) as recorder:
        for step in range(3):
            recorder.snapshot(step, resume_state={"at": step})
        recorder.finish(keep_state=True)
    before = path.read_bytes()
    with pytest.raises(
        LandscapeError, match="the run is finished and cannot be resumed; pass reopen=True to go on"
    ):
        Recorder(path, model, resume=True)
    again = Recorder(path, model, resume=True, reopen=True, training={"epochs": 2})
    assert again.load_resume_state() == {"at": 2}
    # Nothing has changed until there is something new.
    assert path.read_bytes() == before
    again.snapshot(3)
    held = open_trajectory(path)
    assert (held.finished, held.training, held.steps.tolist()) == (False, {"epochs": 2}, [0, 1, 2, 3])
    again.finish()
    third = Recorder(path, model, resume=True, reopen=True)
    assert third.load_resume_state() is None
    third.rewind(1)
    third.snapshot(5)
    third.finish()
    held = open_trajectory(path)
    assert (held.finished, held.training, held.steps.tolist()) == (True, {"epochs": 2}, [0, 1, 5])
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_of_a_kept_state_only_the_last_is_in_the_file(path: Path) -> None:
    with Recorder(path, nn.Linear(3, 2)) as recorder:
        for step in range(3):
            recorder.snapshot(step, resume_state={"at": step})
        recorder.snapshot(3)
        # That of an earlier snapshot is nothing to go on from.
        recorder.finish(keep_state=True)
    with h5py.File(path, "r") as file:
        assert "resume" not in file
    with Recorder(path, nn.Linear(3, 2), overwrite=True) as recorder:
        for step in range(3):
            recorder.snapshot(step, resume_state={"at": step})
        recorder.finish(keep_state=True)
    with h5py.File(path, "r") as file:
        assert len(file["resume"]) == 1


def test_rewinding(path: Path) -> None:
    model = nn.Linear(3, 2)
    recorder = Recorder(path, model, every=10)
    offer_all(recorder, model, range(46))
    recorder.rewind(25)
    assert recorder.last_step == 20
    assert open_trajectory(path).steps.tolist() == [0, 10, 20, 30, 40]
    assert offer_all(recorder, model, range(26, 35)).count(True) == 1
    assert open_trajectory(path).steps.tolist() == [0, 10, 20, 30]
    recorder.rewind(10)
    recorder.finish()
    assert open_trajectory(path).steps.tolist() == [0, 10]


ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


class Several(nn.Module):
    """Parameters of all real types, tied and frozen ones, and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(40, 30, bias=False)
        self.last = nn.Linear(40, 30, bias=False)
        self.last.weight = self.first.weight
        self.wide = nn.Parameter(torch.rand(50, dtype=torch.float64))
        self.narrow = nn.Parameter(torch.rand(5).to(torch.float16))
        self.brain = nn.Parameter(torch.rand(5).to(torch.bfloat16), requires_grad=False)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("alias", self.wide)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounded_parameters(path: Path, dtype: str) -> None:
    model = Several()
    narrow = getattr(torch, dtype)
    exact, seen = [], []
    with Recorder(path, model, dtype=dtype) as recorder:
        for step in range(3):
            fill(model, step)
            recorder.snapshot(step)
            exact.append(state_of(model))
            kinds = {info.name: info.kind for info in layout_of(model)}
            seen.append(
                {
                    name: tensor.to(narrow).to(tensor.dtype)
                    if kinds[name] == "parameter" and tensor.dtype in (torch.float32, torch.float64)
                    else tensor
                    for name, tensor in state_of(model).items()
                }
            )
    run = open_trajectory(path)
    assert run.layout == layout_of(model)
    for snapshot, rounded, whole in zip(run, seen, exact, strict=True):
        assert snapshot.digest == digest(rounded) != digest(whole)
        assert torch.equal(snapshot.buffers["norm.running_mean"], whole["norm.running_mean"])
        assert snapshot.weights["last.weight"] is snapshot.weights["first.weight"]
        names = [info.name for info in run.layout.stored("parameter")]
        lost = np.concatenate([(whole[name].double() - rounded[name].double()).flatten() for name in names])
        all_ = np.concatenate([whole[name].double().flatten() for name in names])
        assert snapshot.rounding == pytest.approx(np.linalg.norm(lost) / np.linalg.norm(all_), rel=1e-6)
        assert 0 < snapshot.rounding <= ROUNDOFF[dtype]
    assert run[1:].rounding.tolist() == [run[1].rounding, run[2].rounding]
    for block in run.column_blocks(max_bytes=500):
        expected = [one[block.name].double().flatten()[block.start : block.stop].numpy() for one in seen]
        np.testing.assert_array_equal(block.values, expected)
    other = Several()
    run.load_into(other, 1)
    assert digest(state_of(other)) == digest(seen[1])
    with Recorder(path.with_name("copy.h5"), model) as recorder:
        recorder.snapshot(0, weights=run[1])
    assert open_trajectory(path.with_name("copy.h5"))[0].digest == digest(seen[1])


def test_the_rounded_file(path: Path) -> None:
    model = make_convnet()
    with Recorder(path, model, dtype=torch.bfloat16) as recorder:
        recorder.snapshot(0)
    with h5py.File(path, "r") as file:
        assert file.attrs["schema"] == 3
        assert set(file["weights"]) == {"bfloat16"}
        assert file["weights/bfloat16"].dtype == np.uint16
        assert set(file["buffers"]) == {"float32", "int64"}
        entries = {entry["name"]: entry for entry in map(json.loads, file["manifest"][()])}
        assert json.loads(file.attrs["recording"]) == {"dtype": "bfloat16"}
    assert entries["0.weight"]["dtype"] == "float32"
    assert entries["0.weight"]["group"] == "weights/bfloat16"
    said = summary(path).to_json()
    assert said["schema"] == 3
    assert said["storage"]["types"] == ["bfloat16"]
    assert said["storage"]["rounding"] == open_trajectory(path)[0].rounding
    # An older version says that it is too old, rather than that the file is damaged.
    mend = "upgrade loss-landscape-toolkit"
    expected = f"{path}: written by a newer version (schema 3; this version reads 2); {mend}"
    with (
        pytest.raises(LandscapeError, match=message(expected)),
        open_read(path, format="landscape/trajectory", schema=2),
    ):
        pass


def test_without_rounding_the_file_has_no_error(path: Path) -> None:
    model = nn.Linear(3, 2)
    with Recorder(path, model, every=2, keep=5) as recorder:
        offer_all(recorder, model, range(9))
    with h5py.File(path, "r") as file:
        assert "rounding" not in file["steps"]
    assert open_trajectory(path).rounding.tolist() == [0.0] * 5
    assert summary(path).to_json()["storage"] == {"types": ["float32"], "rounded": False, "rounding": 0.0}


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float16", 70_000.0, "at most 65504 in size; use dtype='bfloat16', which has the range of float32, or"),
        ("bfloat16", 3.4e38, "at most 3.38953e+38 in size;"),
    ],
)
def test_a_value_that_overflows_is_refused(path: Path, dtype: str, value: float, expected: str) -> None:
    model = make_convnet()
    recorder = Recorder(path, model, dtype=dtype)
    recorder.snapshot(0)
    with torch.no_grad():
        model[5].bias[1] = -value
    got = float(model[5].bias[1].detach())
    mend = "record without dtype, which stores weights as they are"
    text = f"snapshot: a value of tensor '5.bias' overflows {dtype}; got {got}; expected {expected} {mend}"
    with pytest.raises(LandscapeError, match=message(text)):
        recorder.snapshot(1)
    with torch.no_grad():
        model[5].bias[1] = math.inf
        model[5].bias[0] = math.nan
    recorder.snapshot(1)
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 1]
    assert run[1].weights["5.bias"][1] == math.inf
    assert math.isnan(run[1].rounding)
    json.dumps(summary(path).to_json(), allow_nan=False)


def test_weights_that_are_all_zero_have_no_error(path: Path) -> None:
    with Recorder(path, {"w": torch.zeros(3)}, dtype="float16") as recorder:
        recorder.snapshot(0)
    assert open_trajectory(path)[0].rounding == 0.0


@pytest.mark.parametrize("dtype", ["float32", "int8", torch.float64, 16])
def test_other_storage_types_are_refused(path: Path, dtype: Any) -> None:
    name = str(dtype).removeprefix("torch.")
    expected = f"dtype: weights cannot be stored as this; got {dtype!r}; expected 'float16' or 'bfloat16'"
    with pytest.raises(LandscapeError, match=message(expected)):
        Recorder(path, nn.Linear(2, 1), dtype=dtype)
    assert name
    assert not path.exists()


def test_a_rounded_branch_of_an_exact_run(path: Path) -> None:
    model = nn.Linear(30, 20)
    with Recorder(path, model) as recorder:
        offer_all(recorder, model, range(2))
    with Recorder(path, model, branch="kick", dtype="float16", keep=2) as recorder:
        offer_all(recorder, model, range(5))
    run = open_trajectory(path)
    assert run.header.schema == 3
    assert digests(run) == {step: digest_at(model, step) for step in range(2)}
    fill(model, 4)
    assert torch.equal(run.branches["kick"][-1].weights["weight"], model.weight.half().float())


def test_a_schema_1_file_has_no_rounded_parameters(path: Path) -> None:
    with Recorder(path, nn.Linear(3, 2), dtype="float16") as recorder:
        recorder.snapshot(0)
    with edited(path) as file:
        file.attrs.modify("schema", np.int64(1))
    expected = f"{path}: the file is damaged; got tensor 'weight' in /manifest; restore it from a copy"
    with pytest.raises(LandscapeError, match=message(expected)):
        open_trajectory(path)


def test_a_rounded_buffer_makes_no_sense(path: Path) -> None:
    model = make_convnet()
    with Recorder(path, model, dtype="float16") as recorder:
        recorder.snapshot(0)
    with edited(path) as file:
        lines = [json.loads(line) for line in file["manifest"][()]]
        index = next(i for i, line in enumerate(lines) if line["name"] == "1.running_mean")
        file["manifest"][index] = json.dumps(lines[index] | {"group": "weights/float16"})
    expected = f"{path}: the file is damaged; got tensor '1.running_mean' in /manifest; restore it from a copy"
    with pytest.raises(LandscapeError, match=message(expected)):
        open_trajectory(path)


@pytest.mark.parametrize(
    "value", ['{"every": 0}', '{"keep": "x"}', '{"stride": 1.5}', '{"dtype": "int8"}', "[]", '{"every": true}']
)
def test_a_damaged_recording_is_refused(path: Path, value: str) -> None:
    with Recorder(path, nn.Linear(3, 2), every=3) as recorder:
        recorder.snapshot(0)
    with edited(path) as file:
        file.attrs["recording"] = value
    with pytest.raises(
        LandscapeError, match=f"^{re.escape(str(path))}: the file is damaged; got attribute 'recording'"
    ):
        open_trajectory(path)


@pytest.mark.parametrize("options", [{}, {"every": 3}, {"keep": 5}, {"keep": 3, "dtype": "float16"}])
def test_in_the_background_the_same_is_recorded(path: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    model = make_convnet()
    for name, background in (("run.h5", True), ("plain.h5", False)):
        with Recorder(tmp_path / name, model, background=background, **options) as recorder:
            offer_all(recorder, model, range(50))
            # Weights that change right after a snapshot are not in it.
            fill(model, 77)
    run, plain = open_trajectory(path), open_trajectory(tmp_path / "plain.h5")
    assert run.finished
    assert digests(run) == digests(plain)
    assert run.metrics["train_loss"].tolist() == plain.metrics["train_loss"].tolist()


class Gate:
    """Lets writes to the file through when it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        append = RunFile.append

        def wait(file: RunFile, *arguments: Any) -> None:
            assert self.open.wait(60)
            append(file, *arguments)

        monkeypatch.setattr(RunFile, "append", wait)


def test_a_snapshot_waits_only_where_the_backlog_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    model = nn.Linear(3, 2)
    recorder = Recorder(path, model, background=True)
    # One that is being written, and those that may wait.
    offer_all(recorder, model, range(1 + BACKLOG))
    assert len(open_trajectory(path)) == 0
    assert (len(recorder), recorder.last_step) == (3, 2)
    threading.Timer(0.3, gate.open.set).start()
    began = time.monotonic()
    recorder.snapshot(3)
    assert time.monotonic() - began > 0.2
    recorder.flush()
    assert open_trajectory(path).steps.tolist() == [0, 1, 2, 3]
    recorder.finish()


def test_a_state_is_copied_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    model = nn.Linear(3, 2)
    moments = torch.zeros(4)
    recorder = Recorder(path, model, background=True)
    recorder.snapshot(0, resume_state={"moments": moments})
    moments += 1
    gate.open.set()
    found = recorder.load_resume_state()
    assert found is not None
    assert found["moments"].tolist() == [0.0] * 4
    recorder.finish()


def failing(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    append = RunFile.append

    def fail(file: RunFile, count: int, row: Any, state: Any) -> None:
        if row.step == step:
            raise LandscapeError("the disk is full")
        append(file, count, row, state)

    monkeypatch.setattr(RunFile, "append", fail)


def test_what_goes_wrong_in_the_background_is_raised_by_the_next_call(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, step=1)
    model = nn.Linear(3, 2)
    recorder = Recorder(path, model, background=True)
    recorder.snapshot(0)
    recorder.snapshot(1)
    for call in (
        recorder.flush,
        lambda: recorder.snapshot(2),
        recorder.finish,
        lambda: recorder.save_resume_state({}),
    ):
        with pytest.raises(LandscapeError, match=message("the disk is full")):
            call()
    # What came after it was not written in its place.
    assert open_trajectory(path).steps.tolist() == [0]
    assert not open_trajectory(path).finished


def test_what_goes_wrong_in_the_background_is_raised_at_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, step=1)
    model = nn.Linear(3, 2)
    with (
        pytest.raises(LandscapeError, match=message("the disk is full")),
        Recorder(path, model, background=True) as recorder,
    ):
        offer_all(recorder, model, range(2))
    assert not open_trajectory(path).finished


def test_an_exception_of_the_loop_is_not_hidden(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, step=1)
    model = nn.Linear(3, 2)
    with (  # noqa: PT012
        pytest.raises(ZeroDivisionError) as raised,
        Recorder(path, model, background=True) as recorder,
    ):
        offer_all(recorder, model, range(2))
        raise ZeroDivisionError
    assert raised.value.__notes__ == ["what was recorded before could not be written: the disk is full"]


def test_leaving_with_an_exception_writes_what_waits(path: Path) -> None:
    model = nn.Linear(300, 200)
    with pytest.raises(ZeroDivisionError), Recorder(path, model, background=True) as recorder:  # noqa: PT012
        offer_all(recorder, model, range(4))
        raise ZeroDivisionError
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 1, 2, 3]
    assert not run.finished


def test_in_the_background_mistakes_are_still_found_at_once(path: Path) -> None:
    model = nn.Linear(2, 1)
    recorder = Recorder(path, model, background=True)
    recorder.snapshot(3)
    for expected, call in {
        "steps must grow": lambda: recorder.snapshot(3),
        "tensor 'bias' is missing": lambda: recorder.snapshot(4, weights={"weight": torch.zeros(1, 2)}),
        "cannot be stored": lambda: recorder.snapshot(4, resume_state={"a": {1}}),
        "not a name for a metric": lambda: recorder.snapshot(4, **{"a/b": 1.0}),
    }.items():
        with pytest.raises(LandscapeError, match=expected):
            call()
    recorder.snapshot(4)
    recorder.finish()
    assert open_trajectory(path).steps.tolist() == [3, 4]


def record_and_go(path: str) -> None:
    model = nn.Linear(300, 200)
    recorder = Recorder(path, model, background=True)
    offer_all(recorder, model, range(3))


def test_a_process_that_ends_writes_what_waits(path: Path) -> None:
    run_to_the_end(record_and_go, path)
    assert open_trajectory(path).steps.tolist() == [0, 1, 2]


def count_rows(path: str) -> None:
    assert len(open_trajectory(path)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
# Python 3.12 warns of any fork beside threads.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_waits_for_the_write_in_progress(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    recorder = Recorder(path, nn.Linear(3, 2), background=True)
    recorder.snapshot(0)
    while not _working.locked():
        time.sleep(0.001)
    threading.Timer(0.3, gate.open.set).start()
    child = multiprocessing.get_context("fork").Process(target=count_rows, args=(str(path),))
    began = time.monotonic()
    child.start()
    assert time.monotonic() - began > 0.2
    child.join()
    assert child.exitcode == 0
    recorder.finish()


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_watching_an_optimizer(path: Path, make: Any) -> None:
    model = nn.Linear(3, 2)
    optimizer = make(model.parameters(), lr=0.01)
    states = [digest(state_of(model))]
    with Recorder(path, model, every=4) as recorder:
        watch = recorder.watch(optimizer)
        for _ in range(10):
            update(model, optimizer)
            states.append(digest(state_of(model)))
        assert watch.updates == 10
    assert digests(open_trajectory(path)) == {step: states[step] for step in (0, 4, 8, 10)}
    update(model, optimizer)
    assert watch.updates == 10


def test_a_watch_that_is_removed_takes_the_last_state(path: Path) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Recorder(path, model, every=4) as recorder:
        watch = recorder.watch(optimizer)
        for _ in range(6):
            update(model, optimizer)
        last = digest(state_of(model))
        watch.remove()
        update(model, optimizer)
        watch.remove()
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 4, 6]
    assert run[-1].digest == last


def test_watching_goes_on(path: Path) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with pytest.raises(ZeroDivisionError), Recorder(path, model, every=2) as recorder:  # noqa: PT012
        recorder.watch(optimizer)
        for _ in range(9):
            update(model, optimizer)
        raise ZeroDivisionError
    update(model, optimizer)
    assert open_trajectory(path).steps.tolist() == [0, 2, 4, 6, 8]
    with Recorder(path, model, resume=True) as recorder:
        # From a checkpoint made after 5 updates.
        recorder.watch(optimizer, updates=5)
        for _ in range(3):
            update(model, optimizer)
    assert open_trajectory(path).steps.tolist() == [0, 2, 4, 6, 8]
    path.unlink()
    with Recorder(path, model, every=2) as recorder:
        recorder.watch(optimizer, updates=5)
        for _ in range(3):
            update(model, optimizer)
    assert open_trajectory(path).steps.tolist() == [6, 8]


def record_in_a_rank(folder: str, rank: int) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Recorder(f"{folder}/shared.h5", model) as recorder:
        recorder.watch(optimizer)
        update(model, optimizer)
        assert recorder.snapshot(5) is (rank == 0)
        assert (len(recorder), recorder.active) == ((3, True) if rank == 0 else (0, False))
    with Recorder(f"{folder}/own{rank}.h5", model, all_ranks=True) as recorder:
        recorder.snapshot(rank)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_of_several_ranks_the_first_records(tmp_path: Path) -> None:
    children = [started(functools.partial(record_in_a_rank, rank=rank), tmp_path)[0] for rank in (0, 1)]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert open_trajectory(tmp_path / "shared.h5").steps.tolist() == [0, 1, 5]
    assert [open_trajectory(tmp_path / f"own{rank}.h5").steps.tolist() for rank in (0, 1)] == [[0], [1]]


def test_a_rank_that_does_not_record_has_no_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    recorder = Recorder(path, nn.Linear(3, 2), background=True)
    assert recorder.snapshot(0) is False
    assert recorder.due(0) is False
    recorder.save_resume_state({"a": 1})
    mend = "load it in rank 0 and send it to the others"
    with pytest.raises(LandscapeError, match=message(f"{path}: only rank 0 has the state; {mend}")):
        recorder.load_resume_state()
    recorder.finish()
    assert not path.exists()


def test_a_table(path: Path) -> None:
    model = nn.Linear(3, 2)
    with Recorder(path, model) as recorder:
        recorder.snapshot(0, train_loss=1.0)
        recorder.snapshot(5, epoch=0.5, seconds=2.0, test_loss=3.0)
    run = open_trajectory(path)
    table = run.to_dataframe()
    assert list(table.columns) == ["step", "epoch", "seconds", "test_loss", "train_loss"]
    assert table["step"].tolist() == [0, 5]
    np.testing.assert_array_equal(table["train_loss"], [1.0, np.nan])
    assert run[1:].to_dataframe()["test_loss"].tolist() == [3.0]


def test_a_table_without_pandas(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recorder(path, nn.Linear(3, 2)) as recorder:
        recorder.snapshot(0)
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    expected = "to_dataframe: pandas is not installed; pip install pandas"
    with pytest.raises(LandscapeError, match=message(expected)):
        open_trajectory(path).to_dataframe()

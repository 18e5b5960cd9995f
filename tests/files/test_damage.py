"""Damage is noticed, claims are checked, and the machine's faults are told apart from it."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from killing import command, run_command
from spoiling import age, edited, files_up_to
from torch import nn

import landscape as ls
from benchmarks.fuzzing import FOREIGN, contents, damaged, write_all
from landscape import LandscapeError, journal
from landscape.errors import MachineError, is_out_of_memory
from landscape.storage import create, deferred_interrupt, examination, reader, safe_point, steadily
from landscape.trajectory import Recorder, export_snapshot, open_trajectory
from landscape.trajectory.checkpoints.readers import read_checkpoint
from landscape.trajectory.overview import verify_trajectory


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    model = nn.Linear(30, 20)
    with Recorder(path, model, problem="p", training={"lr": 0.1}) as recorder:
        for step in range(6):
            model.weight.data.fill_(step + 1)
            recorder.snapshot(step, train_loss=1 / (step + 1))
    return path


def read(path: Path) -> list[Any]:
    run = open_trajectory(path)
    return [run.steps.tolist(), run.metrics["train_loss"].tolist(), [s.digest for s in run], run.training]


def outcome(path: Path, want: list[Any]) -> str:
    try:
        return "same" if read(path) == want else "silent"
    except LandscapeError as error:
        return "many lines" if "\n" in str(error) else "refused"


def test_flips_in_the_index_of_chunks_are_noticed(run_file: Path) -> None:
    content, want, chance = run_file.read_bytes(), read(run_file), random.Random(0)
    nodes = [found.start() for found in re.finditer(b"TREE", content)]
    found = set()
    for node in nodes:
        for place in range(node + 24, node + 24 + 6 * 40, 37):
            copy = bytearray(content)
            copy[place] ^= 1 << chance.randrange(8)
            run_file.write_bytes(copy)
            found.add(outcome(run_file, want))
    assert found == {"same", "refused"}


def test_without_digests_some_of_them_are_not(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failing control: an old file reads zeros there."""
    age(run_file)
    monkeypatch.setattr("landscape.storage.reader.require_readable", lambda *_: None)
    content, want = run_file.read_bytes(), read(run_file)
    nodes = [found.start() for found in re.finditer(b"TREE", content)]
    outcomes: set[str] = set()
    for place in (node + step for node in nodes for step in range(24, 24 + 6 * 40, 8)):
        copy = bytearray(content)
        copy[place] ^= 64
        run_file.write_bytes(copy)
        outcomes.add(outcome(run_file, want))
        if "silent" in outcomes:
            return
    raise AssertionError(outcomes)


def zero_weights(file: h5py.File) -> None:
    file["weights/float32"][3] = 0


def swap_rows(file: h5py.File) -> None:
    file["weights/float32"][3] = file["weights/float32"][2]


def other_metric(file: h5py.File) -> None:
    file["metrics/train_loss"][3] = 0.5


def lost_metric(file: h5py.File) -> None:
    del file["metrics/train_loss"]


def fewer(file: h5py.File) -> None:
    file.attrs.modify("n_valid", np.int64(2))


def renamed(file: h5py.File) -> None:
    file.attrs.modify("problem", np.bytes_(b"q"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (zero_weights, r"snapshot 3 \(step 3\) is damaged"),
        (swap_rows, r"snapshot 3 \(step 3\) is damaged"),
        (other_metric, "snapshot 3 has other steps or metrics than were written"),
        (lost_metric, "what it says of its snapshots is not what was written"),
        (fewer, "what it says of its snapshots is not what was written"),
        (renamed, "something in it is not what was written"),
    ],
)
def test_valid_hdf5_that_is_not_what_was_written(
    run_file: Path, spoil: Callable[[h5py.File], None], words: str
) -> None:
    assert verify_trajectory(run_file).snapshots == 6
    with h5py.File(run_file, "r+") as file:
        spoil(file)
    with pytest.raises(LandscapeError, match=words):
        verify_trajectory(run_file)
    with pytest.raises(LandscapeError, match=words):
        read(run_file)


def test_narrow_windows_are_verified_too(run_file: Path) -> None:
    with h5py.File(run_file, "r+") as file:
        file["weights/float32"][4, 600:] = 7.0
    with pytest.raises(LandscapeError, match=r"snapshot 4 \(step 4\) is damaged"):
        next(open_trajectory(run_file).column_blocks(max_bytes=6 * 4 * 50))


def test_a_resume_state_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    recorder = Recorder(path, nn.Linear(2, 1))
    recorder.snapshot(0, resume_state={"a": torch.arange(50.0)})
    with h5py.File(path, "r+") as file:
        file["resume/a/1"][7] = 3.0
    with pytest.raises(LandscapeError, match="the resume state is not what was written"):
        recorder.load_resume_state()
    with pytest.raises(LandscapeError, match="the resume state is not what was written"):
        verify_trajectory(path)


def test_files_of_before_open_and_go_on(tmp_path: Path, landscape: Any) -> None:
    path, model = tmp_path / "run.h5", nn.Linear(3, 2)
    recorder = Recorder(path, model, problem="p")
    recorder.snapshot(0, train_loss=1.0)
    age(path)
    assert open_trajectory(path).header.digests is False
    recorder = Recorder(path, model, resume=True)
    recorder.snapshot(1, train_loss=0.5)
    recorder.finish()
    run = open_trajectory(path)
    assert run.metrics["train_loss"].tolist() == [1.0, 0.5]
    assert torch.equal(run[1].weights["weight"], model.weight)
    said = landscape("inspect", path, "--verify").out
    assert "no digests, as an older version wrote it" in said
    assert "all 2 snapshots can be read" in said
    with Recorder(path, model, branch="kick") as branch:
        branch.snapshot(1)
    assert open_trajectory(path).branches["kick"].header.digests


def test_inspect_verifies(run_file: Path, landscape: Any) -> None:
    assert "all 6 snapshots are what was written" in landscape("inspect", run_file, "--verify").out


def test_new_files_hold_no_text_of_variable_length(tmp_path: Path) -> None:
    for path in write_all(tmp_path).values():
        if path.suffix == ".h5" and path.name != FOREIGN:
            with h5py.File(path, "r") as file:
                items = [file["/"]]
                file.visititems(lambda _, item: items.append(item))  # noqa: B023
                for item in items:
                    kinds = [item.attrs.get_id(name).get_type() for name in item.attrs]
                    kinds += [item.id.get_type()] if isinstance(item, h5py.Dataset) else []
                    # Dimension scales are what the HDF5 library makes of them; nothing of ours reads them.
                    assert not any(isinstance(k, h5py.h5t.TypeStringID) and k.is_variable_str() for k in kinds)


def test_a_heap_that_never_ends_costs_a_line(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(run_file)
    content = bytearray(run_file.read_bytes())
    heap = content.index(b"GCOL")
    # The first object's size (HDF5 file format 3.0, III.E): HDF5 adds its header, and does not move on.
    content[heap + 24 : heap + 32] = (2**64 - 16).to_bytes(8, "little")
    run_file.write_bytes(content)
    monkeypatch.setattr(examination, "_PATIENCE", 60.0)
    with pytest.raises(LandscapeError, match="the file is damaged"):
        open_trajectory(run_file)


def many_rows(file: h5py.File) -> None:
    file.attrs["n_valid"] = 10**9
    file.visititems(
        lambda _, item: item.resize(10**9, axis=0) if getattr(item, "maxshape", (0,))[:1] == (None,) else None
    )


def wide_chunks(file: h5py.File) -> None:
    file.create_dataset("extra", (10,), maxshape=(None,), chunks=(2**28,), dtype="f8")


def a_bomb(file: h5py.File) -> None:
    file.create_dataset("extra", data=np.zeros(2**20), compression="gzip")


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (many_rows, "claims more than the file can hold"),
        (wide_chunks, "claims more than the file can hold"),
        (a_bomb, "is stored in a way that is not ours"),
    ],
)
def test_claims_are_checked_before_memory_is_taken(
    run_file: Path, claim: Callable[[h5py.File], None], words: str
) -> None:
    with h5py.File(run_file, "r+") as file:
        claim(file)
    with pytest.raises(LandscapeError, match=words):
        open_trajectory(run_file)


def test_claims_are_checked_again_when_a_file_has_changed(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked, fresh = [], True
    check = reader.require_modest
    monkeypatch.setattr(reader, "require_modest", lambda file, path: checked.append(path) or check(file, path))
    monkeypatch.setattr(reader, "_is_fresh", lambda path: fresh)
    # Written a moment ago, it may change without another time of its change.
    open_trajectory(run_file)
    open_trajectory(run_file)
    assert len(checked) == 2
    fresh = False
    open_trajectory(run_file)
    assert open_trajectory(run_file)[0].weights
    assert len(checked) == 3
    time.sleep(2 * reader._TICK)
    with h5py.File(run_file, "r+") as file:
        many_rows(file)
    for _ in range(2):
        with pytest.raises(LandscapeError, match="claims more than the file can hold"):
            open_trajectory(run_file)


def test_damage_drawn_at_random_is_never_silent(tmp_path: Path) -> None:
    """A short version of ``python -m benchmarks.fuzzing``."""
    made, chance = write_all(tmp_path), random.Random(5)
    outcomes = []
    for name, path in made.items():
        content, want = path.read_bytes(), contents(path) if name != FOREIGN else ""
        for _ in range(8):
            spoilt = tmp_path / f"damaged-{name}"
            spoilt.write_bytes(damaged(content, chance))
            try:
                outcomes.append("same" if contents(spoilt) == want else f"silent: {name}")
            except LandscapeError as error:
                outcomes.append("many lines" if "\n" in str(error) else "refused")
    assert set(outcomes) == {"same", "refused"}


def test_an_archive_is_compared_with_its_checksums(tmp_path: Path) -> None:
    path, model = tmp_path / "epoch1.pt", nn.Linear(30, 30)
    torch.save(model.state_dict(), path)
    assert torch.equal(read_checkpoint(path).tensors["weight"], model.weight)
    content = bytearray(path.read_bytes())
    content[content.index(model.weight.detach().numpy().tobytes()[:32]) + 401] ^= 8
    path.write_bytes(content)
    with pytest.raises(LandscapeError, match=r"the checksum of '.*' in it does not match"):
        read_checkpoint(path)
    assert zipfile.ZipFile(path).testzip() is not None


@pytest.mark.parametrize("method", [8, 14])
def test_an_archive_that_claims_to_be_compressed(tmp_path: Path, method: int) -> None:
    path = tmp_path / "epoch1.pt"
    torch.save(nn.Linear(30, 30).state_dict(), path)
    content = bytearray(path.read_bytes())
    for entry in re.finditer(rb"PK\x01\x02", content):
        content[entry.start() + 10] = method
    path.write_bytes(content)
    with pytest.raises(LandscapeError, match="damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("mode", ["raise", "warn"])
def test_a_full_disk_is_told_once_and_recording_goes_on(tmp_path: Path, background: bool, mode: str) -> None:
    path, model, told = tmp_path / "run.h5", nn.Linear(300, 100), []
    recorder = Recorder(path, model, background=background, on_error=mode)

    def offer(step: int) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                recorder.snapshot(step)
                recorder.flush()
            except MachineError as error:
                told.append(str(error))
            told.extend(str(one.message) for one in caught)

    with files_up_to(500_000):
        for step in range(8):
            offer(step)
    assert len(told) == 1
    assert "run.h5: cannot be written; got File too large; free some space" in told[0]
    kept = len(open_trajectory(path))
    assert 0 < kept < 8
    # There is room again.
    offer(8)
    recorder.finish()
    assert open_trajectory(path).steps.tolist() == [*range(kept), 8]
    assert verify_trajectory(path).snapshots == kept + 1
    assert [item.name for item in tmp_path.iterdir()] == ["run.h5"]


def test_an_end_that_cannot_be_written_leaves_the_run_unfinished(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    recorder = Recorder(path, nn.Linear(300, 100))
    recorder.snapshot(0)
    with files_up_to(path.stat().st_size), pytest.raises(MachineError, match="cannot be written"):
        recorder.finish()
    assert not open_trajectory(path).finished
    with pytest.raises(LandscapeError, match="on_error: not a reaction; got 'ignore'; expected 'raise' or 'warn'"):
        Recorder(tmp_path / "other.h5", nn.Linear(2, 1), on_error="ignore")


@pytest.mark.parametrize("seed", range(3))
def test_a_disk_that_fills_at_any_byte_leaves_the_file_as_it_was(run_file: Path, seed: int) -> None:
    model = nn.Linear(30, 20)
    with edited(run_file) as file:
        file.attrs.modify("finished", np.bool_(False))
    before = run_file.read_bytes()
    want = read(run_file)
    chance = random.Random(seed)
    for _ in range(6):
        recorder = Recorder(run_file, model, resume=True)
        with files_up_to(len(before) + chance.randrange(4000)), pytest.raises(MachineError):
            recorder.snapshot(100, train_loss=1.0)
        assert read(run_file) == want


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_export_has_the_same_bytes_and_the_mode_of_any_new_file(run_file: Path, suffix: str) -> None:
    old = os.umask(0o027)
    try:
        for name in "abcd":
            export_snapshot(open_trajectory(run_file), -1, run_file.with_name(name + suffix))
    finally:
        os.umask(old)
    files = [run_file.with_name(name + suffix) for name in "abcd"]
    assert len({path.read_bytes() for path in files}) == 1
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}


def test_want_of_memory_is_not_called_damage(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("landscape.trajectory.columns.Windows.read", refuse)
    with pytest.raises(MachineError, match=r"run\.h5: there is not enough memory; free some memory"):
        _ = open_trajectory(run_file)[0].weights
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert is_out_of_memory(ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert not is_out_of_memory(ValueError("wrong"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_commands_interrupted_at_random_leave_whole_files_or_none(tmp_path: Path, number: int, code: int) -> None:
    torch.save(nn.Linear(400, 400).state_dict(), tmp_path / "epoch1.pt")
    run_command(tmp_path, "landscape train digits-mlp -o run.h5 --epochs 2 --every 2 --set width=32")
    chance = random.Random(int(number))
    lines = ("import OUT epoch1.pt", "transform run.h5 --permute 1 -o OUT")
    codes = []
    for turn in range(8):
        out = tmp_path / f"out{turn}.h5"
        child = command(tmp_path, "landscape " + lines[turn % 2].replace("OUT", out.name))
        child.join(chance.uniform(0.05, 0.6))
        if child.is_alive():
            os.kill(child.pid, number)
        child.join(60)
        codes.append(child.exitcode)
        said = (tmp_path / "said.err").read_text()
        # A signal may come before the command listens.
        assert child.exitcode in (0, code, -number), said
        assert "Traceback" not in said
        if out.exists():
            assert open_trajectory(out).finished
            verify_trajectory(out)
        assert not list(tmp_path.glob(".*"))
    assert code in codes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_a_safe_point(tmp_path: Path, number: int) -> None:
    came: list[int] = []
    before = signal.signal(number, lambda got, _: came.append(got))
    try:
        with pytest.raises(KeyboardInterrupt), create(tmp_path / "new.h5") as file:  # noqa: PT012
            signal.raise_signal(number)
            file["a"] = np.zeros(3)
            assert not came
            safe_point()
        assert came == [number]
    finally:
        signal.signal(number, before)
    assert list(tmp_path.iterdir()) == []


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt():
            signal.raise_signal(signal.SIGINT)
            safe_point()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_reader_that_holds_the_file_costs_the_writer_little(run_file: Path, tmp_path: Path) -> None:
    path, model = tmp_path / "watched.h5", nn.Linear(3, 2)
    recorder = Recorder(path, model)
    recorder.snapshot(0)
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'r'); print('open', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes) as reader:  # type: ignore[call-overload]
        reader.stdout.readline()
        waited = []
        for step in range(1, 6):
            began = time.perf_counter()
            recorder.snapshot(step)
            waited.append(time.perf_counter() - began)
        assert len(open_trajectory(path)) == 6
        reader.kill()
    # 50 ms of waiting, and what the change itself takes on a busy machine.
    assert sorted(waited)[2] < 0.15


def test_half_of_a_change_is_read_again(tmp_path: Path) -> None:
    path, tries = tmp_path / "x", []
    path.write_bytes(b"1")

    def torn() -> str:
        tries.append(1)
        if len(tries) < 3:
            path.write_bytes(b"1" * (len(tries) + 1))
            raise LandscapeError("damaged")
        return "whole"

    assert steadily(path, torn) == "whole"
    tries.clear()
    with pytest.raises(LandscapeError):
        steadily(path, lambda: (_ for _ in ()).throw(LandscapeError("damaged")))


def test_a_reading_that_began_beside_a_writer_is_done_again(tmp_path: Path) -> None:
    """The writer may have ended within the tick of the clock in which the reading began, and long be quiet."""
    path, tries = tmp_path / "x", []
    path.write_bytes(b"1")

    def torn() -> str:
        tries.append(1)
        if len(tries) == 1:
            time.sleep(0.2)
            raise LandscapeError("damaged")
        return "whole"

    assert steadily(path, torn) == "whole"
    # The control: damage in a file that nobody writes is told at once.
    tries.clear()
    time.sleep(0.1)
    with pytest.raises(LandscapeError, match="damaged"):
        steadily(path, torn)


def test_lost_digests_are_damage(run_file: Path) -> None:
    with h5py.File(run_file, "r+") as file:
        del file.attrs["seal"]
    with pytest.raises(LandscapeError, match="its digests are missing"):
        open_trajectory(run_file)


def test_a_writer_waits_50_ms_at_most_for_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it asks to wait; what the system makes of it on a busy machine is measured in benchmarks/readers.py."""
    path, model, asked = tmp_path / "run.h5", nn.Linear(3, 2), [0.0]
    recorder = Recorder(path, model)

    def sleep(seconds: float, really: Callable[[float], None] = time.sleep) -> None:
        asked[-1] += seconds
        really(seconds)

    monkeypatch.setattr(journal.time, "sleep", sleep)
    with h5py.File(path, "r") as held:
        for step in range(4):
            asked.append(0.0)
            recorder.snapshot(step, resume_state={"step": step})
        assert held.attrs["n_valid"] == 0
    assert min(asked[1:]) > 0
    assert max(asked) <= 0.05
    assert len(open_trajectory(path)) == 4


def test_a_reading_beside_a_writer_is_never_torn(tmp_path: Path) -> None:
    path, model = tmp_path / "run.h5", nn.Linear(50, 20)
    recorder = Recorder(path, model)
    recorder.snapshot(0, train_loss=0.0)
    code = (
        "import sys, landscape as ls\n"
        "while not (run := ls.open(sys.argv[1])).finished:\n"
        "    assert run[-1].weights['weight'].unique().tolist() == [float(len(run) - 1)] or len(run) == 1\n"
        "    assert run.metrics['train_loss'][-1] == len(run) - 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE, text=True) as reader:
        ends = time.monotonic() + 3
        step = 0
        while time.monotonic() < ends:
            step += 1
            model.weight.data.fill_(step)
            recorder.snapshot(step, train_loss=step)
        recorder.finish()
        _, err = reader.communicate(timeout=60)
    assert (reader.returncode, err) == (0, "")


def test_a_fault_of_the_disk_is_never_heard_by_hdf5(tmp_path: Path) -> None:
    """Otherwise closing the file ends the process."""
    with (tmp_path / "x.h5").open("w+b", buffering=0) as raw:
        with files_up_to(3000), pytest.raises(OSError, match="File too large"), journal.create(raw) as made:  # noqa: PT012
            for index in range(50):
                made.file[f"a{index}"] = np.zeros(100)
            made.file.flush()
        assert raw.seek(0, 2) <= 3000
    assert ls.__all__

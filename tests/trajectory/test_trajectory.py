"""The trajectory store: what is recorded comes back bit for bit, wherever the writer is killed."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import state_of
from hypothesis import given, settings
from hypothesis import strategies as st
from spoiling import age, edited, put, spoilt
from torch import nn

from landscape import journal
from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.params import digest, layout_of, resolve
from landscape.trajectory import Recorder, Trajectory, open_trajectory, summary
from landscape.trajectory.digests import seal_run, stamp
from landscape.trajectory.resume import read_state, write_state
from landscape.trajectory.schema import allocate, chunk_width, groups_of
from landscape.trajectory.windows import Windows
from landscape.trajectory.writer import Row, append_row, create_run


class Mixed(nn.Module):
    """Every element type that counts, a tied and a frozen parameter, buffers of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4, bias=False)
        self.brain = nn.Parameter(torch.randn(5).to(torch.bfloat16))
        self.narrow = nn.Parameter(torch.randn(2, 2).to(torch.float16))
        self.wide = nn.Parameter(torch.randn(2, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.last = nn.Linear(3, 4, bias=False)
        self.last.weight = self.first.weight
        self.scalar = nn.Parameter(torch.randn(()))
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.rand(6) > 0.5)
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("passing", torch.zeros(2), persistent=False)


def shake(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))


def record(path: Path, model: nn.Module, count: int, **options: Any) -> list[dict[str, torch.Tensor]]:
    seen = []
    with Recorder(path, model, **options) as recorder:
        for index in range(count):
            shake(model, index)
            recorder.snapshot(10 * index, epoch=index / 2, train_loss=1.0 / (index + 1))
            seen.append(state_of(model))
    return seen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def message(text: str) -> str:
    return f"^{re.escape(text)}$"


def test_all_types_come_back_bit_for_bit(path: Path) -> None:
    model = Mixed()
    seen = record(path, model, 4)
    run = open_trajectory(path)
    assert len(run) == 4
    assert run.layout == layout_of(model)
    for snapshot, expected in zip(run, seen, strict=True):
        _, got = resolve(snapshot)
        assert digest(got) == digest(expected) == snapshot.digest
        assert {name: tensor.dtype for name, tensor in got.items()} == {n: t.dtype for n, t in expected.items()}
        assert snapshot.weights["last.weight"] is snapshot.weights["first.weight"]
        assert snapshot.buffers["count"].shape == ()
        assert snapshot.buffers["empty"].shape == (0, 3)
        assert "passing" not in snapshot.buffers


def test_the_file_is_as_the_design_says(path: Path) -> None:
    record(path, Mixed(), 2, problem="p", problem_args={"a": 1}, seed=7, training={"lr": 0.1})
    with h5py.File(path, "r") as file:
        attrs = dict(file.attrs)
        assert all(isinstance(value, bytes | np.generic) for value in attrs.values())
        attrs = {name: value.decode() if isinstance(value, bytes) else value for name, value in attrs.items()}
        assert attrs.pop("run_id").isalnum()
        assert attrs.pop("created_utc").endswith("+00:00")
        assert len(attrs.pop("seal")) == 32
        assert attrs.pop("stamp").dtype == np.uint64
        assert set(json.loads(attrs.pop("versions"))) == {"python", "landscape", "torch", "numpy", "h5py"}
        assert attrs == {
            "format": "landscape/trajectory",
            "schema": 3,
            "problem": "p",
            "problem_args": '{"a": 1}',
            "seed": 7,
            "training": '{"lr": 0.1}',
            "finished": True,
            "n_valid": 2,
        }
        assert set(file) == {"manifest", "weights", "buffers", "steps", "metrics", "digests"}
        assert set(file["weights"]) == {"float32", "bfloat16", "float16", "float64"}
        assert set(file["buffers"]) == {"float32", "int64", "bool"}
        assert file["weights/bfloat16"].dtype == np.uint16
        assert file["weights/float32"].shape == (2, 3 + 12 + 1 + 8)
        # Digests stand for the checksums that the library would make of each chunk.
        assert not file["weights/float32"].fletcher32
        assert file["digests/weights.float32"].shape == (2, 1)
        assert file["weights/float32"].compression is None
        entries = {entry["name"]: entry for entry in map(json.loads, file["manifest"][()])}
    assert entries["last.weight"]["tied_to"] == "first.weight"
    assert entries["last.weight"]["offset"] == entries["first.weight"]["offset"]
    assert entries["brain"]["group"] == "weights/bfloat16"


@given(columns=st.integers(1, 2**24))
def test_chunks_are_equal_and_bounded(columns: int) -> None:
    width = chunk_width(columns)
    chunks = math.ceil(columns / width)
    assert width <= 2**20
    assert chunks * width - columns < chunks


INFOS = st.lists(
    st.tuples(
        st.sampled_from(["parameter", "buffer"]),
        st.lists(st.integers(0, 4), max_size=3),
        st.sampled_from(["float32", "float64", "int64"]),
    ),
    max_size=8,
)


@given(INFOS)
def test_places_are_disjoint_and_without_gaps(entries: list[tuple[str, list[int], str]]) -> None:
    layout = Layout(tuple(TensorInfo(f"t{i}", k, tuple(s), d) for i, (k, s, d) in enumerate(entries)))
    places = allocate(layout)
    for group, infos in groups_of(layout).items():
        assert group.split("/")[1] == infos[0].dtype
        ends = np.cumsum([info.numel for info in infos])
        assert [places[info.name].offset for info in infos] == [0, *ends[:-1]]


def test_steps_metrics_and_times(path: Path) -> None:
    model = nn.Linear(2, 1)
    with Recorder(path, model) as recorder:
        recorder.snapshot(0, train_loss=2.0)
        recorder.snapshot(5, epoch=0.5, seconds=1.5, train_loss=torch.tensor(1.0), test_loss=math.inf)
        recorder.snapshot(7, test_loss=3.0)
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 5, 7]
    np.testing.assert_array_equal(run.epochs, [np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(run.seconds, [np.nan, 1.5, np.nan])
    np.testing.assert_array_equal(run.metrics["train_loss"], [2.0, 1.0, np.nan])
    np.testing.assert_array_equal(run.metrics["test_loss"], [np.nan, math.inf, 3.0])
    assert run[1].metrics == {"train_loss": 1.0, "test_loss": math.inf}
    expected = "no metric is named 'train_los'; did you mean 'train_loss'?"
    with pytest.raises(LandscapeError, match=message(expected)):
        run.metrics["train_los"]


def test_indexing(path: Path) -> None:
    record(path, nn.Linear(2, 1), 6)
    run = open_trajectory(path)
    assert run[-1].index == 5
    assert run[0].step == 0
    part = run[4:1:-2]
    assert isinstance(part, Trajectory)
    assert [snapshot.index for snapshot in part] == [4, 2]
    assert part.steps.tolist() == [40, 20]
    assert part.metrics["train_loss"].tolist() == [1 / 5, 1 / 3]
    assert part[-1].index == 2
    assert len(run[6:]) == 0
    with pytest.raises(IndexError, match=message(f"{path}: no snapshot 6; the run has 6")):
        run[6]


def test_a_view_of_the_future_is_not_taken(path: Path) -> None:
    model = nn.Linear(2, 1)
    recorder = Recorder(path, model)
    recorder.snapshot(0)
    run = open_trajectory(path)
    recorder.snapshot(1)
    assert len(run) == 1
    assert len(open_trajectory(path)) == 2
    assert not run.finished


def test_another_run_in_its_place_is_noticed(path: Path) -> None:
    record(path, nn.Linear(2, 1), 2)
    run = open_trajectory(path)
    record(path, nn.Linear(2, 1), 2, overwrite=True)
    expected = f"{path}: the file now holds another run than when it was opened; open it again"
    with pytest.raises(LandscapeError, match=message(expected)):
        _ = run[0].weights


def test_index_of(path: Path) -> None:
    record(path, nn.Linear(2, 1), 6)
    run = open_trajectory(path)
    assert [run.index_of(step) for step in (30, "20", "first", "last")] == [3, 2, 0, 5]
    expected = f"{path}: no snapshot at step 22; the nearest are 10, 20, 30, 40"
    with pytest.raises(LandscapeError, match=message(expected)):
        run.index_of(22)
    expected = f"{path}: not a step; got 'middle'; expected a number, 'first' or 'last'"
    with pytest.raises(LandscapeError, match=message(expected)):
        run.index_of("middle")


@pytest.mark.parametrize("step", ["²", "--5", "", "1.5", "9" * 5000, 1.5, None])
def test_what_is_no_step(path: Path, step: Any) -> None:
    record(path, nn.Linear(2, 1), 2)
    expected = f"{path}: not a step; got {step!r}; expected a number, 'first' or 'last'"
    with pytest.raises(LandscapeError, match=message(expected)):
        open_trajectory(path).index_of(step)


@pytest.mark.parametrize("step", ["99999999999999999999999", -(2**70)])
def test_a_step_beyond_all_others(path: Path, step: Any) -> None:
    record(path, nn.Linear(2, 1), 2)
    expected = f"{path}: no snapshot at step {step}; the nearest are 0, 10"
    with pytest.raises(LandscapeError, match=message(expected)):
        open_trajectory(path).index_of(step)


def test_load_into(path: Path) -> None:
    model = Mixed()
    seen = record(path, model, 3)
    other = Mixed()
    open_trajectory(path).load_into(other, 1)
    assert digest(state_of(other)) == digest(seen[1])
    assert other.last.weight is other.first.weight


def test_load_into_another_model(path: Path) -> None:
    record(path, nn.Linear(2, 1), 1)
    run = open_trajectory(path)
    other = nn.Linear(3, 1)
    before = digest(state_of(other))
    expected = "model: tensor 'weight' has another shape; got (1, 3); expected (1, 2)"
    with pytest.raises(LandscapeError, match=message(expected)):
        run.load_into(other)
    expected = "model: tensor 'bias' is missing; expected shape (1,)"
    with pytest.raises(LandscapeError, match=message(expected)):
        run.load_into(nn.Linear(2, 1, bias=False))
    wider = nn.Linear(2, 1)
    wider.register_parameter("more", nn.Parameter(torch.zeros(2)))
    with pytest.raises(LandscapeError, match=message(f"{path}: tensor 'more' is missing; expected shape (2,)")):
        run.load_into(wider)
    assert digest(state_of(other)) == before


@pytest.mark.parametrize("max_bytes", [1, 200, 2**28])
@pytest.mark.parametrize("rows", [slice(None), slice(1, 5, 2), slice(None, None, -1)])
def test_column_blocks_are_the_moving_parameters(path: Path, max_bytes: int, rows: slice) -> None:
    model = Mixed()
    seen = record(path, model, 5)[rows]
    run = open_trajectory(path)[rows]
    names = ["brain", "narrow", "wide", "scalar", "first.weight", "norm.weight", "norm.bias"]
    dense = {name: np.stack([one[name].double().flatten().numpy() for one in seen]) for name in names}
    gram = sum(values @ values.T for values in dense.values())
    found: dict[str, list[np.ndarray]] = {}
    total = np.zeros((len(seen), len(seen)))
    for block in run.column_blocks(max_bytes=max_bytes):
        np.testing.assert_array_equal(block.values, dense[block.name][:, block.start : block.stop])
        assert block.values.dtype in (np.float32, np.float64)
        assert max_bytes == 1 or block.values.nbytes <= max_bytes
        total += block.values.astype(float) @ block.values.astype(float).T
        found.setdefault(block.name, []).append(np.array(block.values))
    assert set(found) == set(names)
    np.testing.assert_allclose(total, gram)
    for name, blocks in found.items():
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), dense[name])


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_narrow_windows_do_not_read_chunks_again(path: Path, dtype: str | None, monkeypatch) -> None:
    values = torch.linspace(-1, 1, 5 * 60, dtype=torch.float32).reshape(5, 60)
    with Recorder(path, {"w": values[0]}, dtype=dtype) as recorder:
        for step, row in enumerate(values):
            recorder.snapshot(step, weights={"w": row})
    run = open_trajectory(path)
    read: list[object] = []
    whole = Windows._take
    monkeypatch.setattr(Windows, "_take", lambda own, *given: read.append(given[2]) or whole(own, *given))
    blocks = list(run.column_blocks(max_bytes=5 * 6 * 7))
    assert len(blocks) >= 6
    assert len(read) == 5
    monkeypatch.undo()
    stored = np.stack([run[at].weights["w"].numpy() for at in range(5)])
    np.testing.assert_array_equal(np.concatenate([block.values for block in blocks], axis=1), stored)
    # What comes straight from the file was checked with the first window of its chunk.
    with h5py.File(path, "r") as file:
        place = file[f"weights/{dtype or 'float32'}"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + place.size - 8] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(LandscapeError, match=r"snapshot 3 \(step 3\) is damaged"):
        next(run.column_blocks(max_bytes=5 * 6 * 7))


def test_a_damaged_snapshot_is_named(path: Path) -> None:
    model = nn.Linear(20, 10)
    record(path, model, 5)
    run = open_trajectory(path)
    with h5py.File(path, "r") as file:
        offset = file["weights/float32"].id.get_chunk_info(3).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 100] ^= 0xFF
    path.write_bytes(content)
    mend = "use another snapshot, or restore the file from a copy"
    expected = message(f"{path}: snapshot 3 (step 30) is damaged: its checksum does not match; {mend}")
    with pytest.raises(LandscapeError, match=expected):
        _ = run[3].weights
    with pytest.raises(LandscapeError, match=expected):
        list(run.column_blocks())
    assert run[2].weights["weight"].shape == (10, 20)


def test_steps_must_grow(path: Path) -> None:
    recorder = Recorder(path, nn.Linear(2, 1))
    recorder.snapshot(5)
    expected = f"{path}: steps must grow from snapshot to snapshot; got 5; expected more than 5"
    with pytest.raises(LandscapeError, match=message(expected)):
        recorder.snapshot(5)


def test_weights_of_another_layout_are_refused(path: Path) -> None:
    recorder = Recorder(path, nn.Linear(2, 1))
    cases = {
        "snapshot: tensor 'bias' is missing; expected shape (1,)": {"weight": torch.zeros(1, 2)},
        "snapshot: tensor 'weight' has another shape; got (2, 1); expected (1, 2)": {"weight": torch.zeros(2, 1)},
        "snapshot: tensor 'weight' has another element type; got float64; expected float32": {
            "weight": torch.zeros(1, 2, dtype=torch.float64),
            "bias": torch.zeros(1),
        },
    }
    for expected, weights in cases.items():
        with pytest.raises(LandscapeError, match=message(expected)):
            recorder.snapshot(0, weights=weights)
    assert len(open_trajectory(path)) == 0


def test_given_weights_are_recorded_instead_of_the_model(path: Path) -> None:
    model = nn.Linear(2, 1)
    with Recorder(path, model) as recorder:
        recorder.snapshot(0, weights={"weight": torch.ones(1, 2), "bias": torch.zeros(1)})
    assert open_trajectory(path)[0].weights["weight"].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("name", ["", "a/b", ".", ".."])
def test_names_of_metrics(path: Path, name: str) -> None:
    recorder = Recorder(path, nn.Linear(2, 1))
    with pytest.raises(
        LandscapeError, match=message(f"not a name for a metric; got {name!r}; expected one without '/'")
    ):
        recorder.snapshot(0, **{name: 1.0})


def test_an_existing_file(path: Path) -> None:
    model = nn.Linear(2, 1)
    record(path, model, 2)
    mend = "pass overwrite=True to replace it or resume=True to go on with it"
    with pytest.raises(LandscapeError, match=message(f"{path}: the file exists; {mend}")):
        Recorder(path, model)
    ways = "pass reopen=True to go on, or overwrite=True to replace it"
    expected = f"{path}: the run is finished and cannot be resumed; {ways}"
    with pytest.raises(LandscapeError, match=message(expected)):
        Recorder(path, model, resume=True)
    with pytest.raises(LandscapeError, match=message(f"{path}: overwrite and resume exclude each other")):
        Recorder(path, model, resume=True, overwrite=True)
    record(path, model, 3, overwrite=True)
    assert len(open_trajectory(path)) == 3


def test_attributes_of_ones_own(path: Path) -> None:
    record(path, nn.Linear(2, 1), 1, extra_attrs={"note": "hello"})
    with h5py.File(path, "r") as file:
        assert file.attrs["note"] == b"hello"
    expected = "extra_attrs: these attributes are written by the recorder; got n_valid, seed"
    with pytest.raises(LandscapeError, match=message(expected)):
        record(path, nn.Linear(2, 1), 1, overwrite=True, extra_attrs={"seed": 1, "n_valid": 2})


@pytest.mark.parametrize("value", [object(), None, {"a": 1}, ["a", 1], "a\0b", np.zeros(70_000)])
def test_attributes_of_ones_own_that_cannot_be_stored(tmp_path: Path, value: object) -> None:
    expected = "expected a short text, a number, a truth value or a small array of numbers"
    what = f"extra_attrs['a']: cannot be stored as an attribute; got {type(value).__name__}; {expected}"
    with pytest.raises(LandscapeError, match=message(what)):
        Recorder(tmp_path / "new" / "run.h5", nn.Linear(2, 1), extra_attrs={"a": value})
    assert list(tmp_path.iterdir()) == []


def test_nothing_follows_the_end(path: Path) -> None:
    recorder = Recorder(path, nn.Linear(2, 1))
    recorder.finish()
    with pytest.raises(LandscapeError, match=message(f"{path}: the run is finished; nothing can be added to it")):
        recorder.snapshot(0)


def test_two_writers_are_noticed(path: Path) -> None:
    model = nn.Linear(2, 1)
    recorder = Recorder(path, model)
    Recorder(path, model, resume=True).snapshot(0)
    mend = "give every run a file of its own"
    expected = f"{path}: the file was changed by someone else while it was recorded; {mend}"
    with pytest.raises(LandscapeError, match=message(expected)):
        recorder.snapshot(1)


def broken_off(path: Path, model: nn.Module, count: int, **metrics: float) -> None:
    with pytest.raises(ZeroDivisionError), Recorder(path, model) as recorder:  # noqa: PT012
        for index in range(count):
            recorder.snapshot(index, resume_state={"index": index, "weights": model.state_dict()}, **metrics)
        raise ZeroDivisionError


def test_an_exception_leaves_the_run_unfinished_and_it_goes_on(path: Path) -> None:
    model = nn.Linear(2, 1)
    broken_off(path, model, 3)
    run_id = open_trajectory(path).run_id
    assert not open_trajectory(path).finished
    with Recorder(path, model, resume=True) as recorder:
        assert (len(recorder), recorder.last_step) == (3, 2)
        state = recorder.load_resume_state()
        assert state is not None
        assert state["index"] == 2
        assert torch.equal(state["weights"]["weight"], model.weight)
        recorder.snapshot(3)
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 1, 2, 3]
    assert run.run_id == run_id
    assert run.finished
    with h5py.File(path, "r") as file:
        assert "resume" not in file


def test_resuming_goes_back_to_the_snapshot_of_the_state(path: Path) -> None:
    model = nn.Linear(2, 1)
    recorder = Recorder(path, model)
    recorder.snapshot(0, train_loss=0.0)
    recorder.snapshot(10, train_loss=1.0)
    recorder.save_resume_state({"at": 10})
    recorder.snapshot(20, train_loss=2.0, extra=1.0)
    recorder.snapshot(30, train_loss=3.0)
    again = Recorder(path, model, resume=True)
    assert again.load_resume_state() == {"at": 10}
    assert again.last_step == 10
    assert len(open_trajectory(path)) == 4
    again.snapshot(15, train_loss=1.5)
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 10, 15]
    assert run.metrics["train_loss"].tolist() == [0.0, 1.0, 1.5]
    assert np.isnan(run.metrics["extra"]).all()


def test_resuming_what_does_not_exist_begins_it(path: Path) -> None:
    recorder = Recorder(path, nn.Linear(2, 1), resume=True)
    assert recorder.load_resume_state() is None
    assert recorder.last_step is None


def test_resuming_with_another_model(path: Path) -> None:
    Recorder(path, nn.Linear(2, 1))
    shapes = "got float32 (1, 3); expected float32 (1, 2)"
    cases = {
        f"{path}: tensor 'weight' of the run differs from the model's; {shapes}": nn.Linear(3, 1),
        f"{path}: tensor 'bias' of the run is not in the model": nn.Linear(2, 1, bias=False),
    }
    for expected, model in cases.items():
        with pytest.raises(LandscapeError, match=message(expected)):
            Recorder(path, model, resume=True)


def test_the_room_of_the_resume_state_is_won_back(path: Path) -> None:
    model = nn.Linear(2, 1)
    with Recorder(path, model) as recorder:
        for step in range(10):
            recorder.snapshot(step, resume_state={"big": torch.zeros(100_000)})
        assert 800_000 < path.stat().st_size < 900_000
    assert path.stat().st_size < 40_000
    assert len(open_trajectory(path)) == 10
    assert [item.name for item in path.parent.iterdir()] == ["run.h5"]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.bool, torch.uint8]).map(
        lambda dtype: torch.arange(3).to(dtype)
    ),
    st.sampled_from(["f8", "i4", "?", "c8"]).map(lambda dtype: np.arange(6).reshape(2, 3).astype(dtype)),
    st.just(torch.tensor(1.5, dtype=torch.float64)),
    st.just(torch.zeros(0, 2)),
)
STATES = st.dictionaries(
    st.text() | st.integers(),
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@given(states=st.lists(STATES, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_resume_states_come_back_identical(states: list[dict[Any, Any]]) -> None:
    raw = io.BytesIO()
    with h5py.File(raw, "w"):
        pass
    for count, state in enumerate(states):
        with journal.change(raw) as change:
            write_state(change, change.file, state, count)
        with h5py.File(raw, "r") as file:
            found = read_state(file)
        assert found is not None
        assert found[1] == count
        assert same(found[0], state)


def test_the_state_of_an_optimizer_comes_back(path: Path) -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    recorder = Recorder(path, model)
    state = {"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
    recorder.snapshot(1, resume_state=state)
    assert same(Recorder(path, model, resume=True).load_resume_state(), state)


def test_what_cannot_be_stored_is_named(path: Path) -> None:
    recorder = Recorder(path, nn.Linear(2, 1))
    expected = "dictionaries, lists, tuples, numbers, strings, booleans, None, tensors and NumPy arrays"
    with pytest.raises(
        LandscapeError, match=message(f"state['a'][1]: cannot be stored; got set; expected {expected}")
    ):
        recorder.snapshot(0, resume_state={"a": [1, {2}]})
    expected = "state: a key cannot be stored; got (1, 2); expected a string or an integer"
    with pytest.raises(LandscapeError, match=message(expected)):
        recorder.save_resume_state({(1, 2): 3})
    assert len(open_trajectory(path)) == 0


def test_branches(path: Path) -> None:
    model = nn.Linear(2, 1)
    record(path, model, 3)
    run = open_trajectory(path)
    options: dict[str, Any] = {"parent_run_id": run.run_id, "parent_step": 10, "perturbation": {"noise": 0.1}}
    with Recorder(path, model, branch="kick", problem="p", **options) as recorder:
        recorder.snapshot(0, train_loss=0.5)
        expected = digest(state_of(model))
    run = open_trajectory(path)
    branch = run.branches["kick"]
    assert list(run.branches) == ["kick"]
    assert (len(run), len(branch)) == (3, 1)
    assert branch[0].digest == expected
    assert branch.parent == options
    assert branch.metrics["train_loss"].tolist() == [0.5]
    assert [block.name for block in branch.column_blocks()] == ["weight", "bias"]
    assert summary(path).to_json()["branches"] == [{"name": "kick", "snapshots": 1, "parent_step": 10}]
    with pytest.raises(LandscapeError, match=message(f"{path}: no branch is named 'kcik'; did you mean 'kick'?")):
        run.branches["kcik"]
    mend = "pass overwrite=True to replace it or resume=True to go on with it"
    with pytest.raises(LandscapeError, match=message(f"{path}: the file has '/branches/kick' already; {mend}")):
        Recorder(path, model, branch="kick")


def test_the_summary(path: Path) -> None:
    model = nn.Linear(2, 1)
    with Recorder(path, model, problem="p", seed=3) as recorder:
        recorder.snapshot(0, train_loss=math.nan)
        recorder.snapshot(1, train_loss=1.0)
        recorder.snapshot(2, train_loss=math.inf, epoch=1)
    found = summary(path).to_json()
    keys = "format schema problem problem_args snapshots parameters steps metrics tensors branches finished"
    keys += " seed run_id created_utc training versions epochs counts recording storage"
    assert list(found) == keys.split()
    assert found["metrics"] == {"train_loss": {"first": None, "best": 1.0, "last": None}}
    assert found["epochs"] == [None, None, 1.0]
    assert found["tensors"][0] == {
        "name": "weight",
        "kind": "parameter",
        "shape": [1, 2],
        "dtype": "float32",
        "tied_to": None,
        "trainable": True,
    }
    assert (found["snapshots"], found["parameters"], found["steps"], found["seed"]) == (3, 3, [0, 1, 2], 3)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("name", ["steps/epoch", "weights/float32", "metrics/train_loss"])
def test_a_snapshot_counts_where_all_datasets_have_it(path: Path, name: str) -> None:
    model = nn.Linear(2, 1)
    broken_off(path, model, 3, train_loss=1.0)
    with edited(path) as file:
        file[name].resize(2, axis=0)
        file["resume/" + file["resume"].attrs["valid"].decode()].attrs.modify("n_valid", np.int64(2))
    assert open_trajectory(path).steps.tolist() == [0, 1]
    recorder = Recorder(path, model, resume=True)
    assert (len(recorder), recorder.last_step) == (2, 1)
    recorder.snapshot(2)
    recorder.snapshot(3)
    assert open_trajectory(path).steps.tolist() == [0, 1, 2, 3]


def test_a_resume_state_without_its_snapshot_is_refused(path: Path) -> None:
    model = nn.Linear(2, 1)
    broken_off(path, model, 3)
    with edited(path) as file:
        file["steps/epoch"].resize(2, axis=0)
    got = "got a resume state without its snapshot"
    with pytest.raises(
        LandscapeError, match=message(f"{path}: the file is damaged; {got}; restore it from a copy")
    ):
        Recorder(path, model, resume=True).load_resume_state()


@pytest.mark.parametrize(
    ("name", "value", "got"),
    [
        ("problem_args", "[1]", "attribute 'problem_args' is not a JSON object"),
        ("training", "null", "attribute 'training' is not a JSON object"),
        ("training", 3, "the JSON object must be str, bytes or bytearray, not int64"),
        ("versions", "{", "Expecting property name enclosed in double quotes"),
        ("seed", "x", "attribute 'seed' is not a whole number"),
        ("run_id", 3, "attribute 'run_id' is not text"),
        ("finished", "x", "attribute 'finished' is not a truth value"),
        ("n_valid", [1, 2], "attribute 'n_valid' is not a whole number"),
        ("n_valid", 1.5, "attribute 'n_valid' is not a whole number"),
    ],
)
def test_attributes_of_the_wrong_type(path: Path, name: str, value: object, got: str) -> None:
    record(path, nn.Linear(2, 1), 2)
    with edited(path) as file:
        file.attrs[name] = value
    with pytest.raises(
        LandscapeError, match=message(f"{path}: the file is damaged; got {got}; restore it from a copy")
    ):
        open_trajectory(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [-1, 2]),
        ("shape", [5, 2]),
        ("shape", ["a"]),
        ("dtype", "float64"),
        ("group", "steps"),
        ("offset", 2),
        ("offset", 1.0),
        ("kind", "thing"),
        ("tied_to", "nothing"),
        ("filter_axis", 7),
        ("filter_groups", 0),
        ("name", "bias"),
    ],
)
def test_a_manifest_that_makes_no_sense(path: Path, key: str, value: object) -> None:
    record(path, nn.Linear(2, 1), 2)
    with h5py.File(path, "a") as file:
        file["manifest"][0] = json.dumps(json.loads(file["manifest"][0]) | {key: value})
    with pytest.raises(LandscapeError, match=f"^{re.escape(str(path))}: the file is damaged; got .*; restore"):
        open_trajectory(path)


def read_everything(path: Path) -> None:
    summary(path).to_json()
    run = open_trajectory(path)
    failed = []
    for read in (
        lambda: list(run.column_blocks()),
        lambda: [dict(branch.header.places) for branch in run.branches.values()],
    ):
        try:
            read()
        except LandscapeError as error:
            failed.append(error)
    for snapshot in run:
        try:
            _ = snapshot.weights, snapshot.buffers, snapshot.digest
        except LandscapeError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def test_flipped_bytes_never_end_in_a_traceback(path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    record(path, model, 3, problem="p", problem_args={"a": 1}, seed=1)
    with Recorder(path, model, branch="kick", parent_run_id="0", parent_step=0) as recorder:
        recorder.snapshot(0)
    whole = path.read_bytes()
    read_everything(path)
    kept = 0
    for copy in spoilt(whole):
        put(path, copy)
        with contextlib.suppress(LandscapeError):
            read_everything(path)
            kept += 1
    assert 0 < kept < 100


@pytest.mark.parametrize("name", ["run_id", "versions"])
def test_a_text_whose_type_is_damaged_does_not_crash(path: Path, name: str) -> None:
    record(path, nn.Linear(2, 1), 2)
    age(path)
    content = path.read_bytes()
    # The header of a text of any length (HDF5 file format 3.0, IV.A.2.d): class 9, then kind 1.
    found = re.search(name.encode() + rb"\0{1,8}\x19(\x01)\x01\0", content)
    assert found is not None
    path.write_bytes(content[: found.start(1)] + b"\xac" + content[found.end(1) :])
    got = f"attribute '{name}' is a list of lists"
    with pytest.raises(
        LandscapeError, match=message(f"{path}: the file is damaged; got {got}; restore it from a copy")
    ):
        open_trajectory(path)


def test_a_model_with_an_empty_buffer(path: Path) -> None:
    model = nn.Linear(2, 1)
    model.register_buffer("e", torch.zeros(0))
    model.register_parameter("p", nn.Parameter(torch.zeros(0, 3, dtype=torch.float64)))
    seen = record(path, model, 3)
    run = open_trajectory(path)
    assert [snapshot.digest for snapshot in run] == [digest(one) for one in seen]
    assert run[1].buffers["e"].shape == (0,)
    assert run[1].weights["p"].shape == (0, 3)
    assert {block.name for block in run.column_blocks()} == {"weight", "bias"}
    run.load_into(model, 0)


def test_load_into_casts(path: Path) -> None:
    model = nn.Linear(2, 1)
    seen = record(path, model, 1)[0]
    half = nn.Linear(2, 1).to(torch.bfloat16)
    open_trajectory(path).load_into(half)
    assert torch.equal(half.weight, seen["weight"].to(torch.bfloat16))


def test_inspecting_imports_no_torch(path: Path) -> None:
    record(path, nn.Linear(2, 1), 2)
    code = (
        "import sys; from landscape.trajectory import open_trajectory, summary;"
        "summary(sys.argv[1]).to_json(); open_trajectory(sys.argv[1])[-1].metrics;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


class Logged(io.BytesIO):
    """A file in memory that notes what is done to it: (offset, bytes), or (size, None) where it is cut off."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(content)
        self.log: list[tuple[int, bytes | None]] = []

    def write(self, data: Any) -> int:
        self.log.append((self.tell(), bytes(data)))
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        assert size is not None
        self.log.append((size, None))
        return super().truncate(size)


def killed(before: bytes, log: list[tuple[int, bytes | None]], torn: bool) -> Iterator[bytes]:
    """The file after every prefix of what was done to it, and in the midst of each write if `torn`.

    Many a write leaves the bytes that were there; the same file is not given twice in a row.
    """
    last = None
    for content in _contents(before, log, torn):
        if content != last:
            yield content
        last = content


def _contents(before: bytes, log: list[tuple[int, bytes | None]], torn: bool) -> Iterator[bytes]:
    content = bytearray(before)
    yield bytes(content)
    for offset, data in log:
        if data is None:
            del content[offset:]
        else:
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            for stop in {1, len(data) // 2, len(data) - 1} & set(range(1, len(data))) if torn else ():
                content[offset : offset + stop] = data[:stop]
                # A write that is broken off at the end of the file has not made room for the rest.
                at_end = offset + len(data) == len(content)
                yield bytes(content[: offset + stop] if at_end else content)
            content[offset : offset + len(data)] = data
        yield bytes(content)


CRASH_LAYOUT = Layout(
    (
        TensorInfo("w", "parameter", (7,), "float32"),
        TensorInfo("h", "parameter", (3,), "bfloat16"),
        TensorInfo("n", "buffer", (), "int64"),
    )
)


def crash_row(index: int) -> Row:
    metrics = {"train_loss": float(index)} | ({"late": 2.0 * index} if index >= 5 else {})
    values = {
        "weights/float32": np.full(7, index, "f4"),
        "weights/bfloat16": np.full(3, index, "u2"),
        "buffers/int64": np.array([index]),
    }
    return Row(3 * index, index / 4, float(index), metrics, values)


def crash_state(index: int) -> dict[str, Any]:
    return {"index": index, "rng": np.full(1500, index)}


def crash_append(raw: Any, index: int) -> None:
    with journal.change(raw) as change:
        append_row(change.file, index, crash_row(index))
        write_state(change, change.file, crash_state(index), index + 1)
        stamp(change.file)


def crash_file(count: int) -> bytes:
    raw = io.BytesIO()
    with h5py.File(raw, "w") as file:
        create_run(file, CRASH_LAYOUT, {"problem": "crash", "run_id": "0", "created_utc": "2026"})
        seal_run(file)
    for index in range(count):
        crash_append(raw, index)
    return raw.getvalue()


def verify(path: Path, content: bytes, count: int) -> int:
    """Read a file as a user does; the number of snapshots."""
    path.write_bytes(content)
    run = open_trajectory(path)
    found = len(run)
    assert found in (count, count + 1)
    assert run.steps.tolist() == [3 * index for index in range(found)]
    assert run.metrics["train_loss"].tolist() == list(range(found))
    for block in run.column_blocks():
        if block.name == "w":
            np.testing.assert_array_equal(block.values, np.repeat(np.arange(found)[:, None], 7, axis=1))
    assert int(run[-1].buffers["n"]) == found - 1
    assert run[-1].weights["h"].view(torch.uint16).tolist() == [found - 1] * 3
    return found


def verify_plain(content: bytes, found: int) -> None:
    """Read a file as h5py does, after its journal was put into place."""
    raw = io.BytesIO(content)
    journal.recover(raw)
    with h5py.File(raw, "r") as file:
        assert file["weights/float32"][:found, 0].tolist() == list(range(found))
        state = read_state(file)
    assert state is not None
    assert same(state, (crash_state(found - 1), found))


@pytest.mark.parametrize("count", [5, 63, 64, 65, 130])
def test_killed_at_any_write_a_file_keeps_all_earlier_snapshots(path: Path, count: int) -> None:
    before = crash_file(count)
    raw = Logged(before)
    crash_append(raw, count)
    founds = []
    for content in killed(before, raw.log, torn=count in (5, 64)):
        founds.append(verify(path, content, count))
        verify_plain(content, founds[-1])
    assert founds == sorted(founds)
    assert (founds[0], founds[-1]) == (count, count + 1)


@pytest.mark.parametrize("count", [5, 64])
def test_killed_at_any_write_a_file_can_be_gone_on_with(path: Path, count: int) -> None:
    before = crash_file(count)
    raw = Logged(before)
    crash_append(raw, count)
    for content in killed(before, raw.log, torn=False):
        found = verify(path, content, count)
        with path.open("r+b", buffering=0) as file:
            for index in range(found, count + 3):
                crash_append(file, index)
        after = path.read_bytes()
        assert verify(path, after, count + 2) == count + 3
        assert journal.read_journal(io.BytesIO(after)) is None


def test_killed_while_recovering_nothing_is_lost(path: Path) -> None:
    raw = Logged(crash_file(64))
    crash_append(raw, 64)
    states = list(killed(crash_file(64), raw.log, torn=False))
    journals = [content for content in states if journal.read_journal(io.BytesIO(content))]
    assert len(journals) > 5
    for content in (journals[0], journals[len(journals) // 2]):
        again = Logged(content)
        journal.recover(again)
        for torn in killed(content, again.log, torn=False):
            assert verify(path, torn, 64) == 65


def test_without_the_journal_a_split_of_the_index_can_be_fatal() -> None:
    before = crash_file(64)
    raw = Logged(before)
    with h5py.File(raw, "r+") as file:
        append_row(file, 64, crash_row(64))
    lost = 0
    for content in killed(before, raw.log, torn=False):
        try:
            with h5py.File(io.BytesIO(content), "r") as file:
                lost += file["weights/float32"][:64, 0].tolist() != list(range(64))
        except OSError:
            lost += 1
    assert lost > 0

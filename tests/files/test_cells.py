"""Finished parts of long computations: kept as they come, and not computed again."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape import probes, problems
from landscape.audit import audit
from landscape.errors import LandscapeError
from landscape.files import cells as module
from landscape.files.cells import Cells, Unfinished
from landscape.objective import Objective
from landscape.params import Tensors
from landscape.probes import connection
from landscape.probes.gauge import Gauge
from landscape.training import Settings

IDENTITY = {"weights": "abc", "points": 3}
CHEAP = ["hessian_trace", "fisher_rao_norm"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLUSH_SECONDS", -1.0)


@pytest.fixture(scope="module")
def pair() -> tuple[Objective, Tensors, Tensors]:
    """A small network at two sets of weights."""
    objective = problems.build("digits-mlp", {"width": "4", "train_size": "64"}, seed=0)
    a = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    return objective, a, {name: tensor.flip(0) for name, tensor in a.items()}


def stop() -> None:
    raise KeyboardInterrupt


def test_cells_are_kept_as_they_come_and_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"

    def interrupted() -> None:
        with Cells.open(path, lambda: IDENTITY) as cells:
            assert not path.exists()
            cells["a"] = {"value": 0.1, "reason": None}
            cells["b"] = [float("inf"), -0.0]
            cells.of("c", stop)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with Cells.open(path, lambda: IDENTITY) as cells:
        assert cells["a"] == {"value": 0.1, "reason": None}
        assert cells.of("b", stop) == [float("inf"), 0.0]
        assert np.signbit(cells["b"][1])
        assert "c" not in cells
        cells["c"] = 1
    assert Cells.open(path, lambda: IDENTITY)["c"] == 1


def test_states_replace_one_another(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    with Cells.open(path, lambda: IDENTITY) as cells:
        for step in range(3):
            cells.keep_state("training", [np.arange(4.0) + step, np.array(step)])
        cells["a"] = 1
    held = Cells.open(path, lambda: IDENTITY)
    assert held["a"] == 1
    state = held.state("training")
    assert state is not None
    assert state[0].tolist() == [2.0, 3.0, 4.0, 5.0]
    with Cells.open(path, lambda: IDENTITY) as cells:
        cells.drop_state("training")
    assert Cells.open(path, lambda: IDENTITY).state("training") is None


def test_parts_of_another_result_are_refused_saying_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    with Cells.open(path, lambda: IDENTITY) as cells:
        cells["a"] = 1
    with pytest.raises(LandscapeError) as caught:
        Cells.open(path, lambda: {**IDENTITY, "points": 4})
    expected = "the file holds parts of another result; it differs in points (3 in the file, 4 now)"
    assert str(caught.value) == f"{path}: {expected}; give another name, or remove the file"


@pytest.mark.parametrize("where", ["blocks/1", "states/0/0"])
def test_damage_is_noticed(tmp_path: Path, where: str) -> None:
    path = tmp_path / "c.h5"
    with Cells.open(path, lambda: IDENTITY) as cells:
        cells.keep_state("s", [np.arange(4.0)])
        cells["a"] = 1
    with h5py.File(path, "r+") as file:
        values = file[where][...]
        values[0] += 1
        file[where][...] = values
    with pytest.raises(LandscapeError, match="the file of finished parts is damaged"):
        Cells.open(path, lambda: IDENTITY)


def test_many_additions_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BLOCKS", 3)
    with Cells.open(tmp_path / "c.h5", lambda: IDENTITY) as cells:
        for place in range(8):
            cells[str(place)] = place
            with h5py.File(tmp_path / "c.h5") as file:
                assert len(file["blocks"]) <= 3
    held = Cells.open(tmp_path / "c.h5", lambda: IDENTITY)
    assert [held[str(place)] for place in range(8)] == list(range(8))


def test_an_unfinished_file_is_named_after_the_result_and_may_be_missing(tmp_path: Path) -> None:
    one = Unfinished(tmp_path / "run-audit")
    with Cells.open(one, lambda: IDENTITY) as cells:
        cells["a"] = 1
    assert one.path is not None
    assert one.path.exists()
    other = Unfinished(tmp_path / "run-audit")
    with Cells.open(other, lambda: {**IDENTITY, "points": 4}) as cells:
        assert "a" not in cells
        # Someone else has removed it meanwhile: the work goes on.
        cells["a"] = 2
        other.path.unlink()  # type: ignore[union-attr]
        cells["b"] = 3
        assert cells["b"] == 3
    one.remove()
    other.remove()
    assert not list(tmp_path.iterdir())


def test_an_unfinished_file_that_is_damaged_is_begun_anew(tmp_path: Path) -> None:
    for content in (b"", b"nothing of ours"):
        one = Unfinished(tmp_path / "run-audit")
        one.at(IDENTITY).write_bytes(content)
        with Cells.open(one, lambda: IDENTITY) as cells:
            cells["a"] = 1
        assert one.path is not None
        assert Cells.open(one.path, lambda: IDENTITY)["a"] == 1


def test_an_interrupted_audit_keeps_its_values(tmp_path: Path, pair: tuple[Objective, Tensors, Tensors]) -> None:
    objective = pair[0]
    path, settings = tmp_path / "a.h5", {"hessian_trace": {"samples": 10}}

    def cut(what: str, done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    whole = audit(objective, objective.model, CHEAP, settings=settings)
    with pytest.raises(KeyboardInterrupt):
        audit(objective, objective.model, CHEAP, settings=settings, save=path, progress=cut)
    held = Cells.open(path, lambda: identity_in(path))
    names = [f"{element}/{name}" for element in ("", "alpha = 0.1") for name in CHEAP]
    kept = {name: held[name]["seconds"] for name in names}
    again = audit(objective, objective.model, CHEAP, settings=settings, save=path)
    assert without_seconds(again.to_json()) == without_seconds(whole.to_json())
    held = Cells.open(path, lambda: identity_in(path))
    assert {name: held[name]["seconds"] for name in kept} == kept
    with pytest.raises(LandscapeError, match=r"it differs in seed \(0 in the file, 1 now\)"):
        audit(objective, objective.model, CHEAP, settings=settings, save=path, seed=1)


def identity_in(path: Path) -> dict[str, object]:
    with h5py.File(path) as file:
        return dict(json.loads(file.attrs["identity"].decode()))


def without_seconds(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_seconds(own) for key, own in value.items() if key != "seconds"}
    return [without_seconds(own) for own in value] if isinstance(value, list | tuple) else value


def cut_at(count: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done == count:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_line_goes_on(tmp_path: Path, pair: tuple[Objective, Tensors, Tensors]) -> None:
    objective, a, b = pair
    path = tmp_path / "c.h5"
    whole = probes.interpolate(objective, a, b, points=5)
    with pytest.raises(KeyboardInterrupt):
        probes.interpolate(objective, a, b, points=5, save=path, progress=cut_at(3))
    made = Cells.open(path, lambda: identity_in(path))
    assert [f"line/interpolate/{place}" in made for place in range(5)] == [True] * 3 + [False] * 2
    again = probes.interpolate(objective, a, b, points=5, save=path)
    assert all(np.array_equal(again[name], whole[name]) for name in whole.fields)
    with pytest.raises(LandscapeError, match=r"it differs in .*b \("):
        probes.interpolate(objective, a, a, points=5, save=path)


def test_an_interrupted_perturbation_goes_on(tmp_path: Path, pair: tuple[Objective, Tensors, Tensors]) -> None:
    objective, a, _ = pair
    how = {"draws": 2, "scales": 3, "directions": ("random", "gradient", "top")}
    whole = probes.perturb(objective, a, **how)
    for count in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            probes.perturb(objective, a, **how, save=tmp_path / "c.h5", progress=cut_at(count))
    again = probes.perturb(objective, a, **how, save=tmp_path / "c.h5")
    assert np.array_equal(again.profile["train_loss"], whole.profile["train_loss"])
    for name, radius in whole.radii.items():
        assert np.array_equal(again.radii[name].radii, radius.radii), name


def test_an_interrupted_curve_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PATIENCE", -1.0)
    torch.manual_seed(0)
    # Statistics of batches, random masks and momentum: all that training goes on from.
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(40, 4), torch.arange(40) % 3
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    a, b = ({n: t + 0.1 * (k + 1) for n, t in model.state_dict().items() if t.is_floating_point()} for k in (0, 1))
    settings = Settings(epochs=3, lr=0.1, momentum=0.9, batch_size=10)
    how = {"settings": settings, "points": 5}
    whole = probes.connect(objective, a, b, **how)
    for count in (4, 9):
        with pytest.raises(KeyboardInterrupt):
            probes.connect(objective, a, b, **how, save=tmp_path / "c.h5", progress=cut_at(count))
    steps: list[int] = []
    again = probes.connect(
        objective, a, b, **how, save=tmp_path / "c.h5", progress=lambda done, _: steps.append(done)
    )
    assert steps == [10, 11, 12]
    for held, wanted in zip(again.path.bends, whole.path.bends, strict=True):
        assert all(torch.equal(held[name], wanted[name]) for name in wanted)
    assert np.array_equal(again.curve["train_loss"], whole.curve["train_loss"])
    assert np.array_equal(again.line["train_loss"], whole.line["train_loss"])


def test_a_command_goes_on_where_it_was_interrupted(tmp_path, landscape, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        options = ("--set", "width=4", "--set", "train_size=64", "--epochs", "1", "--seed", str(seed))
        assert landscape("train", "digits-mlp", *options, "-o", f"{seed}.h5")[0] == 0
    line = ("probe", "interpolate", "0.h5", "1.h5", "--points", "4", "--json")
    whole = landscape(*line)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "1.h5"]
    taken: list[float] = []

    def at(self: Gauge, weights: Tensors, *, own: bool = False) -> dict[str, float]:
        if len(taken) == 2:
            taken.clear()
            raise KeyboardInterrupt
        taken.append(1)
        return original(self, weights, own=own)

    original = Gauge.at
    monkeypatch.setattr(Gauge, "at", at)
    code, said, error = landscape(*line)
    (kept,) = tmp_path.glob("0-1-interpolate-*.h5")
    words = f"what was finished is kept in {kept.name}; run the same command to go on"
    assert (code, said, error) == (130, "", f"landscape: interrupted; {words}\n")
    assert landscape(*line) == whole
    assert len(taken) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "1.h5"]

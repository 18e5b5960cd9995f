"""Finished parts of long computations: kept as they come, and not computed again."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape import problems
from landscape.errors import LandscapeError
from landscape.files import cells as module
from landscape.files.cells import Cells, Unfinished
from landscape.sharpness import audit

IDENTITY = {"weights": "abc", "points": 3}
CHEAP = ["hessian_trace", "fisher_rao_norm"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLUSH_SECONDS", -1.0)


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


def test_an_interrupted_audit_keeps_its_values(tmp_path: Path) -> None:
    objective = problems.build("digits-mlp", {"width": "4", "train_size": "64"}, seed=0)
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

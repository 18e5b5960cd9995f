"""What was chosen is remembered, on the objective and on disk, and dropped where it turns out slow."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_data, make_mlp
from torch import nn
from torch.nn import functional as F

from landscape.objective import Objective
from landscape.projection import random_line, random_plane, random_planes
from landscape.surface import evaluate, grid, tuner
from landscape.surface.choice_cache import VARIABLE
from landscape.surface.plan import Plan

SETTINGS = {"batch_size": 50, "streams": 1, "threads": 1}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A cache of its own, and candidates that are timed however short the work is."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(tuner, "_QUICK_SECONDS", 0.0)
    monkeypatch.setattr(tuner, "_BUDGET_SHARE", 1e6)
    monkeypatch.setattr(tuner, "_MEASURE_SHARE", 0.0)
    # Points of a fraction of a millisecond scatter by more than the work of any user.
    monkeypatch.setattr(tuner, "_SLOW", 1000.0)
    monkeypatch.setattr(tuner, "_COMPILE_SECONDS", float("inf"))
    return tmp_path / "cache" / "engines"


def objective_of(count: int = 50) -> Objective:
    return Objective(make_mlp(), loss=F.cross_entropy, train=make_data(count=count))


def planned(objective: Objective, points: int = 3, **how) -> Plan:
    plans: list[Plan] = []
    options = {"engine": "sequential", "tune": SETTINGS} | how
    evaluate(objective, random_plane(objective.model), grid(points), notify=plans.append, **options)
    return plans[0]


def change(folder: Path, **entries) -> Path:
    (file,) = folder.glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
    return file


def test_an_objective_remembers(folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    objective = objective_of()
    first = planned(objective)
    again = planned(objective)
    assert first.tried
    assert not again.tried
    assert again.choice == first.choice
    assert not folder.exists()


def test_the_next_process_remembers(folder):
    first = planned(objective_of())
    again = planned(objective_of())
    assert first.tried
    assert not again.tried
    assert again.choice == first.choice


@pytest.mark.parametrize("other", [{"engine": "batched"}, {"tune": SETTINGS | {"batch_size": 25}}])
def test_what_is_asked_otherwise_is_another_choice(folder, other):
    planned(objective_of())
    assert planned(objective_of(), **other).tried


def test_other_data_or_another_model_are_another_choice(folder):
    planned(objective_of())
    assert planned(objective_of(count=49)).tried
    wider = Objective(make_mlp(width=13), loss=F.cross_entropy, train=make_data())
    assert planned(wider).tried


def test_a_line_and_a_plane_share_a_choice(folder):
    objective, plans = objective_of(), []
    how = {"engine": "sequential", "tune": SETTINGS | {"rewrite": True}, "notify": plans.append}
    model = objective.model
    for plane in (
        random_line(model),
        random_plane(model),
        random_planes(model, 3),
        random_plane(model, seed=1),
    ):
        surface = evaluate(objective, plane, grid(3), **how)
        fresh = evaluate(objective_of(), plane, grid(3), **how)
        assert np.array_equal(surface.values, fresh.values)
        del plans[-1]
    assert all(plan.choice == plans[0].choice for plan in plans)


def test_short_work_leaves_nothing(folder, monkeypatch):
    monkeypatch.setattr(tuner, "_QUICK_SECONDS", 1e6)
    assert not planned(objective_of()).tried
    assert not folder.exists()


def test_a_choice_that_turns_out_slow_is_dropped(folder):
    planned(objective_of())
    # It was a million times as fast as plain passes are.
    file = change(folder, seconds=1e-12, plain=1e-6)
    assert planned(objective_of()).tried
    assert json.loads(file.read_text())["seconds"] > 1e-12


def test_a_choice_is_kept_where_all_is_slow(folder):
    planned(objective_of())
    change(folder, seconds=1e-12, plain=1e-12)
    assert not planned(objective_of()).tried


def test_a_choice_made_in_a_hurry_serves_no_long_run(folder):
    planned(objective_of())
    change(folder, settled=False, budget=1e-9)
    assert planned(objective_of()).tried


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "{}", '{"choice": 3}'),
        *(b"\xff\xfe", '{"choice": {"engine": "fast"}, "seconds": 1, "plain": 1, "budget": 1}'),
        '{"choice": {"engine": "sequential", "batch_size": -1}, "seconds": 1, "plain": 1, "budget": 1}',
        '{"choice": {"engine": "sequential"}, "seconds": NaN, "plain": 1, "budget": 1}',
        '{"choice": {"engine": "sequential"}, "seconds": 1, "plain": 1, "budget": 1, "settled": true}',
        '{"choice": {"engine": "sequential"}, "seconds": 1, "plain": 1, "budget": 1, "settled": true,'
        ' "per_example": "many"}',
    ],
)
def test_damage_is_measured_over(folder, content):
    planned(objective_of())
    (file,) = folder.glob("*.json")
    sound = file.read_bytes()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert planned(objective_of()).tried
    assert json.loads(file.read_text()).keys() == json.loads(sound).keys()


def test_a_folder_that_cannot_be_written_is_no_error(folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    objective = objective_of()
    assert planned(objective).tried
    assert not planned(objective).tried


def test_a_forced_engine_is_not_asked_again(folder):
    planned(objective_of(), engine="auto")
    forced = planned(objective_of(), engine="batched", tune={"chunk": 3, **SETTINGS})
    assert (forced.choice.engine, forced.choice.chunk) == ("batched", 3)


class Scaled(nn.Linear):
    scale = 1.0

    def forward(self, x):
        return self.scale * super().forward(x)


@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_a_model_that_was_changed_is_evaluated_as_it_is(engine):
    torch.manual_seed(0)
    model, data = Scaled(6, 3), make_data()
    plane = random_plane(model)
    objective = Objective(model, loss=F.cross_entropy, train=data)
    before = evaluate(objective, plane, grid(3), engine=engine).values
    model.scale = 5.0
    after = evaluate(objective, plane, grid(3), engine=engine).values
    expected = evaluate(Objective(model, loss=F.cross_entropy, train=data), plane, grid(3), engine=engine).values
    assert (after == expected).all()
    assert (after != before).all()

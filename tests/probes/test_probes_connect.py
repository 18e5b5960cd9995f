"""Curves between models: control points, exact ends, and a barrier that only the straight line has."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_data, make_mlp
from torch.nn import functional as F

import landscape as ls
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import digest, resolve
from landscape.plots import KINDS, Source
from landscape.plots.alignments import AlignmentOptions
from landscape.plots.probe_values import connect_aligned
from landscape.probes.lines import Measuring
from landscape.probes.paths import Path, shares
from landscape.training import Every, Settings
from landscape.values.probes import AlignmentGains


@pytest.mark.parametrize("kind", ["bezier", "chain"])
@pytest.mark.parametrize("bends", [1, 2, 3])
def test_shares_sum_to_one_and_begin_and_end_at_the_ends(kind, bends):
    for t in np.linspace(0, 1, 13):
        found = shares(kind, float(t), bends)
        assert len(found) == bends + 2
        assert sum(found) == pytest.approx(1.0, abs=1e-12)
        assert found[::-1] == pytest.approx(shares(kind, float(1 - t), bends), abs=1e-12)
    assert shares(kind, 0.0, bends) == [1.0] + [0.0] * (bends + 1)
    assert shares(kind, 1.0, bends) == [0.0] * (bends + 1) + [1.0]


def test_the_formulas_of_the_paper():
    # phi(t) = (1 - t)^2 w1 + 2 t (1 - t) theta + t^2 w2, and 2 (t theta + (1/2 - t) w1) up to the bend.
    assert shares("bezier", 0.3, 1) == pytest.approx([0.49, 0.42, 0.09])
    assert shares("chain", 0.3, 1) == pytest.approx([0.4, 0.6, 0.0])
    assert shares("chain", 0.8, 1) == pytest.approx([0.0, 0.4, 0.6])


def test_a_path_has_its_length_and_its_ends():
    points = [{"w": torch.tensor(p)} for p in ([0.0, 0.0], [3.0, 4.0], [3.0, 6.0])]
    path = Path("chain", points, ["w"])
    assert path.length(65) == pytest.approx(7.0)
    assert path.point(0.5)["w"].tolist() == [3.0, 4.0]
    a, b = (resolve(make_mlp(seed))[1] for seed in (0, 1))
    curve = Path("bezier", [a, resolve(make_mlp(2))[1], b], list(a))
    assert digest(curve.point(0.0)) == digest(a)
    assert digest(curve.point(1.0)) == digest(b)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for seed in (0, 1):
        objective = ls.problems.build("digits-mlp", seed=seed)
        settings = Settings(epochs=15, seed=seed, every=Every(15, "epochs"))
        found.append(ls.training.train(objective, folder / f"{seed}.h5", settings))
    return objective, *found


@pytest.fixture(scope="module")
def connection(two_runs):
    objective, a, b = two_runs
    return ls.probes.connect(objective, a[-1], b[-1])


def test_a_curve_between_two_runs_has_a_tenth_of_the_barrier(connection):
    assert connection.straight_barrier > 0.1
    assert connection.barrier < 0.1 * connection.straight_barrier
    assert connection.length > connection.line.distance


def test_a_curve_that_is_hardly_trained_is_the_straight_line_with_its_barrier(two_runs, connection):
    objective, a, b = two_runs
    lazy = ls.probes.connect(objective, a[-1], b[-1], settings=Settings(epochs=1, lr=1e-9), splits=["train"])
    assert lazy.barrier == pytest.approx(connection.straight_barrier, rel=1e-3)


def test_the_ends_of_the_curve_are_the_models(two_runs, connection):
    objective, a, b = two_runs
    assert connection.curve["train_loss"][0] == objective.value(a[-1])
    assert connection.curve["train_loss"][-1] == objective.value(b[-1])
    assert connection.line["test_error"][-1] == objective.value(b[-1], "test", "error")


def test_a_curve_is_kept_as_a_trajectory(two_runs, connection, tmp_path):
    objective, a, b = two_runs
    run = ls.probes.save_path(connection, objective, tmp_path / "curve.h5", about={"ends": [a.run_id, b.run_id]})
    assert len(run) == 51
    assert run.finished
    assert run.metrics["t"] == pytest.approx(connection.curve.t)
    assert np.array_equal(run.metrics["train_loss"], connection.curve["train_loss"])
    assert run[0].digest == a[-1].digest
    assert run[-1].digest == b[-1].digest
    assert run[25].metrics["train_loss"] == objective.value(run[25])
    assert run.training["connection"]["ends"] == [a.run_id, b.run_id]


def test_the_table_of_families_of_a_moved_copy_ends_at_nothing(two_runs):
    objective, a, _ = two_runs
    symmetries = ls.symmetry.symmetries_of(objective)
    moved = symmetries.random(symmetries.permute(a[-1], seed=3), seed=4)
    ends = ls.probes.align_by_family(objective, a[-1], moved)
    gains = ls.probes.alignment_gains(objective, a[-1], ends, points=5, splits=["train"])
    assert tuple(gains.families) == ("none", "permutations", "scales")
    assert np.sqrt(sum(values**2 for values in gains.layers.values())) == pytest.approx(gains.distance, rel=1e-5)
    assert gains.distance[2] < 1e-4 * gains.distance[0]
    # The control: permutations alone do not undo scales.
    assert gains.distance[1] > 0.01 * gains.distance[0]
    assert abs(gains["train_loss"][2]) < 1e-5 < gains["train_loss"][0]


def cut_short(stop):
    """Progress that is interrupted where a condition of (done, total) holds for the first time."""

    def progress(done, total):
        if stop(done, total):
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def measured(monkeypatch):
    """The keys of points that are measured, not read."""
    keys, own = [], Measuring.__call__

    def noting(self, task, progress):
        keys.append(task.key)
        return own(self, task, progress)

    monkeypatch.setattr(Measuring, "__call__", noting)
    return keys


def test_an_interrupted_panel_of_pairs_goes_on_with_the_same_numbers(two_runs, tmp_path, measured, monkeypatch):
    objective, a, b = two_runs
    runs = {"a": a, "b": b, "a at first": a, "b at first": b}
    kind, wanted, said = KINDS["alignment"], AlignmentOptions(points=5), []
    source = Source(runs, lambda run: objective, {"a at first": 0, "b at first": 0}, at_work=said.append)
    whole = kind.shown(source, wanted)
    assert said == ["a to b", "a at first to b at first"]
    # Of each pair 15 points on 3 lines: the first pair, and 3 points of the second.
    stop = cut_short(lambda done, total: (done, total) == (18, 30))
    file = tmp_path / "pairs.h5"
    with pytest.raises(KeyboardInterrupt):
        kind.shown(replace(source, save=file, progress=stop), wanted)
    measured.clear()
    matched = []
    match = ls.probes.align_by_family
    monkeypatch.setattr(
        ls.probes, "align_by_family", lambda *given, **how: matched.append(given) or match(*given, **how)
    )
    again = kind.shown(replace(source, save=file), wanted)
    assert (len(matched), len(measured)) == (1, 12)
    assert kind.report(again) == kind.report(whole)
    held, made = kind.numbers(whole), kind.numbers(again)
    assert list(held) == list(made)
    assert all(np.array_equal(held[name], made[name]) for name in held)
    # The control: other options are another panel.
    with pytest.raises(LandscapeError, match="parts of another result; it differs in seed"):
        kind.shown(replace(source, save=file), replace(wanted, seed=1))


def test_an_interrupted_curve_after_alignment_goes_on_with_the_same_numbers(two_runs, tmp_path, measured):
    objective, a, b = two_runs
    how = {"points": 5, "settings": Settings(epochs=1)}
    whole, _, gains = connect_aligned(objective, a[-1], b[-1], True, **how)
    file, said, trained = tmp_path / "curve.h5", [], []
    stop = cut_short(lambda done, total: (done, total) == (4, 15))
    with pytest.raises(KeyboardInterrupt):
        connect_aligned(
            objective, a[-1], b[-1], True, save=file, progress=stop, at_work=lambda *what: said.append(what), **how
        )
    assert said == [("units are matched",), ("curve", "step"), ("lines to each aligned end", "point")]
    measured.clear()
    again, _, other = connect_aligned(
        objective, a[-1], b[-1], True, save=file, progress=lambda done, total: trained.append(total), **how
    )
    # No update, and of three lines only the points that are left.
    assert (len(measured), set(trained)) == (11, {15})
    assert np.array_equal(again.curve["train_loss"], whole.curve["train_loss"])
    assert other.to_json() == gains.to_json() == AlignmentGains.from_json(gains.to_json()).to_json()


@pytest.mark.parametrize("kind", ["bezier", "chain"])
def test_training_with_batch_normalisation_and_two_bends(kind, tmp_path):
    a, b = make_convnet(0), make_convnet(1)
    objective = Objective(a, loss=F.cross_entropy, train=make_data((1, 4, 4)))
    untouched = [Untouched(a), Untouched(b)]
    settings = Settings(epochs=3, batch_size=16, lr=0.05)
    found = ls.probes.connect(objective, a, b, kind=kind, bends=2, points=7, settings=settings)
    for one in untouched:
        one.check()
    assert found.curve.bn == "recalibrate"
    assert found.curve["train_loss"][[0, -1]].tolist() == found.line["train_loss"][[0, -1]].tolist()
    again = ls.probes.connect(objective, a, b, kind=kind, bends=2, points=7, settings=settings)
    assert np.array_equal(found.curve["train_loss"], again.curve["train_loss"])
    run = ls.probes.save_path(found, objective, tmp_path / "curve.h5")
    assert run[3].metrics["train_loss"] == objective.value(run[3])


def test_what_cannot_be_connected():
    objective = Objective(make_mlp(), loss=F.cross_entropy, train=make_data())
    with pytest.raises(LandscapeError, match="there is no curve 'besier'; did you mean 'bezier'"):
        ls.probes.connect(objective, make_mlp(), make_mlp(1), kind="besier")
    with pytest.raises(LandscapeError, match="bends: a curve needs at least one bend; got 0"):
        ls.probes.connect(objective, make_mlp(), make_mlp(1), bends=0)
    with pytest.raises(LandscapeError, match="optimizer: a curve is trained by sgd or gd; got adam"):
        ls.probes.connect(objective, make_mlp(), make_mlp(1), settings=Settings(optimizer="adam"))

"""Lines between models: exact ends, symmetry, barriers."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_data, make_mlp
from torch.nn import functional as F

import landscape as ls
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import digest, resolve
from landscape.probes.lines import Line, line_axis
from landscape.problems.toys import QuadraticOptions, quadratic
from landscape.values.probes import barrier


def objective_of(model, shape=(6,)) -> Objective:
    return Objective(model, loss=F.cross_entropy, train=make_data(shape), test=make_data(shape, count=20, seed=2))


@pytest.mark.parametrize(("points", "extend"), [(2, 0.0), (51, 0.5), (8, 0.3), (12, 0.25)])
def test_the_axis_holds_both_ends_exactly_and_mirrors(points, extend):
    axis = line_axis(points, extend)
    assert 0.0 in axis
    assert 1.0 in axis
    assert ((axis >= 0) & (axis <= 1)).sum() == points
    assert axis[0] >= -extend - 1e-12
    assert np.array_equal(1.0 - axis[::-1], axis) or np.allclose(1.0 - axis[::-1], axis, atol=1e-16)
    half = axis[(axis >= 0) & (axis <= 0.5)]
    assert np.isin(1.0 - half, axis).all()


@pytest.mark.parametrize("make", [make_mlp, make_convnet])
def test_the_ends_are_the_models_bit_for_bit(make):
    a, b = make(0), make(1)
    line = Line(a, b, "interpolate")
    for t, model in ((0.0, a), (1.0, b)):
        own = {n: x for n, x in resolve(model)[1].items() if x.is_floating_point()}
        assert digest({name: line.point(t)[name] for name in own}) == digest(own)
    objective = objective_of(a, (6,) if make is make_mlp else (1, 4, 4))
    found = ls.probes.interpolate(objective, a, b, points=5)
    for name in found.fields:
        split, metric = name.split("_")
        assert found[name][0] == objective.value(a, split, metric)
        assert found[name][-1] == objective.value(b, split, metric)


def test_frozen_statistics_are_those_of_the_first_model():
    a, b = make_convnet(0), make_convnet(1)
    objective = objective_of(a, (1, 4, 4))
    frozen = ls.probes.interpolate(objective, a, b, points=3, bn="frozen")
    mixed = {**resolve(b)[1], **{n: t for n, t in resolve(a)[1].items() if "running" in n}}
    assert frozen["train_loss"][-1] == objective.value(mixed)
    assert frozen["train_loss"][-1] != objective.value(b)


def test_recalibrated_statistics_are_those_of_the_data():
    a, b = make_convnet(0), make_convnet(1)
    objective = objective_of(a, (1, 4, 4))
    found = ls.probes.interpolate(objective, a, b, points=3, bn="recalibrate")
    evaluator = objective.evaluator()
    evaluator.load(Line(a, b, "frozen").point(0.5))
    evaluator.recalibrate("train", 50)
    assert found["train_loss"][1] == evaluator.measure(["train"], ["loss"])["train_loss"].mean
    assert found["train_loss"][0] != objective.value(a)


@pytest.mark.parametrize("bn", ["interpolate", "recalibrate"])
def test_barriers_are_symmetric_to_the_last_bit(bn):
    a, b = make_convnet(0), make_convnet(1)
    objective = objective_of(a, (1, 4, 4))
    there = ls.probes.interpolate(objective, a, b, points=12, extend=0.4, bn=bn)
    back = ls.probes.interpolate(objective, b, a, points=12, extend=0.4, bn=bn)
    for name in there.fields:
        assert np.array_equal(there[name], back[name][::-1])
        assert there.barrier_of(name) == back.barrier_of(name)
    assert there.distance == pytest.approx(back.distance, rel=1e-7)


def test_a_barrier_of_two_valleys_is_its_closed_form():
    # (w1 w2 - 1)^2 between (1, 1) and (-1, -1): 1 in the middle, 0 at the ends.
    objective = ls.problems.build("toy-hyperbola", {"start1": 1.0, "start2": 1.0})
    names = [info.name for info in objective.layout]
    a, b = ({name: torch.full((1, 1), sign) for name in names} for sign in (1.0, -1.0))
    found = ls.probes.interpolate(objective, a, b, points=21, extend=0.5)
    assert found.barrier == pytest.approx(1.0, rel=1e-6)
    expected = ((1 - 2 * found.t) ** 2 - 1) ** 2
    assert found["train_loss"] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert found.t[[0, -1]] == pytest.approx([-0.5, 1.5])
    assert found.distance == pytest.approx(2 * math.sqrt(2))


def test_a_convex_loss_has_the_least_barrier_there_can_be():
    form = quadratic(QuadraticOptions(dtype="float64"))
    objective = ls.problems.build("toy-quadratic", {"dtype": "float64"})
    a, b = ({"weight": torch.from_numpy((form.minimiser + s)[None])} for s in (1.0, -2.0))
    found = ls.probes.interpolate(objective, a, b, points=11)
    ends = found["train_loss"][[0, -1]]
    assert found.barrier == pytest.approx(abs(ends[1] - ends[0]) / 2, rel=1e-12)


def test_what_is_outside_undefined_or_infinite():
    t = np.array([-0.5, 0.0, 0.5, 1.0, 1.5])
    assert barrier(t, np.array([9.0, 1.0, 2.0, 1.0, 9.0])) == 1.0
    assert barrier(t, np.array([9.0, 1.0, math.inf, 1.0, 9.0])) == math.inf
    assert math.isnan(barrier(t, np.array([9.0, 1.0, math.nan, 1.0, 9.0])))
    assert math.isnan(barrier(t, np.array([9.0, math.inf, 2.0, 1.0, 9.0])))


def test_a_matrix_holds_the_barriers_of_all_pairs():
    models = {str(seed): make_mlp(seed) for seed in range(3)}
    objective = objective_of(models["0"])
    found = ls.probes.barriers(objective, models, points=7)
    for (i, a), (j, b) in itertools.combinations(enumerate(models), 2):
        line = ls.probes.interpolate(objective, models[a], models[b], points=7)
        assert found["test_error"][i, j] == found["test_error"][j, i] == line.barrier_of("test_error")
        assert found.distance[i, j] == line.distance
    assert (np.diag(found["train_loss"]) == 0).all()


def test_what_cannot_be_interpolated():
    objective = objective_of(make_mlp())
    with pytest.raises(LandscapeError, match=r"the second model: tensor '0\.weight' has another shape"):
        ls.probes.interpolate(objective, make_mlp(), make_mlp(width=5))
    with pytest.raises(LandscapeError, match=r"bn: unknown policy 'freeze'; did you mean 'frozen'"):
        ls.probes.interpolate(objective, make_mlp(), make_mlp(1), bn="freeze")
    with pytest.raises(LandscapeError, match="points: a line needs both ends; got 1"):
        ls.probes.interpolate(objective, make_mlp(), make_mlp(1), points=1)
    with pytest.raises(LandscapeError, match="the matrix would not be symmetric"):
        ls.probes.barriers(objective, {"a": make_mlp(), "b": make_mlp(1)}, bn="frozen")
    with pytest.raises(LandscapeError, match="a matrix compares at least 2 models; got 1"):
        ls.probes.barriers(objective, {"a": make_mlp()})


def test_interpolating_changes_no_model():
    a, b = make_convnet(0), make_convnet(1)
    objective = objective_of(a, (1, 4, 4))
    untouched = [Untouched(a), Untouched(b)]
    ls.probes.interpolate(objective, a, b, points=3, bn="recalibrate")
    for one in untouched:
        one.check()

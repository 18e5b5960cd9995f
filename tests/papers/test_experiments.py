"""Experiments of the source papers follow their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import landscape as ls
from landscape.papers import degeneracy, linear_networks, orbit, reparametrisation, simulations
from landscape.plots.laboratories import EXPERIMENTS, experiment_named
from landscape.problems.initial import construct
from landscape.problems.resnet import ResNet
from landscape.values.experiment import Experiment


def series(found: Experiment, name: str) -> tuple[np.ndarray, np.ndarray]:
    own = next(one for one in found.series if one.name == name)
    return own.x, own.y


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A run of a small network without biases, and its objective in double precision."""
    objective = ls.problems.build("digits-mlp", {"width": 4, "depth": 2, "bias": False, "train_size": 40})
    settings = ls.training.Settings(optimizer="adam", lr=0.02, batch_size=40, epochs=60)
    return ls.training.train(objective, tmp_path_factory.mktemp("run") / "run.h5", settings), objective


def test_every_experiment_is_found_by_its_name():
    assert all(experiment_named(name).__name__ == name for name in EXPERIMENTS)
    assert len(set(EXPERIMENTS)) == len(EXPERIMENTS)


def test_hessian_and_gradient_on_the_orbit_are_those_of_theorem_3(network):
    found = orbit.hessian_on_the_orbit(*network)
    x, top = series(found, "largest eigenvalue")
    np.testing.assert_allclose(top, series(found, "largest eigenvalue of DHD")[1], rtol=1e-9)
    line_x, line = series(found, "trace, closed form")
    near = np.searchsorted(line_x, x * (1 - 1e-9))[[0, -1]]
    np.testing.assert_allclose(series(found, "trace")[1][[0, -1]], line[near], rtol=1e-9)
    # The control: away from alpha = 1 neither is what it was.
    assert top.max() > 5 * top.min()
    gradient = orbit.gradient_on_the_orbit(*network)
    line = series(gradient, "closed form")[1]
    np.testing.assert_allclose(series(gradient, "recomputed")[1][[0, -1]], line[[0, -1]], rtol=1e-6)


@pytest.fixture(scope="module")
def residual():
    """Snapshots of a small residual network whose statistics are those of training, and its objective."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(12, 3, 8, 8, generator=generator), torch.arange(12) % 10
    model = construct(lambda: ResNet(20, 2), seed=0)
    model(data[0])
    objective = ls.Objective(model.double(), loss=functional.cross_entropy, train=(data[0].double(), data[1]))
    return [{name: t.clone() for name, t in ls.params.resolve(model)[1].items()}], objective


def test_residual_blocks_with_batch_normalisation_have_an_orbit_too(residual):
    found = orbit.hessian_of_residual_blocks(*residual)
    top = series(found, "recomputed")[1]
    np.testing.assert_allclose(top, series(found, "of DHD")[1], rtol=5e-3)
    assert top.max() > 10 * top.min()
    gradient = orbit.gradient_of_residual_blocks(*residual)
    (line_x, line), (x, y) = (series(gradient, f"norm of the gradient{end}") for end in (", closed form", ""))
    np.testing.assert_allclose(y[[0, 4, -1]], np.interp(x[[0, 4, -1]], line_x, line), rtol=1e-3)
    loss = series(gradient, "loss")[1]
    np.testing.assert_allclose(loss, residual[1].value(residual[0][-1]), rtol=1e-9)
    with pytest.raises(ls.LandscapeError, match="no residual blocks with batch normalisation"):
        orbit.hessian_of_residual_blocks([{"0.weight": torch.ones(1)}], residual[1])


def test_theorem_5_and_the_bound_of_section_4_3(network):
    many = orbit.many_large_eigenvalues(*network)
    at, bound, before = (series(many, name)[1] for name in ("at the point named", "bound of theorem 5", "before"))
    assert (at >= bound).all()
    assert (before < bound).all()
    ball = orbit.sharpness_in_any_ball(*network)
    values, bound = (series(ball, name)[1] for name in ("at a point of the ball", "(ln C − L) / (1 + L)"))
    np.testing.assert_allclose(values, bound, rtol=1e-5)


@pytest.mark.parametrize(
    ("show", "computed", "form"),
    [
        ("curvature_through_eta", "differences", "1 / b²ᵃ"),
        ("radial_warp", "differences", "(r / ρ)²"),
        ("input_gradient", "differences", "c times the norm in x"),
        ("flat_set_area", "sampled", "4√ε ln R"),
        ("weight_normalisation", "differences", "c⁻² times that of v"),
        ("least_trace_scan", "scan", "closed form"),
    ],
)
def test_what_is_computed_follows_its_closed_form(show, computed, form):
    found = experiment_named(show)()
    (x, y), (line_x, line) = series(found, computed), series(found, form)
    if (line_x > 0).all():
        x, line_x = np.log(x), np.log(line_x)
    np.testing.assert_allclose(np.log(y), np.interp(x, line_x, np.log(line)), atol=0.03)


def test_curvatures_of_the_paper_s_examples():
    a, line = series(reparametrisation.curvature_through_eta(), "1 / b²ᵃ")
    assert np.interp([0.5, -0.25], a, line) == pytest.approx([10, 0.3162], rel=1e-2)
    warp = reparametrisation._inverse_warp(np.array([[0.3, 0.0], [1.0, 0.0], [2.0, 0.0]]), 0.05)
    assert warp[:, 0] == pytest.approx([0.05, 1.0, 2.0])


def test_boxes_of_theorem_2_do_not_meet():
    found = reparametrisation.disjoint_boxes()
    low, high = series(found, "lower end")[1], series(found, "upper end")[1]
    assert np.column_stack([low, high])[:4] == pytest.approx(np.array([[0.4, 1], [2, 5], [10, 25], [50, 125]]))
    assert (low[1:] > high[:-1]).all()


def test_least_traces_and_polynomials_have_their_known_values():
    assert series(simulations.least_trace_scan(), "scan")[1] == pytest.approx(
        [2.537716, 1.966720, 1.653768], rel=1e-6
    )
    found = simulations.relu_polynomials()
    rms, largest = (series(found, name)[1] for name in ("root mean square", "largest"))
    assert rms == pytest.approx([0.051031, 0.025516, 0.015947, 0.011163, 0.008372], rel=1e-3)
    assert largest == pytest.approx([0.09375, 0.058594, 0.042725, 0.033646, 0.027758], rel=1e-3)


def test_no_more_directions_change_outputs_than_there_are_equations(tmp_path):
    objective = ls.problems.build("digits-mlp", {"width": 4, "depth": 1, "train_size": 3, "activation": "tanh"})
    settings = ls.training.Settings(optimizer="adam", lr=0.02, batch_size=3, epochs=30, every="30epochs")
    found = degeneracy.flat_directions(ls.training.train(objective, tmp_path / "run.h5", settings), objective)
    gauss_newton, hessian = (series(found, name)[1] for name in ("Gauss-Newton", "Hessian"))
    assert len(hessian) == 64 * 4 + 4 + 4 * 10 + 10
    # The probabilities of each example sum to one, which takes an equation from its ten.
    assert (gauss_newton > 1e-12).sum() == 27 < series(found, "examples times outputs")[0][0] == 30
    # Residuals of the cross-entropy curve it along other directions: the control.
    assert (hessian > 1e-12).sum() > 30


def test_an_experiment_is_drawn_from_its_numbers(network):
    figure = ls.plots.laboratory(network[0], network[1], show="gradient_on_the_orbit")
    (line,) = [own for own in figure.axes[0].lines if own.get_label() == "closed form"]
    found = orbit.gradient_on_the_orbit(*network)
    np.testing.assert_array_equal(line.get_ydata(), series(found, "closed form")[1])
    assert figure.axes[0].get_xlabel() == found.x_label


def test_coefficients_stand_beside_their_closed_form(monkeypatch):
    monkeypatch.setattr(linear_networks, "_estimate", lambda options: (float(options.hidden), 0.1))
    form, colder, estimate = linear_networks.coefficients_over_width().series
    assert form.y.tolist() == [1.5, 2.5, 3.5, 4.0, 4.5]
    # One over the logarithm of n beta, where two terms of the zeta function share the pole.
    assert ((form.y - colder.y) * math.log(1e4 / math.log(1e4))).round(12).tolist() == [1, 0, 1, 0, 1]
    assert estimate.y.tolist() == [1, 2, 3, 4, 5]
    assert linear_networks.coefficients_over_rank().series[0].y.tolist() == [3.5, 5.0, 6.0]

"""Polynomials for the ReLU against closed forms, and the count of flat directions at zero error."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.problems.activations import PolynomialActivation
from landscape.problems.polynomial import FITS, PolynomialFit


def test_legendre_coefficients_are_their_closed_form():
    found = PolynomialFit(10, "legendre", 1.0).legendre
    assert found[:3] == (1 / 4, 1 / 2, 5 / 16)
    assert found[3::2] == (0.0,) * 4
    assert found[4::2] == pytest.approx([-3 / 32, 13 / 256, -0.033203125, 0.02392578125], rel=1e-14)


def test_legendre_coefficients_are_the_integrals_that_they_stand_for():
    nodes, weights = np.polynomial.legendre.leggauss(40)
    # The ReLU is smooth on each half.
    x, w = (nodes + 1) / 2, weights / 2
    for k, coefficient in enumerate(PolynomialFit(12, "legendre", 1.0).legendre):
        values = np.polynomial.legendre.legval(x, [0] * k + [1])
        assert coefficient == pytest.approx((2 * k + 1) / 2 * (w * x * values).sum(), abs=1e-12)


@pytest.mark.parametrize(
    ("degree", "square", "greatest"),
    [
        (2, 0.051031, 0.09375),
        (4, 0.025516, 0.058594),
        (6, 0.015947, 0.042725),
        (8, 0.011163, 0.033646),
        (10, 0.008372, 0.027758),
    ],
)
def test_the_errors_of_legendre_fits(degree, square, greatest):
    # On [-1, 1]; on [-B, B] the greatest error is B times as large.
    assert PolynomialFit(degree, "legendre", 1.0).errors() == pytest.approx((square, greatest), abs=6e-7)
    assert PolynomialFit(degree, "legendre", 3.0).errors()[1] == pytest.approx(3 * greatest, abs=2e-6)


def test_the_legendre_fit_is_the_best_in_the_mean_square():
    errors = {fit: PolynomialFit(10, fit, 1.0).errors() for fit in FITS}
    assert errors["legendre"][0] == min(square for square, _ in errors.values())
    # Evenly spaced points stand for the integral.
    assert errors["lsq"][0] == pytest.approx(errors["legendre"][0], rel=1e-3)
    # None is below the least greatest error there can be, 0.1401 / degree (Bernstein).
    assert all(0.0140 < greatest < 3 * 0.0140 for _, greatest in errors.values())


def test_a_chebyshev_fit_is_the_truncated_series():
    series = np.polynomial.chebyshev.chebinterpolate(lambda x: np.maximum(x, 0), 4000)
    found = np.polynomial.Polynomial(PolynomialFit(10, "chebyshev", 1.0).monomials)
    expected = np.polynomial.Chebyshev(series[:11])
    x = np.linspace(-1, 1, 101)
    assert found(x) == pytest.approx(expected(x), abs=1e-6)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_the_module_is_the_polynomial(fit, dtype, rounding):
    chosen = PolynomialFit(10, fit, 4.0)
    x = torch.linspace(-4, 4, 201, dtype=dtype)
    expected = 4 * np.polynomial.Polynomial(chosen.monomials)(x.double().numpy() / 4)
    assert PolynomialActivation(chosen)(x).double().numpy() == pytest.approx(expected, abs=rounding)
    assert not list(PolynomialActivation(chosen).state_dict())
    assert repr(PolynomialActivation(chosen)) == f"PolynomialActivation(degree=10, fit='{fit}', interval=4)"


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("poly:10", PolynomialFit(10)),
        ("poly:4:chebyshev", PolynomialFit(4, "chebyshev")),
        ("poly:4:2.5", PolynomialFit(4, "legendre", 2.5)),
        ("poly:4:lsq:3", PolynomialFit(4, "lsq", 3.0)),
    ],
)
def test_what_is_written_is_what_is_meant(text, fit):
    assert PolynomialFit.parse(text) == fit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poly", "digits-mlp: activation: not a polynomial; got 'poly'; expected poly:DEGREE[:FIT][:INTERVAL]"),
        (
            "poly:x",
            "digits-mlp: activation: not a polynomial; got 'poly:x'; expected poly:DEGREE[:FIT][:INTERVAL]",
        ),
        ("poly:0", "digits-mlp: poly: a degree is out of range; got 0; expected 1 to 30"),
        ("poly:4:legendr", "digits-mlp: poly: there is no fit 'legendr'; did you mean 'legendre'?"),
        ("poly:4:lsq:0", "digits-mlp: poly: an interval is positive; got 0"),
        ("rilu", "digits-mlp: there is no activation 'rilu'; did you mean 'relu'?"),
    ],
)
def test_activations_that_are_none(text, message):
    with pytest.raises(LandscapeError) as error:
        ls.problems.parse_options("digits-mlp", {"activation": text})
    assert str(error.value) == message


@pytest.mark.parametrize("problem", ["digits-mlp", "digits-cnn"])
def test_a_polynomial_network_trains(problem, tmp_path):
    options = {"activation": "poly:10", "width": 16, "train_size": 300}
    objective = ls.problems.build(problem, options)
    settings = ls.training.Settings(epochs=30, lr=0.02, batch_size=50, every=ls.training.Every(30, "epochs"))
    run = ls.training.train(objective, tmp_path / "run.h5", settings)
    assert run.metrics["train_error"][-1] < 0.1 < 0.5 < run.metrics["train_error"][0]
    assert ls.open(run.path).problem_args["activation"] == "poly:10"


def interpolating(examples: int, width: int, activation: nn.Module) -> tuple[Objective, nn.Module]:
    """A teacher that is its own student: the squared error is exactly zero."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(4, width), activation, nn.Linear(width, 2)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
        x = torch.randn(examples, 4, generator=generator, dtype=torch.float64)
        y = model(x)
    return Objective(model, loss=F.mse_loss, train=(x, y)), model


@pytest.mark.parametrize("activation", [nn.Tanh(), PolynomialActivation(PolynomialFit(4)), nn.ReLU()])
def test_where_the_squared_error_is_zero_the_rank_is_at_most_the_number_of_equations(activation):
    objective, model = interpolating(5, 12, activation)
    found = ls.probes.degeneracy(objective, model)
    parameters = sum(p.numel() for p in model.parameters())
    assert found.loss == 0
    assert found.equations == 5 * 2
    assert len(found.eigenvalues) == parameters == 86
    assert found.bound == parameters - 10
    assert found.rank <= found.equations
    assert found.zero >= found.bound
    # Generic solutions of a smooth network reach the bound.
    assert isinstance(activation, nn.ReLU) or found.rank == found.equations
    assert found.eigenvalues.min() >= -found.tolerance


def test_where_the_error_is_not_zero_the_rank_is_larger():
    objective, model = interpolating(5, 12, nn.Tanh())
    with torch.no_grad():
        model[0].weight += 0.3
    found = ls.probes.degeneracy(objective, model, tolerance=1e-10)
    assert found.loss > 0.01
    assert found.rank > found.equations


def test_classes_are_no_equations(objective):
    with pytest.raises(LandscapeError, match="the bound is about targets that are numbers; use a squared error"):
        ls.probes.degeneracy(objective, objective.model)

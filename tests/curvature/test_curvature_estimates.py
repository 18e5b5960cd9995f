"""Traces, norms and densities: exact where they say so, and with honest errors where not."""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT
from curvature_cases import NAMES, Matrix, case
from test_curvature_eigenpairs import rotated

from landscape.curvature import Curvature, dense, eigenpairs, frobenius, spectral_density, trace
from landscape.errors import LandscapeError

SEEDS = range(100)


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
@pytest.mark.parametrize("name", NAMES)
def test_exact_traces_and_norms(name, kind):
    matrix = case(name).hessian if kind == "hessian" else case(name).gauss_newton
    operator = Curvature(case(name).objective, case(name).model, kind, batch_size=4)
    found = trace(operator)
    assert found.value == pytest.approx(float(matrix.trace()), rel=1e-10)
    assert (found.method, found.standard_error, found.products) == ("exact", 0.0, operator.size)
    assert frobenius(operator).value == pytest.approx(float(matrix.norm()), rel=1e-10)


SPECTRA = {
    **dict.fromkeys(NAMES),
    "slow": 1 / torch.arange(1.0, 201),
    "outliers": torch.cat([torch.tensor([80.0, 40.0, -20.0]), torch.linspace(-1, 1, 197)]),
    "flat": torch.linspace(-1, 2, 200),
}


def matrix_of(name: str) -> Matrix:
    values = SPECTRA[name]
    return Matrix(case(name).hessian) if values is None else rotated(values)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "xtrace"])
@pytest.mark.parametrize("name", SPECTRA)
def test_standard_errors_of_traces_are_honest(name, method):
    matrix = matrix_of(name)
    truth = float(matrix.matrix.trace())
    found = [trace(matrix, method, samples=45, seed=seed) for seed in SEEDS]
    within = [abs(one.value - truth) <= 3 * one.standard_error for one in found]
    assert sum(within) >= 95
    # Nor are they too large: as large as the errors are.
    errors = np.sqrt(np.mean([(one.value - truth) ** 2 for one in found]))
    stated = np.sqrt(np.mean([one.standard_error**2 for one in found]))
    assert 0.6 < errors / stated < 1.4
    assert found[0].products <= 45


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
@pytest.mark.parametrize("name", SPECTRA)
def test_standard_errors_of_norms_are_honest(name, method):
    matrix = matrix_of(name)
    truth = float(matrix.matrix.norm())
    found = [frobenius(matrix, method, samples=45, seed=seed) for seed in SEEDS]
    assert sum(abs(one.squared - truth**2) <= 3 * one.squared_standard_error for one in found) >= 95
    assert sum(abs(one.value - truth) <= 3 * one.standard_error for one in found) >= 95


def test_a_standard_error_over_probes_that_are_not_independent_is_not_honest():
    # The control: the same probe twice, as one sees with a generator seeded anew for every vector.
    matrix = matrix_of("flat")
    truth, within = float(matrix.matrix.trace()), 0
    for seed in SEEDS:
        drawn = torch.randint(0, 2, (200, 5), generator=torch.Generator().manual_seed(seed)).double() * 2 - 1
        drawn = drawn.repeat(1, 8)
        values = (drawn * (matrix @ drawn)).sum(0)
        within += abs(float(values.mean()) - truth) <= 3 * float(values.std()) / 40**0.5
    assert within < 95


def test_directions_pay_where_the_spectrum_falls_off():
    matrix = matrix_of("outliers")
    plain, better, best = (trace(matrix, method, 60) for method in ("hutchinson", "hutch++", "xtrace"))
    assert better.standard_error < plain.standard_error / 4
    assert best.standard_error < plain.standard_error / 4


def test_a_matrix_of_low_rank_is_known_exactly():
    matrix = rotated(torch.cat([torch.tensor([3.0, 2.0, 1.0]), torch.zeros(97)]))
    for method in ("hutch++", "xtrace"):
        assert trace(matrix, method, 30).value == pytest.approx(6, rel=1e-10)
    assert frobenius(matrix, "hutch++", 30).squared == pytest.approx(14, rel=1e-10)


def test_as_few_vectors_as_outliers_are_too_few():
    # The naive criterion passes: a standard error is there, and it is too small.
    with pytest.raises(LandscapeError, match="too few products to tell the error; got 20; expected 30 at least"):
        trace(matrix_of("outliers"), "xtrace", 20)
    assert trace(matrix_of("outliers"), "xtrace", 30).standard_error > 0


def test_large_networks_are_estimated_and_small_ones_not():
    assert trace(matrix_of("flat")).method == "exact"
    large = Matrix(torch.diag(torch.arange(300.0, dtype=torch.float64)))
    assert trace(large).method == frobenius(large).method == "hutch++"


@pytest.mark.parametrize("name", SPECTRA)
def test_a_density_has_the_moments_of_the_spectrum(name):
    matrix = matrix_of(name)
    found = spectral_density(matrix, probes=40, steps=20, seed=1)
    assert found.weights.min() >= 0
    assert found.weights.sum(1) == pytest.approx(np.ones(40), abs=1e-10)
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=1e-12)
    mean = float(matrix.matrix.trace()) / matrix.size
    second = float(matrix.matrix.norm()) ** 2 / matrix.size
    assert abs(found.mean - mean) <= 3 * found.mean_standard_error
    assert abs(found.second_moment - second) <= 3 * found.second_moment_standard_error
    assert found.products == 40 * 20 == matrix.products


def test_the_error_of_a_moment_is_honest():
    matrix = matrix_of("outliers")
    truth, within = float(matrix.matrix.trace()) / matrix.size, 0
    for seed in SEEDS:
        found = spectral_density(matrix, probes=12, steps=8, seed=seed)
        within += abs(found.mean - truth) <= 3 * found.mean_standard_error
    assert within >= 95


def test_a_planted_spectrum_is_recovered():
    planted = torch.tensor([50.0, 20.0, 10.0, -5.0])
    bulk = torch.randn(396, generator=torch.Generator().manual_seed(2)) * 0.1
    found = spectral_density(rotated(torch.cat([planted, bulk])), probes=40, steps=40)
    for value in planted.tolist():
        nearest = np.abs(found.nodes - value).min(1)
        assert nearest.max() < 1e-6 * abs(value)
        share, error = found.share(value - 0.5, value + 0.5)
        assert abs(share - 1 / 400) <= 3 * error
        near = (found.grid > value - 0.3 * abs(value)) & (found.grid < value + 0.3 * abs(value))
        peak = found.grid[near][np.argmax(found.density[near] * np.abs(found.grid[near]))]
        assert peak == pytest.approx(value, rel=0.05)
    share, error = found.share(-0.5, 0.5)
    assert abs(share - 0.99) <= 3 * error
    middle = (found.grid > -0.5) & (found.grid < 0.5)
    assert np.trapezoid(found.density[middle], found.grid[middle]) == pytest.approx(0.99, abs=5e-3)


def test_many_steps_bring_no_ghosts():
    values = torch.linspace(-1, 3, 30)
    found = spectral_density(rotated(values), probes=2, steps=80)
    assert found.nodes.shape == (2, 30)
    assert found.nodes[0] == pytest.approx(values.numpy(), abs=1e-6)


def test_degenerate_densities():
    found = spectral_density(Matrix(torch.zeros(5, 5, dtype=torch.float64)), probes=2, steps=3)
    assert (found.mean, found.second_moment) == (0, 0)
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1)
    found = spectral_density(Matrix(2 * torch.eye(50, dtype=torch.float64)), probes=3, steps=10)
    assert found.share(1.9, 2.1)[0] == pytest.approx(1)


def test_an_operator_of_a_network_gives_what_its_matrix_gives():
    tanh = case("tanh")
    operator, matrix = Curvature(tanh.objective, tanh.model, batch_size=4), Matrix(tanh.hessian)
    assert trace(operator, "hutch++", 30).value == pytest.approx(trace(matrix, "hutch++", 30).value, rel=1e-8)
    ours, theirs = (spectral_density(each, 3, 10) for each in (operator, matrix))
    assert ours.nodes == pytest.approx(theirs.nodes, abs=1e-8)
    assert torch.allclose(dense(operator), tanh.hessian, atol=1e-12)
    assert float(eigenpairs(operator).values[0]) == pytest.approx(float(eigenpairs(matrix).values[0]))


def test_faults():
    matrix = Matrix(torch.eye(300, dtype=torch.float64))
    with pytest.raises(LandscapeError, match="unknown method 'hutch'; did you mean 'hutch"):
        trace(matrix, "hutch")
    with pytest.raises(LandscapeError, match="samples: too few products to tell the error; got 6; expected 9"):
        trace(matrix, "hutch++", samples=6)
    with pytest.raises(LandscapeError, match="samples: too few"):
        spectral_density(matrix, probes=1)
    with pytest.raises(LandscapeError, match="unknown method 'norm'"):
        frobenius(matrix, "norm")


def test_the_page_about_curvature_runs():
    page = (ROOT / "docs" / "curvature.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "curvature.md", "exec"), names)
    assert names["estimate"].method == "hutch++"
    assert names["diagonal"].exact

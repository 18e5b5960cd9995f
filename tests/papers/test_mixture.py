"""The Gaussian mixture: population errors, the best hyperplane, local energy in closed form and by Monte Carlo."""

import math

import numpy as np
import pytest
import torch

from landscape import papers, problems
from landscape.errors import LandscapeError
from landscape.problems.mixture import MixtureOptions, draw_mixture
from landscape.training import Settings, train

# alpha, delta -> error of the Bayes-optimal hyperplane, its local energy at sigma = 0.5 and 1.
TABLE = {
    (1.0, 1.0): (0.239750, 0.023795, 0.068787),
    (2.0, 1.0): (0.207108, 0.025496, 0.074743),
    (2.0, 0.5): (0.102952, 0.025998, 0.082595),
    (5.0, 1.0): (0.180655, 0.026453, 0.078647),
}


def hyperplane(m: float, q: float, dim: int = 10_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A hyperplane with these order parameters, to rounding, and the centre."""
    random = np.random.default_rng(seed)
    v = random.normal(size=dim)
    v *= math.sqrt(dim) / np.linalg.norm(v)
    other = random.normal(size=dim)
    other -= (other @ v) / dim * v
    w = m * v / math.sqrt(dim) + math.sqrt(q - m * m) * other / np.linalg.norm(other)
    return w, v


@pytest.mark.parametrize(("alpha", "delta"), TABLE)
def test_the_best_hyperplane_and_its_local_energy(alpha, delta):
    best = papers.bayes_optimal(alpha, delta)
    error, *energies = TABLE[alpha, delta]
    assert best.m == alpha / (alpha + delta)
    assert best.threshold == 0
    assert best.error == pytest.approx(error, abs=1e-6)
    assert best.error == pytest.approx(
        float(papers.gaussian_tail(math.sqrt(alpha / (delta * (alpha + delta))))), abs=1e-12
    )
    w, v = hyperplane(best.m, best.m)
    for sigma, energy in zip((0.5, 1.0), energies, strict=True):
        closed = float(papers.local_energy(best.m, best.m, sigma=sigma, delta=delta))
        assert closed == pytest.approx(energy, abs=1e-6)
        sampled = papers.sampled_local_energy(w, 0.0, v, sigma=sigma, delta=delta, draws=80)
        assert abs(sampled.mean - closed) < 3 * sampled.standard_error
        assert sampled.standard_error < 0.002
    # Control: half the overlap is another number.
    assert abs(float(papers.local_energy(best.m / 2, best.m, sigma=1.0, delta=delta)) - energies[1]) > 0.01


def test_unbalanced_clusters_have_a_threshold():
    best = papers.bayes_optimal(2.0, 1.0, rho=0.2)
    assert best.threshold == pytest.approx(-0.693147, abs=1e-6)
    assert best.error == pytest.approx(0.140918, abs=1e-6)
    assert float(papers.population_error(best.m, best.m, 0.0, rho=0.2)) == pytest.approx(0.207108, abs=1e-6)
    thresholds = np.linspace(-2, 1, 3001)
    errors = papers.population_error(best.m, best.m, thresholds, rho=0.2)
    assert thresholds[errors.argmin()] == pytest.approx(best.threshold, abs=1e-3)


@pytest.mark.parametrize("perturb_bias", [True, False])
def test_local_energy_with_a_threshold_is_the_sampled_one(perturb_bias):
    m, q, b, about = 0.6, 0.8, -0.5, {"delta": 0.7, "rho": 0.3, "sigma": 0.8, "perturb_bias": perturb_bias}
    w, v = hyperplane(m, q)
    sampled = papers.sampled_local_energy(w, b, v, draws=400, **about)
    closed = float(papers.local_energy(m, q, b, **about))
    assert abs(sampled.mean - closed) < 3 * sampled.standard_error
    other = float(papers.local_energy(m, q, b, **{**about, "perturb_bias": not perturb_bias}))
    assert abs(sampled.mean - other) > 3 * sampled.standard_error


def test_the_population_error_is_that_of_examples():
    options = MixtureOptions(dim=40, delta=0.8, rho=0.3, test_size=200_000)
    drawn = draw_mixture(options)
    random = np.random.default_rng(1)
    w, b = random.normal(size=40) / 6 + drawn.centre / 10, -0.3
    x, y = drawn.test
    m, q = w @ drawn.centre / math.sqrt(40), w @ w
    wanted = float(papers.population_error(m, q, b, delta=0.8, rho=0.3))
    found = float((np.where(x @ w + b > 0, 1, -1) != y).mean())
    assert abs(found - wanted) < 3 * math.sqrt(wanted * (1 - wanted) / len(y))
    assert abs(found - float(papers.population_error(m, q, b, delta=0.8, rho=0.7))) > 0.01


def test_the_posterior_mean_is_as_good_as_the_best():
    options = MixtureOptions(dim=2000, alpha=2.0)
    w, centre = papers.bayes_weights(options), draw_mixture(options).centre
    m, q = w @ centre / math.sqrt(2000), w @ w
    best = papers.bayes_optimal(2.0)
    # Overlaps of random vectors fluctuate by 1 / sqrt(N).
    assert [m, q] == pytest.approx([best.m, best.m], abs=4 / math.sqrt(2000))
    assert float(papers.population_error(m, q)) == pytest.approx(best.error, abs=0.01)
    # Under the posterior, any mixing with noise is worse.
    worse = w + 0.3 * np.random.default_rng(0).normal(size=2000) / math.sqrt(2000)
    found = papers.population_error(worse @ centre / math.sqrt(2000), worse @ worse)
    assert float(found) > float(papers.population_error(m, q))


@pytest.mark.parametrize("loss", ["square", "logistic"])
def test_the_losses_are_those_of_the_margin(loss):
    objective = problems.build("gaussian-mixture", {"loss": loss, "dim": 10}, seed=3)
    x, y = draw_mixture(MixtureOptions(dim=10)).train
    with torch.no_grad():
        s = objective.model[0](torch.from_numpy(x).float()).double().numpy()[:, 0]
    wanted = (s - y) ** 2 / 2 if loss == "square" else np.log1p(np.exp(-y * s))
    assert objective.value(objective.model) == pytest.approx(wanted.mean(), rel=1e-5)
    assert objective.value(objective.model, "train", "error") == pytest.approx((np.sign(s) != y).mean(), abs=1e-9)


def test_order_parameters_along_a_training(tmp_path):
    options = {"dim": 50, "alpha": 4.0, "rho": 0.3, "loss": "square"}
    objective = problems.build("gaussian-mixture", options)
    run = train(objective, tmp_path / "r.h5", Settings(epochs=8, lr=0.05))
    read = problems.parse_options("gaussian-mixture", run.problem_args)
    path = papers.order_parameters(run, read, sigma=0.5)
    assert path.m.shape == path.error.shape == (len(run),)
    w, b = run[-1].weights["0.weight"].double().numpy()[0], float(run[-1].weights["0.bias"])
    centre = draw_mixture(read).centre
    assert path.m[-1] == pytest.approx(w @ centre / math.sqrt(50))
    assert path.q[-1] == pytest.approx(w @ w)
    assert path.b[-1] == b
    assert path.error[-1] < path.error[0]
    # The error on the test examples is a sample of the population error.
    standard_error = math.sqrt(path.error[-1] * (1 - path.error[-1]) / 2000)
    assert abs(run.metrics["test_error"][-1] - path.error[-1]) < 3 * standard_error
    assert path.local_energy[-1] == pytest.approx(
        float(papers.local_energy(path.m[-1], path.q[-1], b, sigma=0.5, rho=0.3))
    )
    with pytest.raises(LandscapeError, match=r"^0.weight: not a hyperplane; got \(1, 50\); expected \(1, 60\)$"):
        papers.order_parameters(run, MixtureOptions(dim=60))


def test_the_error_does_not_see_the_norm_without_a_threshold():
    assert papers.population_error([0.5, 5.0], [1.0, 100.0])[0] == pytest.approx(
        papers.population_error(5.0, 100.0)
    )
    moved = papers.local_energy([0.5, 5.0], [1.0, 100.0], sigma=0.7)
    assert moved[0] == pytest.approx(moved[1], abs=1e-15)
    thresholded = papers.population_error([0.5, 5.0], [1.0, 100.0], -0.4)
    assert abs(thresholded[0] - thresholded[1]) > 0.01

"""Markov chains against densities that are known, and what tells chains that have not converged."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from measure_cases import Drawn
from scipy.integrate import quad
from torch import nn

from landscape.errors import LandscapeError
from landscape.measures import measure
from landscape.measures.context import MeasureContext
from landscape.measures.hmc import Plan, Target, effective_draws, run_chains, split_r_hat
from landscape.measures.local_loss import LocalLoss
from landscape.measures.mcmc_diagnostics import mixed
from landscape.objective import Objective
from landscape.params import Held
from landscape.problems.toys import half_squared_error


def bowl(curvatures):
    def slope(d):
        return float((curvatures * d * d).sum()) / 2, curvatures * d

    return slope


def quartic(d):
    return float(d[0] ** 4), 4 * d**3


def cross(d):
    x, y = d[0], d[1]
    return float(x * x * y * y), torch.stack([2 * x * y * y, 2 * y * x * x])


def sample(slope, size, a, plan, *, b=1.0, seed=0, chains=4):
    start = torch.zeros(size, dtype=torch.float64)
    noises = [Drawn([seed, chain], size) for chain in range(chains)]

    def slopes(asked):
        return [slope(step) for step in asked.values()]

    return run_chains(slopes, [Target(0.0, a, b)] * chains, plan, [start] * chains, noises)


def coefficient(slope, size, a, plan, **options):
    return mixed(sample(slope, size, a, plan, **options), a, plan.adjusted)


def cross_exact(a, b=1.0):
    """E a (x y)^2 under exp(-a (x y)^2 - b (x^2 + y^2) / 2): over y in closed form, over log x by quadrature."""

    def density(u):
        return math.exp(u - b * math.exp(2 * u) / 2) / math.sqrt(b + 2 * a * math.exp(2 * u))

    def mean(u):
        return density(u) * a * math.exp(2 * u) / (b + 2 * a * math.exp(2 * u))

    return quad(mean, -30, 4, limit=400)[0] / quad(density, -30, 4, limit=400)[0]


CURVATURES = torch.logspace(-1, 0.3, 8, dtype=torch.float64)


@pytest.mark.parametrize("leapfrog", [1, 4])
def test_chains_on_a_quadratic_find_half_the_dimension(leapfrog):
    a = 1e4
    exact = float((a * CURVATURES / (a * CURVATURES + 1)).sum()) / 2
    met = coefficient(bowl(CURVATURES), 8, a, Plan(400, 200, None, leapfrog))
    assert met.doubts == []
    assert met.interval[0] < exact < met.interval[1]
    # The virial takes nearly all scatter out: the plain mean is a hundred times farther off.
    assert (
        abs(met.mean - exact) < 4 * met.standard_error < 0.01 < abs(met.diagnostics["plain_mean"] - exact) + 0.01
    )


def test_chains_on_a_quartic_find_a_quarter():
    a = 1e5
    met = coefficient(quartic, 1, a, Plan(300, 150, None, 4))
    assert met.doubts == []
    assert met.interval[0] < 0.25 < met.interval[1] or abs(met.mean - 0.25) < 1e-3
    assert met.mean == pytest.approx(0.25, abs=2e-3)


@pytest.mark.parametrize("a", [20.0, 150.0])
def test_chains_on_a_cross_agree_with_quadrature(a):
    met = coefficient(cross, 2, a, Plan(250, 125, None, 8, acceptance=0.9))
    assert met.doubts == []
    assert met.interval[0] < cross_exact(a) < met.interval[1]


def test_the_cross_tends_to_a_half_by_one_over_the_logarithm():
    """Z(a) ~ a^-1/2 (log a + c), so E a L = -d log Z / d log a = 1/2 - 1/(log a + c): multiplicity 2."""
    inverse = [1 / (0.5 - cross_exact(10.0**power)) for power in (4, 6, 8)]
    assert np.diff(inverse) == pytest.approx(2 * math.log(10), rel=0.01)
    assert 0.39 < cross_exact(1e3) < cross_exact(1e6) < cross_exact(1e9) < 0.5


def test_intervals_hold_the_truth_as_often_as_they_say():
    a = 1e3
    exact = float((a * CURVATURES[:3] / (a * CURVATURES[:3] + 1)).sum()) / 2
    plan = Plan(40, 20, None, 2)
    held = 0
    for seed in range(30):
        met = coefficient(bowl(CURVATURES[:3]), 3, a, plan, seed=seed)
        held += met.interval[0] < exact < met.interval[1]
    # 95 % of 30 are 28 or 29; fewer than 25 come by chance once in three hundred times.
    assert held >= 25


def test_a_narrow_cross_is_not_believed():
    met = coefficient(cross, 2, 1e6, Plan(150, 75, None, 4))
    assert met.doubts
    assert abs(met.mean - cross_exact(1e6)) > 0.02


def test_steps_that_nobody_refuses_are_believed_only_if_short():
    a = 1e3
    long, short = (
        coefficient(bowl(CURVATURES[4:]), 4, a, Plan(900, 100, step, 1, adjusted=False)) for step in (0.034, 0.012)
    )
    assert any("too long" in doubt for doubt in long.doubts)
    assert short.doubts == []
    assert short.mean == pytest.approx(2.0, abs=0.05)


def test_chains_apart_and_chains_that_drift_are_told():
    random = np.random.default_rng(0)
    rows = [random.normal(size=200) for _ in range(4)]
    assert split_r_hat(rows) < 1.02
    assert split_r_hat([row + 2 * place for place, row in enumerate(rows)]) > 1.5
    assert split_r_hat([row + np.linspace(0, 4, 200) for row in rows]) > 1.2


def test_effective_draws_of_an_autoregression_are_the_closed_form():
    random, rho = np.random.default_rng(0), 0.8
    rows = []
    for _ in range(4):
        row = [0.0]
        for _ in range(5000):
            row.append(rho * row[-1] + random.normal())
        rows.append(np.array(row[1:]))
    assert effective_draws(rows) == pytest.approx(20_000 * (1 - rho) / (1 + rho), rel=0.15)


def test_equal_noise_gives_equal_chains():
    one, two, other = (sample(cross, 2, 10.0, Plan(20, 10, None, 2), seed=seed, chains=1)[0] for seed in (0, 0, 1))
    assert np.array_equal(one.rises, two.rises)
    assert not np.array_equal(one.rises, other.rises)


def test_chains_that_have_not_converged_go_on_with_longer_paths():
    slopes, told = [], []

    def slope(asked):
        slopes.append(len(asked))
        return [cross(step) for step in asked.values()]

    def made_in(rounds, enough):
        slopes.clear()
        noises = [Drawn([0, chain], 2) for chain in range(2)]
        start = [torch.zeros(2, dtype=torch.float64)] * 2
        plan = Plan(40, 10, None, 2, rounds=rounds)
        return run_chains(
            slope, [Target(0.0, 10.0, 1.0)] * 2, plan, start, noises, enough=enough, told=told.append
        )

    once = made_in(1, None)
    first = sum(slopes)
    thrice = made_in(3, lambda chains: False)
    # Paths of 2, 4 and 8 steps in the mean.
    assert 6 < sum(slopes) / first < 8
    assert told[-1] == 2 * 3 * 50
    assert [len(chain.rises) for chain in once + thrice] == [40] * 4
    assert np.array_equal(made_in(3, lambda chains: True)[0].rises, once[0].rises)


@pytest.mark.parametrize("adjusted", [True, False])
def test_rmsprop_finds_the_scale_of_each_parameter(adjusted):
    """Langevin steps on curvatures a thousand times apart: alike they hardly move along the flattest."""
    curvatures, a = torch.tensor([1.0, 1e3], dtype=torch.float64), 1e3
    exact = float((a * curvatures / (a * curvatures + 1)).sum()) / 2
    plan = Plan(600, 300, None if adjusted else 0.008, 1, adjusted=adjusted)
    plain = coefficient(bowl(curvatures), 2, a, plan)
    scaled = coefficient(bowl(curvatures), 2, a, replace(plan, preconditioned=True))
    assert scaled.diagnostics["effective_draws"] > 3 * plain.diagnostics["effective_draws"] or math.isnan(
        plain.mean
    )
    assert scaled.mean == pytest.approx(exact, abs=0.1)


def singular_values_mean(inner, outer, hidden, a, gamma=1.0):
    """E a |B A|^2 / 2 under exp(-a |B A|^2 / 2 - gamma (|A|^2 + |B|^2) / 2), whatever its chains do.

    Over B in closed form; then the density depends on the singular values of A (hidden, inner), by quadrature.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    low, high = math.log(1e-3 / math.sqrt(a)), math.log(8.0)
    s = np.exp((nodes + 1) / 2 * (high - low) + low)
    s1, s2 = np.meshgrid(s, s, indexing="ij")
    density = np.outer(weights * s, weights * s) * (s1 * s2) ** abs(hidden - inner) * np.abs(s1**2 - s2**2)
    rise = np.zeros_like(s1)
    for one in (s1, s2):
        density = density * np.exp(-gamma * one**2 / 2) * (a * one**2 + gamma) ** (-outer / 2)
        rise += outer / 2 * a * one**2 / (a * one**2 + gamma)
    return float((density * rise).sum() / density.sum())


def test_two_linear_layers_have_the_coefficient_of_their_singular_values():
    """The learning coefficient is 3/2 (Aoyagi & Watanabe 2005); at this temperature it is less, and known."""
    assert singular_values_mean(2, 2, 2, 1e10) == pytest.approx(1.5, abs=0.01)
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    inputs = torch.linalg.qr(torch.randn(40, 2, generator=torch.Generator().manual_seed(0)))[0] * math.sqrt(40)
    objective = Objective(
        model, loss=lambda output, _: output.square().sum(1).mean() / 2, train=(inputs, torch.zeros(40, 2))
    )
    found = measure(
        objective,
        model,
        ["local_learning_coefficient"],
        settings={"local_learning_coefficient": {"beta": 0.5, "leapfrog": 8}},
    )
    one = found["local_learning_coefficient"]
    exact = singular_values_mean(2, 2, 2, 20.0)
    assert one.converged
    assert abs(one.value - exact) < 3 * one.standard_error < 0.3
    assert one.details["interval_95"][0] < exact < one.details["interval_95"][1]


def field_of(model, loss=half_squared_error, count=30):
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    objective = Objective(model, loss=loss, train=(x, torch.zeros(count, 2)), batch_size=7)
    return LocalLoss(MeasureContext(objective, Held.of(model)))


class Decides(nn.Linear):
    """A layer that cannot be mapped over its weights: a number decides."""

    def forward(self, x):
        return super().forward(x) * (2.0 if float(self.weight.sum()) > 0 else 1.0)


class Remembers(nn.Linear):
    """A layer that gives something else when it is mapped."""

    def forward(self, x):
        scale = 1.0 if torch._C._functorch.is_batchedtensor(self.weight) else 2.0
        return super().forward(x) * scale


@pytest.mark.parametrize(("layer", "stacked"), [(nn.Linear, True), (Decides, False), (Remembers, False)])
def test_slopes_at_several_weights_are_those_of_each(layer, stacked):
    torch.manual_seed(0)
    field = field_of(nn.Sequential(layer(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    steps = [0.3 * field.normal(place) for place in range(3)]
    alone = [field.slope(step) for step in steps]
    for _ in range(2):
        together = field.slopes(steps)
        for (loss, slope), (own, exact) in zip(together, alone, strict=True):
            assert loss == pytest.approx(own, rel=1e-6)
            assert torch.allclose(slope, exact, rtol=1e-5, atol=1e-7)
    assert field._stack._serves is stacked


def test_plans_that_cannot_run_are_refused():
    with pytest.raises(LandscapeError, match="8 draws and a leapfrog step"):
        Plan(4, 0, None)
    with pytest.raises(LandscapeError, match="nothing tells how long a step may be"):
        Plan(10, 0, None, 1, adjusted=False)

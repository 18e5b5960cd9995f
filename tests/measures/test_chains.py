"""Markov chains against densities that are known, and what tells chains that have not converged."""

import math

import numpy as np
import pytest
import torch
from measure_cases import Drawn
from scipy.integrate import quad

from landscape.errors import LandscapeError
from landscape.measures.hmc import Plan, Target, effective_draws, run_chain, split_r_hat
from landscape.measures.mcmc_diagnostics import mixed


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
    target = Target(slope, 0.0, a, b)
    start = torch.zeros(size, dtype=torch.float64)
    return [run_chain(target, plan, start, Drawn([seed, chain], size)) for chain in range(chains)]


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


def test_plans_that_cannot_run_are_refused():
    with pytest.raises(LandscapeError, match="8 draws and a leapfrog step"):
        Plan(4, 0, None)
    with pytest.raises(LandscapeError, match="nothing tells how long a step may be"):
        Plan(10, 0, None, 1, adjusted=False)

"""Belief propagation on committee machines beside exact enumeration, and what is found with it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from landscape.errors import LandscapeError
from landscape.papers.committee import committee_outputs, focus, local_entropy, propagate
from landscape.papers.committee_solvers import descend, error, local_energy


def drawn(units: int, weights: int, examples: int, seed: int = 0):
    random = np.random.default_rng(seed)
    x = random.choice([-1.0, 1.0], size=(examples, units, weights))
    return x, random.choice([-1.0, 1.0], size=examples)


def enumerated(x, y, prior, beta=np.inf):
    """The logarithm of the sum over all weights, the means of the weights, and which make no error."""
    every = np.array(list(itertools.product([-1.0, 1.0], repeat=prior.size))).reshape(-1, *prior.shape)
    wrong = sum((committee_outputs(every, x[place]) != y[place]).astype(int) for place in range(len(y)))
    cost = np.where(wrong > 0, -np.inf, 0.0) if np.isinf(beta) else -beta * wrong
    shares = np.exp((every * prior).sum(axis=(1, 2)) + cost)
    return np.log(shares.sum()), (shares[:, None, None] * every).sum(0) / shares.sum(), every[wrong == 0]


@pytest.mark.parametrize(("units", "weights"), [(3, 3), (3, 5)])
def test_one_example_is_a_tree(units, weights):
    x, y = drawn(units, weights, 1)
    found = propagate(x, y, np.zeros((units, weights)))
    # Half of all weights are right; sums of few weights are no Gaussians, which the means show.
    assert found.log_z == pytest.approx((units * weights - 1) * np.log(2), rel=1e-9)
    exact = enumerated(x, y, np.zeros((units, weights)))
    assert exact[0] == pytest.approx(found.log_z, rel=1e-9)
    np.testing.assert_allclose(found.means, exact[1], atol=0.02)
    # The control: they are not 0.
    assert np.abs(exact[1]).min() > 0.1


@pytest.mark.parametrize(("field", "beta"), [(0.0, np.inf), (0.5, np.inf), (0.3, 1.0)])
def test_free_entropy_and_means_of_several_examples_are_near_the_exact_ones(field, beta):
    x, y = drawn(3, 5, 4)
    prior = field * np.random.default_rng(2).choice([-1.0, 1.0], size=(3, 5))
    log_z, means, _ = enumerated(x, y, prior, beta)
    found = propagate(x, y, prior, beta=beta)
    assert found.change < 1e-6
    assert found.log_z == pytest.approx(log_z, rel=0.02)
    # The control: without the examples both are much further off.
    assert abs(np.log(2 * np.cosh(field)) * 15 - log_z) > 0.05 * log_z
    assert np.linalg.norm(found.means - means) < np.linalg.norm(np.tanh(prior) - means) / 3


def test_without_examples_every_weight_is_free():
    x, y = drawn(3, 5, 1)
    prior = np.linspace(-1, 1, 15).reshape(3, 5)
    found = propagate(x, y, prior, beta=0.0)
    assert found.log_z == pytest.approx(np.log(2 * np.cosh(prior)).sum())
    np.testing.assert_allclose(found.means, np.tanh(prior), atol=1e-9)
    with pytest.raises(LandscapeError, match="a committee has an odd number of units; got 2"):
        propagate(x[:, :2], y, prior[:2])


@pytest.fixture(scope="module")
def task():
    """Examples of a committee of binary weights."""
    random = np.random.default_rng(3)
    target = random.choice([-1.0, 1.0], size=(3, 41))
    x = random.choice([-1.0, 1.0], size=(60, 3, 41))
    return x, committee_outputs(target, x)


def test_focusing_finds_solutions_with_more_of_them_around(task):
    focused = focus(*task, np.linspace(0.2, 2, 10))
    others = [descend(task, 0.3, 1, seed=seed) for seed in range(4)]
    every = [focused, *others]
    assert [error(w, task) for w in every] == [0.0] * 5
    assert all(set(np.unique(w)) == {-1.0, 1.0} for w in every)
    curves = [local_entropy(w, *task, np.array([0.5, 1.0, 1.5])) for w in every]
    assert all((np.diff(curve.distance) < 0).all() and (curve.entropy < curve.bound).all() for curve in curves)
    near = [np.interp(0.1, curve.distance[::-1], curve.entropy[::-1]) for curve in curves]
    assert near[0] > np.mean(near[1:])
    energies = [local_energy(w, task, 0.5) for w in every]
    assert energies[0] < np.mean(energies[1:])

"""The convex problem behind the flattest point, against closed forms, brute force and its own symmetry."""

import numpy as np
import pytest
import scipy.sparse as sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from landscape.errors import LandscapeError
from landscape.symmetry.balance import balance


def chain(widths, seed, spread=2.0):
    """Exponents and masses of a multilayer perceptron without biases, one row per parameter."""
    random = np.random.default_rng(seed)
    starts = np.cumsum([0, *widths[1:-1]])
    rows = []
    for layer in range(len(widths) - 1):
        for out in range(widths[layer + 1]):
            for into in range(widths[layer]):
                row = np.zeros(starts[-1])
                if layer < len(widths) - 2:
                    row[starts[layer] + out] += 1
                if layer > 0:
                    row[starts[layer - 1] + into] -= 1
                rows.append(row)
    exponents = np.array(rows)
    return exponents, random.exponential(size=len(rows)) * np.exp(spread * random.normal(size=len(rows)))


@pytest.mark.parametrize(("power", "expected"), [(1, 2.537716), (2, 1.966720), (3, 1.653768)])
def test_one_neuron_of_any_degree_has_a_closed_form(power, expected):
    # w -> c w, a -> c^-p a, with traces B of w and A of a.
    a, b = 2.3, 0.7
    found = balance(np.array([[-float(power)], [1.0]]), np.array([a, b]))
    closed = (power + 1) * power ** (-power / (power + 1)) * a ** (1 / (power + 1)) * b ** (power / (power + 1))
    assert found.value == pytest.approx(closed, rel=1e-12)
    assert found.value == pytest.approx(expected, abs=5e-7)
    # It lies at c^(2p + 2) = B / (p A).
    assert np.exp(found.mu[0]) ** (2 * power + 2) == pytest.approx(b / (power * a), rel=1e-10)


def test_two_layers_have_twice_the_sum_of_geometric_means():
    exponents, masses = chain([4, 6, 3], seed=0)
    incoming = [masses[exponents[:, unit] > 0].sum() for unit in range(6)]
    outgoing = [masses[exponents[:, unit] < 0].sum() for unit in range(6)]
    assert balance(exponents, masses).value == pytest.approx(
        2 * np.sqrt(np.multiply(incoming, outgoing)).sum(), rel=1e-13
    )


def test_three_layers_agree_with_brute_force():
    exponents, masses = chain([3, 4, 4, 2], seed=1)
    brute = minimize(
        lambda mu: (masses * np.exp(-2 * exponents @ mu)).sum(), np.zeros(8), method="BFGS", options={"gtol": 1e-9}
    )
    found = balance(exponents, masses)
    assert found.value == pytest.approx(brute.fun, rel=1e-9)
    assert found.value < found.before


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 8.0))
def test_the_value_belongs_to_the_orbit_and_the_minimum_is_a_fixed_point(seed, size):
    exponents, masses = chain([3, 5, 4, 2], seed)
    found = balance(exponents, masses)
    moved = size * np.random.default_rng(seed).uniform(-1, 1, 9)
    elsewhere = balance(exponents, masses * np.exp(-2 * exponents @ moved))
    assert elsewhere.value == pytest.approx(found.value, rel=1e-12)
    again = balance(exponents, masses * np.exp(-2 * exponents @ found.mu))
    assert again.value == pytest.approx(found.value, rel=1e-13)
    assert np.abs(again.mu).max() < 1e-6
    # Control: the trace itself is not the same everywhere on the orbit.
    if size > 1:
        assert elsewhere.before != pytest.approx(found.before, rel=1e-3)


def test_rows_with_equal_exponents_may_be_summed():
    exponents, masses = chain([3, 4, 2], seed=2)
    doubled = balance(
        sparse.vstack([sparse.csr_matrix(exponents)] * 2), np.concatenate([masses / 3, masses * 2 / 3])
    )
    assert doubled.value == pytest.approx(balance(exponents, masses).value, rel=1e-14)


def test_a_dead_unit_is_reported_and_left_alone():
    exponents, masses = chain([3, 4, 2], seed=3)
    masses[exponents[:, 1] != 0] = 0.0
    found = balance(exponents, masses)
    assert found.free.tolist() == [1]
    assert found.mu[1] == 0.0
    assert found.attained


def test_a_unit_without_outgoing_curvature_has_an_infimum_that_no_scale_reaches():
    exponents, masses = chain([3, 4, 2], seed=4)
    masses[exponents[:, 2] < 0] = 0.0
    found = balance(exponents, masses)
    assert found.unattained.tolist() == [2]
    assert not found.attained
    others = exponents[:, 2] == 0
    assert found.value == pytest.approx(balance(exponents[others], masses[others]).value, rel=1e-13)


def test_parts_that_are_joined_in_one_direction_only_fall_apart():
    # Two units, each balanced with the ground, and one term that leads from the first to the second: it cannot
    # vanish, for it lies on a cycle through the ground. Without the ground it can.
    joined = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, -1.0]])
    assert balance(joined, np.ones(5)).attained
    # Scales 0 and 1 balance one another, so do 2 and 3; the last term joins the pairs in one direction.
    pairs = np.array([[1.0, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1], [1, 0, -1, 0]])
    found = balance(pairs, np.array([2.0, 0.5, 2.0, 0.5, 7.0]))
    assert found.value == pytest.approx(4.0, rel=1e-12)
    assert found.before == 12.0
    assert set(found.unattained.tolist()) == {0, 2}


def test_a_network_that_was_scaled_by_a_million_comes_back():
    exponents, masses = chain([4, 5, 5, 3], seed=5)
    scaled = np.repeat([np.log(1e6), -np.log(1e6)], 5)
    found = balance(exponents, masses * np.exp(-2 * exponents @ scaled))
    assert found.value == pytest.approx(balance(exponents, masses).value, rel=1e-11)


@pytest.mark.parametrize("mass", [-1.0, np.nan, np.inf])
def test_curvature_that_cannot_be_is_refused(mass):
    with pytest.raises(LandscapeError, match="curvature must be finite and not negative"):
        balance(np.array([[1.0], [-1.0]]), np.array([1.0, mass]))

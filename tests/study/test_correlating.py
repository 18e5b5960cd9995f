"""Rank correlations with ties and intervals: brute force, closed forms, planted truths."""

import math

import numpy as np
import pytest
from scipy import stats

from landscape import LandscapeError
from landscape.study.correlation import (
    agreement,
    correlate,
    correlate_nets,
    kendall_of,
    pairs_that_differ_in,
    spearman_of,
)
from landscape.values.correlations import Nets, is_invariant


def brute_tau_b(x, y):
    """Kendall's tau-b from its definition, pair by pair."""
    n = len(x)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    score = sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in pairs)
    untied = [sum(values[i] != values[j] for i, j in pairs) for values in (x, y)]
    return score / math.sqrt(untied[0] * untied[1])


def with_ties(seed, n=25):
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 8, n).astype(float)
    return x, np.round(x / 3 + generator.standard_normal(n), 1)


@pytest.mark.parametrize("seed", range(5))
def test_kendall_with_ties_is_that_of_the_definition(seed):
    x, y = with_ties(seed)
    assert correlate(x, y, resamples=1).kendall == pytest.approx(brute_tau_b(x, y), rel=1e-12)
    # Without regard to ties it would be another number.
    assert correlate(x, y, resamples=1).kendall != pytest.approx(
        sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i in range(25) for j in range(i)) / 300, rel=1e-3
    )


@pytest.mark.parametrize("seed", range(5))
def test_correlations_of_draws_are_those_of_the_networks_drawn(seed):
    x, y = with_ties(seed)
    counts = np.random.default_rng(seed).multinomial(25, np.full(25, 1 / 25), size=4).astype(float)
    for count, tau, rho in zip(counts, kendall_of(x, y, counts), spearman_of(x, y, counts), strict=True):
        drawn = np.repeat(np.arange(25), count.astype(int))
        assert tau == pytest.approx(stats.kendalltau(x[drawn], y[drawn]).statistic, rel=1e-12)
        assert rho == pytest.approx(stats.spearmanr(x[drawn], y[drawn]).statistic, rel=1e-12)


def test_intervals_cover_a_planted_correlation_as_often_as_they_say():
    rho, trials = 0.5, 200
    truth = 2 / math.pi * math.asin(rho), 6 / math.pi * math.asin(rho / 2)
    generator = np.random.default_rng(0)
    hits = np.zeros(3)
    for trial in range(trials):
        a, b = generator.standard_normal((2, 40))
        found = correlate(a, rho * a + math.sqrt(1 - rho**2) * b, resamples=300, level=0.9, seed=trial)
        inside = zip((*truth, 0.0), (found.kendall_interval, found.spearman_interval, found.kendall_interval))  # noqa: B905
        hits += [low <= value <= high for value, (low, high) in inside]
    # Three standard errors of a share of 0.9 over 200 trials; zero, which is not the truth, is seldom covered.
    assert hits[:2] / trials == pytest.approx([0.9, 0.9], abs=3 * math.sqrt(0.09 / trials))
    assert hits[2] / trials < 0.1


@pytest.mark.parametrize("groups", [None, [n // 3 for n in range(25)]])
def test_the_order_of_the_networks_does_not_count(groups):
    x, y = with_ties(0)
    order = np.random.default_rng(1).permutation(25)
    moved = None if groups is None else [groups[n] for n in order]
    found = correlate(x, y, groups=groups)
    assert correlate(x[order], y[order], groups=moved) == found
    assert correlate(x, y, groups=groups, seed=1).kendall_interval != found.kendall_interval


def test_repeats_of_one_setting_drawn_together_tell_less():
    # Eight settings, each five times: as many draws of networks would count each setting five times over.
    generator = np.random.default_rng(0)
    x, y = np.repeat(generator.standard_normal((2, 8)), 5, axis=1) + 1e-3 * generator.standard_normal((2, 40))
    single = correlate(x, y)
    together = correlate(x, y, groups=np.repeat(np.arange(8), 5))
    assert np.ptp(together.kendall_interval) > 1.3 * np.ptp(single.kendall_interval)
    assert together.kendall == single.kendall


def test_what_cannot_be_ranked_is_undefined():
    for x, y in (([1.0, 2.0], [1.0, 2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, np.nan], [1.0] * 3)):
        found = correlate(x, y)
        assert math.isnan(found.kendall)
        assert not found.excludes_zero()
    assert correlate([1, 2, 3, np.inf], [1, 2, 3, 4], resamples=10).count == 3


def table(**more):
    """Two families of eight networks; the measure is right within a family and wrong between the two."""
    family = np.repeat([0, 1], 8)
    rate, seed = np.tile(np.repeat([0, 1, 2, 3], 2), 2), np.tile([0, 1], 8)
    error = rate + 0.1 * seed + 10.0 * family
    levels = {"family": family, "lr": rate, "seed": seed}
    named = {name: tuple(map(str, values)) for name, values in levels.items()}
    return Nets(
        names=tuple(f"net {n}" for n in range(16)),
        levels=named,
        settings=named,
        results={"test_error": error, "train_loss": np.full(16, 0.1)},
        measures={"simpson": rate + 0.1 * seed - 10.0 * family},
        about={"simpson": {"title": "a paradox", "invariant_claimed": ["layer-rescaling", "unit-rescaling"]}},
        **more,
    )


def test_a_measure_may_agree_within_every_family_and_not_over_all():
    found = correlate_nets(table(), ["test_error"], resamples=50)
    row = found["simpson"]
    assert row.invariant
    assert row.correlations["test_error"].kendall == pytest.approx((56 - 64) / 120)
    assert {axis: one.value for axis, one in row.agreements.items()} == {"family": -1.0, "lr": 1.0, "seed": 1.0}
    assert {axis: one.pairs for axis, one in row.agreements.items()} == {"family": 8, "lr": 24, "seed": 8}
    assert found["train_loss"].control


def test_networks_that_do_not_count_are_left_out_and_kept():
    nets = table(faults={f"net {n}": "diverged" for n in range(8, 16)})
    found = correlate_nets(nets, ["test_error"], resamples=50)
    assert found["simpson"].correlations["test_error"].kendall == pytest.approx(1.0, rel=1e-12)
    assert found["simpson"].correlations["test_error"].count == 8
    assert pairs_that_differ_in(nets, "family") == []
    assert [net["fault"] for net in found.to_json()["nets"]] == [None] * 8 + ["diverged"] * 8


def test_targets_that_are_not_there_are_refused():
    with pytest.raises(LandscapeError, match=r"^no network has a 'test_loss'; there are test_error, train_loss$"):
        correlate_nets(table(), ["test_loss"])


def test_agreement_leaves_out_ties_of_the_target_only():
    x, y = np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0, 1.0])
    assert agreement(x, y, [(0, 1), (0, 2), (2, 3), (0, 3), (1, 2)]).value == pytest.approx((0 + 1 - 1) / 3)
    assert math.isnan(agreement(x, y, []).value)


def test_only_who_bears_all_rescalings_is_called_invariant():
    assert is_invariant(("layer-rescaling", "unit-rescaling"))
    assert not is_invariant(["layer-rescaling", "permutation"])
    assert not is_invariant(None)

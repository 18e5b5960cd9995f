"""Intervals hold the truth as often as they say, on problems whose truth is known (benchmarks/COVERAGE.md).

How many of so many intervals of 95 % may miss is chosen before: four standard deviations of a binomial.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.signal import lfilter
from torch import nn

from landscape.measures.draws import mean_and_error, skew_note
from landscape.measures.hmc import Chain
from landscape.measures.mcmc_diagnostics import mixed
from landscape.objective import Objective
from landscape.values.repeats import subset_error
from landscape.values.surface import Surface


def least(times, nominal=0.95):
    """How many of so many intervals hold the truth at least."""
    return nominal * times - 4 * math.sqrt(times * nominal * (1 - nominal))


def autoregressive(random, rho, shape):
    """A stationary chain of variance 1."""
    shocks = random.standard_normal(shape)
    shocks[..., 1:] *= math.sqrt(1 - rho**2)
    return lfilter([1.0], [1.0, -rho], shocks)


def chains_of(rises, virials):
    return [
        Chain(rise, 1 + autoregressive(np.random.default_rng(at), 0.0, len(rise)) ** 2, virial, 0.8, 0.1, None)
        for at, (rise, virial) in enumerate(zip(rises, virials, strict=True))
    ]


def test_intervals_of_chains_cover_and_those_of_independent_draws_do_not():
    times, rho, truth, held, naive = 200, 0.8, 3.0, np.zeros(2), 0
    for seed in range(times):
        random = np.random.default_rng([1, seed])
        rises, virials = truth + autoregressive(random, rho, (4, 250)), autoregressive(random, rho, (4, 250))
        met = mixed(chains_of(rises, virials), 1.0, adjusted=True)
        held += [abs(met.mean - truth) <= 1.96 * met.standard_error, met.interval[0] <= truth <= met.interval[1]]
        # The control: as if draws were independent.
        naive += abs(rises.mean() - truth) <= 1.96 * rises.std() / math.sqrt(rises.size)
    assert (held >= least(times)).all(), held
    assert naive < 0.7 * times


def test_the_slope_on_the_virial_leaves_no_bias():
    # y = v^2 with v exponential less 1: E y = 1, and a slope from the same draws is large where v is.
    times, errors, own = 400, [], []
    for seed in range(times):
        v = np.random.default_rng([2, seed]).exponential(size=(4, 25)) - 1
        errors.append(mixed(chains_of(v**2, v), 1.0, adjusted=True).mean - 1)
        slope = np.polyfit(v.ravel(), v.ravel() ** 2, 1)[0]
        own.append(float((v**2 - slope * v).mean()) - 1)
    scatter = [float(np.std(one)) / math.sqrt(times) for one in (errors, own)]
    assert abs(np.mean(errors)) < 4 * scatter[0]
    # The control, the slope of all draws: r = v^2 - 2 v - 1 is what is left, and it is off by -E[v^2 r] / n.
    assert abs(np.mean(own) + 0.04) < 4 * scatter[1] < 0.04


@pytest.mark.parametrize("count", [20, 100])
def test_few_skewed_means_claim_an_interval_that_misses(count):
    # The rise of (w^2 - 1)^2 at w = 1 under noise of 0.3: 4 s^2 z^2 + 4 s^3 z^3 + s^4 z^4, mean 4 s^2 + 3 s^4.
    times, truth, wrong, silent, spoken = 500, 0.3843, 0, 0, 0
    bound = float(stats.t.ppf(0.975, count - 1))
    for seed in range(times):
        z = np.random.default_rng([3, count, seed]).standard_normal(count)
        draws = 0.36 * z**2 + 0.108 * z**3 + 0.0081 * z**4
        mean, error = mean_and_error(draws)
        missed, note = abs(mean - truth) > bound * error, skew_note(draws)
        wrong, silent, spoken = wrong + (missed and not note), silent + missed, spoken + bool(note)
    assert wrong <= times - least(times)
    # The control: without the note more miss than 5 %.
    assert silent > times - least(times)
    assert spoken > times / 2
    # Normal draws are hardly ever doubted.
    normal = [skew_note(np.random.default_rng([4, seed]).standard_normal(count)) for seed in range(times)]
    assert sum(map(bool, normal)) < 0.05 * times


def test_errors_of_subsets_cover_and_allow_for_the_part_that_is_known():
    scores = torch.from_numpy(1 + 0.3 * np.random.default_rng(7).standard_normal(400))[:, None]
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
    whole = Objective(model, loss=lambda output, _: output[:, 0], train=(scores, torch.zeros_like(scores)))
    times, truth, held, plain = 200, float(scores.mean()), 0, []
    for seed in range(times):
        part = whole.subset(300, seed)
        one = part.estimates(model, ["train"], ["loss"])["train_loss"]
        surface = Surface(
            x=np.zeros(1),
            y=None,
            fields={"train_loss": np.array([one.mean])},
            standard_errors={"train_loss": np.array([one.standard_error])},
            meta={"examples": part.examples(["train"])},
        )
        held += abs(one.mean - truth) <= 1.96 * subset_error(surface, "train_loss")
        plain.append(abs(one.mean - truth) <= 1.96 * one.standard_error)
    assert held >= least(times)
    # The control: as if the rest were not of the same data, intervals are twice as wide and never miss.
    assert sum(plain) > 0.99 * times > held

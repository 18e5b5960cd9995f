"""Closed forms beside simulation: Gaussian mixtures, memorisers, polynomials in place of the ReLU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.papers.committee import propagate
from landscape.papers.committee_solvers import descend
from landscape.papers.interpolators import memoriser, random_direction, teacher
from landscape.papers.mixture import (
    bayes_optimal,
    bayes_weights,
    best_threshold,
    local_energy,
    population_error,
    sampled_local_energy,
    training_local_energy,
)
from landscape.papers.students import flattest_trace, least_trace
from landscape.problems.catalogue import MixtureOptions, MultiIndexOptions
from landscape.problems.mixture import draw_mixture
from landscape.problems.multi_index import draw_multi_index
from landscape.problems.polynomial import PolynomialFit
from landscape.values.experiment import Experiment, Series

Array = NDArray[np.float64]

_SEEDS = 8
_DIM = 1000
# Of local entropies: what an error costs, and the field that holds weights near.
_COST, _GRIP = 2.0, 1.0


def _over_seeds(values: list[list[float]]) -> tuple[Array, Array]:
    """Means over seeds and their standard errors; a row for each seed."""
    given = np.array(values)
    return given.mean(axis=0), given.std(axis=0, ddof=1) / np.sqrt(len(given))


def _overlaps(options: MixtureOptions, w: Array) -> tuple[float, float]:
    centre = draw_mixture(options).centre
    return float(w @ centre / np.sqrt(options.dim)), float(w @ w)


def bayes_error(*_: Any) -> Experiment:
    """Error of the Hebb rule, in the direction of the posterior mean, beside the Bayes-optimal error."""
    alphas = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
    values = []
    for seed in range(_SEEDS):
        own = []
        for place, alpha in enumerate(alphas):
            # Other clusters for each: the length of their centre moves all errors of a draw alike.
            number = place * _SEEDS + seed
            options = MixtureOptions(dim=_DIM, alpha=float(alpha), bias=False, data_seed=number)
            own.append(float(population_error(*_overlaps(options, bayes_weights(options)))))
        values.append(own)
    mean, error = _over_seeds(values)
    line = np.geomspace(alphas[0], alphas[-1], 51)
    return Experiment(
        "error of the posterior mean",
        "examples per dimension α",
        "error",
        (
            Series("Bayes-optimal", line, np.array([bayes_optimal(float(a)).error for a in line]), line=True),
            Series("Hebb rule", alphas, mean, error),
        ),
        "x",
        f"{_DIM:,} dimensions, {_SEEDS} draws",
    )


def unbalanced_threshold(*_: Any) -> Experiment:
    """Error over the threshold with clusters of unequal size: fresh examples beside the closed form."""
    alpha, delta, rho = 2.0, 1.0, 0.2
    best = bayes_optimal(alpha, delta, rho)
    thresholds = np.linspace(-1.5, 0.5, 9)
    generator = np.random.default_rng(0)
    count, dim = 20_000, 200
    v = generator.normal(size=dim)
    v *= np.sqrt(dim) / np.linalg.norm(v)
    y = np.where(generator.random(count) < rho, 1.0, -1.0)
    x = y[:, None] * v / np.sqrt(dim) + np.sqrt(delta) * generator.normal(size=(count, dim))
    side = generator.normal(size=dim)
    side -= side @ v / dim * v
    # Overlap and squared norm of the posterior mean: m = q.
    w = best.m * v / np.sqrt(dim) + np.sqrt(best.m - best.m**2) * side / np.linalg.norm(side)
    found = np.array([float((y * (x @ w + b) <= 0).mean()) for b in thresholds])
    line = np.linspace(-1.5, 0.5, 101)
    return Experiment(
        "clusters of unequal size",
        "threshold b",
        "error",
        (
            Series("closed form", line, population_error(best.m, best.m, line, delta=delta, rho=rho), line=True),
            Series("fresh examples", thresholds, found, np.sqrt(found * (1 - found) / count)),
            Series(
                "best threshold",
                np.array([float(best_threshold(best.m, best.m, delta=delta, rho=rho))]),
                np.array([best.error]),
            ),
        ),
        about=f"share of the smaller cluster {rho:g}, {count:,} fresh examples",
    )


def sampled_energy(*_: Any) -> Experiment:
    """Local energy of the posterior mean over the size of the noise, sampled beside the closed form."""
    best = bayes_optimal(2.0)
    sigmas = np.linspace(0.2, 1.0, 5)
    options = MixtureOptions(dim=4000, alpha=2.0, bias=False)
    centre, w = draw_mixture(options).centre, bayes_weights(options)
    m, q = _overlaps(options, w)
    drawn = [sampled_local_energy(w, 0.0, centre, sigma=float(s), draws=50) for s in sigmas]
    line = np.linspace(0, 1, 51)
    return Experiment(
        "local energy of the posterior mean",
        "size of the noise σ",
        "rise of the error",
        (
            Series("closed form", line, local_energy(m, q, sigma=line), line=True),
            Series(
                "sampled", sigmas, np.array([d.mean for d in drawn]), np.array([d.standard_error for d in drawn])
            ),
        ),
        about=f"4,000 dimensions, 50 draws; in the limit the error is {best.error:.4g}",
    )


def energy_towards_bayes(*_: Any) -> Experiment:
    """Training error after noise, on the way from a hyperplane that memorises to the Bayes-optimal one."""
    shares = np.linspace(0, 1, 6)
    flat, errors = [], []
    for seed in range(_SEEDS):
        options = MixtureOptions(dim=200, alpha=0.8, bias=False, data_seed=seed)
        x, y = draw_mixture(options).train
        bayes = bayes_weights(options)
        # The least-norm hyperplane of margin 1 on every example.
        memory = np.linalg.lstsq(x, y, rcond=None)[0]
        memory *= np.linalg.norm(bayes) / np.linalg.norm(memory)
        own, wrong = [], []
        for share in shares:
            w = (1 - share) * memory + share * bayes
            base = float((y * (x @ w) <= 0).mean())
            own.append(base + training_local_energy(w, 0.0, x, y, sigma=1.0))
            wrong.append(float(population_error(*_overlaps(options, w))))
        flat.append(own)
        errors.append(wrong)
    (mean, error), (population, spread) = _over_seeds(flat), _over_seeds(errors)
    return Experiment(
        "towards the Bayes-optimal hyperplane",
        "share of the way",
        "error",
        (
            Series("training error after noise σ = 1", shares, mean, error),
            Series("population error", shares, population, spread),
        ),
        about=f"200 dimensions, 160 examples, {_SEEDS} draws",
    )


def entropy_towards_bayes(*_: Any) -> Experiment:
    """Local entropy of the number of errors on the way from binary weights that memorise to the best."""
    shares = np.linspace(0, 1, 4)
    local, errors = [], []
    for seed in range(_SEEDS):
        options = MixtureOptions(dim=200, alpha=0.8, bias=False, data_seed=seed)
        drawn = draw_mixture(options)
        # The centre is one of binary weights too: the best are the signs of the Hebb rule.
        turned = np.where(drawn.centre >= 0, 1.0, -1.0)
        x = drawn.train[0] + drawn.train[1][:, None] * (turned - drawn.centre) / np.sqrt(options.dim)
        y = drawn.train[1]
        best = np.where((y[:, None] * x).mean(axis=0) >= 0, 1.0, -1.0)
        start = descend((x[:, None], y), 0.1, 1, seed)[0]
        order = np.random.default_rng(seed).permutation(np.flatnonzero(start != best))
        own, wrong = [], []
        for share in shares:
            w = start.copy()
            w[order[: round(share * len(order))]] *= -1
            found = propagate(x[:, None], y, _GRIP * w[None], beta=_COST)
            own.append(found.log_z / w.size - float(np.log(2 * np.cosh(_GRIP))))
            wrong.append(float(population_error(w @ turned / np.sqrt(w.size), w @ w)))
        local.append(own)
        errors.append(wrong)
    (mean, error), (population, spread) = _over_seeds(local), _over_seeds(errors)
    return Experiment(
        "binary weights, towards the best",
        "share of the way",
        "entropy (nats per weight), error",
        (
            Series("local entropy of the errors", shares, mean, error),
            Series("population error", shares, population, spread),
        ),
        about=f"200 dimensions, 160 examples, {_SEEDS} draws; belief propagation, an error costs {_COST:g}, field "
        f"{_GRIP:g}",
    )


def memoriser_growth(*_: Any) -> Experiment:
    """Least trace on the orbit of memoriser and teacher over the number of examples."""
    counts = np.array([25, 50, 100, 200, 400])
    rows: dict[str, list[list[float]]] = {"memoriser": [], "teacher": []}
    for seed in range(_SEEDS):
        own: dict[str, list[float]] = {name: [] for name in rows}
        for count in counts:
            options = MultiIndexOptions(dim=20, train_size=int(count), data_seed=seed)
            drawn = draw_multi_index(options)
            x, y = drawn.train
            own["teacher"].append(flattest_trace(teacher(options), x))
            direction = random_direction(20, drawn.directions, seed)
            own["memoriser"].append(flattest_trace(memoriser(x, y, direction), x))
        for name in rows:
            rows[name].append(own[name])
    series = []
    for name, values in rows.items():
        middle = np.exp(np.median(np.log(np.array(values)), axis=0))
        series.append(Series(name, counts.astype(float), middle))
    return Experiment(
        "least trace on the orbit",
        "training examples n",
        "trace (log scale)",
        tuple(series),
        "xy",
        f"20 dimensions, medians of {_SEEDS} draws",
    )


def least_trace_scan(*_: Any) -> Experiment:
    """Least trace of a unit over its rescalings by a fine scan, beside the closed form, for degrees 1 to 3."""
    degrees = np.arange(1.0, 4.0)
    factors = np.geomspace(1e-2, 1e2, 200_001)
    outer, inner = 2.3, 0.7
    scans = [float((factors ** (2 * p) * outer + factors**-2.0 * inner).min()) for p in degrees]
    forms = [float(least_trace(outer, inner, int(p))) for p in degrees]
    return Experiment(
        "least trace of a unit",
        "degree p",
        "trace",
        (Series("closed form", degrees, np.array(forms), line=True), Series("scan", degrees, np.array(scans))),
        about=f"A = {outer:g}, B = {inner:g}",
    )


def relu_polynomials(*_: Any) -> Experiment:
    """Error of the least-squares polynomial of the ReLU on [-1, 1]: in the mean square and at most."""
    degrees = np.array([2, 4, 6, 8, 10])
    x = np.linspace(-1, 1, 20_001)
    mean, most = [], []
    for degree in degrees:
        gap = np.abs(
            np.polynomial.legendre.legval(x, PolynomialFit(int(degree), "legendre", 1.0).legendre)
            - np.maximum(x, 0)
        )
        # Simpson's rule.
        weights = np.where(np.arange(len(x)) % 2 == 1, 4.0, 2.0)
        weights[[0, -1]] = 1.0
        mean.append(float(np.sqrt((weights * gap**2).sum() * (x[1] - x[0]) / 3)))
        most.append(float(gap.max()))
    return Experiment(
        "polynomials in place of the ReLU",
        "degree",
        "error on [−1, 1] (log scale)",
        (
            Series("root mean square", degrees.astype(float), np.array(mean)),
            Series("largest", degrees.astype(float), np.array(most)),
        ),
        "y",
        "nearest polynomials in the mean square",
    )

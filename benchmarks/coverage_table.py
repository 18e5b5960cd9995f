"""The cases of `benchmarks.coverage` by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import coverage_cases as cases
from benchmarks.coverage_cases import Case, Field
from landscape.curvature import Curvature, gauss_newton_diagonal, scattered_traces
from landscape.measures.hmc import Plan
from landscape.measures.volume import log_unit_ball
from landscape.objective import Objective

Maker = Callable[[], Case]


def _chains(kind: str, a: float, means: bool, plan: Plan) -> Maker:
    def make() -> Case:
        loss = {"bowl": cases.bowl, "quartic": cases.quartic, "cross": cases.cross, "well": cases.double_well}[
            kind
        ]
        size = {"bowl": 8, "cross": 2}.get(kind, 1)
        if kind == "bowl":
            truth = float((a * cases.CURVATURES / (a * cases.CURVATURES + 1)).sum()) / 2
        elif kind == "cross":
            truth = cases.cross_truth(a)
        else:
            # At 15 units of the barrier chains stay in the well of the weights, whose mean is meant then.
            low = -0.96 if a > 10 else -9.0
            truth = cases.mean_rise(lambda d: loss(np.array([d]))[0], a, 1.0, low)
        words = {
            "bowl": "quadratic in 8 dimensions, closed form",
            "quartic": "d⁴, quadrature",
            "cross": "(x y)², quadrature",
            "well": "double well, quadrature" + (" over the well of the weights" if a > 10 else ""),
        }[kind]
        told = f"{words}, n beta = {a:g}, {plan.draws} draws"
        return cases.chains(told, Field(size, loss), a, truth, plan, means=means)

    return make


def _entropy(kind: str, method: str, **settings: Any) -> Maker:
    beta, gamma = settings.get("beta", 1.0), settings.get("gamma", 1.0)

    def make() -> Case:
        if kind == "bowl":
            truth = -float(np.log1p(cases.CURVATURES / gamma).sum()) / 2
            field, words = Field(8, cases.bowl), "quadratic in 8 dimensions, closed form"
        else:
            field, words = Field(1, cases.double_well), "double well, quadrature"
            truth = cases.log_mean(lambda d: field.loss(np.array([d])), beta, beta * gamma)
        told = ", ".join(f"{name} = {value:g}" for name, value in settings.items())
        return cases.entropy(f"{words}, {told}", field, truth, method=method, **settings)

    return make


_MATRIX = torch.diag(torch.logspace(-1, 0.7, 6, dtype=torch.float64))
_SIGMA = 0.3


class _Well(nn.Module):
    """The output (w^2 - 1) sqrt(2), so that half the squared error to 0 is (w^2 - 1)^2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.w**2 - 1)


def _energy(kind: str, draws: int, name: str = "local_energy") -> Maker:
    def make() -> Case:
        if kind == "bowl":
            objective, model = cases.linear_problem(_MATRIX)
            truth = _SIGMA**2 / 2 * float(_MATRIX.trace())
        else:
            model = _Well()
            ones = torch.ones(2, 1, dtype=torch.float64)
            objective = Objective(model, loss=functional.mse_loss, train=(ones, 0 * ones))
            # E ((1 + s z)^2 - 1)^2 = 4 s^2 + 3 s^4.
            truth = 4 * _SIGMA**2 + 3 * _SIGMA**4
        words = {"bowl": "quadratic in 6 dimensions, closed form", "well": "double well, closed form"}[kind]
        how: dict[str, Any] = {"draws": draws}
        if name == "local_energy":
            how |= {"noise": "additive", "sigma": _SIGMA, "points": 1}
        else:
            how |= {"rho": _SIGMA, "units": "none"}
        return cases.measured(name, words, objective, model, truth, draws - 1, **how)

    return make


def _volume() -> Case:
    objective, model = cases.linear_problem(_MATRIX[:4, :4])
    truth = log_unit_ball(4) + 2 * math.log(0.2) - float(torch.log(_MATRIX.diagonal()[:4]).sum()) / 2
    words = "quadratic in 4 dimensions, volume of an ellipsoid"
    return cases.measured("epsilon_volume", words, objective, model, truth, math.inf, epsilon=0.1, directions=100)


def _diagonal(samples: int) -> Maker:
    def make() -> Case:
        objective, model = cases.classifier()
        truth = gauss_newton_diagonal(objective, model, exact=True).traces["0.weight"].value
        found = lambda seed: gauss_newton_diagonal(objective, model, samples=samples, seed=seed).traces["0.weight"]  # noqa: E731
        words = "first layer of a network on 96 examples in 6 micro-batches, exact diagonal"
        name = f"`gauss_newton_diagonal`, {samples} samples"
        return cases.of_network(name, words, truth, found, 6 * (samples - 1))

    return make


def _gauss_newton(name: str, freedom: float, **settings: Any) -> Maker:
    def make() -> Case:
        objective, model = cases.classifier()
        exact = {"gauss_newton_trace": {"method": "exact"}, "fisher_trace": {"method": "exact"}}.get(name, {})
        truth = cases.measure(objective, model, {name: exact}, dtype=torch.float64)[name].value
        words = "network of 386 parameters on 96 examples, exact value"
        return cases.measured(name, words, objective, model, truth, freedom, **settings)

    return make


def _hessian(name: str, freedom: float, **settings: Any) -> Maker:
    def make() -> Case:
        objective, model = cases.classifier()
        truth = cases.measure(objective, model, {name: {"method": "exact"}}, dtype=torch.float64)[name].value
        words = "network of 386 parameters on 96 examples, exact value"
        return cases.measured(name, words, objective, model, truth, freedom, **settings)

    return make


def _scattered(samples: int) -> Maker:
    def make() -> Case:
        objective, model = cases.classifier()
        truth = cases.trace(Curvature(objective, model), "exact").value
        operator = Curvature(objective, model, batch_size=8)
        found = lambda seed: scattered_traces(operator, [lambda rows: rows], samples=samples, seed=seed)[0].whole  # noqa: E731
        name = f"`scattered_traces`, {samples} per micro-batch"
        freedom = 12 * (samples - 1) if samples > 1 else 11
        return cases.of_network(
            name, "network of 386 parameters in 12 micro-batches, exact trace", truth, found, freedom
        )

    return make


CASES: dict[str, Maker] = {
    **{
        f"llc/{kind}/{a:g}{'/t' * means}": _chains(kind, a, means, plan)
        for kind, a, plan in (
            ("bowl", 1e3, Plan(100, 60, None, 4)),
            ("quartic", 1e3, Plan(100, 60, None, 4)),
            ("cross", 20.0, Plan(150, 80, None, 4)),
            ("well", 2.0, Plan(150, 80, None, 4)),
            ("well", 15.0, Plan(150, 80, None, 4)),
        )
        for means in (False, True)
    },
    "entropy/chains/bowl": _entropy("bowl", "chains", gamma=1.0, chain_draws=100, burn_in=50),
    "entropy/chains/bowl sharp": _entropy("bowl", "chains", gamma=1e-3, chain_draws=100, burn_in=50),
    "entropy/chains/well": _entropy("well", "chains", gamma=0.5, beta=2.0, chain_draws=100, burn_in=50),
    "entropy/gaussian/bowl": _entropy("bowl", "gaussian", gamma=1.0, draws=200),
    "entropy/gaussian/bowl wide": _entropy("bowl", "gaussian", gamma=0.1, draws=400),
    "entropy/gaussian/well": _entropy("well", "gaussian", gamma=0.5, beta=2.0, draws=200),
    "energy/bowl/100": _energy("bowl", 100),
    "energy/well/100": _energy("well", 100),
    "energy/well/20": _energy("well", 20),
    "adaptive/bowl/100": _energy("bowl", 100, "adaptive_sharpness_average"),
    "volume": _volume,
    **{
        f"subset/{kind}/{used}": (lambda kind=kind, used=used: cases.subset(kind, used, 2000))
        for kind, used in (
            ("normal losses", 50),
            ("normal losses", 1000),
            ("cross-entropies of a fair classifier", 50),
            ("cross-entropies, one in fifty confidently wrong", 50),
            ("cross-entropies, one in fifty confidently wrong", 200),
            ("cross-entropies, one in fifty confidently wrong", 1000),
        )
    },
    **{
        f"correlate/{which}/{count}/{rho}": (
            lambda which=which, count=count, rho=rho: cases.correlation(which, count, rho)
        )
        for which in ("kendall", "spearman")
        for count, rho in ((10, 0.0), (10, 0.5), (20, 0.0), (20, 0.5), (20, 0.9), (40, 0.5), (40, 0.9))
    },
    "correlate/groups": lambda: cases.correlation("kendall", 60, 0.5, repeats=3, noise=0.3),
    **{
        f"{method}/{spectrum}/{samples}": (
            lambda method=method, spectrum=spectrum, samples=samples, freedom=freedom: cases.traces(
                method, spectrum, samples, freedom
            )
        )
        for method, samples, freedom in (
            ("hutchinson", 60, 59),
            ("hutch++", 9, 2),
            ("hutch++", 60, 19),
            ("xtrace", 30, 14),
            ("xtrace", 60, 29),
            ("frobenius hutchinson", 60, 59),
            ("frobenius hutch++", 60, 19),
        )
        for spectrum in cases.SPECTRA
    },
    **{
        f"density/{part}/{spectrum}": (lambda part=part, spectrum=spectrum: cases.density(part, spectrum))
        for part in ("mean", "second moment", "share above 1")
        for spectrum in list(cases.SPECTRA)[1:]
    },
    "diagonal/2": _diagonal(2),
    "diagonal/8": _diagonal(8),
    "gauss_newton_trace/hutch++": _gauss_newton("gauss_newton_trace", 33, method="hutch++", samples=100),
    "gauss_newton_trace/scattered/1": _gauss_newton("gauss_newton_trace", 6, method="scattered", samples=1),
    "gauss_newton_trace/scattered/4": _gauss_newton("gauss_newton_trace", 7, method="scattered", samples=4),
    "fisher_trace/hutch++": _gauss_newton("fisher_trace", 33, method="hutch++", samples=100),
    "orbit/1": _gauss_newton("orbit_min_trace", 6, samples=1),
    "orbit/4": _gauss_newton("orbit_min_trace", 7, samples=4),
    "orbit/16": _gauss_newton("orbit_min_trace", 7, samples=16),
    "scattered/1": _scattered(1),
    "scattered/2": _scattered(2),
    "filter/scattered": _hessian("filter_normalized_curvature", 5, method="scattered", samples=1),
    "relative/scattered": _hessian("relative_flatness", 5, method="scattered", samples=1),
    "student/5": lambda: cases.student(5),
}

"""Estimators with an interval, each on a problem whose truth is known: the cases of `benchmarks.coverage`.

A case is made once and drawn many times; each draw gives an interval, or None where the estimator itself says
that it has not converged. Problems are known in closed form or by quadrature, independently of what is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import integrate, stats
from torch import Tensor, nn
from torch.nn import functional

from landscape.curvature import frobenius, spectral_density, trace
from landscape.curvature.random_vectors import Estimate
from landscape.measures.computation import measure
from landscape.measures.context import MeasureContext
from landscape.measures.hmc import Plan, Target, run_chains
from landscape.measures.local_entropy import by_chains, by_gaussian
from landscape.measures.mcmc_diagnostics import Mixed, mixed
from landscape.objective import Objective
from landscape.params import Held
from landscape.plots.paired import interval
from landscape.problems.toys import half_squared_error
from landscape.study.correlation import correlate
from landscape.values.repeats import subset_error
from landscape.values.surface import Surface

Array: TypeAlias = NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]
Draw: TypeAlias = Callable[[int], Interval | None]

# Normal intervals of 95 % where an error has many degrees of freedom.
_NORMAL = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Case:
    """An estimator on a problem.

    Attributes:
        estimator: What gives the interval.
        problem: What it is tried on, and why the truth is known.
        truth: The number that intervals are to hold.
        draw: Seed -> interval, or None where the estimator refuses.
        nominal: The share of intervals that is to hold the truth.
    """

    estimator: str
    problem: str
    truth: float
    draw: Draw
    nominal: float = 0.95


def around(value: float, error: float | None, freedom: float = math.inf) -> Interval | None:
    """The interval of 95 % that a standard error makes, by Student's t of so many degrees of freedom."""
    if error is None or not math.isfinite(value + error):
        return None
    half = error * (_NORMAL if math.isinf(freedom) else float(stats.t.ppf(0.975, freedom)))
    return value - half, value + half


# Chains


class Numbers:
    """Random numbers of a chain."""

    def __init__(self, seed: list[int], size: int) -> None:
        self._random, self._size = np.random.default_rng(seed), size

    def normal(self) -> Array:
        """Standard normal numbers."""
        return self._random.standard_normal(self._size)

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return float(self._random.random())


class Field:
    """A loss around its origin in closed form, in place of a network's.

    Steps are NumPy arrays, on which the arithmetic of chains works as on tensors, in a fifth of the time.
    """

    def __init__(self, size: int, slope: Callable[[Array], tuple[float, Array]]) -> None:
        self.size, self.slope, self.seed = size, slope, 0

    def zero(self) -> Array:
        """No step."""
        return np.zeros(self.size)

    def loss(self, step: Array) -> float:
        """The loss there."""
        return self.slope(step)[0]

    def slopes(self, steps: Sequence[Array]) -> list[tuple[float, Array]]:
        """The loss and its gradient at each."""
        return [self.slope(step) for step in steps]

    def walking(self) -> AbstractContextManager[None]:
        """Nothing has to be set up."""
        return nullcontext()

    def normal(self, index: int) -> Array:
        """A step."""
        return Numbers([self.seed, index], self.size).normal()

    def noise(self, index: str) -> Numbers:
        """Random numbers of a chain."""
        return Numbers([self.seed, int(index.removeprefix("chain/"))], self.size)


# What the same chains gave: their two intervals are two cases.
_met: dict[tuple[str, int], Mixed] = {}

CURVATURES = np.logspace(-1, 0.3, 8)
# Height of the barrier of the double well, in units of the loss, and how far the far well is raised.
_BARRIER, _RAISED = 1.0, 0.3


def bowl(d: Array) -> tuple[float, Array]:
    """Sum of h d^2 / 2."""
    slope = CURVATURES * d
    return float(slope @ d) / 2, slope


def quartic(d: Array) -> tuple[float, Array]:
    """d^4."""
    return float(d[0] ** 4), 4 * d**3


def cross(d: Array) -> tuple[float, Array]:
    """(x y)^2."""
    x, y = float(d[0]), float(d[1])
    return x * x * y * y, np.array([2 * x * y * y, 2 * y * x * x])


def double_well(d: Array) -> tuple[float, Array]:
    """(u^2 - 1)^2 h + r (1 - u) / 2 with u = 1 + d: wells at 1 (the origin) and near -1, which is higher by r."""
    u = 1 + float(d[0])
    slope = _BARRIER * 4 * u * (u * u - 1) - _RAISED / 2
    return _BARRIER * (u * u - 1) ** 2 + _RAISED * (1 - u) / 2, np.array([slope])


def mean_rise(loss: Callable[[float], float], a: float, b: float, low: float) -> float:
    """E a L under exp(-a L - b d^2 / 2), by quadrature over a line from `low` on."""
    points = [point for point in (-2.0, 0.0) if point > low]
    top = max(-a * loss(d) - b * d * d / 2 for d in np.linspace(-4, 4, 801))

    def density(d: float) -> float:
        return math.exp(-a * loss(d) - b * d * d / 2 - top)

    whole = integrate.quad(density, low, 9, points=points, limit=500)[0]
    return float(integrate.quad(lambda d: a * loss(d) * density(d), low, 9, points=points, limit=500)[0] / whole)


def log_mean(loss: Callable[[float], float], a: float, b: float) -> float:
    """log E exp(-a L(d)), d ~ N(0, 1 / b), by quadrature over a line."""

    def density(d: float) -> float:
        return math.exp(-a * loss(d) - b * d * d / 2) * math.sqrt(b / (2 * math.pi))

    return math.log(integrate.quad(density, -12, 12, points=[-2.0, 0.0], limit=500)[0])


def cross_truth(a: float, b: float = 1.0) -> float:
    """E a (x y)^2 under exp(-a (x y)^2 - b (x^2 + y^2) / 2): over y in closed form, over log x by quadrature."""

    def density(u: float) -> float:
        return math.exp(u - b * math.exp(2 * u) / 2) / math.sqrt(b + 2 * a * math.exp(2 * u))

    def rise(u: float) -> float:
        return density(u) * a * math.exp(2 * u) / (b + 2 * a * math.exp(2 * u))

    quad = integrate.quad
    return float(quad(rise, -30, 4, limit=400)[0] / quad(density, -30, 4, limit=400)[0])


def chains(
    problem: str, field: Field, a: float, truth: float, plan: Plan, *, number: int = 4, means: bool = False
) -> Case:
    """The mean of a L over chains that the learning coefficient runs."""

    def draw(seed: int) -> Interval | None:
        met = _met.get((problem, seed))
        if met is None:
            noises = [Numbers([seed, chain], field.size) for chain in range(number)]
            starts = [field.zero()] * number
            runs = run_chains(
                lambda asked: field.slopes(list(asked.values())),
                [Target(0.0, a, 1.0)] * number,
                plan,
                starts,
                noises,
            )
            met = _met[problem, seed] = mixed(runs, a, plan.adjusted)
        if met.doubts:
            return None
        return met.interval if means else around(met.mean, met.standard_error)

    what = "t interval of 4 chains" if means else "standard error of 4 chains"
    return Case(f"`local_learning_coefficient`, {what}", problem, truth, draw)


def _context() -> MeasureContext:
    objective, model = linear_problem(torch.eye(2, dtype=torch.float64))
    return MeasureContext(objective, Held.of(model))


def entropy(problem: str, field: Field, truth: float, **settings: Any) -> Case:
    """Local entropy by chains, or by draws of the Gaussian."""
    context, method = _context(), settings.pop("method")
    way = by_chains if method == "chains" else by_gaussian
    plain = {"gamma": 1.0, "beta": 1.0, "gammas": None}
    plain |= {"chains": 4, "chain_draws": 200, "burn_in": 100, "leapfrog": 4, "draws": 1000, **settings}

    def draw(seed: int) -> Interval | None:
        own = Field(field.size, field.slope)
        own.seed = seed
        found = way(context, own, plain)  # type: ignore[arg-type]
        return around(found.value, found.standard_error) if found.converged else None

    return Case(f"`local_entropy`, {method}", problem, truth, draw)


# Networks


def linear_problem(matrix: Tensor) -> tuple[Objective, nn.Module]:
    """L = w^T matrix w / 2 as an objective, and a model at its minimum."""
    size = len(matrix)
    values, vectors = torch.linalg.eigh(matrix)
    rows = (vectors * (values.clamp_min(0) * size).sqrt()).T
    model = nn.Linear(size, 1, bias=False).double()
    with torch.no_grad():
        model.weight.zero_()
    x = torch.cat([rows, rows])
    return Objective(model, loss=half_squared_error, train=(x, torch.zeros(len(x), 1).double())), model


def classifier(examples: int = 96) -> tuple[Objective, nn.Module]:
    """A network of 386 parameters on three classes, float64."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 30), nn.ReLU(), nn.Linear(30, 3), nn.Linear(3, 6), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    x = torch.randn(examples, 8, generator=generator).double()
    y = torch.randint(0, 3, (examples,), generator=generator)
    return Objective(model, loss=functional.cross_entropy, train=(x, y)), model


class Dense:
    """A matrix that is held whole."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.size = matrix, len(matrix)

    def __matmul__(self, v: Tensor) -> Tensor:
        return self.matrix.to(v) @ v


def dense(values: Tensor) -> Dense:
    """A matrix of these eigenvalues, and random eigenvectors."""
    generator = torch.Generator().manual_seed(1)
    size = len(values)
    rotation = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    return Dense((rotation * values) @ rotation.T)


SPECTRA = {
    "flat spectrum, 300": torch.linspace(0.5, 1.5, 300, dtype=torch.float64),
    "falling spectrum, 300": torch.linspace(0.0, 2.0, 300, dtype=torch.float64) ** 3,
    "outliers above a bulk of both signs, 300": torch.cat(
        [torch.linspace(-1, 1, 290, dtype=torch.float64) ** 3, torch.linspace(5, 50, 10, dtype=torch.float64)]
    ),
}


def traces(method: str, spectrum: str, samples: int, freedom: float) -> Case:
    """A trace or a Frobenius norm of a matrix that is held whole."""
    values, operator = SPECTRA[spectrum], dense(SPECTRA[spectrum])
    norm = method.startswith("frobenius")
    truth = float(values.square().sum().sqrt()) if norm else float(values.sum())

    def draw(seed: int) -> Interval | None:
        if norm:
            found = frobenius(operator, method.removeprefix("frobenius "), samples=samples, seed=seed)
            return around(found.value, found.standard_error, freedom)
        one = trace(operator, method, samples=samples, seed=seed)
        return around(one.value, one.standard_error, freedom)

    return Case(f"`trace`, {method}, {samples} products".replace("`trace`, f", "f"), spectrum, truth, draw)


def density(part: str, spectrum: str, probes: int = 10) -> Case:
    """A moment or a share of a spectrum by stochastic Lanczos quadrature."""
    values, operator = SPECTRA[spectrum], dense(SPECTRA[spectrum])
    truth = {
        "mean": float(values.mean()),
        "second moment": float(values.square().mean()),
        "share above 1": float((values >= 1).double().mean()),
    }[part]

    def draw(seed: int) -> Interval | None:
        found = spectral_density(operator, probes=probes, steps=40, seed=seed, points=8)
        if part == "mean":
            return around(found.mean, found.mean_standard_error, probes - 1)
        if part == "second moment":
            return around(found.second_moment, found.second_moment_standard_error, probes - 1)
        return around(*found.share(1.0, math.inf), probes - 1)

    return Case(f"`spectral_density`, {part}, {probes} probes", spectrum, truth, draw)


def of_network(name: str, problem: str, truth: float, found: Callable[[int], Estimate], freedom: float) -> Case:
    """An estimate at a network."""

    def draw(seed: int) -> Interval | None:
        one = found(seed)
        return around(one.value, one.standard_error, freedom)

    return Case(name, problem, truth, draw)


def measured(
    name: str, problem: str, objective: Objective, model: nn.Module, truth: float, freedom: float, **settings: Any
) -> Case:
    """A measure as users take it."""

    def draw(seed: int) -> Interval | None:
        one = measure(objective, model, {name: settings}, seed=seed, dtype=torch.float64)[name]
        return around(one.value, one.standard_error, freedom) if one.converged else None

    told = ", ".join(f"{key}={value}" for key, value in settings.items())
    return Case(f"`{name}`, {told}" if told else f"`{name}`", problem, truth, draw)


# Samples of examples and of networks


def subset(kind: str, used: int, available: int) -> Case:
    """The loss over all examples from a subset of them."""
    random = np.random.default_rng(7)
    scores = {
        "normal losses": lambda: 1 + 0.3 * random.standard_normal(available),
        "cross-entropies of a fair classifier": lambda: np.logaddexp(0, -random.normal(1.0, 2.0, available)),
        "cross-entropies, one in fifty confidently wrong": lambda: np.logaddexp(
            0, -np.where(random.random(available) < 0.02, -6.0, random.normal(5.0, 1.0, available))
        ),
    }[kind]()
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
    x = torch.from_numpy(scores)[:, None]

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return (output - target)[:, 0]

    whole = Objective(model, loss=loss, train=(x, torch.zeros_like(x)))

    def draw(seed: int) -> Interval | None:
        part = whole.subset(used, seed)
        one = part.estimates(model, ["train"], ["loss"])["train_loss"]
        surface = Surface(
            y=None,
            x=np.zeros(1),
            fields={"train_loss": np.array([one.mean])},
            standard_errors={"train_loss": np.array([one.standard_error])},
            done=None,
            meta={"examples": part.examples(["train"])},
        )
        return around(one.mean, subset_error(surface, "train_loss"))

    return Case(f"`subset_error`, {used} of {available:,}", kind, float(scores.mean()), draw)


def correlation(which: str, count: int, rho: float, *, repeats: int = 1, noise: float = 0.0) -> Case:
    """A rank correlation over networks that are normal with a given correlation.

    With repeats each setting has several networks, which are drawn together; their own noise is normal too.
    """
    total = rho / (1 + noise**2)
    truth = 2 / math.pi * math.asin(total) if which == "kendall" else 6 / math.pi * math.asin(total / 2)

    def draw(seed: int) -> Interval | None:
        random = np.random.default_rng([11, seed])
        a, b = random.standard_normal((2, count // repeats))
        pair = np.repeat([a, rho * a + math.sqrt(1 - rho**2) * b], repeats, axis=1)
        x, y = pair + noise * random.standard_normal(pair.shape)
        groups = None if repeats == 1 else [place // repeats for place in range(count)]
        found = correlate(x, y, resamples=1000, seed=seed, groups=groups)
        return found.kendall_interval if which == "kendall" else found.spearman_interval

    told = f"{count} networks" + (f" in {count // repeats} settings, drawn by settings" if repeats > 1 else "")
    return Case(f"`correlate`, {which}", f"{told}, normal with correlation {rho:g}", truth, draw)


def student(count: int) -> Case:
    """Student's interval of a mean over seeds."""

    def draw(seed: int) -> Interval | None:
        found = interval(np.random.default_rng([5, seed]).standard_normal(count))
        return found.mean - found.half, found.mean + found.half

    return Case("`paired.interval`", f"{count} normal values", 0.0, draw)

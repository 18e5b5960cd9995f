"""Local entropy: how much volume of low loss there is around the weights (Pittorino et al. 2021)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from landscape.measures.context import MeasureContext
from landscape.measures.draws import log_mean_exp
from landscape.measures.hmc import Array, Plan, Target, run_chains
from landscape.measures.local_loss import LocalLoss
from landscape.measures.mcmc_diagnostics import mixed
from landscape.measures.registry import Found

# With fewer draws that count, the mean of exponentials is decided by a few of them.
_COUNTING = 20.0
# Intervals between the strengths at which chains run, at first and at most; every other of them gives the error of
# the rule. With 8 it is below 0.002 per direction up to a curvature of 1,000 gamma, with 32 up to 1,000,000.
_INTERVALS, _MOST_INTERVALS = 8, 32
# Rules that differ by more standard errors do not differ by chance.
_APART = 2.0
# Of a rule that differs by less from half of its points the error is far smaller still: rules converge fast.
_RULE = 0.01


def by_gaussian(context: MeasureContext, field: LocalLoss, settings: Mapping[str, Any]) -> Found:
    """Local entropy from draws of the Gaussian alone: log of the mean of exp(-beta (L(w + d) - L(w)))."""
    beta, gamma, base = float(settings["beta"]), float(settings["gamma"]), field.loss(field.zero())
    gammas = _gammas(settings)
    draws, rises = int(settings["draws"]), np.empty((int(settings["draws"]), len(gammas)))
    for index in range(draws):
        z = field.normal(index)
        for at, value in enumerate(gammas):
            rises[index, at] = field.loss(z / math.sqrt(beta * value)) - base
            context.tell(index * len(gammas) + at + 1, draws * len(gammas))
    profile = [log_mean_exp(-beta * rises[:, at]) for at in range(len(gammas))]
    enough = [counting >= min(_COUNTING, draws) for _, _, counting in profile]
    at = gammas.index(gamma)
    value, error, _ = profile[at]
    return Found(
        value if enough[at] else math.nan,
        error if enough[at] else None,
        enough[at],
        {
            "gammas": gammas,
            "local_entropy": [value for value, _, _ in profile],
            "local_entropy_standard_error": [error for _, error, _ in profile],
            "counting_draws": [counting for _, _, counting in profile],
            "local_entropy_converged": enough,
            "loss": base,
            "log_integral": value + _log_gaussian(field.size, beta * gamma) - beta * base,
        },
    )


def _log_gaussian(size: int, precision: float) -> float:
    """The logarithm of the integral of exp(-precision |d|^2 / 2)."""
    return size / 2 * math.log(2 * math.pi / precision)


def clenshaw_curtis(intervals: int) -> tuple[Array, Array]:
    """Points in [0, 1] and weights of the rule of Clenshaw & Curtis 1960; `intervals` is even.

    Example:
        >>> points, weights = clenshaw_curtis(4)
        >>> round(float(weights @ points**4), 12)
        0.2
    """
    at, even = np.arange(intervals + 1), np.arange(1, intervals // 2 + 1)
    waves = np.cos(2 * np.pi * np.outer(at, even) / intervals)
    counts = np.where(2 * even == intervals, 1.0, 2.0) / (4 * even**2 - 1)
    weights = (1 - waves @ counts) / intervals
    weights[[0, -1]] /= 2
    return (1 - np.cos(np.pi * at / intervals)) / 2, weights


@dataclass(frozen=True)
class _Integrated:
    """Local entropy at one gamma from chains at every strength, with all that tells what it is worth."""

    value: float
    coarse: float
    sampling: float
    strengths: list[float]
    means: list[float]
    errors: list[float]
    doubts: list[str]

    @property
    def rough(self) -> bool:
        """Return whether the rule and that of half its points differ by more than chance and a hundredth."""
        return self._apart > max(_APART * self.sampling, _RULE * abs(self.value))

    @property
    def error(self) -> float:
        """The standard error, with what the two rules differ by beyond chance: a bound on that of the coarser."""
        return self.sampling if self._apart <= _APART * self.sampling else math.hypot(self.sampling, self._apart)

    @property
    def _apart(self) -> float:
        return abs(self.value - self.coarse)


def by_chains(context: MeasureContext, field: LocalLoss, settings: Mapping[str, Any]) -> Found:
    """Local entropy by chains with the loss at strengths s from 0 to 1, at every gamma with the same noise.

    It is minus the integral over s of the mean of beta (L - L(w)) at strength s (Kirkwood 1935). With s = t^4
    the integrand is smooth for curvatures far above gamma too.
    """
    beta, gamma, gammas = float(settings["beta"]), float(settings["gamma"]), _gammas(settings)
    base, each = field.loss(field.zero()), _INTERVALS * int(settings["chains"])
    profile = []
    for at, value in enumerate(gammas):

        def tell(done: int, before: int = at * each) -> None:
            # Finer rules take longer than was foreseen.
            context.tell(before + min(done, each), len(gammas) * each)

        profile.append(_integrated(field, settings, value, base, tell))
    own = profile[gammas.index(gamma)]
    return Found(
        math.nan if own.doubts else own.value,
        None if own.doubts else own.error,
        not own.doubts,
        {
            "estimate": own.value,
            "coarse_rule": own.coarse,
            "gammas": gammas,
            "local_entropy": [one.value for one in profile],
            "local_entropy_standard_error": [one.error for one in profile],
            "local_entropy_converged": [not one.doubts for one in profile],
            "strengths": own.strengths,
            "integrand": own.means,
            "integrand_standard_error": own.errors,
            "not_converged": own.doubts,
            **({"note": _note(own.doubts)} if own.doubts else {}),
            "loss": base,
            "log_integral": own.value + _log_gaussian(field.size, beta * gamma) - beta * base,
        },
    )


@dataclass
class _Strengths:
    """Chains at strengths t^4, and the integral over t of what they find; rules twice as fine take all of it."""

    field: LocalLoss
    settings: Mapping[str, Any]
    gamma: float
    base: float
    tell: Callable[[int], None]

    def __post_init__(self) -> None:
        beta, number = float(self.settings["beta"]), int(self.settings["chains"])
        self._beta, self._weight, self._done = beta, beta * self.gamma, 0
        self._plan = Plan(
            int(self.settings["chain_draws"]), int(self.settings["burn_in"]), None, int(self.settings["leapfrog"])
        )
        self._noises = [self.field.noise(f"chain/{index}") for index in range(number)]
        # t -> where chains ended, the mean and its error, and what speaks against them; at 0 nothing is left.
        self._ends: dict[float, list[Tensor]] = {0.0: [self.field.zero() for _ in range(number)]}
        self._means: dict[float, tuple[float, float]] = {0.0: (0.0, 0.0)}
        self._doubts: dict[float, list[str]] = {0.0: []}

    def run(self, intervals: int) -> _Integrated:
        """With chains at all points of a rule that none have run at."""
        points, weights = clenshaw_curtis(intervals)
        # Points of finer rules are the same numbers to rounding.
        places = [round(float(t), 12) for t in points]
        for before, t in itertools.pairwise(places):
            if t not in self._means:
                self._run_at(t, self._ends[before])
        means, errors = (np.array([self._means[t][part] for t in places]) for part in range(2))
        value, coarse = -float(weights @ means), -float(clenshaw_curtis(intervals // 2)[1] @ means[::2])
        sampling = float(np.linalg.norm(weights * errors))
        doubts = [doubt for t in places for doubt in self._doubts[t]]
        strengths = [t**4 for t in places]
        return _Integrated(value, coarse, sampling, strengths, means.tolist(), errors.tolist(), doubts)

    def _run_at(self, t: float, starts: Sequence[Tensor]) -> None:
        target = Target(self.base, self._beta * t**4, self._weight)
        with self.field.walking():
            chains = run_chains(
                lambda asked: self.field.slopes(list(asked.values())),
                [target] * len(starts),
                self._plan,
                starts,
                self._noises,
            )
        self._done += len(chains)
        self.tell(self._done)
        self._ends[t] = [chain.last for chain in chains]
        met = mixed(chains, self._beta * 4 * t**3, adjusted=True)
        self._means[t] = (met.mean, met.standard_error)
        self._doubts[t] = [f"at strength {t**4:.2g}: {doubt}" for doubt in met.doubts]


def _integrated(
    field: LocalLoss, settings: Mapping[str, Any], gamma: float, base: float, tell: Callable[[int], None]
) -> _Integrated:
    """The integral by the coarsest rule that agrees with half of its points to what chains leave uncertain."""
    chains, intervals = _Strengths(field, settings, gamma, base, tell), _INTERVALS
    found = chains.run(intervals)
    while found.rough and intervals < _MOST_INTERVALS and not found.doubts:
        intervals *= 2
        found = chains.run(intervals)
    if found.rough:
        said = (
            f"the integral over strengths is {found.value:.4g} by {intervals} intervals and {found.coarse:.4g} by "
            f"{intervals // 2}, which chains tell apart (standard error {found.sampling:.2g})"
        )
        found = replace(found, doubts=[*found.doubts, said])
    return found


def _note(doubts: list[str]) -> str:
    more = f" and {len(doubts) - 1} more doubts" if len(doubts) > 1 else ""
    return f"{doubts[0]}{more}; more chain_draws and burn_in help"


def _gammas(settings: Mapping[str, Any]) -> list[float]:
    """All at which it is wanted, in order; that of the value is always among them."""
    return sorted({float(settings["gamma"]), *(settings.get("gammas") or [])})


def local_entropy(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Logarithm of the mean of exp(-beta times the rise of the loss) under a Gaussian."""
    way = by_gaussian if settings["method"] == "gaussian" else by_chains
    return way(context, LocalLoss(context), settings)

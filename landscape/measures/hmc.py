"""Markov chains around a place: Hamiltonian and Langevin sampling of exp(-a (L(w + d) - L(w)) - b |d|^2 / 2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.vocabulary import FEWEST_DRAWS

Array = NDArray[np.float64]
State: TypeAlias = tuple[Tensor, float, float, Tensor]

# Acceptance rates at which proposals move fastest: for a single step Roberts & Rosenthal 1998; for longer paths at
# least 0.65 (Beskos et al. 2013), and more where a step that is too long costs a whole path (Hoffman & Gelman
# 2014). A step is adapted to them by stochastic approximation with these gains.
_BEST_LANGEVIN, _BEST_HAMILTONIAN = 0.574, 0.8
_GAIN, _DECAY = 1.0, 0.6
# Steps are shortened by a random factor down to exp(-2): valleys that narrow are not entered by long ones.
_SHORTENING = 2.0
# A path whose energy rises by so much (Hoffman & Gelman 2014, section 3.1) is never accepted, and goes nowhere.
_DIVERGED = 1000.0
# Memory and floor of RMSProp: Li et al. 2016, section 5.
_MEMORY, _LEAST = 0.99, 1e-5


class Noise(Protocol):
    """Standard normal vectors and uniform numbers of a chain, one after another."""

    def normal(self) -> Tensor: ...  # noqa: D102
    def uniform(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Target:
    """The density exp(-a (L(w + d) - L(w)) - b |d|^2 / 2) of steps d.

    Attributes:
        base: L(w).
        a: What the loss counts.
        b: What the squared distance counts.
    """

    base: float
    a: float
    b: float

    def state(self, step: Tensor, slope: tuple[float, Tensor]) -> State:
        """A step, minus the logarithm of its density, the rise of the loss, and the gradient of the second."""
        loss, gradient = slope
        rise = loss - self.base
        return step, self.a * rise + self.b / 2 * float(step @ step), rise, self.a * gradient + self.b * step


@dataclass(frozen=True)
class Plan:
    """Settings of a chain.

    Attributes:
        draws: Kept ones.
        burn_in: Draws before these that are not kept.
        step: The length of a leapfrog step at the start; None finds one.
        leapfrog: The mean number of leapfrog steps per draw; 1 is Langevin.
        adjusted: Whether draws are accepted or refused (Metropolis), which makes the density exact; otherwise the
            step stays as it is, and its error with it.
        acceptance: The share of proposals that adapted steps get accepted; None chooses. The nearer to 1, the
            shorter the steps.
        rounds: How often all is done, with paths twice as long each time, until draws are enough.
        preconditioned: Whether burn-in also finds how far each parameter moves, by RMSProp (Li et al. 2016); then
            that stays, so that accepted draws have the density that is wanted.
    """

    draws: int
    burn_in: int
    step: float | None
    leapfrog: int = 8
    adjusted: bool = True
    acceptance: float | None = None
    rounds: int = 1
    preconditioned: bool = False

    def __post_init__(self) -> None:
        if self.draws < FEWEST_DRAWS or self.burn_in < 0 or self.leapfrog < 1:
            raise LandscapeError(
                f"a chain needs {FEWEST_DRAWS} draws and a leapfrog step at least",
                got=f"{self.draws} draws after {self.burn_in}, {self.leapfrog} leapfrog steps",
            )
        if not self.adjusted and self.step is None:
            raise LandscapeError("without acceptance nothing tells how long a step may be", mend="give its length")


@dataclass(frozen=True)
class Chain:
    """Record of a chain.

    Attributes:
        rises: Shape (draws,), L(w + d) - L(w).
        squares: Shape (draws,), |d|^2.
        virials: Shape (draws,), d . g - P with g the gradient of minus the logarithm of the density; its mean
            under the density is 0, whatever that is.
        acceptance: The mean probability of acceptance, whether or not anything is refused.
        step: The length of the longest leapfrog step that was used.
        last: Where it ended.
    """

    rises: Array
    squares: Array
    virials: Array
    acceptance: float
    step: float
    last: Tensor


# A walk yields the step whose loss and gradient it needs next, and is sent them.
Walk: TypeAlias = Generator[Tensor, tuple[float, Tensor], None]
# Number of a chain -> its step; the loss and its gradient at each.
Slopes: TypeAlias = Callable[[Mapping[int, Tensor]], Sequence[tuple[float, Tensor]]]


def run_chains(
    slopes: Slopes,
    targets: Sequence[Target],
    plan: Plan,
    starts: Sequence[Tensor],
    noises: Sequence[Noise],
    *,
    enough: Callable[[Sequence[Chain]], bool] | None = None,
    told: Callable[[int], None] | None = None,
) -> list[Chain]:
    """Chains side by side: each walks on its own, and all losses that are needed next are asked for at once.

    A draw is a leapfrog path of momenta N(0, I); the number of its steps is spread evenly between 1 and
    2 `leapfrog` - 1, so that no period is met, and their length is shortened at random likewise. A path of one
    step is a Langevin step of length step^2 (Neal 2011, sections 3 and 5.2). In burn-in the step is adapted
    to the acceptance; then it stays.

    Where the draws are not enough, each chain goes on from where it is with paths twice as long: burn-in again,
    and draws that take the place of the others, up to `rounds` times in all. Slow directions are crossed in a
    number of paths that falls with the square of their length.

    Args:
        slopes: Called with one step per chain that still walks.
        targets: A density per chain.
        plan: How.
        starts: Where each begins, shape (P,).
        noises: Random numbers of each.
        enough: Whether chains may stop; None lets them stop after the first round.
        told: Called with the number of draws that all have made together.
    """
    chains = [
        _Walker(target, plan, start, noise) for target, start, noise in zip(targets, starts, noises, strict=True)
    ]

    for turn in range(plan.rounds):
        going = {at: chain.walk(plan.leapfrog * 2**turn) for at, chain in enumerate(chains)}
        asked = {at: next(going[at]) for at in going}
        while asked:
            found = slopes(asked)
            sent, asked = list(zip(asked, found, strict=True)), {}
            for at, slope in sent:
                try:
                    asked[at] = going[at].send(slope)
                except StopIteration:
                    continue
            if told is not None:
                told(sum(chain.made for chain in chains))
        made = [chain.record() for chain in chains]
        if enough is None or enough(made):
            break
    return made


class _Walker:
    """A chain as far as it has come.

    Attributes:
        made: Draws so far.
    """

    def __init__(self, target: Target, plan: Plan, start: Tensor, noise: Noise) -> None:
        self._target, self._plan, self._noise = target, plan, noise
        self._start, self.made = start, 0
        self._here: State
        self._log_size = math.nan
        # Of every draw: the rise, the squared distance, the virial, the chance of its acceptance.
        self._rows: list[tuple[float, float, float, float]] = []
        # Of each parameter: the mean square of its slope, and how far it moves when all others move by 1.
        self._squares: Tensor | float = 0.0
        self._scale: Tensor | float = 1.0

    def walk(self, leapfrog: int) -> Walk:
        """Burn in, and draw, with paths of so many steps in the mean."""
        plan, noise = self._plan, self._noise
        best = plan.acceptance or (_BEST_LANGEVIN if leapfrog == 1 else _BEST_HAMILTONIAN)
        if not self._rows:
            self._here = self._target.state(self._start, (yield self._start))
            size = plan.step if plan.step is not None else (yield from self._first_step(self._here))
            self._log_size = math.log(size)
        here = self._here
        for draw in range(plan.burn_in + plan.draws):
            paces = 1 + int(noise.uniform() * (2 * leapfrog - 1))
            momentum, threshold = noise.normal(), noise.uniform()
            shorter = _SHORTENING * noise.uniform() if plan.adjusted else 0.0
            there, chance = yield from self._path(here, momentum, math.exp(self._log_size - shorter), paces)
            if not plan.adjusted or threshold < chance:
                here = self._here = there
            virial = float(here[0] @ here[3]) - len(here[0])
            self._rows.append((here[2], float(here[0] @ here[0]), virial, chance))
            if draw < plan.burn_in and plan.preconditioned:
                self._rescale(here[3])
            if draw < plan.burn_in and plan.adjusted:
                self._log_size += _GAIN * (draw + 1) ** -_DECAY * (chance - best)
            self.made += 1

    def _rescale(self, gradient: Tensor) -> None:
        """Follow the mean square of the slope; the mean of the scales stays 1."""
        self._squares = _MEMORY * self._squares + (1 - _MEMORY) * gradient**2
        scale = 1 / (self._squares**0.5 + _LEAST) ** 0.5
        self._scale = scale / scale.mean()

    def record(self) -> Chain:
        """The last draws."""
        rises, squares, virials, chances = np.array(self._rows[-self._plan.draws :]).T
        return Chain(rises, squares, virials, float(chances.mean()), math.exp(self._log_size), self._here[0])

    def _path(
        self, here: State, momentum: Tensor, size: float, paces: int
    ) -> Generator[Tensor, tuple[float, Tensor], tuple[State, float]]:
        """The end of a leapfrog path and the probability that it is accepted; 0 where it leads nowhere."""
        position, energy, _, gradient = here
        before = energy + float(momentum @ momentum) / 2
        state = here
        for _ in range(paces):
            momentum = momentum - size / 2 * self._scale * gradient
            position = position + size * self._scale * momentum
            there = self._target.state(position, (yield position))
            _, energy, _, gradient = there
            if not energy - before < _DIVERGED:
                return state, 0.0
            momentum = momentum - size / 2 * self._scale * gradient
            state = there
        return state, math.exp(min(0.0, before - energy - float(momentum @ momentum) / 2))

    def _first_step(self, here: State) -> Generator[Tensor, tuple[float, Tensor], float]:
        """A step whose acceptance is about a half (Hoffman & Gelman 2014, algorithm 4)."""
        momentum = self._noise.normal()
        # Nothing wider than the localisation is ever useful.
        size = 1 / math.sqrt(self._target.b) if self._target.b > 0 else 1.0
        while (yield from self._path(here, momentum, size, 1))[1] < 0.5 and size > 1e-30:
            size /= 2
        return size


def split_r_hat(chains: Sequence[Array]) -> float:
    """The scale reduction of halves of chains (Gelman et al. 2013, section 11.4): 1 where all agree.

    Example:
        >>> split_r_hat([np.array([0.0, 1.0] * 8), np.array([1.0, 0.0] * 8)]) < 1.01
        True
        >>> split_r_hat([np.array([0.0, 1.0] * 8), np.array([9.0, 8.0] * 8)]) > 2
        True
    """
    half = len(chains[0]) // 2
    halves = np.stack([part for chain in chains for part in (chain[:half], chain[-half:])])
    within = float(halves.var(axis=1, ddof=1).mean())
    between = float(halves.mean(axis=1).var(ddof=1))
    if within == 0:
        return 1.0 if between == 0 else math.inf
    return math.sqrt((half - 1) / half + between / within)


def effective_draws(chains: Sequence[Array]) -> float:
    """Return the effective number of independent draws of the chains (Geyer 1992, initial positive sequence).

    Example:
        >>> still = np.repeat(np.arange(8.0), 50)
        >>> effective_draws([still, still]) < 20
        True
    """
    rows = np.stack(chains)
    number, length = rows.shape
    within = float(rows.var(axis=1, ddof=1).mean())
    pooled = within * (length - 1) / length + (float(rows.mean(axis=1).var(ddof=1)) if number > 1 else 0.0)
    if pooled == 0:
        return math.nan
    centred = rows - rows.mean(axis=1, keepdims=True)
    padded = np.fft.rfft(centred, 2 * length, axis=1)
    covariance = np.fft.irfft(np.abs(padded) ** 2, axis=1)[:, :length].mean(axis=0) / length
    correlation = 1 - (within - covariance) / pooled
    correlation[0] = 1.0
    pairs = correlation[: length // 2 * 2].reshape(-1, 2).sum(axis=1)
    stop = int(np.argmax(pairs <= 0)) if bool((pairs <= 0).any()) else len(pairs)
    # Sums of pairs fall; where they seem to rise it is noise.
    time = -1 + 2 * float(np.minimum.accumulate(pairs[:stop]).sum()) if stop else 1.0
    # Draws that alternate could be worth more than as many independent ones; that is not relied upon.
    return number * length / max(time, 1.0)

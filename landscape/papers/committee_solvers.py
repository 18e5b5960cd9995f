"""Committee machines on two classes of digits: solvers, the entropy of solutions near theirs, local energy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.papers.committee import committee_outputs, focus, local_entropy
from landscape.problems.data import digits
from landscape.values.experiment import Experiment, Series

Array = NDArray[np.float64]

# Hidden units, weights of each, training examples.
_UNITS, _WEIGHTS, _EXAMPLES = 9, 25, 150
# Solutions of each solver.
_SEEDS = 5
# Fields towards the solution for its local entropy: distances of about 0.2 to 0.01.
_FIELDS: Array = np.array([0.4, 0.7, 1.0, 1.6])
# The distance at which solvers are compared.
_NEAR = 0.1
_SIGMAS: Array = np.array([0.25, 0.5, 0.75, 1.0])
_DRAWS = 100
_COUPLINGS: Array = np.linspace(0.2, 2.0, 10)
# Epochs at most, and the steepness of the loss.
_EPOCHS, _STEEPNESS, _BATCH = 2000, 2.0, 50
# Solver -> learning rate and replicas.
_SGD = {
    "fast SGD": (0.3, 1),
    "slow SGD": (0.01, 1),
    "fast replicated SGD": (0.3, 3),
    "slow replicated SGD": (0.01, 3),
}
_FOCUSING = "focusing belief propagation"
SOLVERS = (*_SGD, _FOCUSING)


@dataclass(frozen=True)
class Task:
    """Even against odd digits, seen through random signs: inputs of shape (p, K, M), targets -1 or 1."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]


@cache
def digits_task() -> Task:
    """1 for even digits, -1 for odd ones; inputs are signs of random projections of the centred image."""
    pairs = [(x.double().numpy(), y.numpy()) for x, y in digits(_EXAMPLES, 0)]
    middle = pairs[0][0].mean(axis=0)
    projection = np.random.default_rng(0).normal(size=(middle.size, _UNITS * _WEIGHTS))
    made = [
        (
            np.where((x - middle) @ projection >= 0, 1.0, -1.0).reshape(-1, _UNITS, _WEIGHTS),
            np.where(y % 2 == 0, 1.0, -1.0),
        )
        for x, y in pairs
    ]
    return Task(made[0], made[1])


def error(w: Array, pair: tuple[Array, Array]) -> float:
    """The share of examples that are wrong."""
    return float((committee_outputs(w, pair[0]) != pair[1]).mean())


def descend(pair: tuple[Array, Array], rate: float, replicas: int, seed: int) -> Array:
    """SGD on the signs of real weights, until their mean over replicas makes no error.

    The loss is log(1 + exp(-b y sum_k tanh(w_k . x_k / sqrt(M)))) at w = sign(v); its gradient by w moves v
    (straight through the sign), which stays in [-1, 1]. Replicas are drawn to their mean ever more strongly.

    Args:
        pair: Inputs and targets.
        rate: Learning rate.
        replicas: How many; one is plain SGD.
        seed: Draws first weights and batches.

    Returns:
        Shape (K, M), -1 or 1.
    """
    x, y = pair
    random = np.random.default_rng(seed)
    v = 0.1 * random.normal(size=(replicas, *x.shape[1:]))
    root = np.sqrt(x.shape[2])
    for epoch in range(_EPOCHS):
        centre = np.where(v.mean(axis=0) >= 0, 1.0, -1.0)
        if epoch and error(centre, pair) == 0:
            break
        for chosen in np.array_split(random.permutation(len(y)), max(1, len(y) // _BATCH)):
            given = y[chosen, None, None] * x[chosen]
            signs = np.where(v >= 0, 1.0, -1.0)
            units = np.tanh(np.einsum("pkm,rkm->rpk", given, signs) / root)
            wrong = 1 / (1 + np.exp(_STEEPNESS * units.sum(axis=2, keepdims=True)))
            slope = wrong * (1 - units**2) / root
            v = v + rate * np.einsum("rpk,pkm->rkm", slope, given) / len(chosen) * _BATCH**0.5
            if replicas > 1:
                v = v - min(1.0, 0.01 * rate * epoch) * (v - v.mean(axis=0))
            v = np.clip(v, -1, 1)
    return np.where(v.mean(axis=0) >= 0, 1.0, -1.0)


def local_energy(w: Array, pair: tuple[Array, Array], sigma: float, seed: int = 0) -> float:
    """The rise of the error when every weight is multiplied by 1 + sigma z, the mean of many draws.

    The draws of a seed are the same for all weights.
    """
    random = np.random.default_rng(seed)
    noisy = [error(w * (1 + sigma * random.normal(size=w.shape)), pair) for _ in range(_DRAWS)]
    return float(np.mean(noisy)) - error(w, pair)


@dataclass(frozen=True)
class _Solutions:
    """The solutions of one solver; shapes (seeds,) and (seeds, n)."""

    distance: Array
    entropy: Array
    near: Array
    energy: Array
    test: Array


@cache
def _solutions(solver: str) -> _Solutions:
    task = digits_task()
    curves, energies, tests = [], [], []
    for seed in range(_SEEDS):
        if solver == _FOCUSING:
            w = focus(*task.train, _COUPLINGS, seed=seed)
        else:
            w = descend(task.train, *_SGD[solver], seed)
        curves.append(local_entropy(w, *task.train, _FIELDS))
        energies.append([local_energy(w, task.train, float(sigma)) for sigma in _SIGMAS])
        tests.append(error(w, task.test))
    distance, entropy = (np.array([getattr(curve, name) for curve in curves]) for name in ("distance", "entropy"))
    near = np.array([np.interp(_NEAR, d[::-1], s[::-1]) for d, s in zip(distance, entropy, strict=True)])
    return _Solutions(distance, entropy, near, np.array(energies), np.array(tests))


def _about() -> str:
    return (
        f"{_UNITS} units of {_WEIGHTS} binary weights, {_EXAMPLES} examples of even and odd digits, {_SEEDS} "
        "solutions of each solver"
    )


def _error(values: Array) -> Array:
    return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(len(values)))


def committee_entropy(*_: Any) -> Experiment:
    """Entropy of solutions over the distance from those that solvers find."""
    line = np.linspace(0.005, 0.3, 60)
    series = [Series("all weights", line, -line * np.log(line) - (1 - line) * np.log1p(-line), line=True)]
    for solver in SOLVERS:
        found = _solutions(solver)
        series.append(Series(solver, found.distance.mean(0), found.entropy.mean(0), _error(found.entropy)))
    return Experiment(
        "entropy of solutions by belief propagation",
        "share of weights that differ",
        "entropy per weight (nats)",
        tuple(series),
        about=_about(),
    )


def committee_energy(*_: Any) -> Experiment:
    """Local energy of the solutions of each solver."""
    series = []
    for solver in SOLVERS:
        found = _solutions(solver)
        series.append(Series(solver, _SIGMAS, found.energy.mean(0), _error(found.energy)))
    return Experiment(
        "local energy", "size of the noise σ", "rise of the training error", tuple(series), about=f"{_DRAWS} draws"
    )


def _scatter(title: str, label: str, part: str, axis: str) -> Experiment:
    """A dot for each solution: local energy, and entropy near it or error on test digits."""
    series = []
    for solver in SOLVERS:
        found = _solutions(solver)
        series.append(Series(solver, found.energy[:, 1], getattr(found, part)))
    return Experiment(title, f"local energy at σ = {_SIGMAS[1]:g}", label, tuple(series), axis)


def committee_ranks(*_: Any) -> Experiment:
    """Entropy of solutions near each solution over its local energy."""
    return _scatter("one flatness against the other", f"entropy at distance {_NEAR:g} (nats)", "near", "")


def committee_errors(*_: Any) -> Experiment:
    """Error on other digits over local energy."""
    return _scatter("generalisation", "error on test digits", "test", "")

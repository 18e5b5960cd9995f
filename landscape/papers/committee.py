"""Committee machines with binary weights and fields that do not overlap: belief propagation and local entropy.

sign(sum_k sign(w_k . x_k)) with K hidden units of M weights -1 or 1 each. Sums over the weights of a unit are
taken as Gaussian, sums over units are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.values.result import Result

Array = NDArray[np.float64]

# Of variances of sums whose terms are all certain, and of probabilities.
_TINY = 1e-12
# The largest field: tanh is 1 to rounding beyond.
_LARGEST = 18.0
# Sweeps at each coupling of focusing.
_SWEEPS = 80


def committee_outputs(w: Array, x: Array) -> Array:
    """The outputs -1 or 1, shape (p,), of weights of shape (K, M) at inputs of shape (p, K, M)."""
    return np.sign(np.sign((x * w).sum(axis=2)).sum(axis=1))


@dataclass(frozen=True)
class Beliefs(Result):
    """A fixed point of belief propagation.

    Attributes:
        field: Shape (K, M): the marginal of a weight is proportional to exp(field w).
        log_z: The logarithm of the sum over weights of exp(prior . w) times the weights of all examples (Bethe).
        steps: Sweeps over all messages.
        change: The largest change of a marginal's mean in the last sweep.
        messages: Shape (p, K, M), fields that each example puts on the weights.
    """

    field: Array
    log_z: float
    steps: int
    change: float
    messages: Array

    @property
    def means(self) -> Array:
        """Means of the weights, shape (K, M)."""
        return np.tanh(self.field)


def propagate(
    x: Array,
    y: Array,
    prior: Array | Callable[[Array], Array],
    *,
    beta: float = np.inf,
    start: Array | None = None,
    steps: int = 500,
    damping: float = 0.9,
    tolerance: float = 1e-6,
) -> Beliefs:
    """Belief propagation for exp(prior . w) prod_i (1 if example i is right, exp(-beta) if it is wrong).

    Args:
        x: Shape (p, K, M), K odd.
        y: Shape (p,), -1 or 1.
        prior: Shape (K, M), fields on the weights; or a function from the fields that examples put on them.
        beta: What an error costs; infinite: no example may be wrong.
        start: Shape (p, K, M), messages of the examples to begin with; 0 by default.
        steps: Sweeps at most.
        damping: Share of the old message that is kept.
        tolerance: Largest change of a mean at which it stops.

    Raises:
        LandscapeError: If K is even.

    Source:
        Message passing with Gaussian sums: Braunstein & Zecchina 2006, arXiv cond-mat/0511159. The exact sum over
        units is our own.
    """
    if x.shape[1] % 2 == 0:
        raise LandscapeError("a committee has an odd number of units", where="propagate", got=x.shape[1])
    # With its label in the input every example asks for a majority of 1.
    given = y[:, None, None] * x
    messages = np.zeros_like(given) if start is None else start
    means, change, step = np.zeros(x.shape[1:]), np.inf, 0

    def field_of(messages: Array) -> Array:
        total = messages.sum(axis=0)
        return np.clip((prior(total) if callable(prior) else prior) + total, -_LARGEST, _LARGEST)

    while step < steps and change > tolerance:
        step += 1
        field = field_of(messages)
        wanted = _from_examples(given, np.tanh(field - messages), beta)[1]
        kept = 0.0 if step == 1 and start is None else damping
        messages = kept * messages + (1 - kept) * wanted
        change = float(np.abs(np.tanh(field) - means).max()) if step > 1 else np.inf
        means = np.tanh(field)
    field = field_of(messages)
    cavity = field - messages
    shares = _from_examples(given, np.tanh(cavity), beta)[0]
    log_z = shares.sum() + _log_2cosh(field).sum() - (_log_2cosh(field) - _log_2cosh(cavity)).sum()
    return Beliefs(field, float(log_z), step, change, messages)


def _log_2cosh(field: Array) -> Array:
    return np.logaddexp(field, -field)


def _from_examples(given: Array, means: Array, beta: float) -> tuple[Array, Array]:
    """The logarithm of each example's weight, shape (p,), and its messages as fields, from means without it."""
    # It takes half a second.
    from scipy.special import ndtr

    parts, spread = given * means, given**2 * (1 - means**2)
    mean, variance = parts.sum(axis=2), spread.sum(axis=2)
    units = ndtr(mean / np.sqrt(np.maximum(variance, _TINY)))
    if_on, if_off = _majorities(units)
    wrong = float(np.exp(-beta))

    def weight(on: Array, first: Array, second: Array) -> Array:
        right = on * first + (1 - on) * second
        return np.maximum(wrong + (1 - wrong) * right, _TINY)

    scale = np.sqrt(np.maximum(variance[..., None] - spread, _TINY))
    rest = mean[..., None] - parts
    plus, minus = (
        weight(ndtr((rest + sign * given) / scale), if_on[..., None], if_off[..., None]) for sign in (1.0, -1.0)
    )
    whole = weight(units[:, 0], if_on[:, 0], if_off[:, 0])
    return np.log(whole), 0.5 * np.log(plus / minus)


def _majorities(units: Array) -> tuple[Array, Array]:
    """Of each unit the probability of a majority of 1 given that it is 1, and given that it is -1; shape (p, K).

    Args:
        units: Shape (p, K), probabilities that units are 1.
    """
    count = units.shape[1]
    # The number of others that are 1: a distribution over 0 to K - 1 for each unit left out.
    others = np.zeros((*units.shape, count))
    others[..., 0] = 1.0
    for unit in range(count):
        p = units[:, unit, None, None]
        moved = others * (1 - p)
        moved[..., 1:] += others[..., :-1] * p
        moved[:, unit] = others[:, unit]
        others = moved
    half = (count - 1) // 2
    return others[..., half:].sum(axis=2), others[..., half + 1 :].sum(axis=2)


@dataclass(frozen=True)
class LocalEntropy(Result):
    """Entropy of the solutions around some weights.

    Attributes:
        distance: Shape (n,), shares of the weights that differ, rising.
        entropy: Shape (n,), logarithms of numbers of solutions at that distance, per weight, in nats.
        bound: Shape (n,), the same for all weights: the entropy of the distance.
        change: Shape (n,), how far belief propagation was from its fixed point.
    """

    distance: Array
    entropy: Array
    bound: Array
    change: Array


def local_entropy(w: Array, x: Array, y: Array, fields: Array, *, beta: float = np.inf) -> LocalEntropy:
    """The entropy of solutions over the distance from some weights, by belief propagation.

    With log Z(c) of exp(c w . w') over all solutions w', N s = log Z - c w . <w'> at the distance
    (1 - w . <w'> / N) / 2.

    Args:
        w: Shape (K, M), -1 or 1.
        x: Shape (p, K, M).
        y: Shape (p,).
        fields: Shape (n,), c, falling: the larger, the nearer.
        beta: What an error costs.

    Source:
        Baldassi et al. 2015, arXiv 1509.05753; by belief propagation: Baldassi et al. 2016, arXiv 1605.06444.
    """
    rows = []
    for field in fields:
        found = propagate(x, y, field * w, beta=beta)
        overlap = float((w * found.means).mean())
        rows.append(((1 - overlap) / 2, found.log_z / w.size - field * overlap, found.change))
    distance, entropy, change = np.array(rows).T
    inside = np.clip(distance, _TINY, 1 - _TINY)
    bound = -inside * np.log(inside) - (1 - inside) * np.log1p(-inside)
    return LocalEntropy(distance, entropy, bound, change)


def focus(x: Array, y: Array, couplings: Array, *, replicas: int = 5, seed: int = 0) -> Array:
    """Weights in the midst of many solutions, by belief propagation of replicas that are drawn together.

    A replica's weight feels its others through their common centre: a field
    atanh(tanh c tanh((replicas - 1) atanh(tanh c tanh h))) where examples put the field h on it.

    Args:
        x: Shape (p, K, M).
        y: Shape (p,).
        couplings: Shape (n,), c, rising.
        replicas: How many are drawn together.
        seed: Draws the first messages.

    Returns:
        Shape (K, M), -1 or 1.

    Source:
        Focusing belief propagation: Baldassi et al. 2016, arXiv 1605.06444.
    """
    messages = 1e-2 * np.random.default_rng(seed).normal(size=x.shape) / np.sqrt(len(y))
    found = None
    for coupling in couplings:
        grip = float(np.tanh(coupling))

        def prior(total: Array, grip: float = grip) -> Array:
            inner = np.arctanh(grip * np.tanh(total))
            return np.asarray(np.arctanh(grip * np.tanh((replicas - 1) * inner)))

        found = propagate(x, y, prior, start=messages, steps=_SWEEPS)
        messages = found.messages
    return np.ones(x.shape[1:]) if found is None else np.where(found.field >= 0, 1.0, -1.0)

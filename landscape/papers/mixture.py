"""Closed forms of the Gaussian mixture: errors of hyperplanes, the best of them, and how flat they are.

A hyperplane sign(w . x + b) between clusters about +- v / sqrt(N) is described by its overlap m = w . v / sqrt(N),
its squared norm q = |w|^2 and its threshold b.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landscape.errors import LandscapeError
from landscape.params import Weights, resolve
from landscape.problems.catalogue import MixtureOptions
from landscape.problems.mixture import draw_mixture
from landscape.values.result import Result, Tabular

Array = NDArray[np.float64]


def gaussian_tail(x: ArrayLike) -> Array:
    """H(x) = P(z > x) of a standard Gaussian, erfc(x / sqrt(2)) / 2.

    Example:
        >>> float(gaussian_tail(0.0))
        0.5
    """
    given = np.asarray(x, dtype=np.float64)
    return np.vectorize(lambda t: 0.5 * math.erfc(t / math.sqrt(2)), otypes=[np.float64])(given)


def population_error(
    m: ArrayLike, q: ArrayLike, b: ArrayLike = 0.0, *, delta: float = 1.0, rho: float = 0.5
) -> Array:
    """The error of a hyperplane on fresh examples, rho H((m + b) / s) + (1 - rho) H((m - b) / s), s^2 = delta q.

    Args:
        m: Overlap with the centre.
        q: Squared norm.
        b: Threshold.
        delta: Variance of the clusters.
        rho: Share of the cluster +1.

    Returns:
        Shares of 1, of the shape that m, q and b have together.

    Source:
        Mignacco et al. 2020, arXiv 2002.11544; exact at every N.

    Example:
        >>> round(float(population_error(2 / 3, 2 / 3)), 6)
        0.207108
    """
    return _error(m, np.sqrt(delta * np.asarray(q, dtype=np.float64)), b, rho)


def _error(m: ArrayLike, s: ArrayLike, b: ArrayLike, rho: float) -> Array:
    m, s, b = (np.asarray(value, dtype=np.float64) for value in (m, s, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(rho * gaussian_tail((m + b) / s) + (1 - rho) * gaussian_tail((m - b) / s))


def best_threshold(m: ArrayLike, q: ArrayLike, *, delta: float = 1.0, rho: float = 0.5) -> Array:
    """The threshold of least population error at given m and q: b = (delta q / (2 m)) ln(rho / (1 - rho)).

    Args:
        m: Overlap with the centre, positive.
        q: Squared norm.
        delta: Variance of the clusters.
        rho: Share of the cluster +1.

    Returns:
        Of the shape that m and q have together; 0 for clusters of equal size.

    Example:
        >>> round(float(best_threshold(2 / 3, 2 / 3, rho=0.2)), 6)
        -0.693147
    """
    m, q = np.asarray(m, dtype=np.float64), np.asarray(q, dtype=np.float64)
    odds = math.log(rho / (1 - rho))
    return np.asarray(delta * q / (2 * m) * odds if odds else np.zeros(np.broadcast(m, q).shape))


@dataclass(frozen=True)
class BayesOptimal(Result):
    """The best that can be done with alpha N examples, as N grows.

    Attributes:
        m: Overlap of the posterior mean with the centre; equal to its squared norm q.
        threshold: b.
        error: The population error.
    """

    m: float
    threshold: float
    error: float


def bayes_optimal(alpha: float, delta: float = 1.0, rho: float = 0.5) -> BayesOptimal:
    """The Bayes-optimal hyperplane: m = q = alpha / (alpha + delta), b = (delta / 2) ln(rho / (1 - rho)).

    Args:
        alpha: Examples per dimension.
        delta: Variance of the clusters.
        rho: Share of the cluster +1.

    Example:
        >>> best = bayes_optimal(2.0, rho=0.2)
        >>> round(best.threshold, 6), round(best.error, 6)
        (-0.693147, 0.140918)
    """
    m, threshold = alpha / (alpha + delta), delta / 2 * math.log(rho / (1 - rho))
    return BayesOptimal(m, threshold, float(population_error(m, m, threshold, delta=delta, rho=rho)))


def bayes_weights(options: MixtureOptions) -> Array:
    """The posterior mean of v / sqrt(N) given the training examples: (alpha / (alpha + delta)) mean_i(y_i x_i).

    Its direction is that of the Hebb rule.

    Args:
        options: The options of ``gaussian-mixture``.

    Returns:
        Shape (N,).
    """
    x, y = draw_mixture(options).train
    alpha = len(y) / options.dim
    return alpha / (alpha + options.delta) * (y[:, None] * x).mean(axis=0)


def local_energy(
    m: ArrayLike,
    q: ArrayLike,
    b: ArrayLike = 0.0,
    *,
    sigma: ArrayLike,
    delta: float = 1.0,
    rho: float = 0.5,
    perturb_bias: bool = True,
) -> Array:
    """Rise of the population error when every weight is multiplied by 1 + sigma z, z of N(0, 1).

    As N grows the overlap stays and the squared norm becomes q (1 + sigma^2); a threshold that is perturbed too
    widens the Gaussian by b sigma: s^2 = delta q (1 + sigma^2) + (b sigma)^2 in `population_error`.

    Args:
        m: Overlap.
        q: Squared norm.
        b: Threshold.
        sigma: Size of the noise.
        delta: Variance of the clusters.
        rho: Share of the cluster +1.
        perturb_bias: Whether the threshold is perturbed too.

    Returns:
        Differences of shares, of the shape that the arguments have together.

    Source:
        The measure: Pittorino et al. 2021, section 2. The closed form is derived here.

    Example:
        >>> round(float(local_energy(0.5, 0.5, sigma=1.0)), 6)
        0.068787
    """
    q, b, sigma = (np.asarray(value, dtype=np.float64) for value in (q, b, sigma))
    s = np.sqrt(delta * q * (1 + sigma**2) + (b * sigma * perturb_bias) ** 2)
    return _error(m, s, b, rho) - population_error(m, q, b, delta=delta, rho=rho)


def training_local_energy(
    w: ArrayLike, b: float, x: ArrayLike, y: ArrayLike, *, sigma: float, perturb_bias: bool = True
) -> float:
    """Rise of the training error of a hyperplane when every weight is multiplied by 1 + sigma z.

    Exact at every N: the margin t_i = y_i (w . x_i + b) becomes a Gaussian of standard deviation sigma s_i with
    s_i^2 = sum_k (w_k x_ik)^2 + b^2, so that example i is wrong with probability H(t_i / (sigma s_i)).

    Args:
        w: Shape (N,).
        b: Threshold.
        x: Shape (P, N).
        y: Shape (P,), -1 or 1.
        sigma: Size of the noise, positive.
        perturb_bias: Whether the threshold is perturbed too.

    Returns:
        A difference of shares.

    Source:
        The measure: Pittorino et al. 2021, section 2. The closed form is derived here.

    Example:
        >>> round(training_local_energy([1.0], 0.0, [[2.0], [-3.0]], [1.0, -1.0], sigma=1.0), 6)  # H(1)
        0.158655
    """
    w, x, y = (np.asarray(value, dtype=np.float64) for value in (w, x, y))
    margins = y * (x @ w + b)
    spread = np.sqrt((x**2) @ (w**2) + (b * perturb_bias) ** 2)
    return float(gaussian_tail(margins / (sigma * spread)).mean() - (margins <= 0).mean())


@dataclass(frozen=True)
class Sampled(Result):
    """A mean over draws.

    Attributes:
        mean: The mean.
        standard_error: Its standard error.
        draws: How many.
    """

    mean: float
    standard_error: float
    draws: int


def sampled_local_energy(
    w: ArrayLike,
    b: float,
    centre: ArrayLike,
    *,
    sigma: float,
    delta: float = 1.0,
    rho: float = 0.5,
    draws: int = 100,
    seed: int = 0,
    perturb_bias: bool = True,
) -> Sampled:
    """The local energy of one hyperplane by Monte Carlo over the noise, each perturbed error being exact.

    The same seed draws the same noise for every hyperplane.

    Args:
        w: Shape (N,).
        b: Threshold.
        centre: Shape (N,), v.
        sigma: Size of the noise.
        delta: Variance of the clusters.
        rho: Share of the cluster +1.
        draws: How many, at least 2.
        seed: Draws the noise.
        perturb_bias: Whether the threshold is perturbed too.
    """
    w, v = np.asarray(w, dtype=np.float64), np.asarray(centre, dtype=np.float64)
    random = np.random.default_rng(seed)
    found = np.empty(draws)
    still = population_error(*_m_q(w, v), b, delta=delta, rho=rho)
    for draw in range(draws):
        moved = w * (1 + sigma * random.normal(size=w.shape))
        shifted = b * (1 + sigma * float(random.normal()) * perturb_bias)
        found[draw] = population_error(*_m_q(moved, v), shifted, delta=delta, rho=rho) - still
    return Sampled(float(found.mean()), float(found.std(ddof=1) / math.sqrt(draws)), draws)


def _m_q(w: Array, v: Array) -> tuple[float, float]:
    return float(w @ v) / math.sqrt(len(v)), float(w @ w)


@dataclass(frozen=True)
class OrderParameters(Tabular):
    """Where hyperplanes are in the plane of overlap and norm, and how good and flat they are.

    Attributes:
        m: Shape (T,), overlap with the centre.
        q: Shape (T,), squared norm.
        b: Shape (T,), threshold.
        error: Shape (T,), population error.
        local_energy: Shape (T,), its rise under noise of size `sigma`.
        sigma: The size of the noise.
    """

    m: Array
    q: Array
    b: Array
    error: Array
    local_energy: Array
    sigma: float

    def _table(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in ("m", "q", "b", "error", "local_energy")}


def order_parameters(
    weights: Iterable[Weights], options: MixtureOptions, *, sigma: float = 0.5
) -> OrderParameters:
    """The order parameters of snapshots of ``gaussian-mixture``.

    Args:
        weights: Models or snapshots; a trajectory gives all of its own.
        options: The options of the problem, as ``parse_options("gaussian-mixture", run.problem_args)``.
        sigma: Noise of the local energy.

    Returns:
        One entry per snapshot.

    Raises:
        LandscapeError: If the weights are not those of a hyperplane in N dimensions.
    """
    centre = draw_mixture(options).centre
    rows = [hyperplane(one, options.dim) for one in weights]
    m, q = (np.array(column, dtype=np.float64) for column in zip(*[_m_q(w, centre) for w, _ in rows], strict=True))
    b = np.array([b for _, b in rows])
    delta, rho = options.delta, options.rho
    error = population_error(m, q, b, delta=delta, rho=rho)
    rise = local_energy(m, q, b, sigma=sigma, delta=delta, rho=rho)
    return OrderParameters(m, q, b, error, rise, sigma)


def hyperplane(weights: Weights, dim: int) -> tuple[Array, float]:
    """The weights, shape (N,), and the threshold in a snapshot of ``gaussian-mixture``.

    Args:
        weights: A model or snapshot.
        dim: N.

    Raises:
        LandscapeError: If it is no hyperplane in N dimensions.
    """
    tensors = resolve(weights)[1]
    w = tensors.get("0.weight")
    if w is None or tuple(w.shape) != (1, dim):
        got = None if w is None else tuple(w.shape)
        raise LandscapeError("not a hyperplane", where="0.weight", got=got, expected=(1, dim))
    b = tensors.get("0.bias")
    return w.double().cpu().numpy()[0], 0.0 if b is None else float(b)

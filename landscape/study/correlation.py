"""Rank correlations of measures with what they are to predict, and the confidence intervals of these."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.values.correlations import Agreement, Array, Correlated, Correlation, Nets, Row, is_invariant

Counts = NDArray[np.float64]

# Fewer networks have no rank correlation worth the name.
_FEWEST = 3
# What training itself leaves: a measure that goes with the test error no better than these tells nothing new.
CONTROLS = {
    "train_loss": "training loss at the end",
    "steps": "updates of training",
    "weight_norm": "norm of the weights",
}
OVER = ("nets", "settings")


def correlate(
    x: Sequence[float] | Array,
    y: Sequence[float] | Array,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    groups: Sequence[Any] | None = None,
) -> Correlation:
    """Kendall's tau-b and Spearman's rho of two numbers over networks, with percentile bootstrap intervals.

    tau_b = (C - D) / sqrt((n0 - n1) (n0 - n2)) with C concordant and D discordant pairs out of n0 = n (n - 1) / 2,
    of which n1 are tied in x and n2 in y: ties count for neither side. Networks are resampled with replacement;
    two draws of one network are a tie in both numbers. The result does not depend on the order of the networks.

    Args:
        x: Shape (n,); where it or `y` is not finite, the network is left out.
        y: Shape (n,).
        resamples: Number of bootstrap resamples of the networks.
        level: Share of the draws inside the interval.
        seed: Of the draws.
        groups: Shape (n,), labels; networks of one label are drawn together. None draws each by itself.

    Returns:
        Both correlations.

    Source: Kendall 1945, "The treatment of ties in ranking problems"; Efron & Tibshirani 1993, section 13.3.

    Example:
        >>> found = correlate([1, 2, 3, 4], [1, 3, 2, 4], resamples=100)
        >>> round(found.kendall, 4), round(found.spearman, 4), found.count
        (0.6667, 0.8, 4)
    """
    labels = np.arange(len(x)).astype(str) if groups is None else np.array([str(label) for label in groups])
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    kept = np.isfinite(first) & np.isfinite(second)
    first, second, labels = first[kept], second[kept], labels[kept]
    # One order for all: neither draws nor rounding may depend on the one given.
    order = np.lexsort((labels, second, first)) if groups is not None else np.lexsort((second, first))
    first, second, labels = first[order], second[order], labels[order]
    tied = _tied(second)
    if len(first) < _FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        nothing = (np.nan, np.nan)
        return Correlation(np.nan, nothing, np.nan, nothing, len(first), tied)
    from scipy import stats

    counts = _draws(labels if groups is not None else None, len(first), resamples, seed)
    return Correlation(
        float(stats.kendalltau(first, second, variant="b").statistic),
        _interval(kendall_of(first, second, counts), level),
        float(stats.spearmanr(first, second).statistic),
        _interval(spearman_of(first, second, counts), level),
        len(first),
        tied,
    )


def _tied(values: Array) -> float:
    pairs = len(values) * (len(values) - 1) / 2
    _, counts = np.unique(values, return_counts=True)
    return float((counts * (counts - 1) / 2).sum() / pairs) if pairs else 0.0


def _draws(labels: NDArray[np.str_] | None, count: int, resamples: int, seed: int) -> Counts:
    """Return how often each network is in each draw, shape (resamples, n)."""
    generator = np.random.default_rng(seed)
    if labels is None:
        return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    _, firsts, members = np.unique(labels, return_index=True, return_inverse=True)
    # Groups are numbered as they first appear, so that their names do not decide the draws.
    numbers = np.argsort(np.argsort(firsts))[members]
    drawn = generator.multinomial(len(firsts), np.full(len(firsts), 1 / len(firsts)), size=resamples)
    return drawn[:, numbers].astype(np.float64)


def kendall_of(x: Array, y: Array, counts: Counts) -> Array:
    """Kendall's tau-b of draws, where networks come as often as counted.

    With s_ij = sign(x_i - x_j), t_ij = sign(y_i - y_j) and the counts c of a draw, it is
    sum c_i c_j s_ij t_ij / sqrt(sum c_i c_j s_ij^2  sum c_i c_j t_ij^2).

    Args:
        x: Shape (n,).
        y: Shape (n,).
        counts: Shape (draws, n).

    Returns:
        Shape (draws,); NaN where all that is drawn is equal in one of the two.
    """
    s, t = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
    both, own, other = (np.einsum("bi,bi->b", counts @ matrix, counts) for matrix in (s * t, s * s, t * t))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(both / np.sqrt(own * other))


def spearman_of(x: Array, y: Array, counts: Counts) -> Array:
    """Spearman's rho of draws, Pearson's correlation of average ranks; takes and gives what `kendall_of` does."""
    total = counts.sum(axis=1, keepdims=True)
    centred = []
    for values in (x, y):
        below = (values[:, None] < values[None, :]).astype(np.float64)
        equal = (values[:, None] == values[None, :]).astype(np.float64)
        ranks = counts @ (below + equal / 2)
        centred.append(ranks - (counts * ranks).sum(axis=1, keepdims=True) / total)
    a, b = centred
    with np.errstate(invalid="ignore", divide="ignore"):
        both, own, other = ((counts * one * two).sum(axis=1) for one, two in ((a, b), (a, a), (b, b)))
        return np.asarray(both / np.sqrt(own * other))


def _interval(draws: Array, level: float) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def agreement(x: Array, y: Array, pairs: Sequence[tuple[int, int]]) -> Agreement:
    """Measure how often two numbers order pairs of networks alike, beyond chance.

    (C - D) / (C + D + E) with C concordant and D discordant pairs, and E pairs that x does not tell apart though
    y does; pairs that are equal in y say nothing and are left out.

    Args:
        x: Shape (M,).
        y: Shape (M,).
        pairs: Of indices into these.

    Returns:
        The agreement.

    Source: Jiang et al. 2020, "Fantastic Generalization Measures and Where to Find Them", section 4 (granulated
    Kendall's coefficient), there with pairs equal in y counted as not agreeing.

    Example:
        >>> agreement(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0]), [(0, 1), (1, 2)])
        Agreement(value=1.0, pairs=1)
    """
    if not pairs:
        return Agreement(np.nan, 0)
    left, right = np.array(pairs).T
    own, other = x[left] - x[right], y[left] - y[right]
    told = np.isfinite(own) & np.isfinite(other) & (other != 0)
    if not told.any():
        return Agreement(np.nan, 0)
    return Agreement(float((np.sign(own[told]) * np.sign(other[told])).mean()), int(told.sum()))


def pairs_that_differ_in(nets: Nets, axis: str) -> list[tuple[int, int]]:
    """The pairs of networks that count and differ in one hyperparameter alone.

    Args:
        nets: The networks.
        axis: The hyperparameter.
    """
    others = [values for name, values in nets.levels.items() if name != axis]
    groups: dict[tuple[str, ...], list[int]] = {}
    for place in np.flatnonzero(nets.counted).tolist():
        groups.setdefault(tuple(values[place] for values in others), []).append(place)
    own = nets.levels[axis]
    return [(a, b) for group in groups.values() for a, b in itertools.combinations(group, 2) if own[a] != own[b]]


def correlate_nets(
    nets: Nets,
    targets: Sequence[str],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    over: str = "nets",
    meta: dict[str, Any] | None = None,
) -> Correlated:
    """Correlate every measure with every target over the networks that count.

    Args:
        nets: The networks.
        targets: Names of results, such as ``"test_error"``.
        resamples: Number of bootstrap resamples of the networks for the intervals.
        level: Of the intervals.
        seed: Of the draws.
        over: ``"nets"`` draws networks, ``"settings"`` all that differ in the seed alone together.
        meta: What is kept with the result.

    Returns:
        What was found: a row for each measure, then for each of `CONTROLS`.

    Raises:
        LandscapeError: If a target does not exist.
    """
    for target in targets:
        if target not in nets.results:
            raise LandscapeError(f"no network has a '{target}'", mend="there are " + ", ".join(nets.results))
    groups = _settings_of(nets) if over == "settings" else None
    pairs = {axis: pairs_that_differ_in(nets, axis) for axis in nets.levels}
    counted = nets.counted

    def row(name: str, values: Array, control: bool) -> Row:
        about = nets.about.get(name, {})
        title = CONTROLS[name] if control else str(about.get("title", name))
        own = np.where(counted, values, np.nan)
        correlations = {
            target: correlate(
                own, nets.results[target], resamples=resamples, level=level, seed=seed, groups=groups
            )
            for target in targets
        }
        agreements = {axis: agreement(own, nets.results[targets[0]], found) for axis, found in pairs.items()}
        missing = {net: why for net, why in nets.missing.get(name, {}).items() if net not in nets.faults}
        invariant = not control and is_invariant(about.get("invariant_claimed"))
        return Row(name, title, str(about.get("unit", "")), invariant, control, correlations, agreements, missing)

    rows = [row(name, values, False) for name, values in nets.measures.items()]
    rows += [row(name, nets.results[name], True) for name in CONTROLS if name in nets.results]
    return Correlated(nets, tuple(rows), tuple(targets), resamples, level, seed, over, meta or {})


def _settings_of(nets: Nets) -> list[str]:
    """For each network a label of all that it is but its seed."""
    others = [values for name, values in nets.levels.items() if name != "seed"]
    return ["/".join(str(values[place]) for values in others) for place in range(len(nets))]

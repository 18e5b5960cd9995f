"""Convergence diagnostics of chains: means over chains with their error, and reasons not to trust them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.measures.hmc import Array, Chain, effective_draws, split_r_hat

# Gelman et al. 2013, sections 11.4 and 11.5: 1.1, and five independent draws per half of a chain.
_R_HAT, _PER_HALF = 1.1, 5
# Chains that go on until they have converged stop by chance before they have, unless more is asked of them.
_STOP_R_HAT, _STOP_DRAWS = 1.05, 100
# Adapted steps accept more than half; a chain that refuses most proposals sticks.
_ACCEPTANCE = 0.4
# Steps that nobody refuses are as good as exact if nearly all of them would be accepted.
_UNADJUSTED = 0.9
# Chance alone does not put a mean so many standard errors away.
_FAR = 4.0


@dataclass(frozen=True)
class Mixed:
    """The mean of a quantity over several chains.

    Attributes:
        mean: Over all draws, with the scatter that the virial explains taken out.
        standard_error: From the scatter within chains and their effective number of draws, or from that of the
            means of chains, whichever is larger: short chains do not show their slowest motions.
        interval: 95 %: from the means of the chains by Student's t, or the standard error, whichever is wider;
            a single chain has none.
        doubts: Why it should not be believed; empty where nothing speaks against it.
        diagnostics: Plain values.
    """

    mean: float
    standard_error: float
    interval: tuple[float, float] | None
    doubts: list[str]
    diagnostics: dict[str, Any]

    @property
    def settled(self) -> bool:
        """Return whether chains that could go on may stop."""
        found = self.diagnostics
        return not self.doubts and found["r_hat"] <= _STOP_R_HAT and found["effective_draws"] >= _STOP_DRAWS


def mixed(chains: Sequence[Chain], factor: float, adjusted: bool, checked: bool = True) -> Mixed:
    """The mean of factor times the rise of the loss over chains, and what speaks against it.

    The virial v = d . g - P has mean 0 under any density, so y - c v has the mean of y; c is the slope of y
    over v in the other chains, which leaves the least scatter (Mira, Solgi & Imparato 2013, section 2, the
    polynomial d . d / 2).
    Where the loss is homogeneous in d little is left. Whether chains mixed is judged by y itself and by d . d.

    Args:
        chains: Equally long.
        factor: What rises are multiplied with.
        adjusted: Whether draws were accepted or refused.
        checked: Whether probabilities of acceptance mean anything; on batches they do not.
    """
    rows = [factor * chain.rises for chain in chains]
    virials = [chain.virials for chain in chains]
    left = _corrected(rows, virials)
    squares = [chain.squares for chain in chains]
    found = {
        "r_hat": max(split_r_hat(rows), split_r_hat(squares)),
        "effective_draws": min(effective_draws(rows), effective_draws(squares)),
        "acceptance": float(np.mean([chain.acceptance for chain in chains])) if checked else math.nan,
        "drift": max(_drift(rows), _drift(squares), key=abs),
        "virial": _distance(virials),
    }
    least = None if not checked else _ACCEPTANCE if adjusted else _UNADJUSTED
    means = np.array([row.mean() for row in left])
    error = max(_error(left), _between(means))
    return Mixed(
        mean=float(means.mean()),
        standard_error=error,
        interval=_interval(means, error),
        doubts=_doubts(rows, found, least),
        diagnostics={
            "chains": means.tolist(),
            "plain_mean": _plain(float(np.mean(rows))),
            **{name: _plain(value) for name, value in found.items()},
            "steps": [chain.step for chain in chains],
            "distance": _plain(float(np.sqrt(np.mean(squares)))),
        },
    )


def _corrected(rows: Sequence[Array], virials: Sequence[Array]) -> list[Array]:
    """y - c v of each chain, with c from the other chains; of a single chain each half has that of the other.

    A slope from the same draws goes along with their mean virial, and its product with that has a mean of its own.
    """
    if len(rows) == 1:
        (y,), (v,) = rows, virials
        half = len(y) // 2
        return [np.concatenate(_corrected([y[:half], y[half:]], [v[:half], v[half:]]))]
    left = []
    for place, (row, virial) in enumerate(zip(rows, virials, strict=True)):
        others = [other for other in range(len(rows)) if other != place]
        left.append(row - _slope([rows[at] for at in others], [virials[at] for at in others]) * virial)
    return left


def _slope(rows: Sequence[Array], virials: Sequence[Array]) -> float:
    y, v = np.concatenate(rows), np.concatenate(virials)
    spread = float(v.var())
    return float(np.mean((y - y.mean()) * (v - v.mean()))) / spread if spread > 0 else 0.0


def _doubts(rows: Sequence[Array], found: dict[str, float], least: float | None) -> list[str]:
    if not np.isfinite(rows).all():
        return ["the loss is not finite on the way"]
    wanted = _PER_HALF * 2 * len(rows)
    doubts = []
    if not found["r_hat"] <= _R_HAT:
        doubts.append(f"chains disagree: R-hat is {found['r_hat']:.3g}, at most {_R_HAT} is wanted")
    if not found["effective_draws"] >= wanted:
        doubts.append(f"{found['effective_draws']:.3g} independent draws, {wanted} at least are wanted")
    if abs(found["drift"]) > _FAR:
        doubts.append(f"the first and the last third differ by {abs(found['drift']):.2g} standard errors")
    if abs(found["virial"]) > _FAR:
        doubts.append(f"the virial is {found['virial']:.2g} standard errors off: not the density that is wanted")
    if least is not None and not found["acceptance"] >= least:
        doubts.append(f"steps are too long: acceptance is {found['acceptance']:.2g}, {least} at least is wanted")
    return doubts


def _scatter(rows: Sequence[Array]) -> float:
    return math.sqrt(float(np.mean([row.var(ddof=1) for row in rows])))


def _error(rows: Sequence[Array]) -> float:
    """The standard error of the mean of all draws."""
    scatter = _scatter(rows)
    return scatter / math.sqrt(max(1.0, effective_draws(rows))) if scatter > 0 else 0.0


def _between(means: Array) -> float:
    """The standard error of the mean from the scatter of the means of chains; 0 of a single one."""
    return float(means.std(ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else 0.0


def _distance(rows: Sequence[Array]) -> float:
    """Return how many standard errors the mean is away from 0."""
    error = _error(rows)
    return float(np.mean(rows)) / error if error > 0 else 0.0


def _drift(rows: Sequence[Array]) -> float:
    """The last third minus the first, in standard errors of the difference; a third has a third of the draws."""
    third = len(rows[0]) // 3
    first, last = (np.mean([row[part] for row in rows]) for part in (slice(third), slice(-third, None)))
    error = _error(rows) * math.sqrt(6)
    return float(last - first) / error if error > 0 else 0.0


def _interval(means: Array, error: float) -> tuple[float, float] | None:
    # Importing scipy.stats takes longer than many chains.
    from scipy.special import ndtri, stdtrit

    if len(means) < 2:
        return None
    half = max(float(stdtrit(len(means) - 1, 0.975)) * _between(means), float(ndtri(0.975)) * error)
    return float(means.mean()) - half, float(means.mean()) + half


def _plain(value: float) -> float | None:
    """A number for JSON, which knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None

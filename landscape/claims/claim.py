"""A claim of a paper, and what the numbers of a recipe say about it. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.values.result import Result

Array = NDArray[np.float64]

# Of claims whose place in the paper was not looked up again.
RECALLED = "recalled"
VERDICTS = ("seen", "seen at small scale", "not seen", "contradicted", "not tested")


class Numbers:
    """The numbers of a recipe by name, in float64.

    Args:
        arrays: ``panel/run/entry`` -> array, as beside the picture.
        where: The file that they are from.
    """

    def __init__(self, arrays: Mapping[str, ArrayLike], where: str = "numbers") -> None:
        self.arrays = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()}
        self.where = where

    def __getitem__(self, name: str) -> Array:
        if name not in self.arrays:
            raise LandscapeError(
                f"no numbers '{name}'",
                where=self.where,
                mend=f"{did_you_mean(name, self.arrays)}; render the recipe",
            )
        return self.arrays[name]


@dataclass(frozen=True)
class Reading(Result):
    """A finding: a number, its error, and which way it decides a claim.

    Attributes:
        number: What was measured.
        error: How far it may be off, in its unit; None where there is one run, or a closed form.
        finding: 1 where the claim holds, 0 where the numbers do not tell, -1 where its opposite holds.
        beside: The number that the claim names or a closed form gives; None where there is none.
    """

    number: float
    error: float | None
    finding: int
    beside: float | None = None


def more(value: float, error: float = 0.0, than: float = 0.0) -> Reading:
    """A number that the claim puts above another: a difference within its error tells nothing.

    Example:
        >>> more(1.2, 2.1).finding, more(-0.8, 0.3).finding
        (0, -1)
    """
    gap = value - than
    finding = 0 if not abs(gap) > error else 1 if gap > 0 else -1
    return Reading(float(value), float(error) or None, finding, than or None)


def equal(value: float, to: float, *, within: float, error: float = 0.0) -> Reading:
    """A number that the claim gives: it holds if they agree to a share of it, or within the error.

    Example:
        >>> equal(2.02, 2.0, within=0.05).finding, equal(3.0, 2.0, within=0.05).finding
        (1, -1)
    """
    near = abs(value - to) <= max(within * abs(to), error)
    return Reading(float(value), float(error) or None, 1 if near else -1, float(to))


def below(value: float, bound: float, *, otherwise: int = -1) -> Reading:
    """A number that the claim bounds from above; `otherwise` is 0 where a larger one is nothing against it.

    Example:
        >>> below(0.5, 1.0).finding, below(1.5, 1.0).finding
        (1, -1)
    """
    return Reading(float(value), None, 1 if value <= bound else otherwise, float(bound))


def above(value: float, bound: float, *, otherwise: int = -1) -> Reading:
    """A number that the claim bounds from below; `otherwise` is 0 where a smaller one is nothing against it.

    Example:
        >>> above(1.5, 1.0).finding, above(float("nan"), 1.0).finding
        (1, -1)
    """
    return Reading(float(value), None, 1 if value >= bound else otherwise, float(bound))


def mean_of(values: ArrayLike) -> tuple[float, float]:
    """The mean of independent values, and half of Student's 95 % interval about it.

    Example:
        >>> [round(number, 2) for number in mean_of([1.0, 2.0, 3.0])]
        [2.0, 2.48]
    """
    # It takes half a second.
    from scipy.special import stdtrit

    given = np.asarray(values, dtype=np.float64)
    quantile = float(stdtrit(len(given) - 1, 0.975))
    return float(given.mean()), quantile * float(given.std(ddof=1)) / math.sqrt(len(given))


def ranked(one: ArrayLike, other: ArrayLike) -> Reading:
    """Rank correlation of two quantities that the claim puts in one order.

    Equal values have the mean of their ranks. The error is that of no correlation at 95 %, 1.96 / sqrt(n - 1).

    Example:
        >>> ranked([1, 2, 3, 4, 5, 6], [1, 4, 9, 16, 25, 36]).number
        1.0
    """
    ranks = np.array([_ranks(np.asarray(values, dtype=np.float64)) for values in (one, other)])
    deviations = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(deviations, axis=1)
    with np.errstate(invalid="ignore"):
        found = float(deviations[0] @ deviations[1] / norms.prod())
    return more(found, 1.96 / math.sqrt(ranks.shape[1] - 1))


def _ranks(values: Array) -> Array:
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, "right") - 1) / 2


@dataclass(frozen=True)
class Claim(Result):
    """A claim: what a paper says, our setting, and how numbers decide it.

    Attributes:
        says: The claim, in our words.
        where: Section, theorem or figure of the paper.
        setting: What we ran, and what the number is; of a claim that is not tested, what a test needs.
        recipe: The recipe whose numbers decide; None if it is not tested.
        read: From the numbers to what they say.
        exact: Whether size does not matter: a theorem, a closed form, or a setting as large as the paper's.
    """

    says: str
    where: str
    setting: str
    recipe: str | None = None
    read: Callable[[Numbers], Reading] | None = None
    exact: bool = False

    def verdict(self, reading: Reading | None) -> str:
        """The verdict that a reading has.

        Example:
            >>> Claim("It rises.", "fig. 1", "ours", exact=True).verdict(more(2.0))
            'seen'
        """
        if reading is None:
            return "not tested"
        seen = "seen" if self.exact else "seen at small scale"
        return {1: seen, 0: "not seen", -1: "contradicted"}[reading.finding]


@dataclass(frozen=True)
class Paper(Result):
    """A paper and what it claims.

    Attributes:
        name: Such as ``"dinh2017"``.
        reference: Authors, title, year and where it is.
        claims: In the order of the paper.
    """

    name: str
    reference: str
    claims: tuple[Claim, ...]

"""Polynomials in place of the ReLU, for which the equations of zero error are polynomial too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Chebyshev, Legendre, Polynomial
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean

FITS = ("legendre", "chebyshev", "lsq")

# Found by trial: with 5, networks leave the interval as their gains grow, and diverge.
_INTERVAL = 8.0
# Beyond it, float32 powers and their coefficients lose the value.
_HIGHEST = 30
# Points of a least-squares fit: their spacing no longer shows in its coefficients.
_POINTS = 2001


@dataclass(frozen=True)
class PolynomialFit:
    """A polynomial that is fitted to max(x, 0) on [-interval, interval].

    On [-1, 1], and with B p(x / B) on [-B, B]:

    - ``"legendre"``: the nearest in the mean square, sum c_k P_k with c_0 = 1/4, c_1 = 1/2, other odd ones 0 and
      c_2m = (4m + 1) / 2 (-1)^(m+1) (2m - 2)! / (2^2m (m - 1)! (m + 1)!);
    - ``"chebyshev"``: the truncated series x / 2 + 1 / pi + 2 / pi sum (-1)^(m+1) / (4 m^2 - 1) T_2m, which
      counts errors near the ends of the interval for more;
    - ``"lsq"``: least squares over 2,001 evenly spaced points.

    Attributes:
        degree: 1 to 30.
        fit: One of `FITS`.
        interval: B; outside of it the polynomial grows without bound.

    Raises:
        LandscapeError: If one of them is out of range.

    Source:
        Liao & Poggio 2017, section 3: ReLU replaced by a univariate polynomial of degree 10.

    Example:
        >>> PolynomialFit(2, "legendre", 1.0).legendre
        (0.25, 0.5, 0.3125)
    """

    degree: int
    fit: str = "legendre"
    interval: float = _INTERVAL

    def __post_init__(self) -> None:
        if not 1 <= self.degree <= _HIGHEST:
            raise LandscapeError(
                "a degree is out of range", where="poly", got=self.degree, expected=f"1 to {_HIGHEST}"
            )
        if self.fit not in FITS:
            raise LandscapeError(f"there is no fit '{self.fit}'", where="poly", mend=did_you_mean(self.fit, FITS))
        if not 0 < self.interval < math.inf:
            raise LandscapeError("an interval is positive", where="poly", got=f"{self.interval:g}")

    @classmethod
    def parse(cls, text: str) -> PolynomialFit:
        """Read ``"poly:10"``, ``"poly:10:chebyshev"``, ``"poly:10:3"`` or ``"poly:10:legendre:3"``.

        Raises:
            LandscapeError: If it is none of these.
        """
        word, *rest = text.split(":")
        degree, fit, interval = (*rest, "", "")[0], FITS[0], str(_INTERVAL)
        if len(rest) == 2 and not rest[1].isalpha():
            interval = rest[1]
        elif len(rest) > 1:
            fit, interval = rest[1], (*rest, interval)[2]
        try:
            if word != "poly" or not 1 <= len(rest) <= 3:
                raise ValueError(text)
            return cls(int(degree), fit, float(interval))
        except ValueError:
            raise LandscapeError(
                "not a polynomial", where="activation", got=f"'{text}'", expected="poly:DEGREE[:FIT][:INTERVAL]"
            ) from None

    @property
    def legendre(self) -> tuple[float, ...]:
        """The coefficients of the nearest polynomial on [-1, 1] by Legendre polynomials."""
        return tuple(_legendre(k) for k in range(self.degree + 1))

    @property
    def monomials(self) -> NDArray[np.float64]:
        """Shape (degree + 1,), the coefficients on [-1, 1] by powers, from the constant."""
        if self.fit == "legendre":
            found = Legendre(self.legendre).convert(kind=Polynomial).coef
        elif self.fit == "chebyshev":
            found = Chebyshev([_chebyshev(k) for k in range(self.degree + 1)]).convert(kind=Polynomial).coef
        else:
            x = np.linspace(-1, 1, _POINTS)
            fitted = Legendre.fit(x, np.maximum(x, 0), self.degree, domain=[-1, 1])
            found = fitted.convert(kind=Polynomial).coef
        return np.pad(found, (0, self.degree + 1 - len(found)))

    def errors(self, points: int = 20001) -> tuple[float, float]:
        """The root mean square and the greatest error on [-interval, interval].

        The mean square is over [-1, 1] as an integral, not divided by its length 2, times interval: the norm in
        which Legendre's coefficients are the best.
        """
        x = np.linspace(-1, 1, points)
        gap = Polynomial(self.monomials)(x) - np.maximum(x, 0)
        return self.interval * math.sqrt(np.trapezoid(gap**2, x)), self.interval * float(np.abs(gap).max())


def _legendre(k: int) -> float:
    if k < 2:
        return (0.25, 0.5)[k]
    if k % 2:
        return 0.0
    m = k // 2
    size = math.factorial(2 * m - 2) / (4**m * math.factorial(m - 1) * math.factorial(m + 1))
    return (4 * m + 1) / 2 * (-1) ** (m + 1) * size


def _chebyshev(k: int) -> float:
    if k < 2:
        return (1 / math.pi, 0.5)[k]
    return 0.0 if k % 2 else 2 / math.pi * (-1) ** (k // 2 + 1) / (k * k - 1)

"""Which values a picture shows, on what scale, and at which levels its lines run. The data are not changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.render.look import current

Array = NDArray[np.float64]

# Below 1.5 decades a linear colour scale still separates the smallest values from each other.
COLOUR_DECADES = 1.5
# A line plot resolves about 1 % of its height, so two decades are the most that a linear axis can show.
LINE_DECADES = 2.0
# Relative spans below this are rounding noise of float64 sums, not shape.
_FLAT = 1e-9
# Metrics that are stored as a share of 1.
SHARES = ("error", "accuracy")
# Share of the points that may lie below the floor of a logarithmic colour range, and decades that these take at
# least: the bottom of a basin that the grid resolves keeps its colours.
_FOOT, _DEEP = 0.01, 3.0
# Share of the points that may lie above a clipped colour range.
_TAIL = 0.05


@dataclass(frozen=True)
class Scale:
    """The range of values that colours (or heights) are spread over.

    Attributes:
        log: Whether colours go by the logarithm.
        low: The smallest value shown.
        high: The largest value shown; larger ones get the colour of "more".
        clipped: Whether any finite value lies above `high`.
        under: Whether any finite value lies below `low`; such values get the colour of `low`.
        count: The number of level lines, evenly spread; None puts them at round values.
    """

    log: bool
    low: float
    high: float
    clipped: bool = False
    under: bool = False
    count: int | None = None

    def forward(self, values: Any) -> Array:
        """Positions on the scale: log10 of the values, or the values themselves; not finite becomes NaN."""
        values = np.asarray(values, dtype=float)
        known = np.where(np.isfinite(values), values, np.nan)
        known = np.maximum(known, self.low) if self.under else known
        return np.log10(known) if self.log else known

    def lines(self) -> Array:
        """Values at which contour lines run, the upper end of a clipped range among them."""
        if self.count is None or self.flat:
            return self.ticks()[int(self.under) :]
        low, high = self.forward([self.low, self.high]).tolist()
        places = np.linspace(low, high, self.count + 2 - self.clipped)[1:]
        found: Array = 10.0**places if self.log else places
        # Exactly the end, which rounding would move.
        return np.append(found[:-1], [self.high][: self.clipped])

    def ticks(self, count: int = 8) -> Array:
        """Round values within the range, about so many, and its ends where it is clipped there."""
        inner = levels([self.low, self.high], self.log, count)
        return np.concatenate([[self.low][: self.under], inner, [self.high][: self.clipped]])

    def names(self, ticks: Array) -> list[str]:
        """Tick labels of some values; ``"> 50"`` and ``"< 0.1"`` at the ends of a clipped range."""
        # A lone value has no neighbours to be told apart from: six digits say which one it is.
        texts = tell(ticks, digits=6 if self.flat else 3)
        if self.clipped and len(ticks) > 0 and ticks[-1] == self.high:
            texts[-1] = f"> {texts[-1]}"
        if self.under and len(ticks) > 0 and ticks[0] == self.low:
            texts[0] = f"< {texts[0]}"
        return texts

    @property
    def flat(self) -> bool:
        """Return whether the range is too narrow to draw lines in."""
        return self.high - self.low <= _FLAT * max(abs(self.low), abs(self.high))


def wants_log(values: Any, decades: float) -> bool:
    """Return whether all finite values are positive and span more than so many decades.

    Args:
        values: Any shape; NaN and infinities are left out.
        decades: The span from which a logarithmic scale is worth it.

    Returns:
        True for a logarithmic scale.
    """
    known = _finite(values)
    return bool(known.size and known.min() > 0 and known.max() / known.min() > 10**decades)


def choose(values: Any, *, log: bool | None = None, clip: float | None = None) -> Scale:
    """The scale on which values are best seen.

    Logarithmic where all values are positive and span more than 1.5 decades. Clipped where the largest
    5 % of the points would take more than half of the colours: then at a round number above the others.
    Where the smallest 1 % would take three decades and half of a logarithm, as where a loss touches zero, it has
    a floor below the others: colours and lines would follow the grid around these points, and not the function.

    Args:
        values: Any shape; NaN and infinities are left out.
        log: Insist on a logarithmic (True) or linear (False) scale.
        clip: The largest value to be told apart, instead of the automatic choice; inf for no clipping.

    Returns:
        The scale; [0, 1] where no value is finite.

    Example:
        >>> choose([1.0, 2.0, 3000.0]).log
        True
    """
    known = _finite(values)
    if not known.size:
        return Scale(False, 0.0, 1.0)
    use_log = wants_log(known, COLOUR_DECADES) if log is None else bool(log and known.min() > 0)
    low, top = float(known.min()), float(known.max())
    high = _tail_free(known, use_log) if clip is None else clip
    # The few values that are clipped away must not be the reason for a logarithm.
    floor = _floor(known, min(high, top)) if use_log else low
    if log is None and use_log and min(high, top) < floor * 10**COLOUR_DECADES:
        return choose(values, log=False, clip=clip)
    under, low = floor > low, floor
    # A range that ends at or below its own beginning could show nothing.
    if not low < high < top:
        return Scale(use_log, low, top, under=under)
    return Scale(use_log, low, high, clipped=True, under=under)


def scale_of(field: str, values: Any, log: bool | None = None, clip: float | None = None) -> Scale:
    """The scale of a field: linear for shares and ratios of Hessian eigenvalues, else what is best.

    Args:
        field: ``"<split>_<metric>"``.
        values: In the unit shown, any shape.
        log: Insist on a logarithmic or linear scale.
        clip: The largest value to be told apart.
    """
    linear = field.partition("_")[2] in (*SHARES, "hessian_ratio")
    return choose(values, log=False if log is None and linear else log, clip=clip)


def asked(values: Any, choice: Callable[[Any, bool | None], Scale]) -> Scale:
    """A scale with the limits, the logarithm and the number of level lines that the look in use asks for.

    Args:
        values: All that is drawn, in the unit shown, any shape.
        choice: (values, log) -> the scale that suits them.

    Raises:
        LandscapeError: If values cannot be on a logarithmic scale, or none lies within the limits.
    """
    look, known = current(), _finite(values)
    if not known.size or not look.scaled:
        return replace(choice(values, None), count=look.levels)
    least, most = float(known.min()), float(known.max())
    if look.log and look.vmin is None and least <= 0:
        raise LandscapeError(
            "a logarithmic scale has positive values only",
            got=f"{least:g}",
            mend="give a vmin above 0, or leave out log",
        )
    if (look.vmin is not None and most < look.vmin) or (look.vmax is not None and least > look.vmax):
        raise LandscapeError(
            "no value lies within the limits of the scale",
            got=f"values from {least:g} to {most:g}",
            mend="give another vmin or vmax",
        )
    seen = known if look.vmin is None and look.vmax is None else np.clip(known, look.vmin, look.vmax)
    linear = look.log is None and look.vmin is not None and look.vmin <= 0
    found = choice(seen, False if linear else look.log)
    low = found.low if look.vmin is None else look.vmin
    high = found.high if look.vmax is None else look.vmax
    return Scale(found.log, low, high, most > high, least < low, look.levels)


def levels(values: Any, log: bool, count: int = 8) -> Array:
    """Round numbers, strictly inside the range of the values, at which contour lines run.

    Args:
        values: Any shape; NaN and infinities are left out.
        log: Whether the levels shall be evenly spread in the logarithm (1, 10, ...; 1, 3, 10; 1, 2, 5, 10).
        count: About how many.

    Returns:
        Shape (n,), increasing, n at most about 1.5 `count`; empty where the values are all the same.

    Example:
        >>> levels([0.001, 30.0], log=True).tolist()
        [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
        >>> levels([0.0, 4.0], log=False, count=4).tolist()
        [1.0, 2.0, 3.0]
    """
    known = _finite(values)
    if not known.size:
        return np.empty(0)
    low, high = float(known.min()), float(known.max())
    if Scale(log, low, high).flat:
        return np.empty(0)
    if log and low > 0:
        found = _log_levels(low, high, count)
        # Fewer than three lines show no shape: a narrow range is better cut linearly.
        if len(found) >= 3:
            return found
    ticks = np.asarray(MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    return ticks[(ticks > low) & (ticks < high)]


def bands(scale: Scale, count: int = 32) -> Array:
    """Edges of the filled colours: the lines, the ends of the scale, and even cuts between them.

    Args:
        scale: The scale.
        count: About how many bands.

    Returns:
        Shape (m,), increasing positions on the scale (`Scale.forward`), every line among them. A flat scale
        gets one band about its value.
    """
    if scale.flat:
        middle = float(scale.forward([scale.low])[0])
        # Wide enough to survive rounding in the contour algorithm, narrow enough to mean one value.
        return middle + max(abs(middle), 1.0) * np.array([-1e-3, 1e-3])
    edges = np.unique(scale.forward([scale.low, *scale.lines(), scale.high]))
    width = (edges[-1] - edges[0]) / count
    pieces = [
        np.linspace(a, b, max(1, round((b - a) / width)), endpoint=False) for a, b in itertools.pairwise(edges)
    ]
    return np.append(np.concatenate(pieces), edges[-1])


def tell(values: Sequence[float] | Array, digits: int = 3) -> list[str]:
    """Numbers as short texts, with as many digits as it takes to tell them apart.

    Args:
        values: The numbers that stand beside each other.
        digits: The fewest significant digits to use; trailing zeros are dropped.

    Returns:
        One text each, with the typographic minus.

    Example:
        >>> tell([0.00002, 0.1, 30.0])
        ['2e−5', '0.1', '30']
        >>> tell([2.302584, 2.302585])
        ['2.302584', '2.302585']
    """
    values = np.asarray(values, dtype=float)
    apart = np.diff(np.unique(values))
    # Rounding by a hundredth of the smallest distance cannot be seen at the ticks.
    allowed = 0.01 * apart.min() if apart.size else np.inf
    for tried in range(digits, 17):
        rounded = np.array([float(f"{value:.{tried}g}") for value in values])
        if (np.abs(rounded - values) <= allowed).all():
            break
    return [_short(value, tried) for value in values]


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    # `g` turns to powers of ten at so many digits; 25000 reads better than 2.5e4.
    if "e" in text and 1 <= abs(value) < 1e5:
        text = f"{value:.0f}"
    mantissa, _, power = text.partition("e")
    return (f"{mantissa}e{int(power)}" if power else mantissa).replace("-", "−")


def _finite(values: Any) -> Array:
    values = np.asarray(values, dtype=float).ravel()
    return values[np.isfinite(values)]


def _log_levels(low: float, high: float, count: int) -> Array:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    whole = max(1, round(len(exponents) / count))
    # Every n-th decade where there are many, otherwise finer cuts of each decade.
    sets = [([1.0], whole), ([1.0], 1), ([1.0, 3.0], 1), ([1.0, 2.0, 5.0], 1), ([1.0, 1.5, 2.0, 3.0, 5.0, 7.0], 1)]
    tried = []
    for mantissas, every in sets:
        ticks = np.array([float(f"{m}e{e}") for e in exponents if e % every == 0 for m in mantissas])
        tried.append(ticks[(ticks > low) & (ticks < high)])
    return min(tried, key=lambda ticks: abs(len(ticks) - count))


def _tail_free(known: Array, log: bool) -> float:
    """A round value above all but the largest points if those would take half the scale, else inf."""
    drawn = np.log10(known) if log else known
    # "higher" picks a computed value, so that at least one point is left out only if there are enough.
    body = float(np.quantile(drawn, 1 - _TAIL, method="higher"))
    low, top = float(drawn.min()), float(drawn.max())
    if body <= low or top - body <= body - low:
        return math.inf
    return _round_up(10**body if log else body)


def _floor(known: Array, top: float) -> float:
    """A round value below all but the smallest points if these would take half of a logarithm, or the smallest."""
    drawn = np.log10(known)
    low, body = float(drawn.min()), float(np.quantile(drawn, _FOOT, method="lower"))
    if body - low <= max(_DEEP, math.log10(top) - body):
        return float(known.min())
    power = math.floor(body)
    return max(step for m in (1, 2, 5) if (step := float(f"{m}e{power}")) <= 10**body * (1 + _FLAT))


def _round_up(value: float) -> float:
    """The next number of the form 1, 2 or 5 times a power of ten; a value that is not positive stays."""
    if value <= 0:
        return value
    power = math.floor(math.log10(value))
    steps = [float(f"{m}e{e}") for e in (power, power + 1) for m in (1, 2, 5)]
    return next(step for step in steps if step >= value * (1 - _FLAT))

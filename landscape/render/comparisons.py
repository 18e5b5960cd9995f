"""Training methods side by side over seeds: test errors, profiles of the local energy, one against the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.render.curves import asked_log, limit, set_scale
from landscape.render.labels import DOT
from landscape.render.palette import mark_of
from landscape.render.rows import Array, draw_rows, name
from landscape.render.style import Sheet

_BAND = 0.2
_ROW = 2.15


@dataclass(frozen=True)
class Entrant:
    """One training method, with several seeds.

    Attributes:
        name: What it is called.
        test_error: Shape (S,), per cent at the end, one per seed.
        train_error: Shape (S,), likewise.
        interval: The mean test error, and half the width of its interval.
        evaluations: Minibatch gradients that each run took.
        sigmas: Shape (K,), sizes of the noise.
        rise: Shape (S, K), the rise of the training error in per cent, or of the loss.
    """

    name: str
    test_error: Array
    train_error: Array
    interval: tuple[float, float]
    evaluations: float
    sigmas: Array
    rise: Array

    def rise_at(self, sigma: float) -> Array:
        """Shape (S,), the rise at a size of the noise, between two by a straight line."""
        return np.array([np.interp(sigma, self.sigmas, own) for own in self.rise])


@dataclass(frozen=True)
class Comparison:
    """Training methods that are compared.

    Attributes:
        title: What they are trained on.
        metric: ``"error"`` or ``"loss"``: what rises.
        sigma: The size of the noise at which one number is taken from each profile.
        draws: Draws of the noise.
        entrants: In the order drawn.
    """

    title: str | None
    metric: str
    sigma: float
    draws: int
    entrants: Sequence[Entrant]


def comparisons(panels: Sequence[Comparison]) -> Sheet:
    """Draw comparisons, a row each: test error, local energy over the noise, and one against the other.

    A thin line joins the runs of one seed; bars are the intervals of the means; bands reach from the lowest to the
    highest seed.

    Args:
        panels: From the top.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw.
    """

    def draw(row: Sequence[Axes], panel: Comparison) -> str | None:
        _errors(row[0], panel)
        _profiles(row[1], panel)
        _against(row[2], panel)
        return panel.title

    ratios = (0.95, 1.05, 1.0)
    return draw_rows(panels, draw, lambda: _handles(panels), _foot, row_height=_ROW, ratios=ratios)


def _colour(place: int) -> str:
    return f"C{place}"


def _handles(panels: Sequence[Comparison]) -> list[Artist]:
    names = list(dict.fromkeys(one.name for panel in panels for one in panel.entrants))
    return [
        Line2D([], [], color=_colour(place), marker=mark_of(place), label=said) for place, said in enumerate(names)
    ]


def _errors(ax: Axes, panel: Comparison) -> None:
    """Every seed as a dot; a line joins the runs of one seed."""
    ink = mpl.rcParams["axes.labelcolor"]
    every = np.array([one.test_error for one in panel.entrants])
    ax.plot(np.arange(len(every)), every, color=ink, lw=0.5, alpha=0.35, zorder=1)
    for place, one in enumerate(panel.entrants):
        look: dict[str, Any] = {"color": _colour(place), "marker": mark_of(place)}
        ax.plot(np.full(len(one.test_error), place), one.test_error, ls="none", ms=3.0, mew=0, alpha=0.6, **look)
        mean, half = one.interval
        ax.errorbar(place + 0.22, mean, half, capsize=2.0, lw=1.0, ms=4.0, **look)
    ax.set_xticks(range(len(every)), [one.name.replace("-", "-\n", 1) for one in panel.entrants])
    ax.set_xlim(-0.35, len(every) - 0.45)
    ax.tick_params(axis="x", length=0)
    _errors_up(ax)
    name(ax, "", "test error (%)")


def _rise_label(panel: Comparison, short: bool = False) -> str:
    unit = "%" if panel.metric == "error" else "nats"
    return f"local energy ({unit}, σ = {panel.sigma:g})" if short else f"local energy ({unit})"


def _profiles(ax: Axes, panel: Comparison) -> None:
    for place, one in enumerate(panel.entrants):
        x = np.append(0.0, one.sigmas)
        low, middle, high = (np.append(0.0, of(one.rise, axis=0)) for of in (np.min, np.mean, np.max))
        ax.fill_between(x, low, high, color=_colour(place), alpha=_BAND, lw=0)
        ax.plot(x, middle, color=_colour(place))
    ax.axvline(panel.sigma, color=mpl.rcParams["axes.labelcolor"], lw=0.6, ls=":")
    ax.set_xlim(0.0, None)
    ax.set_ylim(min(0.0, ax.get_ylim()[0]), None)
    ax.set_title(f"rise of the training {panel.metric}", loc="left")
    name(ax, "σ of the multiplicative noise", _rise_label(panel))


def _against(ax: Axes, panel: Comparison) -> None:
    for place, one in enumerate(panel.entrants):
        marker = mark_of(place)
        look: dict[str, Any] = {"color": _colour(place), "marker": marker, "ls": "none"}
        ax.plot(one.rise_at(panel.sigma), one.test_error, ms=4.0, mew=0, alpha=0.8, **look)
    _errors_up(ax)
    name(ax, _rise_label(panel, short=True), "test error (%)")


def _errors_up(ax: Axes) -> None:
    set_scale(ax, "", asked_log(False))
    limit(ax)


def _foot(panels: Sequence[Comparison]) -> str:
    first = panels[0]
    taken = {round(one.evaluations) for panel in panels for one in panel.entrants}
    said = [
        f"{(count := len(first.entrants[0].test_error))} seed{'s' * (count != 1)}",
        f"{' / '.join(f'{count:,}' for count in sorted(taken))} minibatch gradients each",
        "bars: 95 % intervals of the means; bands: lowest to highest seed",
        f"{first.draws} draws of the noise, the same for all networks",
    ]
    return DOT.join(said)

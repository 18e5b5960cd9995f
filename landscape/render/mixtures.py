"""The Gaussian mixture: hyperplanes on their way over the exact errors, and their flatness against their error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.render.labels import DOT
from landscape.render.look import current
from landscape.render.palette import marks_along
from landscape.render.rows import Array, draw_rows, name
from landscape.render.style import Sheet, pale

_ROW = 2.2
# Per cent between two level lines.
_LEVEL = 5.0


@dataclass(frozen=True)
class Path:
    """A hyperplane while it is trained, one entry per snapshot.

    Attributes:
        name: Of its run, without what stands behind a comma.
        m: Shape (T,), overlap with the centre.
        q: Shape (T,), squared norm.
        error: Shape (T,), population error, a share of 1.
        local_energy: Shape (T,), its rise under noise.
        train_local_energy: Shape (T,), the rise of the training error under the same noise.
        train_error: Shape (T,), a share of 1.
    """

    name: str
    m: Array
    q: Array
    error: Array
    local_energy: Array
    train_local_energy: Array
    train_error: Array


@dataclass(frozen=True)
class Mixture:
    """Hyperplanes between two clusters, and what is known about all hyperplanes.

    Attributes:
        title: What is trained.
        sigma: Size of the noise.
        about: alpha, delta, rho and dim.
        paths: The hyperplanes.
        m: Shape (nx,), the map's overlaps.
        q: Shape (ny,), its squared norms.
        error: Shape (ny, nx), population error at the best threshold; hyperplanes are where m^2 <= q.
        best: m, q and error of the Bayes-optimal hyperplane.
        best_energy: Its local energy.
        exact_error: Shape (k,), errors of hyperplanes of all overlaps at the best threshold.
        exact_energy: Shape (k,), their local energies.
    """

    title: str | None
    sigma: float
    about: Mapping[str, float]
    paths: Sequence[Path]
    m: Array
    q: Array
    error: Array
    best: tuple[float, float, float]
    best_energy: float
    exact_error: Array
    exact_energy: Array


def mixtures(panels: Sequence[Mixture]) -> Sheet:
    """Draw mixtures, a row each: paths in the plane of overlap and norm, and two local energies against the error.

    Level lines are those of the population error at the best threshold; beyond m^2 = q there is no hyperplane. A
    dot is where a path begins, a larger one where it ends, a star what is Bayes-optimal.

    Args:
        panels: From the top.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw.
    """
    names = list(dict.fromkeys(path.name for panel in panels for path in panel.paths))
    marks = marks_along(names)
    looks = {said: {"color": f"C{place}", **marks[said]} for place, said in enumerate(names)}

    def draw(row: Sequence[Axes], panel: Mixture) -> str | None:
        _plane(row[0], panel, looks)
        _population(row[1], panel, looks)
        _training(row[2], panel, looks)
        return panel.title

    ratios = (1.15, 1.0, 1.0)
    return draw_rows(panels, draw, lambda: _handles(looks), _foot, row_height=_ROW, ratios=ratios)


def _handles(looks: Mapping[str, Mapping[str, Any]]) -> list[Artist]:
    ink = mpl.rcParams["axes.labelcolor"]
    found: list[Artist] = [Line2D([], [], label=said, **look) for said, look in looks.items()]
    found.append(Line2D([], [], color=ink, marker="*", ms=8.0, ls="none", label="Bayes-optimal"))
    found.append(Line2D([], [], color=ink, lw=0.8, ls="--", label="all hyperplanes, exactly"))
    return found


def _way(ax: Axes, x: Array, y: Array, look: Mapping[str, Any]) -> None:
    colour = look["color"]
    ax.plot(x, y, lw=1.1, zorder=3, **look)
    ax.plot(x[0], y[0], "o", color=colour, ms=3.0, mew=0, zorder=3)
    ax.plot(x[-1], y[-1], "o", color=colour, ms=5.5, mec=mpl.rcParams["axes.facecolor"], mew=0.6, zorder=4)


def _star(ax: Axes, x: float, y: float) -> None:
    ink, ground = mpl.rcParams["axes.labelcolor"], mpl.rcParams["axes.facecolor"]
    ax.plot(x, y, "*", color=ink, ms=9.0, mec=ground, mew=0.6, zorder=5)


def _plane(ax: Axes, panel: Mixture, looks: Mapping[str, Mapping[str, Any]]) -> None:
    error = 100 * panel.error
    levels = np.arange(_LEVEL * np.ceil(error[panel.m**2 <= panel.q[:, None]].min() / _LEVEL), 50.0, _LEVEL)
    if (count := current().levels) is not None:
        levels = np.linspace(float(levels[0]) if len(levels) else 0.0, 50.0, count, endpoint=False)
    ax.contourf(panel.m, panel.q, error, 40, cmap=pale(mpl.rcParams["image.cmap"], 0.6))
    lines = ax.contour(panel.m, panel.q, error, levels, colors=[mpl.rcParams["axes.labelcolor"]], linewidths=0.4)
    ax.clabel(lines, fmt="%g %%", fontsize=0.7 * float(mpl.rcParams["font.size"]))
    m = np.append(0.0, panel.m)
    ax.fill_between(m, 0.0, m**2, color=mpl.rcParams["axes.facecolor"], lw=0, zorder=2.5)
    for path in panel.paths:
        _way(ax, path.m, path.q, looks[path.name])
    _star(ax, panel.best[0], panel.best[1])
    low = min(0.0, *(1.1 * float(path.m.min()) for path in panel.paths))
    ax.set_xlim(low, panel.m[-1])
    ax.set_ylim(0.0, panel.q[-1])
    name(ax, "overlap with the centre, m", "squared norm, q")


def _population(ax: Axes, panel: Mixture, looks: Mapping[str, Mapping[str, Any]]) -> None:
    ink = mpl.rcParams["axes.labelcolor"]
    ax.plot(100 * panel.exact_error, 100 * panel.exact_energy, color=ink, lw=0.8, ls="--", zorder=1)
    for path in panel.paths:
        _way(ax, 100 * path.error, 100 * path.local_energy, looks[path.name])
    _star(ax, 100 * panel.best[2], 100 * panel.best_energy)
    _errors_from(ax, panel)
    ax.set_title("rise of the population error", loc="left")
    name(ax, "population error (%)", "local energy (%)")


def _training(ax: Axes, panel: Mixture, looks: Mapping[str, Mapping[str, Any]]) -> None:
    for path in panel.paths:
        _way(ax, 100 * path.error, 100 * path.train_local_energy, looks[path.name])
    ink = mpl.rcParams["axes.labelcolor"]
    ax.axvline(100 * panel.best[2], color=ink, lw=0.6, ls=":", zorder=1)
    _errors_from(ax, panel)
    ax.set_title("rise of the training error", loc="left")
    name(ax, "population error (%)", "local energy (%)")


def _errors_from(ax: Axes, panel: Mixture) -> None:
    """The errors that paths meet, with room for the best."""
    met: Any = np.concatenate([path.error for path in panel.paths])
    low, high = 100 * panel.best[2], 100 * float(met.max())
    ax.set_xlim(low - 0.06 * (high - low), high + 0.04 * (high - low))


def _foot(panels: Sequence[Mixture]) -> str:
    about = panels[0].about
    shares = " / ".join(dict.fromkeys(format(panel.about["rho"], "g") for panel in panels))
    said = [f"N = {about['dim']:g}", f"α = {about['alpha']:g}", f"Δ = {about['delta']:g}"]
    sigmas = " / ".join(dict.fromkeys(format(panel.sigma, "g") for panel in panels))
    said += [f"ρ = {shares}", "level lines: population error at the best threshold, exact"]
    said += [
        f"local energy: rise when all weights are multiplied by 1 + σ z, σ = {sigmas}",
        "dots: first and last snapshot",
    ]
    return DOT.join(said)

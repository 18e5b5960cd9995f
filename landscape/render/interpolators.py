"""Networks that fit all examples: how sharp they are on their orbits, and how good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.render.curves import asked_log, limit
from landscape.render.labels import DOT, with_notes
from landscape.render.palette import MARKS
from landscape.render.rows import Array, draw_rows, name
from landscape.render.style import Sheet

_ROW = 2.5
# Population losses below count as 0 and stand at the left, a decade from the smallest that does not.
_ZERO = 1e-12
# Columns of a family.
_LOSS, _LEAST, _FIRST_PLACE = 0, 2, 3


@dataclass(frozen=True)
class Interpolators:
    """Families of networks that fit the same examples.

    Attributes:
        title: What they are to learn.
        about: Options of the problem.
        families: Name -> shape (k, 3 + places), a row per network: population loss, training loss, trace of the
            Hessian at the flattest point of the orbit, and traces at other places of it.
    """

    title: str | None
    about: Mapping[str, Any]
    families: Mapping[str, Array]


def interpolators(panels: Sequence[Interpolators]) -> Sheet:
    """Draw families of networks, a row each: on the left anywhere on their orbits, on the right at the flattest.

    Args:
        panels: From the top.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw.
    """
    names = list(dict.fromkeys(said for panel in panels for said in panel.families))
    marks = "*" + MARKS
    dots = {said: {"color": f"C{place}", "marker": marks[place % len(marks)]} for place, said in enumerate(names)}

    def draw(row: Sequence[Axes], panel: Interpolators) -> str:
        nought, log = _nought(panel), asked_log(True)
        for said, rows in panel.families.items():
            loss = np.where(rows[:, _LOSS] > _ZERO, rows[:, _LOSS], nought)
            every = rows[:, _FIRST_PLACE:]
            _dots(row[0], np.repeat(loss, every.shape[1]), every.ravel(), dots[said], said)
            _dots(row[1], loss, rows[:, _LEAST], dots[said], said)
        for ax in row:
            ax.set_yscale("log" if log else "linear")
            limit(ax)
            _losses(ax, nought)
        name(row[0], "population loss (log scale)", with_notes("trace of the Hessian", "log scale" if log else ""))
        name(row[1], "population loss (log scale)", "trace at the flattest point")
        row[1].tick_params(labelleft=True)
        row[1].set_title("flattest point of the orbit", loc="left")
        return " – ".join(filter(None, [panel.title, "anywhere on the orbit"]))

    return draw_rows(panels, draw, lambda: _handles(dots), _foot, row_height=_ROW, ratios=(1, 1), share=True)


def _nought(panel: Interpolators) -> float:
    """Where a population loss of 0 stands on the logarithmic axis."""
    losses = np.concatenate([rows[:, _LOSS] for rows in panel.families.values()])
    positive = losses[losses > _ZERO]
    return float(10 ** np.floor(np.log10(positive.min()) - 1)) if positive.size else 1.0


def _dots(ax: Axes, x: Array, y: Array, look: Mapping[str, Any], said: str) -> None:
    size = 8.0 if look["marker"] == "*" else 4.0
    ax.plot(x, y, ls="none", ms=size, mec=mpl.rcParams["axes.facecolor"], mew=0.4, alpha=0.85, label=said, **look)


def _losses(ax: Axes, nought: float) -> None:
    """A logarithmic axis whose leftmost mark is 0."""
    ax.set_xscale("log")
    _, high = ax.get_xlim()
    decades = np.arange(np.log10(nought) + 1, np.ceil(np.log10(high)) + 0.5)
    every = int(np.ceil(len(decades) / 6))
    shown = decades[::every]
    ax.set_xticks([nought, *10.0**shown], ["0", *(f"$10^{{{round(d)}}}$" for d in shown)])
    ax.minorticks_off()
    ax.set_xlim(nought / 2, high)


def _handles(looks: Mapping[str, Mapping[str, Any]]) -> list[Artist]:
    return [
        Line2D([], [], ls="none", ms=8.0 if look["marker"] == "*" else 4.0, label=said, **look)
        for said, look in looks.items()
    ]


def _foot(panels: Sequence[Interpolators]) -> str:
    about = panels[0].about
    counts = {said: len(rows) for panel in panels[:1] for said, rows in panel.families.items()}
    said = [f"{about['train_size']} examples in {about['dim']} dimensions, all of them fitted by all networks"]
    said += ["networks: " + ", ".join(f"{count} {name}" for name, count in counts.items())]
    return DOT.join(said)

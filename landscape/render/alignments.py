"""Lines between pairs of networks that ever more families of symmetries bring together, and their barriers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.render.labels import DOT, field_label, field_name, unit, with_notes
from landscape.render.palette import marks_along, run_colours
from landscape.render.rows import Array, draw_rows, name
from landscape.render.style import Sheet

_ROW = 2.0
_TRAINED, _PERMUTED, _ALL = "as trained", "permutations", "all symmetries"


@dataclass(frozen=True)
class AlignedPairs:
    """Pairs of networks of one architecture, each brought together by ever more families of symmetries.

    Attributes:
        title: What the networks are.
        families: Shape (n,): ``"none"``, then the family that each adds to those before it.
        t: Shape (p,), along each line.
        loss: Shape (pairs, n, p), along the lines.
        barrier: Shape (pairs, n).
        intervals: Family -> the mean barrier, and half the width of its interval.
        field: The loss: ``"<split>_loss"``.
        meta: Problem, units. Plain JSON values.
    """

    title: str | None
    families: Sequence[str]
    t: Array
    loss: Array
    barrier: Array
    intervals: Mapping[str, tuple[float, float]]
    field: str
    meta: Mapping[str, Any]

    @property
    def shown(self) -> dict[str, int]:
        """Line -> the number of its family: without symmetries, with permutations, with all."""
        found = {_TRAINED: 0}
        if _PERMUTED in self.families:
            found[_PERMUTED] = self.families.index(_PERMUTED)
        return {**found, _ALL: len(self.families) - 1}


def alignments(panels: Sequence[AlignedPairs]) -> Sheet:
    """Draw aligned pairs, a row each: the loss along the lines, and the barrier after every family of symmetries.

    Args:
        panels: From the top.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw.
    """

    def draw(row: Sequence[Axes], panel: AlignedPairs) -> str | None:
        _lines(row[0], panel)
        _barriers(row[1], panel)
        return panel.title

    return draw_rows(panels, draw, lambda: _handles(panels), _foot, row_height=_ROW, ratios=(1.0, 1.0))


def _handles(panels: Sequence[AlignedPairs]) -> list[Artist]:
    names = list(dict.fromkeys(said for panel in panels for said in panel.shown))
    looks = _looks(names)
    return [Line2D([], [], label=said, **looks[said]) for said in names]


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    marks = marks_along(names)
    return {said: {"color": colour, **marks[said]} for said, colour in run_colours(names).items()}


def _lines(ax: Axes, panel: AlignedPairs) -> None:
    """The mean over pairs, and each pair as a thin line."""
    looks = _looks(list(panel.shown))
    for said, place in panel.shown.items():
        if len(panel.loss) > 1:
            ax.plot(panel.t, panel.loss[:, place].T, color=looks[said]["color"], lw=0.5, alpha=0.4)
        ax.plot(panel.t, panel.loss[:, place].mean(0), **looks[said])
    ax.set_xlim(panel.t[0], panel.t[-1])
    name(ax, "t, the networks at 0 and 1", field_label(panel.field, panel.meta))


def _barriers(ax: Axes, panel: AlignedPairs) -> None:
    """A dot with its interval after each family; a thin line joins those of a pair."""
    ink = mpl.rcParams["axes.labelcolor"]
    ax.plot(range(len(panel.families)), panel.barrier.T, color=ink, lw=0.5, alpha=0.35, zorder=1)
    looks = _looks(list(panel.shown))
    named = {place: said for said, place in panel.shown.items()}
    for place, family in enumerate(panel.families):
        mean, half = panel.intervals[family]
        look = looks[named[place]] if place in named else {"color": ink}
        own = {"color": look["color"], "fmt": look.get("marker", "o")}
        ax.errorbar(place, mean, None if math.isnan(half) else half, capsize=2.5, ms=4.0, lw=1.0, **own)
    first, *others = panel.families[1:]
    words = [_TRAINED, first, *(f"+ {family}" for family in others)]
    ax.set_xticks(range(len(words)), words, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.4, len(words) - 0.6)
    tops = [panel.barrier.max(), *(mean + half for mean, half in panel.intervals.values() if not math.isnan(half))]
    ax.set_ylim(0.0, 1.08 * float(max(tops)) or 1.0)
    ax.tick_params(axis="x", length=0)
    name(ax, "", with_notes("barrier", unit(panel.meta, "loss")))


def _foot(panels: Sequence[AlignedPairs]) -> str:
    counts = {len(panel.barrier) for panel in panels}
    said = [f"{' / '.join(map(str, sorted(counts)))} pair{'s' * (counts != {1})} of networks"]
    if counts != {1}:
        said += ["thin lines: each pair", "bars: 95 % intervals of the means"]
    said.append(f"barrier of the {field_name(panels[0].field)}: max L(t) − (L(0) + L(1))/2")
    return DOT.join(said)

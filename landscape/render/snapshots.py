"""Snapshots on the axes of an embedding: paths, their ends, what joins branches to parents, and the colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex, to_rgba
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from landscape.errors import LandscapeError
from landscape.render.labels import field_label, fit_label
from landscape.render.palette import MARKS, mark_of, run_colours
from landscape.render.relief import EYE
from landscape.render.scale import Array, Scale, asked, choose

if TYPE_CHECKING:
    from landscape.values.embedding import Embedding

COLORS = ("run", "group", "loss", "step")
# Square points at 8-point type: the smallest and the largest snapshot.
_SMALL, _LARGE = 3.0, 26.0
# Colours that are names, so that sizes are free to tell the loss.
_OF_RUNS = ("run", "group")


@dataclass(frozen=True)
class Colouring:
    """Meaning of the colours and sizes in all panels of a figure.

    Attributes:
        runs: Name of a run -> its colour.
        groups: Name of a group, see `group_of` -> its colour; groups are in order.
        loss: The metric that stands for the loss; None where no file has one.
        losses: The scale of it.
        steps: The largest step.
    """

    runs: Mapping[str, str]
    groups: Mapping[str, str]
    loss: str | None
    losses: Scale
    steps: int

    @classmethod
    def of(cls, embeddings: Sequence[Embedding]) -> Colouring:
        """Choose the colouring that suits all these embeddings."""
        loss = next((name for own in embeddings if (name := loss_name(own)) is not None), None)
        values = [own.metrics[loss] for own in embeddings if loss is not None and loss in own.metrics]
        names = [name for own in embeddings for name in own.names]
        steps = max(int(own.steps.max()) for own in embeddings)
        losses = asked(np.concatenate(values) if values else [], lambda seen, log: choose(seen, log=log))
        groups = list(dict.fromkeys(map(group_of, names)))
        shades = colormaps[mpl.rcParams["image.cmap"]](np.linspace(0, 0.9, len(groups)))
        return cls(run_colours(names), dict(zip(groups, map(to_hex, shades), strict=True)), loss, losses, steps)

    def own(self, name: str, color: str) -> str:
        """Colour of what belongs to a run."""
        return self.groups[group_of(name)] if color == "group" else self.runs[name]

    def heights(self, points: Embedding) -> Array:
        """The loss of every snapshot on its scale; NaN where it is not known."""
        if self.loss is None or self.loss not in points.metrics:
            return np.full(len(points), np.nan)
        values = points.metrics[self.loss]
        known = np.isfinite(values) & ((values > 0) | (not self.losses.log))
        found = np.full(len(points), np.nan)
        ends = self.losses.forward([self.losses.low, self.losses.high])
        found[known] = np.clip(self.losses.forward(values[known]), *ends)
        return found

    def norm(self, color: str) -> tuple[Normalize, str]:
        """Return the map from numbers to colours, and the label of the numbers."""
        if color == "step":
            return Normalize(0, max(self.steps, 1)), "step"
        low, high = self.losses.forward([self.losses.low, self.losses.high])
        return Normalize(low, high), self.label

    @property
    def label(self) -> str:
        """Label of the loss."""
        return field_label(str(self.loss), {}, log=self.losses.log)

    def sizes(self, points: Embedding) -> Array:
        """Square points: the larger the higher the loss; all alike where it is not known."""
        low, high = self.losses.forward([self.losses.low, self.losses.high])
        share = (self.heights(points) - low) / (high - low) if high > low else np.full(len(points), np.nan)
        size: Array = _SMALL + (_LARGE - _SMALL) * np.where(np.isfinite(share), share, 0.3)
        return size


def group_of(name: str) -> str:
    """Name of the group of a run: what stands before the first comma.

    Example:
        >>> group_of("stage 3, run 5")
        'stage 3'
    """
    return name.partition(",")[0]


def loss_name(points: Embedding) -> str | None:
    """The metric that stands for the loss: that of the training data, or else any; None if there is none."""
    known = [name for name, values in points.metrics.items() if np.isfinite(values).any()]
    losses = [name for name in known if name.endswith("loss")]
    return "train_loss" if "train_loss" in losses else next(iter(losses), None)


def draw_snapshots(ax: Axes, points: Embedding, colouring: Colouring, color: str = "run") -> None:
    """Draw the points of an embedding, 2-D or 3-D, with equal units along all axes.

    Args:
        ax: Where to draw; 3-D axes for three coordinates.
        points: The embedding.
        colouring: What colours mean.
        color: ``"run"``, ``"group"``, ``"loss"`` or ``"step"``.
    """
    _draw(ax, points, points.coordinates, colouring, color)
    names = [f"MDS {i + 1}" for i in range(points.dims)]
    if isinstance(ax, Axes3D):
        _in_space(ax, names, equal=3)
        ax.set_box_aspect((1, 1, 1), zoom=0.85)
        return
    if points.meta.get("method") != "metric":
        names = [f"{name} ({100 * share:.0f} %)" for name, share in zip(names, points.share, strict=True)]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.margins(0.08)
    ax.set_aspect("equal", adjustable="datalim")
    ax.locator_params(nbins=4)


def draw_height(ax: Axes, points: Embedding, colouring: Colouring, color: str = "run") -> None:
    """Draw two coordinates with the loss as height; snapshots of which it is not known are left out.

    Args:
        ax: 3-D axes.
        points: The embedding.
        colouring: What colours mean, and the scale of the loss.
        color: ``"run"``, ``"group"``, ``"loss"`` or ``"step"``.

    Raises:
        LandscapeError: If no snapshot has a loss.
    """
    if colouring.loss is None or not isinstance(ax, Axes3D):
        raise LandscapeError(
            "the files hold no loss to be drawn as height", where="view 3d", mend="draw the map, or record a loss"
        )
    _draw(ax, points, np.column_stack([points.coordinates[:, :2], colouring.heights(points)]), colouring, color)
    # One unit is as long along both coordinates; heights are of another kind.
    # In two lines the name ends above the diagram beside it.
    _in_space(ax, ["MDS 1", "MDS 2", colouring.label.replace(" (", "\n(")], equal=2)
    ax.zaxis.labelpad = 1
    ticks = colouring.losses.ticks(5)
    ax.set_zticks(colouring.losses.forward(ticks), labels=colouring.losses.names(ticks))
    ax.set_box_aspect((1, 1, 0.8), zoom=0.8)


def _in_space(ax: Axes3D, names: Sequence[str], equal: int) -> None:
    """Name the axes, of which the first so many have equal units."""
    size = float(mpl.rcParams["font.size"])
    ax.view_init(*EYE)
    ax.tick_params(pad=-2, labelsize=0.75 * size)
    for put, name in zip((ax.set_xlabel, ax.set_ylabel, ax.set_zlabel), names, strict=True):
        put(name, fontsize=0.85 * size, labelpad=-4)
    limits = [ax.get_xlim(), ax.get_ylim(), ax.get_zlim()][:equal]
    half = max(high - low for low, high in limits) / 2
    for put, (low, high) in zip((ax.set_xlim, ax.set_ylim, ax.set_zlim), limits, strict=False):
        put((low + high) / 2 - half, (low + high) / 2 + half)
    ax.locator_params(nbins=4)


def _draw(ax: Axes, points: Embedding, places: Array, colouring: Colouring, color: str) -> None:
    sizes = colouring.sizes(points) if color in _OF_RUNS else np.full(len(points), 0.4 * _LARGE)
    many = len(points.names) > len(MARKS)
    for number, name in enumerate(points.names):
        rows = points.rows(number)
        own = colouring.own(name, color)
        line = own if color in _OF_RUNS else "0.6"
        _line(ax, places[rows], color=line, lw=0.8, alpha=0.7, zorder=2)
        if number in points.parents:
            _line(ax, places[[points.parents[number], rows[0]]], color=line, lw=0.8, ls=":", zorder=2)
        look: dict[str, Any] = {"s": sizes[rows], "linewidths": 0.0, "zorder": 3}
        if isinstance(ax, Axes3D):
            look["depthshade"] = False
        look |= {"c": _colours(points, rows, colouring, color, own), "marker": _marker(number, color, many)}
        ax.scatter(*places[rows].T, **look)
        if not many:
            _ends(ax, places[rows], own if color in _OF_RUNS else "white")


def _colours(points: Embedding, rows: Any, colouring: Colouring, color: str, own: str) -> Any:
    if color in _OF_RUNS:
        return [to_rgba(own)] * len(rows)
    values = (points.steps.astype(float) if color == "step" else colouring.heights(points))[rows]
    found = colormaps[mpl.rcParams["image.cmap"]](colouring.norm(color)[0](np.nan_to_num(values)))
    # A snapshot of unknown loss has no colour of the map.
    found[~np.isfinite(values)] = to_rgba("0.7")
    return found


def _marker(number: int, color: str, many: bool) -> str:
    """Runs are told apart by their markers, if there are enough of these."""
    return "o" if color == "group" or many else mark_of(number)


def _line(ax: Axes, places: Array, **look: Any) -> None:
    ax.plot(*places.T, **look)


def _ends(ax: Axes, places: Array, fill: str) -> None:
    """A ring at the start and a star at the end."""
    size, ink = float(mpl.rcParams["lines.markersize"]), mpl.rcParams["axes.edgecolor"]
    ground = mpl.rcParams["axes.facecolor"]
    rim: dict[str, Any] = {"mec": ink, "mew": 0.6, "ls": "none", "zorder": 5}
    for at, marker, scale, inside in ((0, "o", 1.0, ground), (-1, "*", 1.9, fill)):
        if np.isfinite(places[at]).all():
            ax.plot(*places[at : len(places) if at else 1].T, marker=marker, ms=scale * size, mfc=inside, **rim)


def colour_bar(place: Axes, colouring: Colouring, color: str) -> None:
    """Draw what the colours of points mean.

    Args:
        place: Axes that become the bar.
        colouring: What they mean.
        color: ``"loss"`` or ``"step"``.
    """
    norm, label = colouring.norm(color)
    small = 0.8 * float(mpl.rcParams["font.size"])
    mapped = ScalarMappable(norm, mpl.rcParams["image.cmap"])
    bar = place.figure.colorbar(mapped, cax=place, orientation="horizontal")
    if color == "loss":
        ticks = colouring.losses.ticks(5)
        bar.set_ticks(colouring.losses.forward(ticks).tolist(), labels=colouring.losses.names(ticks))
        bar.minorticks_off()
    else:
        bar.locator = MaxNLocator(3)
        bar.update_ticks()
    bar.ax.tick_params(labelsize=small)
    bar.ax.set_title(fit_label(label, 1.1, small), fontsize=small)


def legend_of(points: Embedding, colouring: Colouring, color: str) -> list[Artist]:
    """Handles of a legend: runs, their ends, and what else is drawn."""
    ink, size = mpl.rcParams["axes.edgecolor"], float(mpl.rcParams["lines.markersize"])
    many = len(points.names) > len(MARKS)
    named = list(colouring.groups) if color == "group" else [] if many and color != "run" else list(points.names)
    handles: list[Artist] = [
        Line2D(
            [],
            [],
            color=colouring.groups[name]
            if color == "group"
            else colouring.runs[name]
            if color == "run"
            else "0.5",
            marker=_marker(number, color, many),
            ms=0.8 * size,
            lw=0.8,
            label=name,
        )
        for number, name in enumerate(named)
        if len(points.names) > 1
    ]
    if not many:
        rim: dict[str, Any] = {"mec": ink, "mew": 0.6, "ls": "none"}
        handles.append(
            Line2D([], [], marker="o", mfc=mpl.rcParams["axes.facecolor"], ms=size, label="start", **rim)
        )
        handles.append(Line2D([], [], marker="*", mfc="0.6", ms=1.9 * size, label="end", **rim))
    if points.parents:
        handles.append(Line2D([], [], color="0.5", ls=":", lw=0.8, label="from its parent"))
    if color in _OF_RUNS and colouring.loss is not None:
        look = {"marker": "o", "ls": "none", "color": "0.5", "ms": _LARGE**0.5, "mew": 0.0}
        handles.append(Line2D([], [], label="larger: higher loss", **look))
    return handles

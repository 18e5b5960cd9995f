"""Principal components of trajectories: paths in the first two, their course, their shares beside the null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.render.figure_widths import inches_of
from landscape.render.labels import DOT, Page, put_foot
from landscape.render.legend import legend_above
from landscape.render.log_axes import make_logarithmic
from landscape.render.look import width_or
from landscape.render.palette import INK, meaning, run_colours
from landscape.render.panel_titles import put_head
from landscape.render.paths import draw_path
from landscape.render.scale import Array
from landscape.render.style import TWO_COLUMNS, Sheet, has_room, type_scale

# Components whose course over the steps can be told apart: of one run by colour, of several by dash.
_COURSES, _DASHES = 5, ("-", "--", ":")
# Shares that are drawn: the null falls like 1 / k^2, and beyond these nothing can be read.
_SHARES = 10
# Inches at 8-point type that all axes need beside each other, and the two of the shares.
_WIDE, _NARROW = 5.5, 3.2
# Around the paths, as a share of their extent.
_MARGIN = 0.12
_CENTERS = {"mean": "the mean of all snapshots", "last": "the last snapshot", "initial": "the initial snapshot"}


class ComponentValues(Protocol):
    """Principal components as `landscape.projection.principal_components` finds them."""

    @property
    def scores(self) -> Sequence[Array]: ...  # noqa: D102
    @property
    def shares(self) -> Array: ...  # noqa: D102
    @property
    def null(self) -> Array: ...  # noqa: D102
    @property
    def center(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class _Way:
    step: NDArray[np.int64]
    x: Array
    y: Array


def components(
    found: ComponentValues,
    runs: Mapping[str, NDArray[np.int64]],
    *,
    about: str = "",
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw trajectories in their principal components, and how much that says.

    Left the paths in the first two components, in equal units. Right, above: the coordinates along the first
    components over the steps. Right, below: the share of the variance along each component and the sum of the
    first k, each beside what random walks would show. A random walk draws a smooth curve too, and its first
    two components hold three quarters of its variance.

    Args:
        found: The components.
        runs: Name of a run -> its steps, in the order of the scores.
        about: Words for the foot, such as the name of the problem.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is only one component.

    Example:
        >>> components(found, {"sgd": run.steps}).savefig("path.pdf")  # doctest: +SKIP
    """
    if found.scores[0].shape[1] < 2:
        raise LandscapeError("the snapshots lie on a line: there is one component", mend="record more snapshots")
    sheet = _sheet(rc)
    with sheet.styled():
        axes = sheet.subplot_mosaic(**_mosaic())
        colours = dict.fromkeys(runs, INK) if len(runs) == 1 else run_colours(list(runs))
        _paths(axes["path"], found, runs, colours)
        _courses(axes["course"], found, runs, colours)
        _shares(axes["share"], axes["sum"], found, len(runs))
        _verdict(sheet, found, len(runs))
        put_foot(sheet, _foot(found, runs, about))
    return sheet


def _sheet(rc: Mapping[str, Any] | None) -> Sheet:
    if has_room(_WIDE):
        return Sheet.grown(TWO_COLUMNS, 3.9, rc)
    rows = 2.2 + 1.6 * (len(_mosaic()["mosaic"]) - 1)
    return Sheet(inches_of(width_or(TWO_COLUMNS)), type_scale() * (rows + 0.6), rc)


def _mosaic() -> dict[str, Any]:
    """Which axes stand where: beside the paths, or below them where the page is narrow."""
    if has_room(_WIDE):
        return {
            "mosaic": [["path", "course", "course"], ["path", "share", "sum"]],
            "width_ratios": [1.5, 0.72, 0.72],
            "height_ratios": [1.0, 1.0],
        }
    if has_room(_NARROW):
        below = [["course", "course"], ["share", "sum"]]
        return {"mosaic": [["path", "path"], *below], "height_ratios": [1.6, 1.0, 1.0]}
    return {"mosaic": [["path"], ["course"], ["share"], ["sum"]], "height_ratios": [1.6, 1.0, 1.0, 1.0]}


def component_verdict(found: ComponentValues, runs: int = 1) -> str:
    """Say how much of the variance two components hold, and how much they would hold of random walks.

    Args:
        found: The components.
        runs: How many runs they are of.

    Returns:
        One line.

    Example:
        >>> component_verdict(found)  # doctest: +SKIP
        'two components hold 87.1 % of the variance; of a random walk they would hold 77.5 %'
    """
    own, null = (100 * float(values[:2].sum()) for values in (found.shares, found.null))
    walks = "a random walk" if runs == 1 else "random walks from the same starts"
    return f"two components hold {own:.1f} % of the variance; of {walks} they would hold {null:.1f} %"


def _verdict(fig: Page, found: ComponentValues, runs: int) -> None:
    words = component_verdict(found, runs)
    put_head(fig, words[:1].upper() + words[1:])


def _paths(
    ax: Axes, found: ComponentValues, runs: Mapping[str, NDArray[np.int64]], colours: Mapping[str, str]
) -> None:
    places = np.concatenate([scores[:, :2] for scores in found.scores])
    low, high = places.min(axis=0), places.max(axis=0)
    half = (0.5 + _MARGIN) * float((high - low).max())
    across, along = (low + high) / 2
    ax.set_xlim(across - half, across + half)
    ax.set_ylim(along - half, along + half)
    ax.set_aspect("equal")
    handles: list[Artist] = []
    for (name, steps), scores in zip(runs.items(), found.scores, strict=True):
        way = _Way(steps, scores[:, 0], scores[:, 1])
        label = f"{name}: {len(steps)} snapshots" if len(runs) > 1 else ""
        handles += draw_path(ax, way, colour=colours[name], name=label, words=len(runs) == 1)
    ax.locator_params(nbins=5)
    ax.set_xlabel(f"PC 1 ({100 * found.shares[0]:.1f} % of variance)")
    ax.set_ylabel(f"PC 2 ({100 * found.shares[1]:.1f} % of variance)")
    legend_above(ax, handles)


def _courses(
    ax: Axes, found: ComponentValues, runs: Mapping[str, NDArray[np.int64]], colours: Mapping[str, str]
) -> None:
    lone = len(runs) == 1
    count = min(found.scores[0].shape[1], _COURSES if lone else len(_DASHES))
    for (name, steps), scores in zip(runs.items(), found.scores, strict=True):
        for k in range(count):
            colour, dash = (f"C{k}", "-") if lone else (colours[name], _DASHES[k])
            ax.plot(steps, scores[:, k], lw=1.0, color=colour, ls=dash)
    ink = mpl.rcParams["axes.labelcolor"]
    looks = [(f"C{k}", "-") if lone else (ink, _DASHES[k]) for k in range(count)]
    legend_above(
        ax,
        [Line2D([], [], lw=1.0, color=c, ls=dash, label=f"PC {k}") for k, (c, dash) in enumerate(looks, 1)],
    )
    ax.axhline(0.0, color=ink, lw=0.4, alpha=0.5, zorder=0)
    _plain(ax, "step", "coordinate\n(weight distance)")


def _shares(ax: Axes, total: Axes, found: ComponentValues, runs: int) -> None:
    """The share of each component, and of all up to it; both beside the null."""
    count = min(_SHARES, len(found.shares))
    numbers = np.arange(1, count + 1)
    walks = "random walk" if runs == 1 else "random walks"
    handles: list[Artist] = []
    for values, own in ((found.shares, meaning("found")), (found.null, meaning("null"))):
        look: dict[str, Any] = {"color": own.colour, "marker": own.marker, "ls": own.dash, "ms": 3, "lw": 1.0}
        name = walks if values is found.null else "these runs" if runs > 1 else "this run"
        handles += ax.plot(numbers, 100 * values[:count], label=name, **look)
        total.plot(numbers, 100 * np.cumsum(values)[:count], **look)
    make_logarithmic(ax.yaxis)
    total.set_ylim(top=101.0)
    for each, label in ((ax, "variance (%, log scale)"), (total, "cumulative (%)")):
        each.set_xlim(0.6, count + 0.4)
        each.locator_params(axis="x", nbins=5, integer=True)
        _plain(each, "component", label)
    legend_above(ax, handles, width=2.6)


def _plain(ax: Axes, x: str, y: str) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel(x)
    ax.set_ylabel(y)


def _foot(found: ComponentValues, runs: Mapping[str, NDArray[np.int64]], about: str) -> str:
    count = sum(map(len, runs.values()))
    steps = [int(step) for own in runs.values() for step in (own[0], own[-1])]
    of_first = " of the first run" if len(runs) > 1 and found.center != "mean" else ""
    null = (
        "random walk of as many equal steps"
        if len(runs) == 1
        else "random walks from the runs' own starts, with their mean step lengths"
    )
    said = [
        about,
        f"{count} snapshots{f' of {len(runs)} runs' if len(runs) > 1 else ''}, steps {min(steps)} to {max(steps)}",
        f"centred on {_CENTERS[found.center]}{of_first}",
        f"null: {null}",
    ]
    return DOT.join(part for part in said if part)

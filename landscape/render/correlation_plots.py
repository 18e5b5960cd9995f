"""Correlations of measures with targets, with intervals, and each measure against its target by network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.labels import inches, is_share, put_foot
from landscape.render.legend import legend_above
from landscape.render.palette import mark_of, run_colours
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet, has_room, type_scale

if TYPE_CHECKING:
    from landscape.values.correlations import Correlated, Row

# Inches: of a row of a list; of what stands above it; of a scatter panel with its words.
_ROW, _HEAD, _FOOT, _PANEL = 0.185, 0.75, 0.45, 1.4
# Of what stands below a list; of a letter in the name of a measure.
_UNDER, _LETTER = 0.55, 0.075
_ACROSS = 4
# What a legend as wide as the page holds in one line.
_IN_A_ROW = 7
# Letters of a name that an axis label has no room for in one line.
_LONG = 12
# Inches for the legend above intervals, which begins where the names of measures end.
_LEGEND = 4.6
# Blue is against, red is with, white is neither; both ends differ under the common colour blindnesses.
_MAP = "RdBu_r"
# Share of the colour scale above which letters are white.
_DARK = 0.62
# Within so many, powers of ten alone would be one tick or none.
_FEW_DECADES = 2.5
# A measure that spans more is spread over a logarithmic axis.
_DECADES = 1.0
# Of the points whose second setting is another one.
_FILLS: tuple[Any, ...] = ("full", "none", "left", "right", "top", "bottom")
_TARGETS = {
    "test_error": ("test error", "%"),
    "test_loss": ("test loss", ""),
    "error_gap": ("test error − training error", "%"),
    "loss_gap": ("test loss − training loss", ""),
}
_AXES = {"lr": "rate", "weight_decay": "weight decay", "batch_size": "batch size"}


def correlations(found: Correlated, *, rc: Mapping[str, Any] | None = None) -> Figure:
    """Draw what each measure predicts: Kendall's tau and Spearman's rho with every target, with intervals of tau.

    Measures stand in the order of their tau with the first target, controls below them. To the right is how often
    a measure orders two networks as the first target does, if they differ in one hyperparameter alone.

    Args:
        found: What a study found.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure.

    Example:
        >>> correlations(report.found).savefig("correlations.pdf")  # doctest: +SKIP
    """
    rows = found.ordered()
    axes = [axis for axis in found.nets.levels if any(row.agreements[axis].pairs for row in rows)]
    widths = [1.6] * len(found.targets) + ([0.36 * len(axes) + 0.1] if axes else [])
    longest = max(len(row.name) for row in rows)
    beside = has_room(sum(widths) + _LETTER * longest)
    stacked = 1 if beside else len(widths)
    width = TWO_COLUMNS if beside else ONE_COLUMN
    height = _HEAD + (_ROW * len(rows) + _UNDER * (not beside)) * stacked + _FOOT
    sheet = Sheet.grown(width, height, rc)
    with sheet.styled():
        if beside:
            panels = sheet.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)[0]
        else:
            panels = sheet.subplots(len(widths), 1, squeeze=False, sharey=True)[:, 0]
        handles = _handles(rows)
        for panel, target in zip(panels, found.targets, strict=False):
            _intervals(panel, rows, target, found)
        panels[0].set_yticks(range(len(rows)), [row.name.replace("_", " ") for row in rows])
        for panel in panels[:stacked]:
            for label, row in zip(panel.get_yticklabels(), rows, strict=True):
                label.set_fontweight("bold" if row.invariant else "normal")
                label.set_fontstyle("italic" if row.control else "normal")
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
        page_width = inches(sheet)[0] - _LETTER * longest * type_scale() - 0.1
        legend_above(panels[0], handles, min(_LEGEND * type_scale(), page_width))
        if axes:
            _agreements(panels[-1], rows, axes, found)
        put_foot(sheet, caption_words(found))
    return sheet


def caption_words(found: Correlated) -> str:
    """The words under the picture: what was trained and counted, what the intervals are, what ties do."""
    nets, first = found.nets, found.targets[0]
    counted = int(nets.counted.sum())
    words = [f"{counted} networks"]
    if found.meta.get("problem"):
        words[0] += f" of {found.meta['problem']}"
    if found.meta.get("target_loss") is not None:
        words[0] += f", trained to a loss of {found.meta['target_loss']:g}"
    if counted < len(nets):
        words[0] += f" ({len(nets) - counted} of {len(nets)} did not count)"
    drawn = "networks" if found.over == "nets" else "settings, with all their seeds,"
    words += [f"Bars: {100 * found.level:g} % of {found.resamples} bootstrap draws of {drawn} for tau-b"]
    name = _TARGETS.get(first, (first, ""))[0]
    if found.rows:
        tied = max(row.correlations[first].tied for row in found.rows)
        words += [f"{100 * tied:.1f} % of the pairs are tied in {name}" if tied else f"No two are tied in {name}"]
    return ". ".join(words) + ". Correlation is not causation."


def _handles(rows: Sequence[Row]) -> list[Any]:
    looks = {_look(row): label for row, label in ((row, _kind(row)) for row in rows)}
    handles = [
        Line2D([], [], ls="none", marker=marker, color=colour, mfc=face, ms=4.5, label=looks[marker, colour, face])
        for marker, colour, face in looks
    ]
    ink = mpl.rcParams["axes.labelcolor"]
    return [*handles, Line2D([], [], ls="none", marker="|", color=ink, ms=6, label="Spearman's rho")]


def _kind(row: Row) -> str:
    if row.control:
        return "control, no measure of sharpness"
    return "Kendall's tau, measure invariant to rescaling" if row.invariant else "Kendall's tau, not invariant"


def _look(row: Row) -> tuple[str, str, str]:
    """Marker, colour and fill."""
    colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    if row.control:
        return "s", "0.5", "0.5"
    return ("o", colours[0], colours[0]) if row.invariant else ("o", colours[1], mpl.rcParams["axes.facecolor"])


def _intervals(ax: Axes, rows: Sequence[Row], target: str, found: Correlated) -> None:
    for place, row in enumerate(rows):
        one = row.correlations[target]
        marker, colour, face = _look(row)
        if one.kendall != one.kendall:
            ax.text(0.0, place, "undefined", ha="center", va="center", size=6, color="0.5")
            continue
        ax.plot(one.kendall_interval, (place, place), color=colour, lw=1.0, solid_capstyle="butt")
        ax.plot([one.spearman], [place], ls="none", marker="|", ms=6, color=mpl.rcParams["axes.labelcolor"])
        ax.plot([one.kendall], [place], ls="none", marker=marker, ms=4.5, color=colour, mfc=face, clip_on=False)
    ax.axvline(0.0, color=mpl.rcParams["axes.labelcolor"], lw=0.6, zorder=1)
    controls = [place for place, row in enumerate(rows) if row.control]
    if controls:
        ax.axhline(controls[0] - 0.5, color="0.6", lw=0.5, ls=(0, (3, 2)))
    ax.set_xlim(-1.0, 1.0)
    ax.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−½", "0", "½", "1"])
    ax.grid(axis="x", color="0.88", zorder=0)
    ax.set_axisbelow(True)
    name = _TARGETS.get(target, (target, ""))[0]
    ax.set_xlabel(f"correlation with{chr(10) if len(name) > _LONG else ' '}{name}")
    ax.tick_params(axis="y", length=0)


def _agreements(ax: Axes, rows: Sequence[Row], axes: Sequence[str], found: Correlated) -> None:
    """A map of (concordant - discordant) / pairs."""
    colours, norm = mpl.colormaps[_MAP], Normalize(-1.0, 1.0)
    for place, row in enumerate(rows):
        for column, axis in enumerate(axes):
            value = row.agreements[axis].value
            known = value == value
            face = colours(norm(value)) if known else (0.85, 0.85, 0.85, 1.0)
            ax.add_patch(Rectangle((column - 0.5, place - 0.5), 1, 1, facecolor=face, edgecolor="white", lw=0.6))
            ink = "white" if known and abs(value) > _DARK else "black"
            said = f"{value:+.2f}".replace("-", "−") if known else "–"
            ax.text(column, place, said, ha="center", va="center", size=6, color=ink)
    ax.set_xlim(-0.5, len(axes) - 0.5)
    pairs = [max(row.agreements[axis].pairs for row in rows) for axis in axes]
    names = [_AXES.get(axis, axis.rpartition(".")[2]) for axis in axes]
    ax.set_xticks(
        range(len(axes)),
        [name.replace(" ", "\n") + f"\n({count})" for name, count in zip(names, pairs, strict=True)],
        size=6,
    )
    ax.tick_params(length=0)
    ax.set_xlabel("pairs that differ\nin this alone")
    for side in ax.spines.values():
        side.set_visible(False)


def scatters(
    found: Correlated,
    *,
    target: str | None = None,
    colour: str | None = None,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw every measure against a target: a panel for each, a point for each network that counts.

    Args:
        found: What a study found.
        target: What is upwards; by default the first target.
        colour: The hyperparameter that colours tell; by default the family, or the first that varies. The next one
            is told by marks.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure, panels in the order of `Correlated.ordered`.

    Raises:
        LandscapeError: If there is no such target or hyperparameter.

    Example:
        >>> scatters(report.found, colour="batch_size").savefig("scatters.pdf")  # doctest: +SKIP
    """
    chosen = target or found.targets[0]
    if chosen not in found.targets:
        raise LandscapeError(f"the study has no target '{chosen}'", mend=did_you_mean(chosen, found.targets))
    varying = list(found.nets.levels)
    if colour is not None and colour not in varying:
        raise LandscapeError(f"no hyperparameter '{colour}' varies", mend=did_you_mean(colour, varying))
    told = ([colour] if colour else []) + [axis for axis in varying if axis not in (colour, "seed")]
    rows = found.ordered(chosen)
    across = min(_ACROSS, len(rows))
    down = -(-len(rows) // across)
    sheet = Sheet.grown(TWO_COLUMNS, 0.35 + _PANEL * down + _FOOT, rc)
    with sheet.styled():
        panels = sheet.subplots(down, across, squeeze=False, sharey=True)
        looks, handles = _points_of(found, told[:2])
        for panel, row in zip(panels.flat, rows, strict=False):
            _scatter(panel, found, row, chosen, looks)
        for panel in panels.flat[len(rows) :]:
            panel.set_visible(False)
        name, unit = _TARGETS.get(chosen, (chosen, ""))
        sheet.supylabel(f"{name} ({unit})" if unit else name, size=mpl.rcParams["axes.labelsize"])
        if handles:
            look = {"frameon": False, "handletextpad": 0.2, "columnspacing": 1.2}
            sheet.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), _IN_A_ROW), **look)
        put_foot(sheet, _scatter_words(found, rows, chosen))
    return sheet


def _scatter_words(found: Correlated, rows: Sequence[Row], target: str) -> str:
    marks = ["τ: Kendall's tau-b"]
    if any(row.correlations[target].excludes_zero() for row in rows):
        marks.append(f"∗ its {100 * found.level:g} % interval excludes 0")
    if any(row.invariant for row in rows):
        marks.append("bold: invariant to rescaling")
    words = f"{'; '.join(marks)}. "
    gone = [f"{len(row.missing)} in {row.name.replace('_', ' ')}" for row in rows if row.missing]
    if gone:
        words += f"Networks without a value: {', '.join(gone)}. "
    left = len(found.nets) - int(found.nets.counted.sum())
    return words + (f"Left out, as not counting: {left} of {len(found.nets)}." if left else "")


def _points_of(found: Correlated, told: Sequence[str]) -> tuple[list[dict[str, Any]], list[Any]]:
    """For each network how its point looks (colour and mark; fill), and what stands for that in the legend."""
    names = [["–" if value is None else str(value) for value in found.nets.settings[axis]] for axis in told]
    colours = run_colours(names[0] if names else [""])
    first: dict[str, dict[str, Any]] = {
        name: {"color": colour, "marker": mark_of(place)} for place, (name, colour) in enumerate(colours.items())
    }
    second = dict(zip(dict.fromkeys(names[1]), _FILLS * len(names[1]), strict=False)) if len(names) > 1 else {}
    looks = [
        {**first[names[0][n] if names else ""], "fillstyle": second[names[1][n]] if second else "full"}
        for n in range(len(found.nets))
    ]
    handles = [
        Line2D([], [], ls="none", ms=4, label=_named(told[0], name), **look)
        for name, look in first.items()
        if names
    ]
    handles += [
        Line2D([], [], ls="none", marker="o", ms=4, color="0.3", fillstyle=fill, label=_named(told[1], name))
        for name, fill in second.items()
    ]
    return looks, handles


def _named(axis: str, value: str) -> str:
    return value if axis in ("family", "optimizer") else f"{_AXES.get(axis, axis.rpartition('.')[2])} {value}"


def _scatter(ax: Axes, found: Correlated, row: Row, target: str, looks: Sequence[Mapping[str, Any]]) -> None:
    x = found.nets.values(row.name)
    y = found.nets.results[target] * (100.0 if is_share(target) else 1.0)
    shown = found.nets.counted & np.isfinite(x) & np.isfinite(y)
    for place in np.flatnonzero(shown).tolist():
        ax.plot(x[place], y[place], ms=2.8, mew=0.6, alpha=0.9, **looks[place])
    if not shown.any():
        ax.text(0.5, 0.5, "undefined", ha="center", va="center", size=6, color="0.5", transform=ax.transAxes)
        ax.set_xticks([])
    elif _is_wide(x[shown]):
        _set_log(ax, x[shown])
    else:
        ax.locator_params(axis="x", nbins=3)
        ax.ticklabel_format(axis="x", scilimits=(-3, 4), useMathText=True)
    ax.tick_params(labelsize=6)
    one = row.correlations[target]
    tau = "undefined" if one.kendall != one.kendall else f"{one.kendall:+.2f}".replace("-", "−")
    star = "∗" if one.excludes_zero() else ""
    ax.set_title(
        f"{row.name.replace('_', ' ')}\nτ = {tau}{star}", size=6.5, weight="bold" if row.invariant else "normal"
    )


def _set_log(ax: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic axis with few ticks, for there is little room: powers of ten, of few also thrice them."""
    ax.set_xscale("log")
    narrow = np.log10(values.max() / values.min()) < _FEW_DECADES
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if narrow else (1.0,), numticks=5))
    if narrow:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _is_wide(values: NDArray[np.float64]) -> bool:
    return bool(len(values) and values.min() > 0 and np.log10(values.max() / values.min()) > _DECADES)

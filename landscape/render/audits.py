"""The picture of an audit: measures x symmetry elements as a map of ratios, and one minimum seen twice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from landscape.errors import LandscapeError
from landscape.render.figure_widths import inches_of
from landscape.render.labels import put_foot, split_name, with_notes
from landscape.render.legend import legend_above
from landscape.render.look import width_or
from landscape.render.style import TWO_COLUMNS, Sheet, has_room, type_scale

if TYPE_CHECKING:
    from landscape.values.audit import Audit, Cell, Row
    from landscape.values.surface import Surface

# Blue is flatter, red is sharper, white is the same; both ends differ under the common colour blindnesses.
_MAP = "RdBu_r"
# Decades at which colours end; the numbers go on.
_DECADES = 3.0
# Inches at 8-point type across: names and verdicts of measures, and a column of the map.
_NAMES, _COLUMN = 2.0, 0.62
# Inches.
_ROW, _HEAD, _SLICES, _FOOT = 0.27, 0.5, 2.2, 0.45
# The luminance under which letters are white.
_DARK = 0.45
# Foreseen and measured ratios that agree to so much are the same number on a picture.
_AGREES = 5e-3
_DIRECTIONS = {"none": "random direction, not normalised", "filter": "the same, filter-normalised"}
_LABELS = {"before": "as trained", "after": "hidden units × 10"}
# The measures that stand under each slice, as far as they were taken, and the element of the other curve.
_UNDER = {
    "none": ("hessian_top", "gauss_newton_trace"),
    "filter": ("filter_normalized_curvature", "orbit_min_trace"),
}
_SHOWN = "alpha = 10"


def audit(
    found: Audit,
    slices: Mapping[str, Mapping[str, Surface]] | None = None,
    *,
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw an audit: of each measure and each symmetry element the ratio of the measure after to before.

    Colours are the decimal logarithm of the ratio, white where nothing changes. Small numbers below are what
    theory foresees, where it does. Below the map is the same minimum before and after hidden units are multiplied
    by 10: two lines in the same random direction, with measures under them.

    Args:
        found: The audit.
        slices: ``"none"`` and ``"filter"`` -> ``"before"`` and ``"after"`` -> a curve; None draws the map alone.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If the width that is asked for has no room for the map.

    Example:
        >>> audit(found, slices).savefig("audit.pdf")  # doctest: +SKIP
    """
    needed = _NAMES + _COLUMN * len(found.elements)
    if not has_room(needed):
        raise LandscapeError(
            f"an audit of {len(found.elements)} symmetry elements takes {needed * type_scale():.1f} inches across",
            got=f"{inches_of(width_or(TWO_COLUMNS)):g}",
            mend="give a larger width",
        )
    map_height = _HEAD + _ROW * len(found.rows)
    sheet = Sheet.grown(TWO_COLUMNS, map_height + (_SLICES if slices else 0.0) + _FOOT, rc)
    with sheet.styled():
        pages = (
            sheet.subfigures(2, 1, height_ratios=[map_height, _SLICES], squeeze=False)[:, 0] if slices else [sheet]
        )
        _map(found, pages[0].add_subplot())
        if slices:
            _slices(found, slices, pages[1])
        put_foot(sheet, caption_words(found, slices))
    return sheet


def caption_words(found: Audit, slices: Mapping[str, Mapping[str, Surface]] | None = None) -> str:
    """The words under the picture, and under slices if there are any."""
    meta = found.meta
    told = [str(meta[key]) for key in ("problem",) if meta.get(key)]
    told += [f"step {meta['step']}"] if meta.get("step") is not None else []
    told += [f"{meta.get('split')} data, {meta.get('examples')} examples", str(meta.get("dtype"))]
    words = ", ".join(told) + ". Numbers: the measure after to before the symmetry; in italics, what theory "
    words += "foresees."
    if any(row.within == "standard error" for row in found.rows):
        words += " * within three standard errors."
    unknown = [row for row in found.rows if row.kind in ("not tested", "not computed")]
    words += "".join(f" {row.name}: {row.kind} ({row.reason})." for row in unknown[:1])
    if len(unknown) > 1:
        words += f" {len(unknown) - 1} more measures were not tested or not computed."
    words += "".join(f" {note[0].upper()}{note[1:]}." for note in found.notes)
    if found.orbit_min_trace is not None:
        words += f" Smallest trace on the orbit {found.orbit_min_trace:.4g}."
    words += f" Outputs changed by at most {found.max_output_change:.1g}."
    if not slices:
        return words
    drawn = slices["none"]["before"].meta.get("examples", {}).get(meta.get("split"), {}).get("used")
    fewer = f", {drawn} examples" if drawn not in (None, meta.get("examples")) else ""
    return words + f" Slices: the same function twice, in the same random direction{fewer}."


def _map(found: Audit, ax: Axes) -> None:
    rows, names = found.rows, [element["name"] for element in found.elements]
    ratios = np.array([[cell.ratio for cell in row.cells] for row in rows]).reshape(len(rows), len(names))
    with np.errstate(divide="ignore", invalid="ignore"):
        decades = np.clip(np.log10(np.abs(ratios)), -_DECADES, _DECADES)
    norm, colours = TwoSlopeNorm(0.0, -_DECADES, _DECADES), mpl.colormaps[_MAP]
    for y, row in enumerate(rows):
        for x, cell in enumerate(row.cells):
            known = math.isfinite(decades[y, x])
            face = colours(norm(0.0 if cell.same else decades[y, x])) if known else (0.85, 0.85, 0.85, 1.0)
            ax.add_patch(Rectangle((x, y), 1, 1, facecolor=face, edgecolor="white", lw=0.8))
            _write(cell, x, y, face, ax)
        ax.text(
            len(names) + 0.15,
            y + 0.5,
            _verdict(row),
            va="center",
            weight="bold" if row.kind == "invariant" else "normal",
        )
    ax.set_xlim(0, len(names) + 1.6)
    ax.set_ylim(len(rows), 0)
    ax.set_xticks(np.arange(len(names)) + 0.5, [_folded(name) for name in names])
    ax.set_yticks(np.arange(len(rows)) + 0.5, [row.name.replace("_", " ") for row in rows])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.text(len(names) + 0.15, -0.15, "verdict", va="bottom", size=mpl.rcParams["xtick.labelsize"])
    for side in ax.spines.values():
        side.set_visible(False)


def _write(cell: Cell, x: int, y: int, face: tuple[float, ...], ax: Axes) -> None:
    luminance = 0.2126 * face[0] + 0.7152 * face[1] + 0.0722 * face[2]
    ink = "white" if luminance < _DARK else "black"
    foreseen = foretold(cell)
    measured = "1" if cell.same else times(cell.ratio)
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    ax.text(x + 0.5, y + (0.34 if foreseen else 0.5), measured, **look)
    if foreseen:
        ax.text(x + 0.5, y + 0.75, foreseen, size=0.7 * mpl.rcParams["font.size"], style="italic", **look)


def foretold(cell: Cell) -> str:
    """The ratio that theory foresees, where it says that the measure changes or is contradicted."""
    if cell.predicted is None or not cell.ratio or not math.isfinite(cell.ratio):
        return ""
    before = cell.value / cell.ratio
    ratio = cell.predicted / before
    if abs(ratio - 1) <= _AGREES and cell.same:
        return ""
    return times(ratio)


def times(ratio: float) -> str:
    """A ratio in few letters.

    Example:
        >>> [times(ratio) for ratio in (1.0, 16.04, 0.0101, 123456.0)]
        ['1', '16', '0.01', '1.2e5']
    """
    if not math.isfinite(ratio):
        return "?" if math.isnan(ratio) else "∞"
    if ratio == 0 or 1e-3 <= abs(ratio) < 1e4:
        close = 0.95 < abs(ratio) < 1.05
        return f"{ratio:.3g}" if close or abs(ratio) >= 100 else f"{ratio:.2g}"
    mantissa, exponent = f"{ratio:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def _verdict(row: Row) -> str:
    return row.verdict.replace("-fold", "×") + ("*" if row.within == "standard error" else "")


def _folded(name: str) -> str:
    return name.replace("alpha", "α") if " = " in name else name.replace(" ", "\n", 1)


def _slices(found: Audit, slices: Mapping[str, Mapping[str, Surface]], page: Any) -> None:
    axes = page.subplots(1, len(slices), sharey=True, squeeze=False)[0]
    highest = max(float(np.nanmax(pair["before"].values)) for pair in slices.values())
    for ax, (normalize, pair) in zip(axes, slices.items(), strict=True):
        for (name, curve), style in zip(pair.items(), ("-", "--"), strict=True):
            ax.plot(curve.x / abs(curve.x).max(), curve.values, style, label=_LABELS[name])
        ax.set_xlabel("\n".join([_DIRECTIONS[normalize], *_under(found, _UNDER[normalize])]))
        ax.locator_params(axis="x", nbins=4)
        ax.set_ylim(-0.03 * highest, 1.6 * highest)
    unit = str(next(iter(slices["none"].values())).meta.get("units", {}).get("loss", ""))
    axes[0].set_ylabel(with_notes(f"{split_name(str(found.meta.get('split')))} loss", unit))
    legend_above(axes[0], axes[0].get_legend_handles_labels()[0])


def _under(found: Audit, names: tuple[str, ...]) -> list[str]:
    """Measures before and after, in lines."""
    lines = []
    for row in found.rows:
        cells = [cell for cell in row.cells if cell.element == _SHOWN]
        if row.name in names and cells:
            lines.append(f"{row.title}: {row.value:.3g} → {cells[0].value:.3g}")
    return lines

"""Curvature by block as a map of Frobenius norms, with shares of the trace and spectra beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from landscape.render.labels import put_foot
from landscape.render.palette import meaning
from landscape.render.spectra import ticks_of
from landscape.render.style import TWO_COLUMNS, Sheet

if TYPE_CHECKING:
    from landscape.values.blocks import Blocks

# Up to so many blocks a cell holds its number.
_NUMBERED = 9
# Inches of a row, of what stands around the map, at least.
_ROW, _AROUND, _LEAST = 0.32, 1.1, 2.4
# Decades below the largest at which colours end.
_DECADES = 4
# Or this factor below the smallest, so that it is told from nothing.
_BELOW = 1.5
# Luminance of the map under which letters are white.
_DARK = 0.5
# Letters of a name.
_NAME = 22
# Eigenvalues per unit of the axis under which nothing is drawn; height of the largest ridge in rows.
_FLOOR, _RIDGE = 0.1, 0.8
# Labels of the axis of spectra on either side of 0.
_TICKS = 0


def blocks(found: Blocks, *, rc: Mapping[str, Any] | None = None) -> Figure:
    """Draw curvature by block: |H_ij|_F as a map, and of each block its share of the trace and its spectrum.

    Spectra are numbers of eigenvalues per unit of the axis, on a logarithmic scale from a tenth of one eigenvalue
    up; triangles mark the largest and the smallest.

    Args:
        found: The blocks.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure.

    Example:
        >>> blocks(found).savefig("blocks.pdf")  # doctest: +SKIP
    """
    count = len(found.names)
    sheet = Sheet.grown(TWO_COLUMNS, max(_LEAST, _ROW * count + _AROUND), rc)
    with sheet.styled():
        spectra = [1.4] * (len(found.grid) > 0)
        left, shares, *others = sheet.subplots(1, 2 + len(spectra), width_ratios=[2.4, 0.8, *spectra])
        _map(found, left, sheet)
        _shares(found, shares)
        for ax in others:
            _spectra(found, ax)
        put_foot(sheet, _words(found))
    return sheet


def _words(found: Blocks) -> str:
    meta = found.meta
    told = [str(meta[key]) for key in ("problem",) if meta.get(key)]
    told += [f"step {meta['step']}", f"{meta['splits'][0]} data"]
    matrix = str(meta["matrix"]).capitalize()
    words = f"{matrix} by {meta['by']}: {', '.join(told)}. Colours: |H_ij|_F, {meta['probes']} probes a block; "
    words += f"{100 * found.within:.3g} % of its square is within blocks. Bars are one standard error."
    if "lanczos" not in meta:
        return words
    return (
        f"{words} Spectra: numbers of eigenvalues, log scale, {meta['spectrum_probes']} probes of "
        f"{meta['lanczos']} Lanczos steps a block; triangles: largest and smallest."
    )


def _map(found: Blocks, ax: Axes, sheet: Sheet) -> None:
    top = float(found.norms.max())
    colours = mpl.colormaps["viridis"]
    least = float(found.norms[found.norms > 0].min(initial=top)) / _BELOW
    low = max(top * 10.0**-_DECADES, least)
    norm = LogNorm(low, top)
    image = ax.imshow(np.maximum(found.norms, low), cmap=colours, norm=norm, aspect="auto")
    names = [name if len(name) <= _NAME else f"…{name[1 - _NAME :]}" for name in found.names]
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    sheet.colorbar(image, ax=ax, fraction=0.05).ax.set_title("norm", fontsize="medium")
    if len(names) > _NUMBERED:
        return
    for (row, column), value in np.ndenumerate(found.norms):
        red, green, blue, _ = colours(float(norm(max(float(value), low))))
        shade = 0.299 * red + 0.587 * green + 0.114 * blue
        ink = "white" if shade < _DARK else "black"
        ax.text(column, row, f"{value:.2g}", ha="center", va="center", color=ink, fontsize="x-small")


def _shares(found: Blocks, ax: Axes) -> None:
    places = np.arange(len(found.names))
    errors = 100 * found.trace_errors / found.traces.sum()
    ax.barh(places, 100 * found.shares, xerr=errors, height=0.65, error_kw={"elinewidth": 0.8})
    _in_rows(found, ax)
    ax.set_xlabel("share of\ntrace (%)")
    ax.locator_params(axis="x", nbins=4)


def _spectra(found: Blocks, ax: Axes) -> None:
    """A ridge in the row of each block."""
    # Eigenvalues per unit of asinh(eigenvalue / linear), which the axis is far from 0.
    counts = found.sizes[:, None] * found.densities * np.hypot(found.grid, found.linear)
    heights = np.log10(np.maximum(counts, _FLOOR) / _FLOOR)
    heights *= _RIDGE / heights.max()
    ax.set_xscale("symlog", linthresh=found.linear)
    for row, height in enumerate(heights):
        base = row + _RIDGE / 2
        ax.fill_between(found.grid, base, base - height, color=meaning("found").colour, alpha=0.4, lw=0)
        ax.plot(found.grid, np.where(height > 0, base - height, np.nan), color=meaning("found").colour, lw=0.8)
        for end, marker in ((found.tops[row], "v"), (found.bottoms[row], "^")):
            ax.plot(end, base, marker, color=meaning("extreme").colour, ms=3)
    seen = found.grid[(heights > 0).any(axis=0)]
    ends = np.concatenate([seen, found.tops[np.isfinite(found.tops)], found.bottoms[np.isfinite(found.bottoms)]])
    ax.set_xlim(float(ends.min()), float(ends.max()))
    ax.xaxis.set_major_locator(FixedLocator(ticks_of(ends[[ends.argmin(), ends.argmax()]], found.linear, _TICKS)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.axvline(0.0, color=mpl.rcParams["axes.labelcolor"], lw=0.5, ls=":", zorder=1)
    _in_rows(found, ax)
    unit = f" ({found.meta['unit']})" if found.meta.get("unit") else ""
    ax.set_xlabel(f"eigenvalues of\nthe block{unit}")


def _in_rows(found: Blocks, ax: Axes) -> None:
    ax.set_ylim(len(found.names) - 0.5, -0.5)
    ax.set_yticks([])
    ax.spines[["top", "right"]].set_visible(False)

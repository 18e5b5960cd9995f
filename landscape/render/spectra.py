"""The density of a spectrum on a symmetric-logarithmic axis, with the band of its probes and both ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from landscape.render.curves import asked_log, limit
from landscape.render.labels import DOT, caption_parts, fit_label, inches, points, put_foot, with_notes
from landscape.render.legend import legend_above
from landscape.render.notebook import drawn_on
from landscape.render.palette import meaning
from landscape.render.scale import Array
from landscape.render.style import ONE_COLUMN, Sheet, has_room

if TYPE_CHECKING:
    from landscape.values.spectrum import Spectrum

MATRICES = {
    "hessian": "Hessian",
    "gauss-newton": "Gauss-Newton matrix",
    "fisher": "Fisher matrix",
    "empirical-fisher": "empirical Fisher matrix",
}
_BAND = 0.25
# More labels on either side of 0 than one and so many stand in each other's way.
_MOST_TICKS = 3
# Inches at 8-point type of a page on which so many have room; on others there is one.
_WIDE = 3.0


def spectrum(found: Spectrum, ax: Axes | None = None, *, rc: Mapping[str, Any] | None = None) -> Figure:
    """Draw the density of a spectrum.

    The eigenvalues are on a symmetric-logarithmic axis, linear around 0; the density is on a logarithmic one,
    down to a hundredth of what a single eigenvalue of the largest size has. The band holds the densities of all
    probes; triangles mark the largest and the smallest eigenvalue, found by themselves.

    Args:
        found: The spectrum.
        ax: Where to draw; by default a new figure, with a caption.
        rc: rcParams of a new figure; by default `style.paper`.

    Returns:
        The figure drawn on.

    Example:
        >>> spectrum(found).savefig("spectrum.pdf")  # doctest: +SKIP
    """
    if ax is not None:
        _draw(found, ax)
        return drawn_on(ax)
    sheet = Sheet.grown(ONE_COLUMN, 2.6, rc)
    with sheet.styled():
        _draw(found, sheet.add_subplot())
        put_foot(sheet, spectrum_words(found))
    return sheet


def _draw(found: Spectrum, ax: Axes) -> None:
    density, floor = found.density, found.floor
    ax.set_xscale("symlog", linthresh=found.linear)
    log = asked_log(True)
    ax.set_yscale("log" if log else "linear")
    band = ax.fill_between(
        found.grid,
        np.maximum(found.densities.min(axis=0), floor),
        np.maximum(found.densities.max(axis=0), floor),
        color=meaning("found").colour,
        alpha=_BAND,
        lw=0,
        label=f"range of {len(found.densities)} probes",
    )
    curve = ax.plot(
        found.grid, np.where(density > floor, density, np.nan), color=meaning("found").colour, lw=1.0, label="mean"
    )[0]
    ax.set_ylim(floor if log else 0.0, 3 * float(density.max()) if log else 1.05 * float(found.densities.max()))
    limit(ax)
    handles = [curve, band]
    for end, marker, name in ((found.largest, "v", "largest"), (found.smallest, "^", "smallest")):
        if end.converged:
            label = f"{name} eigenvalue {end.value:.4g}".replace("-", "−")
            look: dict[str, Any] = {
                "color": meaning("extreme").colour,
                "ls": "none",
                "ms": 4.5,
                "label": label,
                "clip_on": False,
            }
            handles += ax.plot(end.value, 0.06, marker, transform=ax.get_xaxis_transform(), **look)
    ax.axvline(0.0, color=mpl.rcParams["axes.labelcolor"], lw=0.5, ls=":", zorder=1)
    most = _MOST_TICKS if has_room(_WIDE) else 0
    ax.xaxis.set_major_locator(FixedLocator(ticks_of(found.grid, found.linear, most)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(*_limits(found))
    unit = str(found.meta.get("unit") or "")
    matrix = MATRICES.get(str(found.meta.get("matrix")), "matrix")
    width, height = inches(ax)
    across = with_notes(f"eigenvalue of the {matrix}", unit, "symmetric log scale")
    ax.set_xlabel(fit_label(across, 0.8 * width, points(ax.xaxis.label)))
    along = with_notes("density of eigenvalues", "log scale" if log else "")
    ax.set_ylabel(fit_label(along, 0.7 * height, points(ax.yaxis.label)))
    ax.spines[["top", "right"]].set_visible(False)
    legend_above(ax, handles)


def _limits(found: Spectrum) -> tuple[float, float]:
    """From where the density rises above the floor to where it falls below, both ends included."""
    seen = found.grid[found.densities.max(axis=0) > found.floor]
    ends = [end.value for end in (found.largest, found.smallest) if end.converged]
    return float(min(seen[0], *ends)), float(max(seen[-1], *ends))


def ticks_of(grid: Array, linear: float, most: int = _MOST_TICKS) -> list[float]:
    """0 and powers of ten on either side of it, no more than are legible.

    Example:
        >>> ticks_of(np.array([-0.2, 30.0]), 0.01)
        [-0.1, -0.01, 0.0, 0.01, 0.1, 1.0, 10.0]
    """
    low, high = math.ceil(math.log10(linear) - 1e-9), [abs(float(grid[0])), abs(float(grid[-1]))]
    sides = []
    for far in high:
        decades = range(low, math.floor(math.log10(far) + 1e-9) + 1) if far > linear else range(0)
        stride = max(1, math.ceil(len(decades) / (most + 1)))
        sides.append([10.0**power for power in reversed(list(reversed(decades))[::stride])])
    return [*(-value for value in reversed(sides[0])), 0.0, *sides[1]]


def spectrum_words(found: Spectrum) -> str:
    """Describe a spectrum: what it is of, how it was found, and its mean and trace."""
    trace, error = found.trace
    unit = f" {found.meta['unit']}" if found.meta.get("unit") else ""
    chosen = f", parameters {found.meta['parameters']}" if found.meta.get("parameters") else ""
    said = [
        *caption_parts({name: value for name, value in found.meta.items() if name != "parameters"}),
        f"{found.size:,} eigenvalues{chosen}",
        f"mean {found.mean:.3g} ± {found.mean_standard_error:.2g}{unit}",
        f"trace {trace:.4g} ± {error:.2g}{unit}",
        f"{found.meta.get('probes')} probes of {found.meta.get('lanczos')} Lanczos steps, smoothed by "
        f"{100 * found.width:.2g} % of an eigenvalue",
    ]
    said += [
        f"{name} eigenvalue not converged"
        for name in ("largest", "smallest")
        if not getattr(found, name).converged
    ]
    return DOT.join(said)

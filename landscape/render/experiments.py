"""Numbers beside their closed forms: dots on lines, a panel for each experiment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from landscape.render.labels import DOT, fit, fit_label, inches, points, put_foot
from landscape.render.legend import legend_above
from landscape.render.log_axes import make_logarithmic
from landscape.render.palette import MARKS
from landscape.render.panels import letter
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet
from landscape.values.experiment import Experiment

# Panels beside each other; more make another row.
_COLUMNS = 2
_HEIGHT = 2.6
# Of the values: less than so much of a change is none.
_CONSTANT = 1e-3
_DASHES = ("-", "--", "-.", ":")


def experiments(found: Sequence[Experiment]) -> Sheet:
    """Draw experiments: closed forms as lines, what was computed as dots with error bars of a standard error.

    Args:
        found: The experiments, two in a row.

    Returns:
        A new figure.
    """
    across = min(len(found), _COLUMNS)
    rows = -(-len(found) // across)
    sheet = Sheet.grown(ONE_COLUMN if across == 1 else TWO_COLUMNS, _HEIGHT * rows)
    with sheet.styled():
        axes = sheet.subplots(rows, across, squeeze=False).ravel()
        heads = [f"({letter(place)}) " if len(found) > 1 else "" for place in range(len(found))]
        for ax, one, head in zip(axes, found, heads, strict=False):
            _draw(ax, one, head)
        for ax in axes[len(found) :]:
            ax.remove()
        put_foot(sheet, DOT.join(head + one.about for one, head in zip(found, heads, strict=True) if one.about))
    return sheet


def _draw(ax: Axes, one: Experiment, head: str) -> None:
    lines = cycle(_DASHES)
    marks = cycle(MARKS)
    for place, series in enumerate(one.series):
        look: dict[str, Any] = {"color": f"C{place}", "label": series.name}
        if series.line:
            ax.plot(series.x, series.y, lw=1.0, ls=next(lines), **look)
        else:
            ax.errorbar(series.x, series.y, series.error, fmt=next(marks), ms=3, lw=0.8, capsize=2, **look)
    for axis, name in ((ax.xaxis, "x"), (ax.yaxis, "y")):
        if name in one.log:
            make_logarithmic(axis)
    if "x" not in one.log and all((series.x % 1 == 0).all() for series in one.series):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    width, height = inches(ax)
    ax.set_xlabel(fit_label(one.x_label, width, points(ax.xaxis.label)))
    ax.set_ylabel(fit_label(one.y_label, height, points(ax.yaxis.label)))
    ax.spines[["top", "right"]].set_visible(False)
    values = np.concatenate([series.y for series in one.series])
    if "y" not in one.log and np.ptp(values) < _CONSTANT * np.abs(values).max():
        # Rounding is not to look as if it shook.
        ax.set_ylim(*sorted((0.0, 2 * float(np.median(values)))))
    high = legend_above(ax, ax.get_legend_handles_labels()[0]) if len(one.series) > 1 else 0.0
    title = ax.set_title("", loc="left", pad=high + mpl.rcParams["axes.titlepad"])
    title.set_text(fit(head + one.title, width, points(title)))

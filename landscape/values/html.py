"""HTML of a result in a notebook: words and small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Pixels across a small picture.
_WIDTH, _HEIGHT = 180, 110
# Beyond this ratio of the largest to the smallest value colours follow the logarithm.
_DECADES = 100.0


def framed(title: str, picture: str, told: str) -> str:
    """A result with its name, its picture and what is told of it."""
    left = f'<div style="margin-right:1.5em">{picture}</div>' if picture else ""
    return f'<div><b>{escape(title)}</b><div style="display:flex;align-items:flex-start">{left}{told}</div></div>'


def pairs(told: Mapping[str, str]) -> str:
    """Names with what belongs to them, one below the other."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(words)}</td></tr>'
        for name, words in told.items()
    )
    return f"<table>{rows}</table>"


def grid_of(columns: Mapping[str, Sequence[str]], more: str = "") -> str:
    """A table with a name above each column, and words below it."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(entry)}</td>" for entry in row) + "</tr>"
        for row in zip(*columns.values(), strict=True)
    )
    return f"<div><table><tr>{head}</tr>{rows}</table>{escape(more)}</div>"


def small_map(values: NDArray[Any], name: str) -> str:
    """A map of values, shape (ny, nx): the first row at the bottom, nothing where a value is not finite."""
    known = values[np.isfinite(values)]
    if not known.size:
        return ""
    from matplotlib.image import imsave

    low, high = float(known.min()), float(known.max())
    logarithmic = low > 0 and high > _DECADES * low
    with np.errstate(all="ignore"):
        drawn = np.log(values) if logarithmic else values
    with io.BytesIO() as held:
        imsave(held, np.ma.masked_invalid(drawn), cmap="viridis", origin="lower", format="png")
        data = base64.b64encode(held.getvalue()).decode()
    style = f"width:{_WIDTH}px;height:{_WIDTH}px;image-rendering:pixelated"
    words = f"{name}, {low:.4g} to {high:.4g}{', colours by its logarithm' if logarithmic else ''}"
    return f'<img style="{style}" src="data:image/png;base64,{data}"><br>{escape(words)}'


def small_lines(x: NDArray[Any], rows: NDArray[Any], name: str) -> str:
    """Lines over x, shape (..., nx), broken where a value is not finite."""
    lines = rows.reshape(-1, len(x))
    known = lines[np.isfinite(lines)]
    if not known.size or len(x) < 2:
        return ""
    low, high = float(known.min()), float(known.max())
    across = _WIDTH * (x - x[0]) / (x[-1] - x[0])
    up = _HEIGHT * (1 - (lines - low) / (high - low or 1.0))
    drawn = "".join(f'<path d="{_path(across, own)}"/>' for own in up)
    pen = 'fill="none" stroke="#0072B2" stroke-width="1.5"'
    words = f"{name}, {low:.4g} to {high:.4g}"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="-2 -2 {_WIDTH + 4} {_HEIGHT + 4}" {pen}>{drawn}</svg>'
        f"<br>{escape(words)}"
    )


def _path(across: NDArray[Any], up: NDArray[Any]) -> str:
    steps, pen = [], "M"
    for x, y in zip(across, up, strict=True):
        if np.isfinite(y):
            steps.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L" if np.isfinite(y) else "M"
    return "".join(steps)

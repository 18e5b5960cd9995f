"""Where the cells of a composed figure go, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.render.contours import plane_axes
from landscape.render.labels import equal_axes
from landscape.render.panels import Cell
from landscape.render.shared_axes import Place

# Inches at 8-point type: a map with its labels and numbers, without a bar, is not legible below.
_NARROWEST = 1.95
# Inches at 8-point type: name and numbers of the y axis; a colour bar with its own.
LEFT, BAR = 0.5, 0.62
# Of their width, heights of curves and of reliefs.
_CURVES, _RELIEF = 0.68, 0.92
# Inches at 8-point type: higher curves tell no more.
_TALLEST_CURVES = 2.3


def arrange(counts: Sequence[int], columns: int) -> list[Place]:
    """Place the cells of panels in rows, from the left; a panel that fits into a row is not broken.

    Args:
        counts: How many cells each panel has.
        columns: How many there are in a row.

    Returns:
        Row and column of each cell, panel by panel.

    Example:
        >>> arrange([1, 2, 3], 3)
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
        >>> arrange([2, 2], 3)
        [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    places: list[Place] = []
    row, column = 0, 0
    for count in counts:
        if column and column + count > columns:
            row, column = row + 1, 0
        for _ in range(count):
            if column == columns:
                row, column = row + 1, 0
            places.append((row, column))
            column += 1
    return places


def best_columns(counts: Sequence[int], width: float, k: float, bars: int = 0) -> int:
    """The number of columns with the fewest rows, and of these the one with the fewest empty places.

    Args:
        counts: How many cells each panel has.
        width: Inches of the figure.
        k: Type size in units of 8 points.
        bars: How many colour bars there are.

    Returns:
        At least 1.
    """
    most = max(1, min(sum(counts), int((width / k - bars * BAR) / _NARROWEST)))

    def cost(columns: int) -> tuple[int, int]:
        rows = arrange(counts, columns)[-1][0] + 1
        return rows, rows * columns

    return min(range(1, most + 1), key=cost)


def inner_width(columns: int, width: float, k: float, bars: int) -> float:
    """About how wide the axes are, without the words around them.

    Args:
        columns: How many there are in a row.
        width: Inches of the figure.
        k: Type size in units of 8 points.
        bars: How many columns have a colour bar.

    Returns:
        Inches.
    """
    return max(0.8, (width - k * (BAR * bars + LEFT * columns)) / columns)


def row_heights(cells: Sequence[Cell], places: Sequence[Place], inner: Sequence[float], k: float) -> list[float]:
    """Return the height of the axes of each row.

    Args:
        cells: All cells.
        places: Where they are.
        inner: How wide the axes of each are, inches.
        k: Type size in units of 8 points.

    Returns:
        Inches; of each row the highest.
    """
    heights = [0.0] * (places[-1][0] + 1)
    for cell, (row, _), wide in zip(cells, places, inner, strict=True):
        heights[row] = max(heights[row], _height(cell, wide, k))
    return heights


def _height(cell: Cell, inner: float, k: float) -> float:
    if cell.kind == "curves":
        return max(1.1, min(_CURVES * inner, _TALLEST_CURVES * k))
    if cell.kind == "relief":
        return _RELIEF * (inner + 0.5 * LEFT * k)
    x, y = plane_axes(cell.surface)
    ratio = float((y[-1] - y[0]) / (x[-1] - x[0])) if equal_axes(cell.surface.meta) else 0.9
    return inner * min(max(ratio, 0.5), 1.4)

"""A slice as a relief: heights over its plane, triangles between them, and a closed solid for printing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.values.result import Result
from landscape.values.surface import Array, Path, Surface

Faces = NDArray[np.int64]


@dataclass(frozen=True)
class Relief(Result):
    """Heights of a field over a plane.

    Attributes:
        x: Shape (nx,), along the first direction.
        y: Shape (ny,), along the second; a single 0 for a line.
        heights: Shape (ny, nx); NaN where there is none: not computed, not finite, or without a logarithm.
        field: The field they are of.
        unit: Its unit; empty for a share of 1.
        log: Whether heights are of the base-10 logarithm.
        factor: Height of one unit of the field, or of one decade.
        paths: Name of a run -> shape (T, 3): x, y and the height at the projection of each snapshot; NaN likewise.
    """

    x: Array
    y: Array
    heights: Array
    field: str
    unit: str
    log: bool
    factor: float
    paths: dict[str, Array]

    @property
    def words(self) -> str:
        """The meaning of a height, such as ``"height = 0.5 * log10(train_loss in nats)"``."""
        value = self.field + (f" in {self.unit}" if self.unit else "")
        value = f"log10({value})" if self.log else value
        return f"height = {value}" if self.factor == 1 else f"height = {self.factor!r} * {value}"

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Shape (ny, nx): the points that have no height."""
        return ~np.isfinite(self.heights)

    @property
    def vertices(self) -> Array:
        """Shape (ny * nx, 3): x, y, height of every point, rows of y one after the other."""
        x, y = np.meshgrid(self.x, self.y)
        return np.stack([x, y, self.heights], axis=-1).reshape(-1, 3)

    @property
    def cells(self) -> NDArray[np.bool_]:
        """Shape (ny - 1, nx - 1): the cells whose four corners have a height."""
        known = ~self.missing
        return known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1] & known[1:, 1:]

    def quads(self, cells: NDArray[np.bool_] | None = None) -> Faces:
        """Shape (cells, 4): corners of each cell, counter-clockwise seen from above; by default of all `cells`.

        Raises:
            LandscapeError: If there is none.
        """
        row, column = np.nonzero(self.cells if cells is None else cells)
        if not len(row):
            raise LandscapeError(
                f"no cell of the grid has four finite values of {self.field}: there is no surface"
            )
        first, across = row * len(self.x) + column, len(self.x)
        return np.stack([first, first + 1, first + across + 1, first + across], axis=1)


def relief_of(
    surface: Surface, field: str | None = None, *, log: bool = False, share: float | None = None
) -> Relief:
    """The relief of a field.

    Args:
        surface: A slice over a plane, or a line.
        field: ``"<split>_<metric>"``; by default the first.
        log: Take the base-10 logarithm; values that are not positive have none.
        share: Scale heights so that they span this share of the wider side of the plane; None keeps their unit.

    Returns:
        The relief. Paths stand at the loss of their projections, where the field is that loss.

    Raises:
        LandscapeError: If the slice has other axes, or no such field.
    """
    if surface.more or surface.repeat is not None:
        axes = ", ".join(surface.axes)
        raise LandscapeError("a relief is of one plane", got=f"axes {axes}", mend="choose one with .at(...)")
    name = next(iter(surface.fields)) if field is None else field
    heights = _heights(surface[name].reshape(-1, len(surface.x)), log)
    known = heights[np.isfinite(heights)]
    span = float(np.ptp(known)) if len(known) else 0.0
    y = np.zeros(1) if surface.y is None else surface.y
    width = max(float(np.ptp(surface.x)), float(np.ptp(y)))
    factor = 1.0 if share is None or span == 0 else share * width / span
    is_loss = name == next((one for one in surface.fields if one.endswith("_loss")), None)
    held = {} if surface.path is None else {"": surface.path}
    return Relief(
        x=surface.x,
        y=y,
        heights=factor * heights,
        field=name,
        unit=str((surface.meta.get("units") or {}).get(name.partition("_")[2], "")),
        log=log,
        factor=factor,
        paths={run: _along(path, log, factor, is_loss) for run, path in (held | dict(surface.paths)).items()},
    )


def _heights(values: Any, log: bool) -> Array:
    known = np.where(np.isfinite(values) & ((values > 0) | (not log)), values, np.nan)
    return np.asarray(np.log10(known) if log else known, dtype=np.float64)


def _along(path: Path, log: bool, factor: float, is_loss: bool) -> Array:
    losses = path.plane_loss if is_loss else np.full(len(path.step), np.nan)
    return np.stack([path.x, path.y, factor * _heights(losses, log)], axis=1)


def pieces_of(points: Array) -> list[NDArray[np.int64]]:
    """The runs of two points or more of a path between its points without a height."""
    known = np.isfinite(points.sum(axis=1))
    groups = itertools.groupby(range(len(points)), key=lambda place: bool(known[place]))
    found = [np.array([*places]) for finite, places in groups if finite]
    return [places for places in found if len(places) > 1]


def compacted(vertices: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of finite vertices, and for every vertex its place among them."""
    known = np.isfinite(vertices).all(axis=1)
    return np.flatnonzero(known), np.cumsum(known) - 1


def triangles(quads: Faces) -> Faces:
    """Two triangles of each quad, turning the same way round."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def solid(relief: Relief, thickness: float) -> tuple[Array, Faces, int]:
    """A closed body whose top is the relief and whose bottom is flat.

    Every edge belongs to two triangles: of cells that meet at a corner only, some are left out.

    Args:
        relief: The relief.
        thickness: Of the body below the lowest point.

    Returns:
        Vertices, triangles that turn counter-clockwise seen from outside, and how many cells were left out.
    """
    cells = np.array(relief.cells)
    # Four walls would meet in the upright edge at such a corner.
    while len(touching := np.argwhere(_touching(cells))):
        row, column = touching[0]
        cells[row, column if cells[row, column] else column + 1] = False
    quads, top = relief.quads(cells), relief.vertices
    bottom = top.copy()
    bottom[:, 2] = np.nanmin(relief.heights) - thickness
    count = len(top)
    edges = np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)])
    twins = {(end, start) for start, end in edges.tolist()}
    rim = np.array([edge for edge in edges.tolist() if tuple(edge) not in twins])
    walls = np.stack([rim[:, 1], rim[:, 0], rim[:, 0] + count, rim[:, 1] + count], axis=1)
    faces = triangles(np.concatenate([quads, quads[:, ::-1] + count, walls]))
    used, places = np.unique(faces, return_inverse=True)
    left_out = int(relief.cells.sum() - cells.sum())
    return np.concatenate([top, bottom])[used], places.reshape(faces.shape), left_out


def _touching(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Corners at which two cells meet that share no side, by the first of the four cells about it."""
    a, b, c, d = cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]
    found: NDArray[np.bool_] = (a & d & ~b & ~c) | (b & c & ~a & ~d)
    return found

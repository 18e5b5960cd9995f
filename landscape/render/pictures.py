"""From a stored slice to its picture, and from a picture to a file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.contours import contour, map_height, plane_field
from landscape.render.curves import curve
from landscape.render.labels import drawn, parts, pick, put_caption
from landscape.render.relief import surface3d
from landscape.render.repeats import repeats_map
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet, paper
from landscape.render.trajectories import trajectory
from landscape.storage import atomic_path

if TYPE_CHECKING:
    from landscape.values.surface import Surface

VIEWS = ("contour", "levels", "3d", "both")
KINDS = ("curve", "surface", "trajectory")
# What would differ from one day to the next, by file type.
_UNDATED: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
# Dots per inch: of a whole PNG, and of the filled maps inside vector files.
_DPI = {".png": 200, ".pdf": 300, ".svg": 300}


def picture(
    surface: Surface,
    *,
    field: str | None = None,
    view: str = "contour",
    rc: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw a stored slice as what it is: a curve, a map, a relief, or a trajectory.

    Args:
        surface: The slice; `meta["kind"]` says what it is, otherwise its shape and path do.
        field: ``"<split>_<metric>"``; by default the first of a plane, all of a line.
        view: ``"contour"``, ``"levels"`` (lines only), ``"3d"`` or ``"both"``; a trajectory is drawn on
            contours or levels, its plane alone otherwise. Of repeats the median is drawn; ``"both"`` puts the
            relative width of their band beside.
        rc: rcParams of the figure; by default `style.paper`.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If the view, the kind or the field is not known, or does not go with the slice.
    """
    if view not in VIEWS:
        raise LandscapeError(f"there is no view '{view}'", where="view", mend=did_you_mean(view, VIEWS))
    kind = kind_of(surface)
    if kind == "curve":
        return _curve(surface, field, view, rc)
    if surface.repeat is not None:
        return repeats_map(surface, field, view, rc)
    if view == "both":
        return _both(surface, field, rc)
    if view == "3d":
        return surface3d(surface, field, rc=rc)
    lines = view == "levels"
    if kind == "trajectory":
        return trajectory(surface, field=field, lines=lines, rc=rc)
    return contour(surface, field, lines=lines, rc=rc)


def kind_of(surface: Surface) -> str:
    """Return the kind of picture of a slice: ``"curve"``, ``"surface"`` or ``"trajectory"``.

    Raises:
        LandscapeError: If its file says something else.
    """
    shape = "trajectory" if surface.path is not None or surface.paths else "surface"
    shape = "curve" if surface.y is None else shape
    kind = str(surface.meta.get("kind") or shape)
    if kind not in KINDS:
        raise LandscapeError(f"there is no picture of a '{kind}'", mend=did_you_mean(kind, KINDS))
    return kind


def _curve(surface: Surface, field: str | None, view: str, rc: Mapping[str, Any] | None) -> Figure:
    if view != "contour":
        raise LandscapeError("a curve has one view only", where="view", got=view, mend="leave it out")
    if field is None:
        return curve(surface, rc=rc)
    split, metric = parts(pick(surface, field))
    return curve(surface, metrics=[metric], splits=[split], rc=rc)


def _both(surface: Surface, field: str | None, rc: Mapping[str, Any] | None) -> Figure:
    """Map and relief side by side."""
    name = plane_field(surface, field)
    sheet = Sheet.grown(TWO_COLUMNS, max(0.85 * ONE_COLUMN, map_height(surface, ONE_COLUMN)), rc)
    with sheet.styled():
        left, right = sheet.subfigures(1, 2, squeeze=False)[0]
        contour(surface, name, ax=left.add_subplot())
        surface3d(surface, name, ax=right.add_subplot(projection="3d"))
        put_caption(sheet, drawn(surface.meta, name))
    return sheet


def as_data(fig: Figure, dots: int = 160) -> str:
    """A figure as the address of a PNG that is in itself, for pages.

    Args:
        fig: The figure.
        dots: Per inch.
    """
    look = fig.look if isinstance(fig, Sheet) else dict[Any, Any](paper())
    held = io.BytesIO()
    with rc_context(look):
        fig.savefig(held, format="png", dpi=dots, metadata=_UNDATED[".png"])
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def save(fig: Figure, path: str | Path) -> Path:
    """Write a figure to a file: whole or not at all, and the same bytes for the same figure.

    Args:
        fig: The figure.
        path: Ends in .png (200 dots per inch, unless its look has another number), .pdf or .svg (whose filled
            maps have 300); folders that are missing are made.

    Returns:
        The path.

    Raises:
        LandscapeError: If the suffix is another one, or the file cannot be written.

    Example:
        >>> save(contour(surface), "figures/loss.pdf")  # doctest: +SKIP
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _UNDATED:
        known = ", ".join(_UNDATED)
        raise LandscapeError("a picture cannot be saved in this format", where=path, got=suffix, expected=known)
    look = fig.look if isinstance(fig, Sheet) else dict[Any, Any](paper())
    with atomic_path(path) as draft, rc_context(look):
        dots = (fig.dots if isinstance(fig, Sheet) else None) or _DPI[suffix]
        fig.savefig(draft, format=suffix[1:], dpi=dots, metadata=_UNDATED[suffix])
    return path

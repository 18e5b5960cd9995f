"""Several panels in one figure that can be read against each other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from landscape.errors import LandscapeError
from landscape.render.arrangement import arrange, best_columns
from landscape.render.assembly import BARRED, Assembly
from landscape.render.figure_widths import inches_of
from landscape.render.labels import put_foot
from landscape.render.look import Look, width_or
from landscape.render.panels import Panel as Panel
from landscape.render.panels import cells_of
from landscape.render.shared_axes import groups_of
from landscape.render.style import Sheet, look_for, type_scale


def compose(
    panels: Sequence[Panel],
    *,
    columns: int | None = None,
    width: str | float | None = None,
    height: float | None = None,
    style: str | None = None,
    share: bool | None = None,
    caption: str | None = None,
) -> Sheet:
    """Draw several panels in one figure.

    What is not asked for here is as in the look in use; see `Look`.

    Curves of several runs lie over each other, in a colour for each run that is the same in all panels, solid
    for training and dashed for test data. Maps of several runs stand beside each other under their names. Maps
    of the same metric have the same colours, levels and lines, and one colour bar; curves of the same metric
    the same y axis. A trajectory says above it what the plane holds of it.

    Args:
        panels: From the left, row by row; they get letters where there are several.
        columns: Axes in a row; by default as many as are legible, with the fewest rows and empty places.
        width: Inches, or a name such as ``"one-column"``, ``"neurips"``, ``"icml-column"``; see `widths.WIDTHS`;
            by default ``"two-columns"``.
        height: Inches; by default as high as the content.
        style: ``"paper"``, which is the default, ``"talk"`` or ``"dark"``.
        share: Whether panels of the same metric share limits, scale and levels; by default they do.
        caption: Words at the foot, before what the slices say of themselves; ``""`` leaves the foot empty.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw, a panel mixes kinds, a slice lacks the field, or an
            option is not known.

    Example:
        >>> fig = compose([Panel({"small batch": a, "large batch": b})], width="neurips")  # doctest: +SKIP
    """
    if columns is not None and (not isinstance(columns, int) or columns < 1):
        raise LandscapeError("a figure needs a column", where="columns", got=columns, expected="1 or more")
    if not panels:
        raise LandscapeError("there is nothing to draw", where="panels", got="none", expected="at least one Panel")
    look = look_for(style=style, width=width, height=height, columns=columns, share=share, words=caption)
    with look.applied():
        return _composed(panels, look)


def _composed(panels: Sequence[Panel], look: Look) -> Sheet:
    inches, height = inches_of(width_or("two-columns")), look.height
    own = [cells_of(panel, i) for i, panel in enumerate(panels)]
    counts = [len(cells) for cells in own]
    # All measures of the layout are for the 8-point type of `paper`.
    k = type_scale()
    cells = [cell for panel in own for cell in panel]
    groups = groups_of(cells, look.share)
    bars = sum(any(cells[i].kind in BARRED and not cells[i].lines for i in group.cells) for group in groups)
    places = arrange(counts, best_columns(counts, inches, k, bars) if look.columns is None else look.columns)
    figure = Assembly(panels, cells, groups, places, inches, k)
    sheet = Sheet(inches, figure.height)
    with sheet.styled():
        figure.draw(sheet)
        put_foot(sheet, figure.provenance())
        with _roomy(f"{inches:g} x {'any height' if height is None else f'{height:g}'} inches"):
            # How long words may be is known once the axes have their width.
            figure.fit(sheet, height is None)
            figure.write(sheet, height is None)
            figure.fit(sheet, height is None)
            figure.settle(sheet)
        sheet.set_layout_engine("none")
    return sheet


@contextmanager
def _roomy(size: str) -> Iterator[None]:
    """Turn the layout's warning that no room is left for the axes into an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout not applied")
        try:
            yield
        except UserWarning:
            raise LandscapeError(
                "the words leave no room for the panels", where="compose", got=size, mend="make the figure larger"
            ) from None

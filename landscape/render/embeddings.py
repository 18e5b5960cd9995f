"""Embeddings of snapshots: maps of the distances between weights, each with its Shepard diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.figure_widths import inches_of
from landscape.render.labels import DOT, inches, put_foot
from landscape.render.legend import legend_of_sheet
from landscape.render.look import current, width_or
from landscape.render.panel_titles import Head, put_heads
from landscape.render.panels import letter
from landscape.render.scale import tell
from landscape.render.snapshots import (
    COLORS,
    Colouring,
    colour_bar,
    draw_height,
    draw_snapshots,
    legend_of,
)
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet, in_use, look_for, type_scale

if TYPE_CHECKING:
    from landscape.values.embedding import Embedding

VIEWS = ("map", "3d")
# Of the width of a panel: its map, and the Shepard diagram beside it; the rest is for words.
_MAP, _SHEPARD = 0.56, 0.25
# Inches at 8-point type: of a panel, its words above and below; and of the words of the figure.
_WORDS, _FOOT = 0.78, 0.5
# Inches at 8-point type that a panel needs to be legible.
_NARROWEST = 2.9
# Pairs in a Shepard diagram: more only make its cloud blacker.
_PAIRS = 4000
_NAMES = {
    "euclidean": "Euclidean distance",
    "cosine-chord": "chord, √(2 (1 − cos))",
    "one-minus-cosine": "1 − cos, not a distance",
}


@dataclass(frozen=True)
class Panel:
    """One embedding in a figure.

    Attributes:
        embedding: The points.
        title: What stands above it.
        color: ``"run"``, ``"group"``, ``"loss"`` or ``"step"``.
        view: ``"map"``, or ``"3d"`` for the loss as height over two coordinates.
    """

    embedding: Embedding
    title: str | None = None
    color: str = "run"
    view: str = "map"

    def __post_init__(self) -> None:
        for what, given, known in (("color", self.color, COLORS), ("view", self.view, VIEWS)):
            if given not in known:
                raise LandscapeError(f"unknown value '{given}'", where=what, mend=did_you_mean(given, known))

    @property
    def spatial(self) -> bool:
        """Return whether its axes are 3-D."""
        return self.view == "3d" or self.embedding.dims > 2


def embedding(
    points: Embedding, *, color: str = "run", view: str = "map", rc: Mapping[str, Any] | None = None
) -> Figure:
    """Draw an embedding beside its Shepard diagram.

    Args:
        points: The embedding.
        color: What colours tell: ``"run"`` or ``"group"``, what stands before the first comma of its name (the
            size of points then tells the loss, where it is known), ``"loss"`` or ``"step"``.
        view: ``"map"``, or ``"3d"`` for the loss as height. Three coordinates are always drawn in space.
        rc: rcParams of the figure; by default those of the look in use.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If an option is not known, or the loss is wanted as height and is not known.

    Example:
        >>> embedding(ls.mds(run), color="loss").savefig("mds.png")  # doctest: +SKIP
    """
    return _figure([Panel(points, None, color, view)], 1, rc)


def embedding_maps(
    panels: Sequence[Panel],
    *,
    columns: int | None = None,
    width: str | float | None = None,
    height: float | None = None,
    style: str | None = None,
    caption: str | None = None,
) -> Figure:
    """Draw several embeddings in one figure, each beside its Shepard diagram; runs keep their colours.

    What is not asked for here is as in the look in use; see `Look`.

    Args:
        panels: From the left, row by row; they get letters where there are several.
        columns: Panels in a row; by default as many as are legible.
        width: Inches, or a name, see `widths.WIDTHS`; by default what suits the number of panels.
        height: Inches; by default as high as the content.
        style: ``"paper"``, ``"talk"`` or ``"dark"``.
        caption: Words at the foot, before what the embeddings say of themselves; ``""`` leaves the foot empty.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is nothing to draw, or an option is not known.
    """
    if not panels:
        raise LandscapeError("there is nothing to draw", where="panels", got="none", expected="at least one Panel")
    look = look_for(style=style, width=width, height=height, columns=columns, words=caption)
    with look.applied():
        fitting = max(1, int(_width(panels) / (_NARROWEST * type_scale())))
        return _figure(panels, look.columns or min(len(panels), fitting))


def _width(panels: Sequence[Panel]) -> float:
    """Inches of a figure: by default one panel needs less than two columns of a page."""
    return inches_of(width_or(1.35 * ONE_COLUMN if len(panels) == 1 else TWO_COLUMNS))


def _figure(panels: Sequence[Panel], columns: int, rc: Mapping[str, Any] | None = None) -> Sheet:
    rc, width = rc or in_use(), _width(panels)
    k = float(FontProperties(size=rc.get("font.size", 8.0)).get_size_in_points()) / 8.0
    rows = -(-len(panels) // columns)
    side = _MAP * width / columns
    own = rows * (side + _WORDS * k) + _FOOT * k
    sheet = Sheet(width, own, rc)
    with sheet.styled():
        colouring = Colouring.of([panel.embedding for panel in panels])
        ratios = [_MAP, _SHEPARD] * columns
        grid = sheet.add_gridspec(rows, 2 * columns, width_ratios=ratios)
        heads: dict[int, list[tuple[Axes, Head]]] = {}
        for place, panel in enumerate(panels):
            row, column = divmod(place, columns)
            ax = sheet.add_subplot(grid[row, 2 * column], projection="3d" if panel.spatial else None)
            _draw(ax, panel, colouring)
            beside = sheet.add_subplot(grid[row, 2 * column + 1])
            shepard(beside, panel.embedding)
            if place == 0 and panel.color in ("loss", "step"):
                # Above the first diagram there is room.
                colour_bar(beside.inset_axes((0.0, 1.5, 1.0, 0.08)), colouring, panel.color)
            title = _heading(panel, place, len(panels))
            notes = _notes(panel.embedding)
            head = Head(title, 0.95 * width / columns, "", notes, (), 0.95 * width / columns)
            heads.setdefault(row, []).append((ax, head))
        for together in heads.values():
            put_heads(together)
        legend_of_sheet(sheet, legend_of(panels[0].embedding, colouring, panels[0].color))
        put_foot(sheet, _foot(panels))
        if current().height is None:
            _grow(sheet, rows, side)
    return sheet


def _draw(ax: Axes, panel: Panel, colouring: Colouring) -> None:
    if panel.view == "3d":
        draw_height(ax, panel.embedding, colouring, panel.color)
    else:
        draw_snapshots(ax, panel.embedding, colouring, panel.color)


def _grow(sheet: Sheet, rows: int, side: float) -> None:
    """Give a figure of free height what its words take beyond what was foreseen."""
    sheet.lay_out()
    maps = sheet.axes[0].get_position(original=True)
    has = float(maps.height) * float(sheet.get_size_inches()[1])
    width, height = sheet.get_size_inches()
    sheet.set_size_inches(width, height + rows * (side - has))


def shepard(ax: Axes, points: Embedding) -> None:
    """Draw a Shepard diagram: the distance of every pair on the map over what it stands for.

    Points on the line are drawn at their true distance; below it they are drawn too near. Of many pairs every
    so-manyeth is drawn.

    Args:
        ax: Where to draw.
        points: The embedding.

    Source:
        Shepard 1962, "The analysis of proximities", Psychometrika 27.
    """
    pairs = len(points) * (len(points) - 1) // 2
    true, drawn = points.shepard(every=max(1, pairs // _PAIRS))
    top = float(max(points.distances.max(initial=0.0), points.fitted.max(initial=0.0))) or 1.0
    ink = mpl.rcParams["axes.labelcolor"]
    ax.plot([0.0, top], [0.0, top], color=ink, lw=0.6, ls="--", zorder=3)
    alpha = 0.5 if pairs < 500 else 0.15
    ax.plot(true, drawn, ".", ms=2.0, mew=0.0, color=ink, alpha=alpha, rasterized=True)
    ax.set_xlim(0.0, 1.04 * top)
    ax.set_ylim(0.0, 1.04 * top)
    ax.set_aspect("equal")
    ax.set_anchor("S")
    ax.locator_params(nbins=2)
    small = 0.8 * float(mpl.rcParams["font.size"])
    ax.tick_params(labelsize=small)
    # Longer than narrow axes, it ends with them, or the page would cut it.
    ax.set_xlabel("dissimilarity", fontsize=small, loc="right" if 72 * inches(ax)[0] < 9 * small else "center")
    ax.set_ylabel("distance drawn", fontsize=small)
    ax.spines[["top", "right"]].set_visible(False)


def stress_words(points: Embedding) -> str:
    """The stress with what the axes hold of classical distances.

    Example:
        >>> stress_words(embedding)  # doctest: +SKIP
        'stress 0.083 · axes hold 81 + 9 %'
    """
    said = _stress(points)
    if points.meta.get("method") == "metric":
        return said
    shares = " + ".join(f"{100 * share:.0f}" for share in points.share)
    said += f"{DOT}axes hold {shares} %"
    # Rounding alone leaves 1e-15.
    return said if points.negative < 1e-6 else f"{said}{DOT}negative {100 * points.negative:.1f} %"


def _stress(points: Embedding) -> str:
    return f"stress {tell([float(f'{points.stress:.2g}')])[0]}"


def _notes(points: Embedding) -> str:
    words = stress_words(points)
    return words[:1].upper() + words[1:]


def _heading(panel: Panel, place: int, count: int) -> str:
    title = panel.title or ""
    return title if count == 1 else f"({letter(place)}) {title}".strip()


def _foot(panels: Sequence[Panel]) -> str:
    metas = [panel.embedding.meta for panel in panels]
    first = panels[0].embedding
    parts = [
        " / ".join(dict.fromkeys(str(meta.get("problem") or "") for meta in metas)),
        " / ".join(dict.fromkeys(f"{meta['method']} MDS" for meta in metas)),
        " / ".join(dict.fromkeys(_NAMES[meta["dissimilarity"]] for meta in metas)),
        " / ".join(dict.fromkeys(_counted(panel.embedding) for panel in panels)),
    ]
    layers = dict.fromkeys(str(meta.get("layers") or "*") for meta in metas)
    parts += ["layers " + " / ".join("all" if own == "*" else own for own in layers)] if [*layers] != ["*"] else []
    aligned = [letter(place) for place, meta in enumerate(metas) if meta.get("representative")]
    where = "" if len(aligned) == len(panels) else f" in {', '.join(f'({own})' for own in aligned)}"
    parts += [f"symmetries aligned{where}"] if aligned else []
    if len(panels) == 1:
        parts.append(_stress(first))
    return DOT.join(part for part in parts if part)


def _counted(points: Embedding) -> str:
    return f"{len(points.names)} run{'s' if len(points.names) > 1 else ''}, {len(points)} snapshots"

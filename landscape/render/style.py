"""Looks of a picture: each is a function that returns an rcParams dictionary, and changes nothing."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context, rcParams, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.rcsetup import cycler

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.figure_widths import ONE_COLUMN as ONE_COLUMN
from landscape.render.figure_widths import TWO_COLUMNS as TWO_COLUMNS
from landscape.render.figure_widths import inches_of, length
from landscape.render.legend import fit_legends
from landscape.render.look import Look, current
from landscape.render.panel_titles import put_head

# Okabe & Ito (2008), "Color Universal Design": distinguishable under the common colour blindnesses.
# Yellow is left out (too light on white) and the order puts the two most unlike colours first.
_OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]

# The same in the shades that stand out on dark ground; the pink is lightened to differ from the green there.
_ON_DARK = ["#56B4E9", "#E69F00", "#009E73", "#F2B8D8", "#D55E00", "#FFFFFF"]


def paper() -> dict[str, Any]:
    """The look of a figure in a paper: 8-point type, thin lines, embedded fonts, the same bytes every time.

    Returns:
        An rcParams dictionary, for `matplotlib.rc_context` or the ``rc=`` of the functions of this room.

    Example:
        >>> paper()["pdf.fonttype"]
        42
    """
    return {
        # Comes with matplotlib itself: the same letters on every machine.
        "font.family": ["DejaVu Sans"],
        "mathtext.fontset": "dejavusans",
        "font.size": 8.0,
        "axes.labelsize": 8.0,
        "axes.titlesize": 8.0,
        "figure.titlesize": 8.0,
        "figure.labelsize": 6.0,
        "xtick.labelsize": 7.0,
        "ytick.labelsize": 7.0,
        "legend.fontsize": 7.0,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.width": 0.4,
        "ytick.minor.width": 0.4,
        "xtick.major.size": 3.0,
        "ytick.major.size": 3.0,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "lines.linewidth": 1.2,
        "lines.markersize": 4.0,
        "hatch.linewidth": 0.5,
        "grid.linewidth": 0.5,
        "axes.prop_cycle": cycler(color=_OKABE_ITO),
        "image.cmap": "viridis",
        "figure.constrained_layout.w_pad": 0.05,
        "figure.constrained_layout.h_pad": 0.05,
        "savefig.dpi": 200.0,
        "savefig.facecolor": "auto",
        # Type 42 keeps text as text in the file, with its font; most publishers refuse type 3.
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "landscape",
    }


def talk() -> dict[str, Any]:
    """The look of a figure on a projector: `paper` with type and lines 1.4 times as large.

    A page whose size is not given grows with it, by a factor of 1.18: see `Sheet.grown`.

    Returns:
        An rcParams dictionary.
    """
    look = paper()
    scaled = (".labelsize", ".titlesize", ".fontsize", "font.size", ".linewidth", ".markersize")
    return look | {name: 1.4 * look[name] for name in look if name.endswith(scaled)}


def dark() -> dict[str, Any]:
    """The look of a figure on a dark page: `paper` in light ink.

    Returns:
        An rcParams dictionary.
    """
    ink, ground = "#E8E8E8", "#16181D"
    inked = ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"]
    return (
        paper()
        | dict.fromkeys(inked, ink)
        | {
            "figure.facecolor": ground,
            "axes.facecolor": ground,
            "axes3d.xaxis.panecolor": ground,
            "axes3d.yaxis.panecolor": ground,
            "axes3d.zaxis.panecolor": ground,
            "grid.color": "#555555",
            "axes.prop_cycle": cycler(color=_ON_DARK),
        }
    )


STYLES: dict[str, Callable[[], dict[str, Any]]] = {"paper": paper, "talk": talk, "dark": dark}
"""Name -> function that returns an rcParams dictionary."""


def get(name: str) -> dict[str, Any]:
    """The look of a name.

    Args:
        name: ``"paper"``, ``"talk"`` or ``"dark"``.

    Returns:
        An rcParams dictionary.

    Raises:
        LandscapeError: If there is no such look.

    Example:
        >>> get("talk")["font.size"] > get("paper")["font.size"]
        True
    """
    if name not in STYLES:
        raise LandscapeError(f"there is no style '{name}'", where="style", mend=did_you_mean(str(name), STYLES))
    return STYLES[name]()


def in_use() -> dict[str, Any]:
    """The rcParams of the look in use."""
    return get(current().style)


def look_for(
    *, style: str | None, width: str | float | None = None, height: float | None = None, **others: Any
) -> Look:
    """The look in use, with what the arguments of a function ask for instead; None asks for nothing.

    Raises:
        LandscapeError: If there is no such style or size.
    """
    if style is not None:
        get(style)
    if width is not None:
        inches_of(width)
    if height is not None:
        length(height, "height")
    return current().given(style=style, width=width, height=height, **others)


def type_scale() -> float:
    """The type size of the style in use in units of 8 points, for which the measures of all pictures are."""
    size = FontProperties(size=in_use().get("font.size", rcParamsDefault["font.size"]))
    return float(size.get_size_in_points()) / _POINTS


def has_room(width: float) -> bool:
    """Return whether a page has so many inches across at 8-point type; one that suits what is drawn has."""
    wanted = current().width
    return wanted is None or inches_of(wanted) >= width * type_scale()


def is_dark() -> bool:
    """Return whether the style in use has a dark ground."""
    # Rec. 709 weights of red, green and blue in the lightness that the eye sees.
    red, green, blue = to_rgb(rcParams["axes.facecolor"])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.4


def pale(name: str, white: float = 0.45) -> Colormap:
    """A colour map mixed with white, so that a path drawn over it stands out.

    Args:
        name: A matplotlib colour map.
        white: Share of white in the mixture.

    Returns:
        The lighter map, with 256 colours.
    """
    colours = colormaps[name].resampled(256)(range(256))
    colours[:, :3] = (1 - white) * colours[:, :3] + white
    return ListedColormap(colours, name=f"{name}-pale")


# The type size of `paper`, for which the sizes of all pictures are.
_POINTS = 8.0
# Passes after which the layouts of all pictures in the tests stand still.
_LAYOUT_PASSES = 3
_LEGEND_PASSES = 3
# A share of the page: a hundred times less than the last digit that any format writes.
_STILL = 1e-9
# Dots per inch of a picture in a notebook.
_NOTEBOOK_DPI = 110
# Dots per inch at which room is measured, whatever the format is that the figure goes to.
_LAYOUT_DPI = 200
# rcParams that belong to the session, not to the look of a picture.
_SESSION = (
    "backend",
    "interactive",
    "toolbar",
    "timezone",
    "tk.",
    "webagg.",
    "docstring.",
    "keymap.",
    "animation.",
)


class Sheet(Figure):
    """A figure that is drawn in the style it was made in, whenever and wherever it is drawn.

    The look in use gives it its size, where it says one, and its title.

    Matplotlib makes ticks lazily and reads their style when they appear, which may be long after the
    `rc_context` that the figure was made in has ended. A sheet takes its look along instead, complete: what
    the style does not say is matplotlib's default, not the session's. It is laid out when it is first drawn
    and stays so; ``set_layout_engine("constrained")`` has it laid out again.

    Args:
        width: Inches that suit what is drawn.
        height: Inches that suit it.
        rc: An rcParams dictionary, or None for the style of the look in use.
    """

    def __init__(self, width: float, height: float, rc: Mapping[str, Any] | None = None) -> None:
        plain = {key: value for key, value in dict.items(rcParamsDefault) if not key.startswith(_SESSION)}
        wanted = current()
        self.look: dict[Any, Any] = plain | dict(in_use() if rc is None else rc)
        if wanted.cmap is not None:
            self.look["image.cmap"] = wanted.cmap
        if wanted.transparent:
            self.look["savefig.transparent"] = True
        self.dots = wanted.dpi
        suiting, width = width, width if wanted.width is None else inches_of(wanted.width)
        # Words take more lines on a narrow page, and none of the height of what is drawn.
        height = height * max(1.0, suiting / width) if wanted.height is None else wanted.height
        with rc_context(self.look):
            super().__init__(figsize=(width, height), layout="constrained")
            put_head(self)
            if self.get_suptitle() and wanted.height is None:
                # The title takes no height from what is drawn.
                size = FontProperties(size=rcParams["figure.titlesize"]).get_size_in_points()
                self.set_figheight(height + 1.3 * size / 72 * (1 + self.get_suptitle().count("\n")))

    @classmethod
    def grown(cls, width: float, height: float, rc: Mapping[str, Any] | None = None) -> Sheet:
        """A sheet for a size that suits 8-point type, larger where the type is.

        Larger type is to take more of the picture, and the words are still to fit: the sheet grows with the
        square root of the type size, so that each takes half of the difference.

        Args:
            width: Inches at 8-point type.
            height: Inches at 8-point type.
            rc: An rcParams dictionary, or None for the style of the look in use.

        Returns:
            An empty sheet.
        """
        look = in_use() if rc is None else rc
        size = FontProperties(size=look.get("font.size", rcParamsDefault["font.size"])).get_size_in_points()
        grow = math.sqrt(size / _POINTS)
        return cls(grow * width, grow * height, look)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The picture, for notebooks: shown once, whether `matplotlib.pyplot` was imported or not."""
        with io.BytesIO() as held, rc_context(self.look):
            self.savefig(held, format="png", dpi=_NOTEBOOK_DPI)
            return {"image/png": held.getvalue(), "text/plain": repr(self)}

    @contextmanager
    def styled(self) -> Iterator[Sheet]:
        """The context in which artists are added to this figure."""
        with rc_context(self.look):
            yield self

    def draw(self, renderer: Any) -> None:
        """Draw in the figure's own style, and leave the global one as it was."""
        with rc_context(self.look):
            self._settle()
            super().draw(renderer)

    def lay_out(self, passes: int = _LAYOUT_PASSES) -> None:
        """Give words and axes their room, in the same way for every format and resolution.

        Args:
            passes: Fewer where no axes have equal units.
        """
        engine = self.get_layout_engine()
        if not isinstance(engine, ConstrainedLayoutEngine):
            return
        canvas, dpi = self.canvas, self.dpi
        FigureCanvasAgg(self)
        self.dpi = _LAYOUT_DPI
        self._settle_words(engine, passes)
        # Higher legends make axes of equal units narrower, which moves them.
        for _ in range(_LEGEND_PASSES):
            if not fit_legends(self):
                break
            self._settle_words(engine, passes)
        self.dpi = dpi
        self.set_canvas(canvas)

    def _settle_words(self, engine: ConstrainedLayoutEngine, passes: int) -> None:
        """Give labels their room, measured on axes whose aspect is not yet applied: once is not enough."""

        def stand() -> np.ndarray:
            return np.array([ax.get_position(active).bounds for ax in self.axes for active in (True, False)])

        # Half of the time of a picture goes here.
        free = all(ax.get_aspect() == "auto" for ax in self.axes)
        for _ in range(1 if free else passes):
            before = stand()
            engine.execute(self)
            if np.abs(stand() - before).max(initial=0.0) < _STILL:
                break

    def _settle(self) -> None:
        """Lay the figure out once and for all."""
        if isinstance(self.get_layout_engine(), ConstrainedLayoutEngine):
            self.lay_out()
            self.set_layout_engine("none")

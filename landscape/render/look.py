"""Look of a picture: options that every kind of picture has, from a command, a recipe and Python alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Self

from landscape.errors import LandscapeError, did_you_mean
from landscape.forms import NUMBER, TEXT, TRUTH, WHOLE, Form
from landscape.options import Options, default_of, fields_of, option
from landscape.render.figure_widths import WIDTHS, inches_of, length
from landscape.vocabulary import SCALE_OPTIONS

STYLES = ("paper", "talk", "dark")


def _width(given: str | float) -> str | float:
    """A name of a width, or inches."""
    if isinstance(given, str) and given not in WIDTHS:
        with suppress(ValueError):
            given = float(given)
    inches_of(given)
    return given if isinstance(given, str) else float(given)


WIDTH = Form("inches, or the name of a width", _width, "INCHES|NAME")


def _known_map(name: str) -> None:
    # Here, so that a command that draws nothing does not wait for matplotlib.
    from matplotlib import colormaps

    if name not in colormaps:
        raise LandscapeError(f"there is no colour map '{name}'", mend=did_you_mean(name, colormaps))


@dataclass(frozen=True)
class Look(Options):
    """The look of a picture; None leaves the choice to the picture.

    Attributes:
        words: Words at the foot, before what the picture says of itself; ``""`` leaves the foot empty.

    Functions of this room that make a figure follow the look in use:

    Example:
        >>> with Look(style="talk", width="neurips").applied():
        ...     current().width
        'neurips'
    """

    style: str = option("paper", "The style", choices=STYLES)
    width: str | float | None = option(
        None, "The width: inches, one-column, two-columns, or that of a venue, such as neurips", form=WIDTH
    )
    height: float | None = option(
        None, "The height in inches", form=NUMBER, check=lambda value: length(value, "height")
    )
    columns: int | None = option(None, "Panels side by side", form=WHOLE, low=1)
    share: bool = option(True, "Give panels of the same metric the same limits and colours")
    title: str | None = option(None, "A title above the picture", form=TEXT)
    cmap: str | None = option(
        None, "The colour map of maps, by its name in matplotlib", form=TEXT, check=_known_map
    )
    vmin: float | None = option(
        None,
        "The lowest value on the scale of colours or the axis; of several metrics on that of the first",
        form=NUMBER,
    )
    vmax: float | None = option(None, "The highest value there", form=NUMBER)
    log: bool | None = option(None, "Make that scale logarithmic or linear", form=TRUTH)
    levels: int | None = option(
        None, "The number of level lines, evenly spread over the scale", form=WHOLE, low=2, high=200
    )
    dpi: int | None = option(
        None,
        "Dots per inch; of a PDF or SVG those of its filled maps",
        form=WHOLE,
        low=20,
        high=2400,
        unset="200, in a PDF or SVG 300",
    )
    transparent: bool | None = option(None, "Leave the ground of the picture transparent", form=TRUTH)
    no_caption: bool = option(False, "Leave the foot of the picture empty")
    words: str | None = None

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield limits that no scale can have."""
        if self.vmin is not None and self.vmax is not None and self.vmin >= self.vmax:
            yield "vmin", f"vmin is to be below vmax; got {self.vmin:g} and {self.vmax:g}"
        for name in ("vmin", "vmax"):
            value = getattr(self, name)
            if self.log and value is not None and value <= 0:
                yield name, f"a logarithmic scale has positive values only; got {name} {value:g}; leave out log"

    @property
    def chosen(self) -> list[str]:
        """The options that are not left to the picture."""
        own = fields_of(type(self))
        return [name for name in fields_of(Look) if getattr(self, name) != default_of(own[name])]

    @property
    def scaled(self) -> bool:
        """Return whether an option sets the scale of values."""
        return any(getattr(self, name) is not None for name in SCALE_OPTIONS)

    def given(self, **asked: Any) -> Self:
        """This look with what is asked for instead; None asks for nothing."""
        return replace(self, **{name: value for name, value in asked.items() if value is not None})

    def unscaled(self) -> Self:
        """This look, but for the scale of values: that of metrics after the first."""
        return replace(self, vmin=None, vmax=None, log=None)

    @contextmanager
    def applied(self) -> Iterator[Look]:
        """Make figures of this look within the context."""
        token = _IN_USE.set(self)
        try:
            yield self
        finally:
            _IN_USE.reset(token)


_IN_USE: ContextVar[Look] = ContextVar("look", default=Look())  # noqa: B039 - it is frozen


def current() -> Look:
    """The look in use; the default outside of any `Look.applied`."""
    return _IN_USE.get()


@contextmanager
def of_metric(place: int) -> Iterator[Look]:
    """Draw one of several metrics: limits and the logarithm of the look in use are for the first."""
    with (current().unscaled() if place else current()).applied() as look:
        yield look


def width_or(suiting: str | float) -> str | float:
    """The width of the look in use, or one that suits where it has none."""
    width = current().width
    return suiting if width is None else width

"""How a picture looks: options that every kind of picture has, from a command, a recipe and Python alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from landscape.forms import NUMBER, TEXT, TRUTH, WHOLE, Form
from landscape.options import Options, option
from landscape.render.widths import WIDTHS, inches_of, length

STYLES = ("paper", "talk", "dark")


def _width(given: str | float) -> str | float:
    """A name of a width, or inches."""
    if isinstance(given, str) and given not in WIDTHS:
        with suppress(ValueError):
            given = float(given)
    inches_of(given)
    return given if isinstance(given, str) else float(given)


WIDTH = Form("inches, or the name of a width", _width, "INCHES|NAME")


@dataclass(frozen=True)
class Look(Options):
    """The look of a picture; None leaves the choice to the picture.

    Attributes:
        words: Words at the foot, before what the picture says of itself.

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
    cmap: str | None = option(None, "The colour map of maps, by its name in matplotlib", form=TEXT)
    vmin: float | None = option(None, "The lowest value on the scale", form=NUMBER)
    vmax: float | None = option(None, "The highest value on the scale", form=NUMBER)
    log: bool | None = option(None, "A logarithmic scale, or a linear one", form=TRUTH)
    levels: int | None = option(None, "The number of level lines", form=WHOLE, low=2, high=200)
    dpi: int | None = option(None, "Dots per inch of a PNG", form=WHOLE, low=20, high=2400, unset="200")
    no_caption: bool = option(False, "Leave the foot of the picture empty")
    words: str | None = None

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

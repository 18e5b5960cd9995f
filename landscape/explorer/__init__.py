"""Explorer pages: a small network evaluated in the browser, on planes that the reader turns and draws anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

_HOME = {"explorer_of": "explorer", "program_of": "program"}
__all__ = [*_HOME]

if TYPE_CHECKING:
    from landscape.explorer.explorer import explorer_of as explorer_of
    from landscape.explorer.program import program_of as program_of

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

"""Interactive pages: one self-contained HTML file each, which needs no network and no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

_HOME = {
    "Markup": "markup",
    "element": "markup",
    "page": "shell",
    "plotly_beside": "plotly_script",
    "plotly_inline": "plotly_script",
    "script_of": "shell",
}
__all__ = [*_HOME]

if TYPE_CHECKING:
    from landscape.pages.markup import Markup as Markup
    from landscape.pages.markup import element as element
    from landscape.pages.plotly_script import plotly_beside as plotly_beside
    from landscape.pages.plotly_script import plotly_inline as plotly_inline
    from landscape.pages.shell import page as page
    from landscape.pages.shell import script_of as script_of

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

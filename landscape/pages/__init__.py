"""Interactive pages: one self-contained HTML file each, which needs no network and no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

_HOME = {
    "Markup": "markup",
    "Page": "document",
    "element": "markup",
    "page": "shell",
    "page_of": "dispatch",
    "plotly_beside": "plotly_script",
    "plotly_inline": "plotly_script",
    "require_plotly": "plotly_script",
    "script_of": "shell",
}
__all__ = [*_HOME]

if TYPE_CHECKING:
    from landscape.pages.dispatch import page_of as page_of
    from landscape.pages.document import Page as Page
    from landscape.pages.markup import Markup as Markup
    from landscape.pages.markup import element as element
    from landscape.pages.plotly_script import plotly_beside as plotly_beside
    from landscape.pages.plotly_script import plotly_inline as plotly_inline
    from landscape.pages.plotly_script import require_plotly as require_plotly
    from landscape.pages.shell import page as page
    from landscape.pages.shell import script_of as script_of

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

"""Interactive pages: one self-contained HTML file each, which needs no network and no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.html.markup import Markup, element
from landscape.html.shell import page, script_of
from landscape.lazy import lazy

_HOME = {
    "Page": "document",
    "page_of": "dispatch",
    "plotly_beside": "plotly_script",
    "plotly_inline": "plotly_script",
    "require_plotly": "plotly_script",
}
__all__ = ["Markup", "element", "page", "script_of", *_HOME]

if TYPE_CHECKING:
    from landscape.pages.dispatch import page_of as page_of
    from landscape.pages.document import Page as Page
    from landscape.pages.plotly_script import plotly_beside as plotly_beside
    from landscape.pages.plotly_script import plotly_inline as plotly_inline
    from landscape.pages.plotly_script import require_plotly as require_plotly

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

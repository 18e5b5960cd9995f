"""A page as a value: its parts, what its scripts read, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.html.markup import Markup
from landscape.html.shell import Beside, page, script_of
from landscape.pages.plotly_script import PLOTLY, plotly_beside, plotly_inline
from landscape.storage import atomic_path
from landscape.values.result import Result

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page(Result):
    """An interactive page.

    Attributes:
        title: Above it.
        body: Its parts, in order.
        data: What its scripts read.
        scripts: The names of its scripts in this room; plotly.js comes before them.
        about: A line at its foot.
    """

    title: str
    body: tuple[Markup, ...]
    data: Any
    scripts: tuple[str, ...]
    about: str = ""

    def html(self, *, shared: bool = False) -> str:
        """The page as one file.

        Args:
            shared: Load plotly.js from a file beside the page, see `plotly_beside`, instead of holding it, which
                makes 4.8 MB of it.

        Raises:
            LandscapeError: If plotly is not installed.
        """
        drawing = Beside(PLOTLY) if shared else plotly_inline()
        own = [script_of(name, _HERE) for name in self.scripts]
        return page(self.title, self.body, data=self.data, scripts=[drawing, *own], about=self.about)

    def save(self, path: str | Path, *, shared: bool = False) -> Path:
        """Write the page: whole or not at all.

        Args:
            path: Ends in ``.html``.
            shared: Write plotly.js beside it, once for all pages of the folder, instead of into the page.

        Returns:
            The path.

        Raises:
            LandscapeError: If plotly is not installed, or the file cannot be written.
        """
        path = Path(path)
        text = self.html(shared=shared)
        if shared:
            plotly_beside(path.parent)
        with atomic_path(path) as draft:
            draft.write_text(text, encoding="utf-8")
        return path

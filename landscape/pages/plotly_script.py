"""plotly.js, which comes with the Python package plotly: within a page, or one file beside many."""

from __future__ import annotations

from pathlib import Path

from landscape.errors import optional
from landscape.html.embedded import require_embeddable
from landscape.html.shell import Beside
from landscape.storage import atomic_path

PLOTLY = "plotly.js"


def require_plotly() -> None:
    """Check that plotly is installed.

    Raises:
        LandscapeError: If it is not.
    """
    optional("plotly", "interactive pages")


def plotly_inline() -> str:
    """The source of plotly.js, 4.8 MB.

    Raises:
        LandscapeError: If plotly is not installed.
    """
    require_plotly()
    from plotly.offline import get_plotlyjs

    return require_embeddable(str(get_plotlyjs()))


def plotly_beside(folder: str | Path) -> Beside:
    """Write plotly.js into a folder, unless it is there, and return the script that pages in the folder load.

    Raises:
        LandscapeError: If plotly is not installed, or the file cannot be written.
    """
    path, source = Path(folder) / PLOTLY, plotly_inline()
    if not path.exists() or path.read_bytes() != source.encode():
        with atomic_path(path) as draft:
            Path(draft).write_text(source, encoding="utf-8")
    return Beside(PLOTLY)

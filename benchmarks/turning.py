"""Frames a second while a surface page is turned without a graphics card; run as ``python -m benchmarks.turning``.

Rounds alternate between the page as it is and one whose coarse relief never takes over; both need Chromium.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from landscape.pages import page_of
from landscape.values.surface import Surface

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "pages"))
from browser import Browser

_POINTS, _ROUNDS = 251, 3
_FINE_ONLY = "addEventListener('pointermove', event => window.fineOnly && event.stopPropagation(), true)"


def surface(points: int) -> Surface:
    """A bowl with ripples, with standard errors and an error in percent."""
    x = np.linspace(-1, 1, points)
    loss = 0.1 + x**2 + 2 * x[:, None] ** 2 + 0.3 * np.sin(7 * x + 3 * x[:, None]) ** 2
    fields = {"train_loss": loss, "train_error": loss / 4}
    return Surface(x, x, fields, {name: np.full(loss.shape, 0.01) for name in fields})


def median_frame(browser: Any) -> float:
    """Milliseconds between the frames of three seconds of turning."""
    times = browser.turned("relief", seconds=3.0)
    browser.run("new Promise(done => setTimeout(done, 1500))")
    return float(np.median(np.diff(times)))


def main() -> None:
    """Print a line per round."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = page_of(surface(_POINTS)).save(Path(folder) / "surface.html", shared=True)
        print(f"{_POINTS} x {_POINTS} points, {made.stat().st_size / 1e6:.1f} MB beside plotly.js")
        with Browser(Path(folder) / "profile") as browser:
            browser.open(made)
            browser.run("page.settled")
            browser.run(f"{_FINE_ONLY}, 1")
            for _ in range(_ROUNDS):
                found = []
                for fine in ("true", "false"):
                    browser.run(f"window.fineOnly = {fine}")
                    found.append(median_frame(browser))
                alone, own = (f"{1000 / one:5.1f} frames a second ({one:.0f} ms)" for one in found)
                print(f"the fine relief {alone}, as it is {own}")


if __name__ == "__main__":
    main()

"""A figure in a notebook is shown once, no matter which call made its axes."""

from __future__ import annotations

import sys
from functools import partial

from matplotlib import get_backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.render.labels import Page, page


def drawn_on(given: Axes | Page) -> Figure:
    """The figure that given axes or a given part of a figure belong to, after something was drawn there.

    `matplotlib.pyplot` shows a figure of its own at the end of the cell; as the value of the last line it would
    be shown a second time. Until pyplot has shown it, it is no picture of its own, then.
    """
    figure = page(given)
    # Figures of pyplot have a number.
    if hasattr(figure, "number") and not hasattr(figure, "_ipython_display_"):
        figure._ipython_display_ = partial(_leave_to_pyplot, figure)  # type: ignore[attr-defined]
    return figure


def _leave_to_pyplot(figure: Figure) -> None:
    """Show nothing while a cell runs at whose end pyplot shows the figure; otherwise leave it to the notebook.

    Raises:
        NotImplementedError: Which tells IPython to show it as it shows any figure.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    # While a cell runs, its result is being gathered here.
    running = getattr(getattr(shell, "displayhook", None), "exec_result", None) is not None
    pyplot = sys.modules.get("matplotlib.pyplot")
    held = pyplot is not None and figure.number in pyplot.get_fignums()
    if not (running and held and "inline" in get_backend()):
        raise NotImplementedError

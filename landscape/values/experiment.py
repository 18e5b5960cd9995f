"""Numbers computed beside the closed form that they should follow, as values: NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.values.result import Result

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Series(Result):
    """Numbers over one quantity.

    Attributes:
        name: In the legend.
        x: Shape (n,).
        y: Shape (n,).
        error: Shape (n,), standard errors of y; None where it has none.
        line: Whether it is drawn as a line, as closed forms are; otherwise as dots.
    """

    name: str
    x: Array
    y: Array
    error: Array | None = None
    line: bool = False


@dataclass(frozen=True)
class Experiment(Result):
    """Series that share their axes.

    Attributes:
        title: What is tried.
        x_label: With the unit.
        y_label: With the unit.
        series: In the order drawn.
        log: The logarithmic axes: ``""``, ``"x"``, ``"y"`` or ``"xy"``.
        about: How it was computed, for the foot of the figure.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log: str = ""
    about: str = ""

    def numbers(self) -> dict[str, Array]:
        """The numbers drawn, ``series/x``, ``series/y`` and ``series/error``."""
        found: dict[str, Array] = {}
        for one in self.series:
            found |= {f"{one.name}/x": one.x, f"{one.name}/y": one.y}
            found |= {} if one.error is None else {f"{one.name}/error": one.error}
        return found

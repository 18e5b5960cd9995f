"""A study as a value: the networks to be trained, what is measured, and what that is to foretell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.plots.measure_options import MeasureOptions as Along
from landscape.recipe import Run

# What a measure may be asked to foretell: what is recorded, and differences of it (test less training).
TARGETS = ("test_error", "test_loss", "error_gap", "loss_gap")


@dataclass(frozen=True)
class Net:
    """One network of the family.

    Attributes:
        run: How it is trained.
        levels: Hyperparameter that varies -> which of its values; ``"family"`` is one of them.
        settings: Name -> value, of what tells it from the others.
    """

    run: Run
    levels: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its family and what varies in it."""
        return self.run.name


@dataclass(frozen=True)
class Statistics:
    """How correlations are taken.

    Attributes:
        targets: Out of `TARGETS`; scatter pictures are with the first.
        resamples: How often networks are drawn anew for the intervals.
        level: Of the intervals.
        seed: Of the draws.
        over: What is drawn: ``"nets"``, or ``"settings"``: all that differ in the seed alone together.
    """

    targets: tuple[str, ...] = TARGETS[:2]
    resamples: int = 2000
    level: float = 0.95
    seed: int = 0
    over: str = "nets"


@dataclass(frozen=True)
class Study:
    """What is trained, measured and correlated.

    Attributes:
        path: The recipe.
        caption: Its first comment.
        nets: The networks.
        measures: One `Along` for each measure.
        statistics: How correlations are taken.
    """

    path: Path
    caption: str
    nets: tuple[Net, ...]
    measures: Mapping[str, Along]
    statistics: Statistics = field(default_factory=Statistics)

    @property
    def name(self) -> str:
        """The name of the file without its suffix; pictures and tables begin with it."""
        return self.path.stem

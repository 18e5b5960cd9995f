"""A study as a value: the networks to be trained, what is measured, and what that is to predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.forms import NAMES, Form
from landscape.options import Options, option
from landscape.plots.measure_options import MeasureOptions as Along
from landscape.recipe import Run
from landscape.study.correlation import OVER
from landscape.values.result import Result

# What a measure may be asked to predict: what is recorded, and differences of it (test less training).
TARGETS = ("test_error", "test_loss", "error_gap", "loss_gap")


@dataclass(frozen=True)
class Net(Result):
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


def _targets(given: Any) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(NAMES.read(given)))
    if not set(found) <= set(TARGETS):
        raise ValueError(given)
    return found


@dataclass(frozen=True)
class Statistics(Options):
    """Options of the correlations."""

    targets: tuple[str, ...] = option(
        TARGETS[:2],
        "What is correlated with; scatter pictures are with the first",
        form=Form(f"a list out of {', '.join(TARGETS)}", _targets),
    )
    resamples: int = option(2000, "Bootstrap resamples of the networks for the intervals", low=1)
    level: float = option(0.95, "Of the intervals", above=0, below=1)
    seed: int = option(0, "Of the draws", low=0)
    over: str = option(
        "nets", "What is drawn: networks, or those that differ in the seed alone together", choices=OVER
    )


@dataclass(frozen=True)
class Study(Result):
    """Networks of a study, the measures taken of them, and their correlations.

    Attributes:
        path: The recipe.
        caption: Its first comment, or its name.
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

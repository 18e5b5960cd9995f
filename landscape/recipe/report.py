"""Report of a rendering: step by step and recipe by recipe, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.executor import Event as Event
from landscape.executor import Failure
from landscape.recipe.faults import Fault
from landscape.recipe.steps import Step
from landscape.values.result import Result


@dataclass(frozen=True)
class StepReport(Result):
    """Outcome of a step.

    Attributes:
        step: The step.
        state: ``"cached"``, ``"made"``, ``"shared"`` (made by another process meanwhile), ``"failed"``,
            ``"skipped"`` (something it needs failed) or ``"planned"``.
        seconds: That it took when it was made; None if it is not made.
        estimate: Seconds it may take, from earlier steps of its pace; None if unknown or not to be made.
        failure: Why it failed.
    """

    step: Step
    state: str
    seconds: float | None = None
    estimate: float | None = None
    failure: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "key": self.step.key,
            "kind": self.step.kind,
            "title": self.step.title,
            "state": self.state,
            "seconds": self.seconds,
            "estimate": self.estimate,
            "error": None if self.failure is None else self.failure.message,
            "needs": list(self.step.needs),
        }


@dataclass(frozen=True)
class RecipeReport(Result):
    """Outcome of a recipe.

    Attributes:
        path: The recipe.
        state: ``"made"``, ``"current"`` (nothing to do), ``"failed"``, ``"faulty"`` (wrong as it is written)
            or ``"planned"``.
        files: What lies in the gallery.
        seconds: That all its steps took when they were made.
        steps: The keys of its steps.
        faults: What is wrong in its text.
        failures: What failed, in the order of the steps.
    """

    path: Path
    state: str
    files: tuple[Path, ...] = ()
    seconds: float = 0.0
    steps: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def name(self) -> str:
        """The name of the file without its suffix."""
        return self.path.stem

    @property
    def errors(self) -> list[str]:
        """All that went wrong, a line each."""
        return [*map(str, self.faults), *(failure.message for failure in self.failures)]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.name,
            "recipe": str(self.path),
            "state": self.state,
            "files": list(map(str, self.files)),
            "seconds": self.seconds,
            "steps": list(self.steps),
            "errors": self.errors,
        }


@dataclass(frozen=True)
class Report(Result):
    """Outcome of a rendering.

    Attributes:
        recipes: Recipe by recipe.
        steps: Key -> step.
        cache: Where results are kept.
        pages: The pages of galleries that were written.
        seconds: That it took.
    """

    recipes: tuple[RecipeReport, ...]
    steps: Mapping[str, StepReport]
    cache: Path
    pages: tuple[Path, ...] = ()
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        """Return whether every recipe has its picture (or, where nothing was to be made, is free of faults)."""
        return all(recipe.state in ("made", "current", "planned") for recipe in self.recipes)

    @property
    def expected(self) -> bool:
        """Return whether all that went wrong is the user's to mend."""
        return all(failure.expected for recipe in self.recipes for failure in recipe.failures)

    def count(self, *states: str) -> int:
        """Number of steps in one of these states."""
        return sum(step.state in states for step in self.steps.values())

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "done": self.done,
            "seconds": self.seconds,
            "cache": str(self.cache),
            "pages": list(map(str, self.pages)),
            "made": self.count("made"),
            "cached": self.count("cached", "shared"),
            "recipes": [recipe.to_json() for recipe in self.recipes],
            "steps": [step.to_json() for step in self.steps.values()],
        }

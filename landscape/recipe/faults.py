"""Faults of a recipe: all of them at once, each with its line and key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from landscape.errors import LandscapeError


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong in a recipe.

    Attributes:
        line: Where in the file, from 1.
        key: Which key, as ``run.base.epochs``; empty for the file as a whole.
        what: What is wrong and how to mend it.
    """

    line: int
    key: str
    what: str

    def __str__(self) -> str:
        where = f"line {self.line}, {self.key}" if self.key else f"line {self.line}"
        return f"{where}: {self.what}"


class RecipeError(LandscapeError):
    """A recipe that cannot be used; the message holds all faults in one line.

    Args:
        path: The recipe.
        faults: What is wrong in it.

    Attributes:
        faults: The same in the order of the file.
    """

    def __init__(self, path: Path, faults: Iterable[Fault]) -> None:
        self.path = path
        self.faults = tuple(sorted(faults))
        super().__init__(" | ".join(map(str, self.faults)), where=path)

    def __reduce__(self) -> tuple[type[RecipeError], tuple[Path, tuple[Fault, ...]]]:
        return RecipeError, (self.path, self.faults)

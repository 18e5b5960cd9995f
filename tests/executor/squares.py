"""Tasks without torch: numbers that are squared, in processes that may die of one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from landscape.errors import LandscapeError


@dataclass(frozen=True)
class Number:
    value: int

    @property
    def key(self) -> str:
        return str(self.value)

    @property
    def title(self) -> str:
        return f"number {self.value}"


@dataclass(frozen=True)
class Square:
    """Squares numbers; the process dies of some, as often as their file in a folder allows."""

    folder: Path
    deadly: int = -1
    deaths: int = 0

    def __call__(self, task, progress):
        if task.value == self.deadly:
            marks = list(self.folder.glob("died-*"))
            if len(marks) < self.deaths:
                (self.folder / f"died-{len(marks)}").touch()
                os.kill(os.getpid(), 9)
        if task.value < 0:
            raise LandscapeError("has no root", where="number", got=task.value)
        progress(1, 2, self.folder.name)
        return task.value**2, os.getpid()

"""Report of an import, file by file, as values for people and programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from landscape.values.result import Result

# So many names say what kind of tensors they are; a whole list would hide everything else.
_SHOWN = 4


def printable(name: object) -> str:
    """A name from a file, fit for a terminal: control characters, which could drive it, are spelled out.

    Example:
        >>> printable("weight\\x1b[2J")
        'weight\\\\x1b[2J'
    """
    text = str(name)
    return text if text.isprintable() else ascii(text)[1:-1]


@dataclass(frozen=True)
class Names:
    """Some tensors by name.

    Attributes:
        count: How many there are.
        first: The first few of them, in the order in which they were found.
    """

    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """Count names, and keep the first few."""
        every = list(names)
        return cls(len(every), tuple(printable(name) for name in every[:_SHOWN]))

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return ", ".join(self.first) + more


@dataclass(frozen=True)
class Conversion:
    """Tensors that are stored in another element type than the file has them in.

    Attributes:
        source: The element type in the file, by torch's name.
        target: That of the model.
        tensors: Which they are.
        rounding: |w - w'| / |w| over all of them, Euclidean norms; 0 where every number is kept exactly.
    """

    source: str
    target: str
    tensors: Names
    rounding: float


@dataclass(frozen=True)
class FileReport(Result):
    """One checkpoint that became one snapshot.

    Attributes:
        file: Its path as it was given or found.
        format: ``"torch"``, ``"lightning"``, ``"safetensors"``, ``"huggingface"``, ``"deepspeed"`` or
            ``"distributed"``.
        key: Where in the file its tensors are; empty for the top level.
        step: The step of the snapshot.
        step_from: Where the step comes from, in words.
        epoch: The epoch of the snapshot, or None.
        tensors: How many tensors were taken from the file.
        names: What was done to their names, in words; empty where they are those of the model.
        missing: Tensors that were taken from the initial model.
        extra: Names in the file that are not in the model, and were left out.
        conversions: Element types that were changed.
        notes: What else there is to say, in words: other weights in the file, counters that it lacks.
    """

    file: str
    format: str
    key: str
    step: int
    step_from: str
    epoch: float | None
    tensors: int
    names: str
    missing: Names
    extra: Names
    conversions: tuple[Conversion, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportReport(Result):
    """Report of an import.

    Attributes:
        path: The trajectory file.
        problem: The name of the problem, or empty.
        kinds_guessed: Whether no model was given, so that parameters and buffers were told apart by name and type.
        parameters: The number of parameters.
        files: One report per snapshot, in order.
    """

    path: str
    problem: str
    kinds_guessed: bool
    parameters: int
    files: tuple[FileReport, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

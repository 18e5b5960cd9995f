"""Engines: from coordinates in a plane to means over the data."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol

from landscape.errors import LandscapeError, did_you_mean
from landscape.objective import Estimate, Objective, Tuning
from landscape.projection import Plane
from landscape.surface.batched import Batched
from landscape.surface.in_place import InPlace
from landscape.surface.sequential import Point, Sequential
from landscape.surface.task import Task
from landscape.surface.tune import TuneOptions
from landscape.surface.weight_stepper import Mover
from landscape.vocabulary import ENGINES, IN_PLACE

# Points between two waits for the device: on a CPU nothing waits, and progress shows point by point.
_CHUNK = {"sequential": 1, "batched": 8, IN_PLACE: 1}
_CHUNK_ON_DEVICE = 16


class Engine(Protocol):
    """Evaluates points of one plane.

    ``chunk`` points lie between two waits for the device, ``streams`` chunks are worked on side by side, and
    the last bits of ``group`` points in a row may depend on one another.
    """

    name: str
    chunk: int
    streams: int
    group: int

    @property
    def mover(self) -> Mover | None:
        """The origin and directions, to be shared with another engine of the same plane."""

    @property
    def tuning(self) -> Tuning:
        """Settings of the passes."""

    @property
    def rewrites(self) -> dict[str, int]:
        """Rewrites made, name -> how often."""

    def evaluate(self, points: Sequence[Point]) -> Generator[dict[str, Estimate]]:
        """The estimates at each point, in order: ``"<split>_<metric>"`` -> estimate."""

    def try_out(self, points: Sequence[Point], batches: int | None = None) -> list[float]:
        """The seconds per point of every stream where all work at once; see `Sequential.try_out`."""


@dataclass(frozen=True)
class Choice:
    """An engine and how it works.

    Attributes:
        engine: ``"sequential"``, ``"batched"`` or ``"in-place"``.
        tuning: How the passes over the data are made.
        streams: Points (or chunks of them) worked on side by side; results do not depend on it.
        chunk: Points at once.
    """

    engine: str
    tuning: Tuning
    streams: int = 1
    chunk: int = 1

    def to_json(self) -> dict[str, Any]:
        """All that can change the last bits of a result, as plain values."""
        chunk = {"chunk": self.chunk} if self.engine == "batched" else {}
        return {"engine": self.engine, **self.tuning.to_json(), **chunk}

    def forced(self, settings: Mapping[str, Any]) -> Choice:
        """The same with some settings as they are given."""
        of_tuning = {name: value for name, value in settings.items() if name in _TUNING}
        own = {name: value for name, value in settings.items() if name not in _TUNING}
        return replace(self, tuning=replace(self.tuning, **of_tuning), **own)


def choice_from(identity: Mapping[str, Any]) -> Choice:
    """The choice that `Choice.to_json` wrote down.

    Raises:
        KeyError: If there is none in it.
        TypeError: If a value is of another type.
    """
    tuning = Tuning(**{name: identity[name] for name in sorted(_TUNING)})
    return Choice(str(identity["engine"]), tuning, chunk=int(identity.get("chunk", 1)))


_TUNING = {item.name for item in fields(Tuning)}


def parse_settings(given: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings of a choice from text such as ``batch_size=64,rewrite=no`` or from values.

    Raises:
        LandscapeError: With all faults in one line.
    """
    return TuneOptions.read(given).given()


def require_engine(name: str) -> None:
    """Check the name of an engine.

    Raises:
        LandscapeError: If there is none of that name.
    """
    if name not in ENGINES:
        raise LandscapeError(f"unknown engine '{name}'", where="engine", mend=did_you_mean(name, ENGINES))


def plain_choice(objective: Objective, engine: str = "sequential") -> Choice:
    """An engine that makes its passes as `Objective.value` does."""
    on_cpu = objective.device.type == "cpu"
    return Choice(engine, objective.default_tuning(), chunk=_CHUNK[engine] if on_cpu else _CHUNK_ON_DEVICE)


def build(choice: Choice, task: Task, plane: Plane, mover: Mover | None = None) -> Engine:
    """The engine of a choice.

    Args:
        choice: The engine and how it works.
        task: What to measure.
        plane: Where.
        mover: That of another engine of the same task and plane, to share its memory.

    Raises:
        LandscapeError: If the engine cannot evaluate this.
    """
    if choice.engine == IN_PLACE:
        return InPlace(task, plane, tuning=choice.tuning)
    kind = Batched if choice.engine == "batched" else Sequential
    return kind(task, plane, tuning=choice.tuning, streams=choice.streams, chunk=choice.chunk, mover=mover)


def settings_of(choice: Choice) -> dict[str, Any]:
    """All settings of a choice, as `parse_settings` reads them."""
    return {**asdict(choice.tuning), "streams": choice.streams, "chunk": choice.chunk}

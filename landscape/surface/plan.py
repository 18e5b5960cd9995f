"""Plan of an evaluation, and its expected duration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from landscape.surface.engine import Choice, Engine


@dataclass(frozen=True)
class Plan:
    """Plan of an evaluation.

    Attributes:
        choice: The engine and how it works.
        points: How many points are to be computed.
        seconds_per_point: As measured.
        rewrites: What was rewritten, name -> how often.
        tried: The candidates timed, with their seconds per point.
        memory: Bytes that evaluation is expected to take beside model and data; None where not measured.
        device: Where.
        at_most: Whether it may turn out to be fewer points, as in a preview.
        workers: How many processes share the points.
    """

    choice: Choice
    points: int
    seconds_per_point: float
    rewrites: Mapping[str, int]
    tried: Sequence[tuple[Choice, float]] = field(default_factory=tuple)
    memory: int | None = None
    device: str = "cpu"
    at_most: bool = False
    workers: int = 1

    @property
    def seconds(self) -> float:
        """The estimated time of all points."""
        return self.points * self.seconds_per_point / self.workers

    def describe(self) -> str:
        """One line: the choice and the estimated time."""
        tuning = self.choice.tuning
        words = [f"micro-batches of {tuning.batch_size}"]
        if self.choice.streams > 1:
            words.append(f"{self.choice.streams} streams")
        if tuning.threads is not None:
            words.append(f"{tuning.threads} thread{'s' * (tuning.threads > 1)} each")
        if self.choice.engine == "batched":
            words.append(f"{self.choice.chunk} points at once")
        words += ["channels last"] * tuning.channels_last + ["compiled"] * tuning.compiled
        words += [f"{count} {what}" for what, count in self.rewrites.items()]
        words += [f"{self.workers} workers"] * (self.workers > 1)
        points = f"{self.points:,} point{'s' * (self.points != 1)}"
        how = f"{self.choice.engine} engine on {self.device}: {', '.join(words)}"
        return f"{how}; {'at most ' if self.at_most else ''}{points} in about {_clock(self.seconds)}"


class Made(NamedTuple):
    """An engine that is ready, and what it is going to do."""

    engine: Engine
    plan: Plan


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

"""Which snapshots are recorded, and which of them stay when there would be too many. No torch, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from landscape.errors import LandscapeError


@dataclass(frozen=True)
class Pace:
    """Every so many candidates, and never more than so many in all.

    A candidate is a step that is a multiple of `every`, or any where that is not set. Of the candidates one in
    `stride` is recorded: those whose step is a multiple of ``every * stride``; where `every` is not set, those
    whose number is a multiple of the stride. The first is always recorded.

    Attributes:
        every: In optimizer updates; None for whatever is offered.
        keep: The largest number of snapshots; None for any number.
        stride: A power of two; it doubles when there would be more than `keep`.
    """

    every: int | None = None
    keep: int | None = None
    stride: int = 1

    @classmethod
    def checked(cls, every: Any, keep: Any) -> Pace:
        """From what a user gave.

        Raises:
            LandscapeError: If one of them is no whole number, or is too small.
        """
        for name, value, least in (("every", every, 1), ("keep", keep, 2)):
            if value is not None and (type(value) is not int or value < least):
                expected = f"a whole number, {least} or more"
                raise LandscapeError("not a number of snapshots", where=name, got=repr(value), expected=expected)
        return cls(every, keep)

    def to_json(self) -> dict[str, int]:
        """Plain values, without those that are not set."""
        stride = None if self.keep is None else self.stride
        values = {"every": self.every, "keep": self.keep, "stride": stride}
        return {name: value for name, value in values.items() if value is not None}

    def candidate(self, step: int) -> bool:
        """Return whether a snapshot at a step may be recorded, now or after others were dropped."""
        return self.every is None or step % self.every == 0

    def room(self, steps: Sequence[int]) -> Turn:
        """Which snapshots stay so that one more may come.

        Args:
            steps: Those of the snapshots that there are.
        """
        pace, rows = self, tuple(range(len(steps)))
        while self.keep is not None and len(rows) >= self.keep:
            pace = replace(pace, stride=2 * pace.stride)
            rows = tuple(row for row in rows if row == 0 or self._position(steps, row) % pace._unit == 0)
        return Turn(rows, pace, thins=len(rows) < len(steps))

    def turn(self, steps: Sequence[int], step: int, offered: int) -> Turn | None:
        """Which snapshots stay if this candidate is recorded; None where it is not its turn.

        Args:
            steps: Those of the snapshots that there are.
            step: The step of the candidate.
            offered: How many candidates there were after the newest snapshot, this one included.
        """
        if not self.candidate(step):
            return None
        if not steps:
            return Turn((), self)
        turn = self.room(steps)
        position = step if self.every is not None else self._position(steps, len(steps) - 1) + offered
        return turn if position % turn.pace._unit == 0 else None

    @property
    def _unit(self) -> int:
        return (self.every or 1) * self.stride

    def _position(self, steps: Sequence[int], row: int) -> int:
        """Return what must be a multiple of `_unit`: the step, or the number of the candidate."""
        return steps[row] if self.every is not None else row * self.stride


@dataclass(frozen=True)
class Turn:
    """Effect of recording a snapshot on those that there are.

    Attributes:
        rows: Those that stay.
        pace: The schedule from then on.
        thins: Whether others are dropped.
    """

    rows: tuple[int, ...]
    pace: Pace
    thins: bool = False

"""Evaluators that an evaluation is done with, for the next one: what was copied and rewritten serves again."""

from __future__ import annotations

from collections.abc import Callable

import torch

from landscape.objective.evaluator import Evaluator
from landscape.objective.tuning import Tuning

# Bytes of weights that may lie idle.
_MOST = 2**26

Key = tuple[torch.dtype | None, Tuning]
Make = Callable[[torch.dtype | None, Tuning | None], Evaluator]


class Spare:
    """The evaluators of the last evaluation of an objective, if they are small."""

    def __init__(self) -> None:
        self._kept: dict[Key, list[Evaluator]] = {}

    def take(self, make: Make, dtype: torch.dtype | None, tuning: Tuning | None, count: int) -> list[Evaluator]:
        """So many evaluators, which nobody else has; load weights into them before use.

        Args:
            make: Makes those that are lacking.
            dtype: The type of real numbers.
            tuning: How their passes are made.
            count: How many.
        """
        kept = self._kept.pop((dtype, tuning), []) if tuning is not None else []
        return [*kept[:count], *(make(dtype, tuning) for _ in range(count - len(kept)))]

    def keep(self, dtype: torch.dtype | None, tuning: Tuning, evaluators: list[Evaluator]) -> None:
        """Take evaluators back; earlier ones are let go."""
        size = sum(flat.nbytes for one in evaluators for flat in one.flat.values())
        for one in evaluators:
            one.cut(tuning.batch_size)
        self._kept = {(dtype, tuning): evaluators} if size <= _MOST else {}

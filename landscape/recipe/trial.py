"""The time of steps that this cache has not seen the like of: one update, or one point, is timed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.plots import KINDS
from landscape.recipe.steps import Step

if TYPE_CHECKING:
    from landscape.objective import Objective

# Seconds after which nothing more is tried: an estimate of the time should not take long itself.
_MOST = 20.0


class Trial:
    """Seconds per unit of steps, each pace tried once."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._paces: dict[str, float | None] = {}
        self._objectives: dict[str, Objective] = {}

    def pace(self, step: Step) -> float | None:
        """Seconds per unit of a step; None where nothing can be tried, or there is no time left to."""
        if step.pace not in self._paces:
            late = time.monotonic() - self._began > _MOST
            try:
                self._paces[step.pace] = None if late else self._timed(step)
            except LandscapeError:
                # What is wrong is told where the step is made.
                self._paces[step.pace] = None
        return self._paces[step.pace]

    def _timed(self, step: Step) -> float | None:
        places, training = step.places, step.settings.get("training")
        if training is not None:
            from landscape.training import Settings
            from landscape.training.duration import seconds_of

            objective = self._objective(
                {"problem": places["problem"], "options": step.settings["options"], "data": places["data"]}
            )
            if objective is None:
                return None
            return seconds_of(objective, Settings.from_json(training)) / step.units
        kind = KINDS.get(step.settings.get("kind", ""))
        if kind is None or kind.unit != "point":
            return None
        from landscape.training.duration import quickest

        told = self._objective(next(iter(places["objectives"].values())))
        if told is None:
            return None
        wanted = kind.options(**places["options"])
        every = told.splits if kind.name == "curve" else ["train"]
        splits = list(getattr(wanted, "splits", ())) or list(every)
        return quickest(lambda: told.values(told.model, splits))

    def _objective(self, told: Mapping[str, Any]) -> Objective | None:
        """The objective of a problem at its initial weights; None of one that only a file names."""
        from landscape import problems

        if told["problem"] is None:
            return None
        about = {**told, "options": dict(told["options"])}
        key = json.dumps(about, sort_keys=True, default=str)
        if key not in self._objectives:
            self._objectives[key] = problems.build(
                told["problem"], told["options"], data=told["data"], device=told.get("device", "cpu")
            )
        return self._objectives[key]

"""Recording of the optimizer step that follows each snapshot, by the optimizer's own hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.optimizers.observer import Observed, Observer, Optimizers
from landscape.trajectory.resume import tensor_to_numpy
from landscape.trajectory.rounding import side_by_side
from landscape.trajectory.schema import Header
from landscape.trajectory.steps import BEGUN, SETTINGS, datasets_of_steps, row_bytes
from landscape.wrappers import unwrapped

Values = Mapping[str, NDArray[Any]]


class NoSteps:
    """Takes nothing, where there is no optimizer to watch."""

    about: Mapping[str, Any] = {}
    bytes = 0

    def require_same(self, header: Header) -> None:
        """Nothing was asked for: steps of a run that goes on end there."""

    def await_step(self, step: int | None) -> None:
        """Nothing comes."""

    def remove(self) -> None:
        """Nothing is watched."""


class StepRecorder:
    """Takes the step after a snapshot from its optimizer.

    Args:
        optimizers: One that steps once for each update of the model, or several.
        model: The model; or replicas of it are what the optimizer moves.
        layout: Its tensors.
        record: What is recorded of a step; see `landscape.optimizers.Observer`.
        dtype: ``"bfloat16"``: the element type that updates and preconditioners are rounded to; None for none.
        tell: Called with the updates before a step that was awaited, and dataset -> columns.

    Attributes:
        about: What a file says of it.

    Raises:
        LandscapeError: If something cannot be recorded.
    """

    def __init__(
        self,
        optimizers: Optimizers,
        model: Any,
        layout: Layout,
        record: Iterable[str],
        dtype: Any,
        tell: Callable[[int, Values], None],
    ) -> None:
        if not isinstance(model, nn.Module):
            raise LandscapeError(
                "steps are recorded of a model that an optimizer moves",
                where="optimizer",
                got=type(model).__name__,
            )
        storage = None if dtype is None else str(dtype).removeprefix("torch.")
        if storage not in (None, "bfloat16"):
            raise LandscapeError(
                "not a type for steps", where="record_dtype", got=repr(dtype), expected="'bfloat16'"
            )
        tensors = dict(unwrapped(model).named_parameters())
        self._observer = Observer(optimizers, tensors, record)
        self._layout, self._tell = layout, tell
        stored = ["update"] * ("update" in self._observer.record)
        stored += ["preconditioner"] * self._observer.preconditioned
        self.about: dict[str, Any] = {
            "kind": self._observer.kind,
            "name": self._observer.name,
            "groups": self._observer.groups,
            "columns": [BEGUN, *self._observer.columns],
            "record": list(self._observer.record),
            "stored": stored,
            "dtype": storage,
        }
        self._datasets = datasets_of_steps(layout, self.about)
        if "preconditioner" in stored and any(info.complex for own in self._datasets.values() for info in own):
            self.remove()
            raise LandscapeError(
                "preconditioners of complex parameters cannot be recorded", where="record", mend="leave it out"
            )

    @property
    def bytes(self) -> int:
        """Bytes that a step takes in the file."""
        return row_bytes(self._layout, self.about)

    def require_same(self, header: Header) -> None:
        """Refuse to go on with a run whose steps were recorded otherwise."""
        if dict(header.optimizer) != self.about:
            differ = [name for name, value in self.about.items() if header.optimizer.get(name) != value]
            raise LandscapeError(
                "the run was recorded with another optimizer, or other things of it",
                where=header.path,
                got=f"{differ[0]}={self.about[differ[0]]!r}"[:200],
                expected=f"{differ[0]}={header.optimizer.get(differ[0])!r}"[:200],
            )

    def await_step(self, step: int | None) -> None:
        """Tell the next step when it is made; None awaits nothing.

        Args:
            step: Updates before it.
        """
        if step is None:
            self._observer.await_step(None)
        else:
            self._observer.await_step(lambda seen: self._tell(step, self._columns(step, seen)))

    def _columns(self, step: int, seen: Observed) -> Values:
        values: dict[str, NDArray[Any]] = {SETTINGS: np.array([float(step), *seen.settings])}
        homes = {"updates": seen.update, "preconditioners": seen.preconditioner}
        for name, infos in self._datasets.items():
            home, dtype = name.split("/")
            tensors = homes[home]
            flat = side_by_side([tensors[info.name].detach().reshape(-1) for info in infos])
            values[name] = tensor_to_numpy(flat.to(getattr(torch, dtype)))[0]
        return values

    def remove(self) -> None:
        """Stop watching the optimizer."""
        self._observer.remove()

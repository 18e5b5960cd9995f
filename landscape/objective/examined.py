"""Model, loss and data, what was found to be true of them, and the evaluators that are made of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import nn

from landscape.copies import state_of
from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.objective.data import Batches, Source, Split
from landscape.objective.element_types import require_type
from landscape.objective.evaluator import Evaluator
from landscape.objective.examination import Case, examine, no_unit
from landscape.objective.findings import Findings, Origin
from landscape.objective.footprint import largest_batch
from landscape.objective.loaders import in_batches
from landscape.objective.loan import least_of_all
from landscape.objective.scores import Scoring
from landscape.objective.streams import Streamed, in_own_batches, made_size
from landscape.objective.tuning import Tuning
from landscape.params import layout_of


class Examined:
    """The part of an objective that examines its model and makes evaluators; it begins again when that changed."""

    model: nn.Module
    loss: Callable[..., Any]
    layout: Layout
    data: dict[str, Source]
    device: torch.device
    weight_decay: float
    # Engines that were found fast for it, by what their choice depends on.
    choices: dict[str, Any]
    origins: tuple[Origin, ...]
    findings: Findings
    example_bytes: int | None
    # Of a batch that is never cut; None where the size does not matter.
    fixed_batch: int | None
    in_place: bool
    _asked_batch_size: int | None
    _batch_size: int | None
    _residents: weakref.WeakValueDictionary[Any, Source]
    _scoring: Scoring | None
    _native: Evaluator
    _state: list[Any]

    def _examine(self) -> None:
        """Find what is true of model, loss and data, and the batches in which they are taken."""
        self._batch_size, self.origins = self._asked_batch_size, (Origin(),)
        self.findings, self.example_bytes = Findings(), None
        self.findings, self.example_bytes = examine(self._case())
        whole = [split.default_batch_size() for split in self.data.values() if not split.cuts]
        if whole and self._asked_batch_size not in (None, max(whole)):
            raise LandscapeError(
                "the batches of the loader cannot be cut",
                where="batch_size",
                got=self._asked_batch_size,
                mend="leave it out",
            )
        if self.findings.coupled:
            self.data = {name: self._in_whole_batches(name) for name in self.data}
            whole = [self._asked_batch_size or split.default_batch_size() for split in self.data.values()]
        if self.example_bytes is not None and self._asked_batch_size is None and not whole:
            fitting = min(largest_batch(self.example_bytes), self.default_tuning().batch_size)
            self._batch_size = least_of_all(self.model, fitting)
        self.fixed_batch = max(whole, default=None)

    def _case(self) -> Case:
        """The parts that are examined."""
        given = self._batch_size

        def make(splits: Mapping[str, Source], dtype: torch.dtype | None, size: int) -> Evaluator:
            tuning = replace(self.default_tuning(), batch_size=size)
            moved = {name: split.to(self.device, dtype, tuning.channels_last) for name, split in splits.items()}
            return self._evaluator(moved, dtype, tuning)

        stated = {name: given or made_size(split) for name, split in self.data.items()}
        return Case(make, self.model, self.loss, self.data, given, stated, self.in_place)

    def _in_whole_batches(self, name: str) -> Source:
        """A split in batches of the size that was asked for, or of its loader; an error where there is none."""
        split, size = self.data[name], self._batch_size
        if isinstance(split, Split) and (split.made or size is not None):
            return in_batches(split, size)
        if isinstance(split, Streamed):
            return split if size is not None else in_own_batches(split)
        if isinstance(split, Batches):
            return split
        raise no_unit(self._case(), self.findings)

    def _start(self) -> None:
        """Make the evaluator of `value`, and try how its loss is taken apart, for all evaluators to come."""
        self._scoring, self._state = None, state_of(self.model)
        self._native = self.evaluator()
        self._scoring = self._native.scoring

    def _follow(self) -> None:
        """Begin again where attributes, hooks or modules of the model were changed since it was last looked at.

        Raises:
            LandscapeError: If it has other parameters or buffers now.
        """
        if state_of(self.model) == self._state:
            return
        layouts = (layout_of(self.model, sharded=self.in_place), self.layout)
        now, before = ([(own.name, own.kind, own.shape, own.tied_to) for own in layout] for layout in layouts)
        if now != before:
            raise LandscapeError(
                "the model has other parameters or buffers than when its objective was made",
                mend="make the objective again",
            )
        self.choices = {}
        self._examine()
        self._start()

    def evaluator(self, dtype: torch.dtype | None = None, tuning: Tuning | None = None) -> Evaluator:
        """A private copy of the model that measures at the weights put into it; data are shared.

        Args:
            dtype: The type of real numbers; None is the model's own.
            tuning: How the passes are made; None is how `value` makes them.

        Raises:
            LandscapeError: If the model cannot be computed in that type.
        """
        self._follow()
        if self.in_place and dtype is not None:
            raise LandscapeError("in place, numbers are of the type of the model", where="dtype")
        chosen = tuning or self.default_tuning()
        splits = {name: self._resident(name, dtype, chosen.channels_last) for name in self.data}
        made = self._evaluator(splits, dtype, chosen, self._scoring if dtype is None else None)
        if dtype is not None:
            require_type(made, self._native, dtype)
        return made

    def _evaluator(
        self,
        splits: Mapping[str, Source],
        dtype: torch.dtype | None,
        tuning: Tuning,
        scoring: Scoring | None = None,
    ) -> Evaluator:
        return Evaluator(
            self.model,
            self.layout,
            self.loss,
            splits,
            weight_decay=self.weight_decay,
            device=self.device,
            dtype=dtype,
            tuning=tuning,
            scoring=scoring,
            findings=self.findings,
            in_place=self.in_place,
        )

    def default_tuning(self) -> Tuning:
        """Settings of the passes of `value`: nothing rewritten, a micro-batch that suits most models."""
        images = any(isinstance(module, nn.Conv2d) for module in self.model.modules())
        return Tuning(
            batch_size=self._batch_size or next(iter(self.data.values())).default_batch_size(),
            channels_last=images and self.device.type == "cpu",
        )

    def _resident(self, name: str, dtype: torch.dtype | None, channels_last: bool) -> Source:
        """A split as it is needed on the device; evaluators share it for as long as one of them lives."""
        key = (name, dtype, channels_last)
        held = self._residents.get(key)
        if held is None:
            held = self.data[name].to(self.device, dtype, channels_last)
            self._residents[key] = held
        return held

    def __copy__(self) -> Self:
        self._follow()
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.origins = (Origin(),)
        return other

    def __getstate__(self) -> dict[str, Any]:
        if self.in_place:
            raise LandscapeError(
                "an objective in place stays in its process: another would hold a copy of the model",
                where="workers",
                mend="leave --workers out, or make the objective without in_place",
            )
        # In another process copies of the model and of the data are made again.
        return {name: own for name, own in self.__dict__.items() if name not in ("_native", "_residents")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._residents = weakref.WeakValueDictionary()
        self._start()

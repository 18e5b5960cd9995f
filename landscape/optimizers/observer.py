"""Observation of an optimizer's steps by its own hooks: the weights before and after, and its state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.optimizers.recognition import completed, kind_of, names_of, preconditioner_of, settings_of
from landscape.optimizers.thresholds import DIAGONAL
from landscape.vocabulary import RECORDED

Optimizers: TypeAlias = "torch.optim.Optimizer | Sequence[torch.optim.Optimizer]"


@dataclass(frozen=True)
class Observed:
    """A step that was made: its settings, by group, and tensors by parameter.

    Attributes:
        settings: One row of numbers, in the order of `Observer.columns`.
        update: Parameter -> its change.
        preconditioner: Parameter -> the diagonal of P.
    """

    settings: list[float]
    update: Mapping[str, Tensor]
    preconditioner: Mapping[str, Tensor]


class Observer:
    """Sees the steps of optimizers that are asked for.

    Args:
        optimizers: One, or several that step once each for every update of the model.
        tensors: Parameter -> the tensor that is trained, in the order of the model.
        record: Which of ``"update"``, ``"preconditioner"`` and ``"lr"``.

    Attributes:
        kind: That of the optimizers; ``"mixed"`` where they differ.
        name: Their classes.
        groups: Parameter -> the number of its group, over all optimizers.
        columns: Names of the settings: the group's number, a dot and the name.
        record: What is recorded.

    Raises:
        LandscapeError: If something else is to be recorded, or no optimizer moves a parameter of the model.
    """

    def __init__(self, optimizers: Optimizers, tensors: Mapping[str, Tensor], record: Iterable[str]) -> None:
        given = [optimizers] if isinstance(optimizers, torch.optim.Optimizer) else list(optimizers)
        # Wrappers of accelerators step the optimizer that they hold.
        self._optimizers = [_inner(one) for one in given]
        self.record = checked_record(record)
        kinds = [kind_of(one) for one in self._optimizers]
        self.kind = kinds[0] if len(set(kinds)) == 1 else "mixed"
        self.name = ", ".join(dict.fromkeys(type(one).__name__ for one in self._optimizers))
        # By number: loading a state puts other dictionaries in the place of groups.
        self._members = [
            (one, kind, place)
            for one, kind in zip(self._optimizers, kinds, strict=True)
            for place in range(len(one.param_groups))
        ]
        self._counts = [len(one.param_groups) for one in self._optimizers]
        self._parts = _parts(self._optimizers[0], tensors)
        owner = {id(each): n for n in range(len(self._members)) for each in self._member(n)[2]["params"]}
        found = {name: owner.get(id(parts[0])) for name, parts in self._parts.items()}
        self.groups = {name: number for name, number in found.items() if number is not None}
        if not self.groups:
            raise LandscapeError(
                "the optimizer moves no parameter of the model", where="optimizer", mend="give that of this model"
            )
        # Replicas have the same settings; of theirs one set is kept.
        kept = sorted(set(self.groups.values()))
        self._kept = kept
        self.columns = [f"{n}.{name}" for n in kept for name in names_of(self._members[n][1])]
        self._before: dict[str, list[Tensor]] | None = None
        self._settings: dict[int, dict[str, float]] = {}
        self._waiting: set[int] = set()
        self._tell: Callable[[Observed], None] | None = None
        self._hooks: list[Any] = []
        for number, one in enumerate(self._optimizers):
            self._hooks.append(one.register_step_pre_hook(functools.partial(self._begin, number)))
            self._hooks.append(one.register_step_post_hook(functools.partial(self._end, number)))

    @property
    def preconditioned(self) -> bool:
        """Return whether P is more than the identity, and recorded."""
        kinds = {self._members[n][1] for n in self._kept}
        return "preconditioner" in self.record and bool(kinds & {*DIAGONAL})

    def await_step(self, tell: Callable[[Observed], None] | None) -> None:
        """Tell the next step when it is made, once; None forgets what was awaited."""
        self._tell, self._before, self._waiting = tell, None, set()

    def remove(self) -> None:
        """Stop observing."""
        self.await_step(None)
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @torch.no_grad()
    def _begin(self, number: int, *_: Any) -> None:
        if self._tell is None or (self._before is not None and number not in self._waiting):
            return
        if self._before is None:
            if [len(one.param_groups) for one in self._optimizers] != self._counts:
                raise LandscapeError(
                    "the optimizer's parameter groups changed while its steps were recorded",
                    where="optimizer",
                    mend="begin another recording with the new groups",
                )
            needed = self.groups if {"update", "preconditioner"} & {*self.record} else ()
            self._before = {name: [each.clone() for each in self._parts[name]] for name in needed}
            self._waiting = set(range(len(self._optimizers)))
        for n in self._kept:
            optimizer, kind, group = self._member(n)
            if optimizer is self._optimizers[number]:
                self._settings[n] = settings_of(optimizer, kind, group)

    @torch.no_grad()
    def _end(self, number: int, *_: Any) -> None:
        if self._tell is None or self._before is None:
            return
        self._waiting.discard(number)
        if self._waiting:
            return
        tell, before = self._tell, self._before
        row: list[float] = []
        for n in self._kept:
            optimizer, kind, group = self._member(n)
            own = completed(optimizer, kind, group, self._settings[n])
            row += [own[name] for name in names_of(kind)]
        update = {name: _mean(self._parts[name], held) for name, held in before.items()}
        update = update if "update" in self.record else {}
        found = {name: self._diagonal(name, before[name][0]) for name in before if self.preconditioned}
        self.await_step(None)
        tell(Observed(row, update, found))

    def _member(self, number: int) -> tuple[torch.optim.Optimizer, str, dict[str, Any]]:
        optimizer, kind, place = self._members[number]
        return optimizer, kind, optimizer.param_groups[place]

    def _diagonal(self, name: str, before: Tensor) -> Tensor:
        optimizer, kind, group = self._member(self.groups[name])
        if kind not in DIAGONAL:
            return torch.ones_like(before)
        return preconditioner_of(optimizer, kind, group, self._parts[name][0], before)


def checked_record(record: Iterable[str]) -> tuple[str, ...]:
    """Names of what is recorded of steps, in the usual order; the rate comes with anything.

    Raises:
        LandscapeError: If something else is asked for.
    """
    asked = [record] if isinstance(record, str) else list(record)
    unknown = [name for name in asked if name not in RECORDED]
    if unknown:
        expected = ", ".join(RECORDED)
        raise LandscapeError("cannot be recorded", where="record", got=repr(unknown[0]), expected=expected)
    return tuple(name for name in RECORDED if name in asked or name == "lr")


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    inner = getattr(optimizer, "optimizer", optimizer)
    found: torch.optim.Optimizer = inner if isinstance(inner, torch.optim.Optimizer) else optimizer
    return found


def _parts(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Parameter -> the tensors whose mean it is: itself, or its copies in replicas where it is their centre."""
    known = {id(each) for group in optimizer.param_groups for each in group["params"]}
    count = optimizer.defaults.get("replicas") if kind_of(optimizer) == "replicated-sgd" else None
    if count is None or any(id(each) in known for each in tensors.values()):
        return {name: [each] for name, each in tensors.items()}
    flat = [each for group in optimizer.param_groups for each in group["params"]]
    rows = [flat[start : start + len(flat) // count] for start in range(0, len(flat), len(flat) // count)]
    moving = [name for name, each in tensors.items() if each.requires_grad]
    return {name: list(copies) for name, copies in zip(moving, zip(*rows, strict=True), strict=True)}


def _mean(parts: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    changes = [after.detach() - held for after, held in zip(parts, before, strict=True)]
    return changes[0] if len(changes) == 1 else torch.stack(changes).mean(dim=0)

"""One recorded step of an optimizer: the update made, the rate, the preconditioner, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.optimizers.thresholds import threshold_words
from landscape.values.result import Result

if TYPE_CHECKING:
    from torch import Tensor

# What parameter groups may differ in and still have one threshold: rates scale the preconditioner, and coupled
# decay is part of the matrix.
_MAY_DIFFER = ("lr", "weight_decay")


@dataclass(frozen=True)
class Step(Result):
    """The optimizer step that follows a snapshot.

    Attributes:
        step: Updates before it: it leads from `step` to `step` + 1.
        kind: One of `landscape.optimizers.KINDS`, ``"mixed"`` where several kinds of optimizers share a step, or
            ``"unknown"``.
        optimizer: The class of the optimizer.
        settings: Of every parameter group, name -> number: ``lr``, ``momentum``, ``weight_decay`` and so on.
        groups: Parameter -> the number of its group; parameters that the optimizer does not move are missing.
        update: Parameter -> its change; empty where updates were not recorded.
        preconditioner: Parameter -> the diagonal of P; None where it is the identity or was not recorded.
    """

    step: int
    kind: str
    optimizer: str
    settings: tuple[Mapping[str, float], ...]
    groups: Mapping[str, int]
    update: Mapping[str, Tensor]
    preconditioner: Mapping[str, Tensor] | None = None

    @property
    def lr(self) -> float:
        """The largest learning rate of its groups."""
        return max(own.get("lr", float("nan")) for own in self.settings)

    @property
    def uniform(self) -> Mapping[str, float] | None:
        """Settings of all groups, with the largest rate; None where groups differ in more than rate and decay."""
        first, *others = self.settings
        for own in others:
            names = (first.keys() | own.keys()) - {*_MAY_DIFFER}
            if not all(_same(first.get(name), own.get(name)) for name in names):
                return None
        decay = max(own.get("weight_decay", 0.0) for own in self.settings)
        return {**first, "lr": self.lr, "weight_decay": decay}

    @property
    def words(self) -> str:
        """Name of its threshold, or the reason why there is none."""
        if self.kind == "unknown":
            return f"no threshold is known of {self.optimizer}"
        if self.kind == "mixed":
            return f"{self.optimizer}: no threshold is known of several kinds of optimizers together"
        own = self.uniform
        if own is None:
            return f"{self.optimizer}: no threshold is known of parameter groups with different momentum"
        return threshold_words(self.kind, own)


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and one != one and other != other)

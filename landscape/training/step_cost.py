"""Cost of recording optimizer steps, known before the training."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.objective import Objective
from landscape.training.plan import Plan
from landscape.training.settings import Settings
from landscape.values.result import Result

# Optimizers of a recorded training that have a preconditioner.
_ADAPTIVE = ("adam",)


@dataclass(frozen=True)
class StepCost(Result):
    """Cost of recording the step beside each snapshot.

    Attributes:
        record: What is recorded.
        bytes: What one step takes in the file.
        snapshots: The number of snapshots of a training that runs to its end, replicas included.
    """

    record: tuple[str, ...]
    bytes: int
    snapshots: int

    @property
    def words(self) -> str:
        """The cost in a sentence."""
        size = f"{self.bytes / 1e6:.3g} MB each, {self.bytes * self.snapshots / 1e6:.3g} MB in all"
        copies = "" if not self.bytes else "; in the steps that are recorded the weights are copied once more"
        return f"records {', '.join(self.record)} beside each of {self.snapshots} snapshots: {size}{copies}"


def cost_of_steps(objective: Objective, settings: Settings) -> StepCost:
    """The cost of recording what the settings ask for.

    Args:
        objective: What is trained.
        settings: Of the training.

    Example:
        >>> cost_of_steps(objective, Settings(epochs=3, record=("update",))).snapshots  # doctest: +SKIP
        4
    """
    plan = Plan.of(objective.data["train"], settings)
    every = settings.every.steps(plan.steps_per_epoch)
    size = 0
    for info in objective.layout.moving():
        size += info.numbers * (2 if settings.record_dtype else int(info.dtype[-2:] or 32) // 8)
    kinds = ["update"] * ("update" in settings.record)
    kinds += ["preconditioner"] * ("preconditioner" in settings.record and settings.optimizer in _ADAPTIVE)
    replicas = settings.choices.replicas if settings.optimizer == "replicated-sgd" else 0
    return StepCost(settings.record, len(kinds) * size, (1 + replicas) * (1 + -(-plan.total // every)))

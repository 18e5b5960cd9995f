"""What decides a training run, validated once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from landscape.errors import LandscapeError, did_you_mean
from landscape.options import read_options
from landscape.training.choices import CHOICES

OPTIMIZERS = tuple(CHOICES)
SCHEDULES = ("constant", "step", "cosine", "linear")

_DEFAULT_RATE = {"sgd": 0.1, "gd": 0.1, "adam": 1e-3}
# Epochs 150, 225 and 275 of 300, each a tenth of the rate before: Li et al. 2018, section 4.
_STEP_MILESTONES = (150 / 300, 225 / 300, 275 / 300)
_STEP_FACTOR = 0.1
# No run is that long; beyond it, floating-point counts skip whole numbers.
_LONGEST = 1e12


@dataclass(frozen=True)
class Every:
    """How often a snapshot is taken.

    Attributes:
        count: A positive number.
        unit: ``"steps"`` (optimizer updates) or ``"epochs"``.
    """

    count: float = 1
    unit: str = "epochs"

    @classmethod
    def parse(cls, text: str) -> Every:
        """Read ``"50"`` (steps), ``"50steps"`` or ``"2epochs"``.

        Raises:
            LandscapeError: If it is none of these.

        Example:
            >>> Every.parse("0.5epochs")
            Every(count=0.5, unit='epochs')
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(steps?|epochs?)?\s*", text)
        unit = "epochs" if match and (match[2] or "").startswith("epoch") else "steps"
        count = float(match[1]) if match else 0.0
        if not 0 < count < _LONGEST or (unit == "steps" and count % 1):
            raise LandscapeError(
                "not an interval", where="every", got=f"'{text}'", expected="50, 50steps or 2epochs"
            )
        return cls(count, unit)

    def steps(self, steps_per_epoch: int) -> int:
        """The interval in optimizer updates, at least 1."""
        return max(1, round(self.count * (steps_per_epoch if self.unit == "epochs" else 1)))


@dataclass(frozen=True)
class Settings:
    """What decides a training run besides its objective.

    Attributes:
        optimizer: ``"sgd"``, ``"gd"`` (all examples in one step), ``"adam"``, ``"sam"``, ``"entropy-sgd"`` or
            ``"replicated-sgd"``.
        epochs: Each has as many updates as minibatches make a pass over the training data. An update of ``sam``
            takes two gradients, of ``entropy-sgd`` L, of ``replicated-sgd`` one per replica.
        lr: Initial learning rate; None takes the optimizer's usual one (0.1; Adam 0.001).
        batch_size: Examples of a minibatch; ``gd`` takes all.
        momentum: Of all but Adam; of Entropy-SGD that of the outer updates.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: lambda of the penalty (lambda / 2) |theta|^2, over all trained parameters.
        schedule: ``"constant"``, ``"step"`` (a tenth at 50, 75 and 92 % of training, as in Li et al. 2018),
            ``"cosine"`` or ``"linear"`` (to zero).
        warmup_epochs: Epochs over which the rate rises linearly from zero first.
        seed: Draws the initial weights (in the problem) and the order of the examples.
        every: How often a snapshot is taken; the first and the last always are.
        target_loss: Training ends early at the first snapshot whose training loss (mean per example, without
            penalty) is at most this; None trains for all epochs. Schedules do not count with it.
        optimizer_options: Options of the optimizer, name -> value, as text or as stored; see `choices`.

    Raises:
        LandscapeError: Naming every setting that is wrong.
    """

    optimizer: str = "sgd"
    epochs: int = 10
    lr: float | None = None
    batch_size: int = 128
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    seed: int = 0
    every: Every = Every()
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    target_loss: float | None = None

    def __post_init__(self) -> None:
        faults = [
            *_choice("optimizer", self.optimizer, OPTIMIZERS),
            *_choice("schedule", self.schedule, SCHEDULES),
            *_number("epochs", self.epochs, lambda n: n >= 1, "at least 1"),
            *_number("lr", self.rate, lambda n: n > 0, "positive"),
            *_number("batch_size", self.batch_size, lambda n: n >= 1, "at least 1"),
            *_number("momentum", self.momentum, lambda n: 0 <= n < 1, "in [0, 1)"),
            *_number("weight_decay", self.weight_decay, lambda n: n >= 0, "not negative"),
            *_number("warmup_epochs", self.warmup_epochs, lambda n: n >= 0, "not negative"),
            *_number("seed", self.seed, lambda n: 0 <= n < 2**63, "in [0, 2^63)"),
        ]
        if self.target_loss is not None:
            faults += _number("target_loss", self.target_loss, lambda n: n > 0, "positive")
        if self.nesterov and self.momentum == 0:
            faults.append("nesterov needs a momentum above 0")
        if self.optimizer in OPTIMIZERS:
            try:
                self.choices  # noqa: B018
            except LandscapeError as fault:
                faults.append(str(fault))
        if faults:
            raise LandscapeError("; ".join(faults), where="training")

    @property
    def choices(self) -> Any:
        """The options of the optimizer with their defaults: one of the classes in `CHOICES`."""
        return read_options(CHOICES[self.optimizer], self.optimizer_options, self.optimizer)

    @property
    def rate(self) -> float:
        """The initial learning rate."""
        return _DEFAULT_RATE.get(self.optimizer, 0.1) if self.lr is None else self.lr

    def rate_at(self, step: int, total: int, steps_per_epoch: int) -> float:
        """The learning rate of update number `step` (from 0) of `total`."""
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup:
            return self.rate * (step + 1) / warmup
        return self.rate * _schedule_factor(self.schedule, (step - warmup) / max(1, total - warmup))

    def reached(self, train_loss: float) -> bool:
        """Whether training ends at a snapshot with this training loss."""
        return self.target_loss is not None and train_loss <= self.target_loss

    def to_json(self) -> dict[str, Any]:
        """As plain values; options of the optimizer and a target only where there are some."""
        entries = {**asdict(self), "lr": self.rate, "every": asdict(self.every)}
        chosen = asdict(self.choices)
        del entries["optimizer_options"]
        if self.target_loss is None:
            del entries["target_loss"]
        return {**entries, **({"optimizer_options": chosen} if chosen else {})}

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Settings:
        """The settings that `to_json` wrote.

        Raises:
            LandscapeError: If these are not such settings.
        """
        try:
            return cls(**{**entries, "every": Every(**entries["every"])})
        except (KeyError, TypeError) as error:
            raise LandscapeError(
                "the run was not made by `landscape train`, so it cannot be resumed here",
                mend="give another name, or pass --overwrite",
            ) from error


def _schedule_factor(schedule: str, progress: float) -> float:
    if schedule == "step":
        return _STEP_FACTOR ** sum(progress >= milestone for milestone in _STEP_MILESTONES)
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1 - progress if schedule == "linear" else 1.0


def _choice(name: str, given: str, known: tuple[str, ...]) -> list[str]:
    return [] if given in known else [f"unknown {name} '{given}', {did_you_mean(given, known)}"]


def _number(name: str, given: float, valid: Callable[[float], bool], rule: str) -> list[str]:
    return [] if math.isfinite(given) and valid(given) else [f"{name} must be {rule}, got {given}"]

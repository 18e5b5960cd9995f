"""Settings of a training run, validated once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from landscape.errors import LandscapeError
from landscape.forms import NAMES, NUMBER, SEED, TABLE, TEXT, Form
from landscape.options import Options, fields_of, option, read_options
from landscape.training.choices import CHOICES
from landscape.vocabulary import RECORDED, SCHEDULES

OPTIMIZERS = tuple(CHOICES)

_DEFAULT_RATE = {"sgd": 0.1, "gd": 0.1, "adam": 1e-3, "muon": 0.02}
# Epochs 150, 225 and 275 of 300, each a tenth of the rate before: Li et al. 2018, section 4.
_STEP_MILESTONES = (150 / 300, 225 / 300, 275 / 300)
_STEP_FACTOR = 0.1
# No run is that long; beyond it, floating-point counts skip whole numbers.
_LONGEST = 1e12


@dataclass(frozen=True)
class Every:
    """Interval between snapshots.

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


def _every(given: Any) -> Every:
    if isinstance(given, Every):
        return given
    return Every(**given) if isinstance(given, Mapping) else Every.parse(str(given))


def recorded(names: tuple[str, ...]) -> None:
    """Check names of what is recorded of a step.

    Raises:
        LandscapeError: If one is unknown.
    """
    for name in names:
        if name not in RECORDED:
            raise LandscapeError(
                "cannot be recorded", where="record", got=f"'{name}'", expected=", ".join(RECORDED)
            )


EVERY = Form("an interval such as 50, 50steps or 2epochs", _every, "N[epochs]")


@dataclass(frozen=True)
class Settings(Options):
    """Settings of a training run: all that decides it besides its objective.

    An epoch has as many updates as minibatches make a pass over the training data. An update of ``sam`` takes two
    gradients, of ``entropy-sgd`` L, of ``replicated-sgd`` one per replica. Of Entropy-SGD, the momentum is that of
    the outer updates. Schedules do not count with a target of the loss. Options of the optimizer may be text, or
    as stored; see `choices`.

    Raises:
        LandscapeError: Naming every setting that is wrong.
    """

    optimizer: str = option("sgd", "The optimizer; gd takes all examples in one step", choices=OPTIMIZERS)
    epochs: int = option(10, "Passes over the training data; of entropy-sgd, L passes each", low=1)
    lr: float | None = option(None, "Learning rate", form=NUMBER, above=0, unset="0.1; adam 0.001; muon 0.02")
    batch_size: int = option(128, "Examples per update; gd takes all", low=1)
    momentum: float = option(0.9, "Momentum of all but adam", low=0, below=1)
    nesterov: bool = option(False, "Nesterov's momentum")
    weight_decay: float = option(0.0, "Penalty lambda/2 |weights|^2", low=0)
    schedule: str = option("constant", "How the rate falls", choices=SCHEDULES)
    warmup_epochs: float = option(0.0, "Epochs of linear warm-up", low=0)
    seed: int = option(0, "Draws the initial weights and the order of examples", form=SEED, low=0)
    every: Every = option(  # noqa: RUF009 (frozen)
        Every(), "Snapshots every N steps, or epochs", form=EVERY, unset="1epochs"
    )
    optimizer_options: Mapping[str, Any] = option(
        {},
        "An option of sam (rho, adaptive), muon (adjustment), entropy-sgd (L, gamma, noise, ...) or "
        "replicated-sgd (replicas, gamma, ...); repeatable; see docs/optimizers.md",
        form=TABLE,
        needs="optimizer",
    )
    target_loss: float | None = option(
        None,
        "End at the first snapshot with no more training loss (mean per example, without penalty)",
        form=NUMBER,
        above=0,
        unset="none",
    )
    record: tuple[str, ...] = option(
        (),
        "Beside each snapshot, of the update that follows it: update, preconditioner, lr",
        form=NAMES,
        check=recorded,
        unset="nothing",
    )
    record_dtype: str | None = option(
        None,
        "Type that updates and preconditioners are rounded to",
        form=TEXT,
        choices=("bfloat16",),
        needs="record",
        unset="the model's own",
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what does not go together."""
        if self.record_dtype is not None and not self.record:
            yield "record_dtype", "record_dtype is of what is recorded; ask for record too"
        if self.nesterov and self.momentum == 0:
            yield "nesterov", "nesterov needs a momentum above 0"
        try:
            self.choices  # noqa: B018
        except LandscapeError as fault:
            yield "optimizer_options", str(fault)

    @classmethod
    def of(cls, options: Options, **others: Any) -> Settings:
        """The settings among other options."""
        theirs = fields_of(type(options))
        own = {name: getattr(options, name) for name in fields_of(cls) if name in theirs}
        return cls(**{**own, **others})

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
        """Return whether training stops at this training loss."""
        return self.target_loss is not None and train_loss <= self.target_loss

    def to_json(self) -> dict[str, Any]:
        """As plain values; options of the optimizer, a target and what is recorded only where there are some."""
        entries = {**asdict(self), "lr": self.rate, "every": asdict(self.every)}
        chosen = asdict(self.choices)
        del entries["optimizer_options"]
        for name in ("target_loss", "record", "record_dtype"):
            if not entries[name]:
                del entries[name]
        if self.record:
            entries["record"] = list(self.record)
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

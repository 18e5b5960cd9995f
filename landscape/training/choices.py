"""Options of single optimizers in a recorded training, besides those that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landscape.options import NoOptions, automatic, automatic_flag, option
from landscape.training.gamma import GAMMA_SHAPES, GROWTH, GammaSchedule
from landscape.vocabulary import ADJUSTMENTS, AVERAGES, STARTS, WALK_NOISES

# A step of a walk, or of a replica, goes at most this share of the way back, unless a limit is given: from twice
# as far on it would swing ever wider.
_FURTHEST = 1.0
_FURTHEST_REPLICA = 0.5
# From so many replicas on one mapped pass is faster; see `replicas.Together`.
_TOGETHER = 4


@dataclass(frozen=True)
class SamChoices:
    """Options of ``sam``."""

    rho: float = option(0.05, "radius of the ball in which the loss is made worst", low=0)
    adaptive: bool = option(False, "scale the ball by the weights (ASAM)")
    eta: float = option(0.01, "added to the weights where they scale the ball", low=0)


@dataclass(frozen=True)
class MuonChoices:
    """Options of ``muon``."""

    adjustment: str = option("original", "factor of the rate for the shape of a matrix", choices=ADJUSTMENTS)


@dataclass(frozen=True)
class EntropyChoices:
    """Options of ``entropy-sgd``."""

    L: int = option(5, "steps of the walk that averages, one minibatch each; 0 is sgd", low=0)
    inner_lr: float = option(0.1, "step size of the walk", above=0)
    inner_momentum: float = option(0.0, "momentum of the walk", low=0, below=1)
    inner_nesterov: bool = option(True, "whether that is Nesterov's")
    inner_weight_decay: float | None = automatic("penalty in the walk; auto: that of the training", low=0)
    noise: float = option(1e-4, "size of the noise of the walk", low=0)
    noise_convention: str = option(
        "code", "code: sqrt(2 inner_lr) noise; paper: without the 2", choices=WALK_NOISES
    )
    average: float = option(0.75, "weight of the running average of the walk", low=0, high=1)
    average_on: str = option("old", "whether that weights the old average or the new point", choices=AVERAGES)
    gamma: float | None = automatic("initial gamma; auto: loss over half the squared distance walked", low=0)
    gamma_schedule: str = option("exponential", "how gamma grows", choices=GAMMA_SHAPES)
    gamma_growth: float = option(GROWTH, "the factor by which it grows over the training", above=0)
    gamma_rate: float | None = automatic("rate per tick instead (scoping); auto: by gamma_growth", above=-1)
    gamma_per: str = option("step", "a tick of the schedule", choices=("step", "epoch"))
    gamma_limit: float | None = automatic("largest gamma; auto: 1 / inner_lr (the walk diverges at 2)", above=0)
    scale_by_gamma: bool = option(True, "outer step lr gamma (w - mu), instead of lr (w - mu)")
    coupling_in_momentum: bool = option(True, "whether the walk's momentum gathers the pull towards w")

    def schedule(self, epochs: int, steps_per_epoch: int, rate: float) -> GammaSchedule:
        """Return the schedule of gamma over a training of so many epochs; the learning rate does not count."""
        return _schedule(self, epochs, steps_per_epoch, _FURTHEST / self.inner_lr)

    @property
    def evaluations(self) -> int:
        """Minibatch gradients per update."""
        return max(1, self.L)


@dataclass(frozen=True)
class ReplicaChoices:
    """Options of ``replicated-sgd``."""

    replicas: int = option(3, "copies that are trained together", low=1)
    start: str = option("shuffled", "weights of the others: those of the first in other orders", choices=STARTS)
    gamma: float | None = automatic("initial gamma; auto: mean loss of epoch 1 over mean squared distance", low=0)
    gamma_schedule: str = option("exponential", "how gamma grows", choices=GAMMA_SHAPES)
    gamma_growth: float = option(GROWTH, "the factor by which it grows over the training", above=0)
    gamma_rate: float | None = automatic("rate per tick instead; auto: by gamma_growth", above=-1)
    gamma_per: str = option("epoch", "a tick of the schedule", choices=("step", "epoch"))
    gamma_limit: float | None = automatic(
        "the largest gamma; auto: an update goes half the way to the centre", above=0
    )
    half: bool = option(False, "coupling gamma |w - m|^2 / 2 instead of gamma |w - m|^2")
    coupling_every: int = option(1, "the coupling acts in every so many updates", low=1)
    recalibrate: bool = option(
        False, "re-estimate the statistics of normalisation of the centre, instead of their mean"
    )
    together: bool | None = automatic_flag(
        "one mapped pass for all replicas; auto: for 4 and more of a fully connected network"
    )

    def __post_init__(self) -> None:
        if self.together is None and self.replicas < _TOGETHER:
            object.__setattr__(self, "together", False)

    def schedule(self, epochs: int, steps_per_epoch: int, rate: float) -> GammaSchedule:
        """Return the schedule of gamma over a training.

        Args:
            epochs: Of the training.
            steps_per_epoch: Updates of an epoch.
            rate: The largest learning rate.
        """
        return _schedule(self, epochs, steps_per_epoch, _FURTHEST_REPLICA / (rate * (1 if self.half else 2)))


def _schedule(
    choices: EntropyChoices | ReplicaChoices, epochs: int, steps_per_epoch: int, limit: float
) -> GammaSchedule:
    by_step = choices.gamma_per == "step"
    return GammaSchedule(
        choices.gamma_schedule,
        growth=choices.gamma_growth,
        ticks=epochs * (steps_per_epoch if by_step else 1),
        period=1 if by_step else steps_per_epoch,
        rate=choices.gamma_rate,
        limit=limit if choices.gamma_limit is None else choices.gamma_limit,
    )


CHOICES: Mapping[str, type[Any]] = {
    "sgd": NoOptions,
    "gd": NoOptions,
    "adam": NoOptions,
    "muon": MuonChoices,
    "sam": SamChoices,
    "entropy-sgd": EntropyChoices,
    "replicated-sgd": ReplicaChoices,
}

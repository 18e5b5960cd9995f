"""Training that is recorded: deterministic by seed, resumable to the bit. Optimizers that stand on their own."""

from landscape.training.choices import CHOICES
from landscape.training.entropy_sgd import EntropySGD
from landscape.training.gamma import GAMMA_SHAPES, GammaSchedule, growth_rate
from landscape.training.loop import train
from landscape.training.replicas import centre
from landscape.training.replicated_sgd import ReplicatedSGD
from landscape.training.sam import SAM
from landscape.training.settings import OPTIMIZERS, SCHEDULES, Every, Settings

__all__ = [
    "CHOICES",
    "GAMMA_SHAPES",
    "OPTIMIZERS",
    "SAM",
    "SCHEDULES",
    "EntropySGD",
    "Every",
    "GammaSchedule",
    "ReplicatedSGD",
    "Settings",
    "centre",
    "growth_rate",
    "train",
]

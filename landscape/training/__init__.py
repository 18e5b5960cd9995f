"""Training that is recorded: deterministic by seed, resumable to the bit. Optimizers that stand on their own.

What decides a training needs no torch; training does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy
from landscape.training.choices import CHOICES
from landscape.training.gamma import GAMMA_SHAPES, GammaSchedule, growth_rate
from landscape.training.noise import MODES, Noise
from landscape.training.settings import OPTIMIZERS, Every, Settings
from landscape.vocabulary import SCHEDULES

if TYPE_CHECKING:
    from landscape.training.entropy_sgd import EntropySGD as EntropySGD
    from landscape.training.loop import train as train
    from landscape.training.muon import Muon as Muon
    from landscape.training.replicas import centre as centre
    from landscape.training.replicated_sgd import ReplicatedSGD as ReplicatedSGD
    from landscape.training.sam import SAM as SAM
    from landscape.training.start import Start as Start
    from landscape.training.step_cost import cost_of_steps as cost_of_steps

_HOME = {
    "EntropySGD": "entropy_sgd",
    "Muon": "muon",
    "ReplicatedSGD": "replicated_sgd",
    "SAM": "sam",
    "Start": "start",
    "centre": "replicas",
    "cost_of_steps": "step_cost",
    "train": "loop",
}
__all__ = [
    "CHOICES",
    "GAMMA_SHAPES",
    "MODES",
    "OPTIMIZERS",
    "SAM",
    "SCHEDULES",
    "EntropySGD",
    "Every",
    "GammaSchedule",
    "Muon",
    "Noise",
    "ReplicatedSGD",
    "Settings",
    "Start",
    "centre",
    "cost_of_steps",
    "growth_rate",
    "train",
]

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)

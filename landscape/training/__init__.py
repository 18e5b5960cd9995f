"""Training that is recorded: deterministic by seed, resumable to the bit."""

from landscape.training.loop import train
from landscape.training.noise import MODES, Noise
from landscape.training.settings import OPTIMIZERS, SCHEDULES, Every, Settings
from landscape.training.start import Start

__all__ = ["MODES", "OPTIMIZERS", "SCHEDULES", "Every", "Noise", "Settings", "Start", "train"]

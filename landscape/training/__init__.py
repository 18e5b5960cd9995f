"""Training that is recorded: deterministic by seed, resumable to the bit."""

from landscape.training.loop import train
from landscape.training.settings import OPTIMIZERS, SCHEDULES, Every, Settings

__all__ = ["OPTIMIZERS", "SCHEDULES", "Every", "Settings", "train"]

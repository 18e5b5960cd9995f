"""Which examples make which update of a training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from landscape.objective import Split
from landscape.objective.data import Batches, Source
from landscape.training.settings import Settings


@dataclass(frozen=True)
class Plan:
    """Which examples make which minibatch; batches that stay whole are minibatches as they are.

    Attributes:
        source: The training data.
        batch_size: Examples of a minibatch.
        steps_per_epoch: Minibatches in a pass over the data.
        total: Updates of the training.
        seed: Draws the order.
    """

    source: Source
    batch_size: int
    steps_per_epoch: int
    total: int
    seed: int

    @classmethod
    def of(cls, source: Source, settings: Settings) -> Plan:
        """The plan of a training on some data."""
        if isinstance(source, Batches):
            steps = len(source.parts)
            return cls(source, source.default_batch_size(), steps, steps * settings.epochs, settings.seed)
        size = source.count if settings.optimizer == "gd" else min(settings.batch_size, source.count)
        steps = -(-source.count // size)
        if steps > 1 and source.count % size == 1:
            steps -= 1
        return cls(source, size, steps, steps * settings.epochs, settings.seed)

    def batch(self, number: int, stream: int = 0) -> Split:
        """A minibatch, in an order that depends on (seed, pass over the data, stream) alone.

        Args:
            number: Of the minibatch, from 0.
            stream: Of orders that are independent of each other.
        """
        if self.steps_per_epoch == 1 and isinstance(self.source, Split):
            return self.source
        epoch, within = divmod(number, self.steps_per_epoch)
        if isinstance(self.source, Batches):
            return self.source.parts[int(self._order(epoch, stream, self.steps_per_epoch)[within])]
        taken = self.source.take(self._examples(epoch, within, stream))
        return taken.first(taken.count)

    def _examples(self, epoch: int, within: int, stream: int) -> torch.Tensor:
        if self.steps_per_epoch == 1:
            return torch.arange(self.source.count)
        stop = None if within == self.steps_per_epoch - 1 else (within + 1) * self.batch_size
        return self._order(epoch, stream, self.source.count)[within * self.batch_size : stop]

    def _order(self, epoch: int, stream: int, count: int) -> torch.Tensor:
        text = f"order/{self.seed}/{epoch}" + (f"/{stream}" if stream else "")
        key = hashlib.sha256(text.encode()).digest()[:16]
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
        return torch.from_numpy(generator.permutation(count))

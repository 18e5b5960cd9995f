"""Examples of unlike composition from all over the data, on which a loss is tried."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from landscape.objective.data import Batches, Source, Split
from landscape.objective.tree import leaves

# More numbers than that are not looked through for their composition; examples are then drawn at random.
_NUMBERS = 2**24
# So many random ones are drawn.
_MOST = 64
# So many different values of a tensor of whole numbers (classes, say) are each met at least once.
_VALUES = 64


class Witnesses:
    """Some examples as one batch: the first, the last, those at the extremes of composition, and random ones.

    The composition of an example is the least, largest and mean number of each of its tensors, and how often each
    value occurs where there are few: padding, void pixels, rare classes and lengths are met wherever they are.

    Args:
        data: Where they are from.
    """

    def __init__(self, data: Source) -> None:
        self._data = data
        if isinstance(data, Batches):
            return
        known = data.tensors() if isinstance(data, Split) else leaves(data.targets)
        order = [0, data.count - 1, *(place for tensor in known for place in _extremes(tensor))]
        # Any seed will do; the same examples are met whenever the same data are tried.
        order += np.random.Generator(np.random.Philox(0)).permutation(data.count)[:_MOST].tolist()
        self._order = list(dict.fromkeys(order))

    def batch(self, most: int) -> Split:
        """So many examples at most, in the order of the data; of batches that stay whole, the first."""
        if isinstance(self._data, Batches):
            return self._data.first(most)
        taken = self._data.take(torch.tensor(sorted(self._order[:most])))
        return taken.first(taken.count)


def _extremes(tensor: Tensor) -> Iterator[int]:
    """Numbers of examples at the extremes of one tensor's composition."""
    if not 0 < tensor.numel() <= _NUMBERS or tensor.is_complex():
        return
    for measured in _composition(tensor.detach().reshape(len(tensor), -1)):
        yield int(measured.argmax())
        yield int(measured.argmin())


def _composition(rows: Tensor) -> Iterator[Tensor]:
    """Numbers that describe each row, shape (rows,) each."""
    if rows.is_floating_point():
        # What is no number counts as the largest.
        yield from (rows.mean(1), rows.amax(1), rows.amin(1))
        return
    yield from (rows.double().mean(1), rows.amax(1), rows.amin(1))
    values = torch.unique(rows)
    if len(values) <= _VALUES:
        yield from ((rows == value).sum(1) for value in values)

"""A few examples that stand for all."""

from __future__ import annotations

import torch

from landscape.objective.data import Source, Split


def sample(source: Source, size: int) -> Split:
    """Some examples, evenly spaced over a split; the first ones of data that are streamed.

    Args:
        source: All examples.
        size: How many at most.

    Example:
        >>> sample(Split(torch.arange(10), ()), 4).inputs
        tensor([0, 2, 5, 7])
    """
    if not isinstance(source, Split):
        return source.part(0, size)
    count = min(size, source.count)
    return source.take(torch.arange(count) * source.count // count)

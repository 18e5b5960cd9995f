"""A few examples that stand for all."""

from __future__ import annotations

import torch

from landscape.objective.data import Source, Split


def sample(source: Source, size: int, *, whole: bool = False) -> Split:
    """Some examples as one batch, evenly spaced over a split.

    Args:
        source: All examples.
        size: How many at most.
        whole: Take the first ones, as they come in a batch of that size. So are taken those of data that are
            streamed, or in batches that stay whole.

    Example:
        >>> sample(Split(torch.arange(10), ()), 4).inputs
        tensor([0, 2, 5, 7])
    """
    if whole or not isinstance(source, Split) or not source.cuts:
        return source.first(size)
    count = min(size, source.count)
    return source.take(torch.arange(count) * source.count // count)

"""Buffers between networks: which differ, which can be mixed, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.objective.buffers import tensors_in
from landscape.objective.evaluator import Evaluator


def differing(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: Iterable[str]) -> list[str]:
    """Those of some names whose tensors are not the same bit for bit in two sets of weights."""
    return [name for name in names if name in a and name in b and not torch.equal(a[name], b[name].to(a[name]))]


def statement(said: Mapping[str, Iterable[str]], statistics: Iterable[str]) -> dict[str, list[str]]:
    """Group buffers that are no statistics of normalisation by treatment: word -> names, without empty ones."""
    known = set(statistics)
    left = {word: [name for name in names if name not in known] for word, names in said.items()}
    return {word: names for word, names in left.items() if names}


def require_no_effect(evaluator: Evaluator, others: Mapping[str, Tensor]) -> None:
    """Check that no output changes with some buffers, tried on the first micro-batch one after the other.

    Args:
        evaluator: Holds the weights; it is left as it was.
        others: Name -> other values of a buffer.

    Raises:
        LandscapeError: Naming the first buffer that matters.
    """
    with torch.random.fork_rng(devices=[]):
        batch = evaluator.first(evaluator.splits[0], evaluator.batch_size)
        before = tensors_in(evaluator.output(batch))
        for name, other in others.items():
            held = evaluator.storage[name]
            kept = held.clone()
            with torch.inference_mode():
                held.copy_(other)
                evaluator.moved()
            try:
                after = tensors_in(evaluator.output(batch))
            except (RuntimeError, IndexError, ValueError):
                after = []
            with torch.inference_mode():
                held.copy_(kept)
                evaluator.moved()
            if len(after) != len(before) or not all(map(torch.equal, before, after)):
                raise LandscapeError(
                    f"the buffer '{name}' holds whole numbers that differ between the networks and change the "
                    "output: there is no line between them",
                    mend="use --bn frozen, which keeps those of the first, or give both networks the same",
                )

"""Losses and errors of a batch, example by example where they can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from landscape.objective import losses
from landscape.objective.data import Split
from landscape.objective.raw import Score
from landscape.objective.tree import Tree

# Of the loss and of the error; None where they cannot be had, or not taken apart.
How: TypeAlias = tuple[losses.PerExample | None, losses.PerExample | None]
# Name of a split -> how.
Scoring: TypeAlias = dict[str, How]


def how_of(
    loss: Callable[..., Any],
    given: Any,
    arguments: tuple[Any, Any],
    batch: Split,
    targets: Tree,
    numbers: bool = True,
) -> How:
    """Take a loss, and the error if targets are classes, apart into examples.

    Args:
        loss: The loss.
        given: What it gave for a batch.
        arguments: What it was given.
        batch: The batch.
        targets: All targets of the split, whose weights are wanted.
        numbers: Whether a number for the batch may be taken apart.
    """
    apart = None
    if numbers or not losses.is_number(given):
        apart = losses.take_apart(loss, given, *arguments, targets, batch.count if batch.cuts else None)
    return apart, losses.wrong(loss, targets) if losses.classifies(*arguments) else None


def score_of(loss: Callable[..., Any], how: How, arguments: tuple[Any, Any], error: bool) -> Score:
    """The loss, and the error if it is wanted, of each example of a batch; see `Evaluator.score`."""
    of_loss, of_error = how
    if of_loss is None:
        shares, weights = losses.batch_mean(loss, *arguments).reshape(1), None
    else:
        shares, weights = of_loss.score(*arguments)
    return shares, of_error.shares(*arguments) if error and of_error is not None else None, weights

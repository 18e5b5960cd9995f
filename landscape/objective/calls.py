"""The inputs that a model is called with."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from landscape.errors import LandscapeError
from landscape.objective.objective import Objective
from landscape.objective.tree import Tree, tree_map
from landscape.wrappers import before_call


def inputs_of(objective: Objective, examples: int, split: str = "train") -> Tree:
    """The inputs of the model for the first examples of a split.

    Where the loss takes (model, batch), they are those of its first call of the model.

    Args:
        objective: Model, data and loss.
        examples: How many; batches that stay whole are taken whole.
        split: Which data.

    Returns:
        A tree as the model takes it: a tensor, a tuple of positional or a dictionary of named arguments.

    Raises:
        LandscapeError: If the loss does not call the model as a whole.
    """
    evaluator = objective.evaluator()
    batch = evaluator.first(split, examples)
    if not evaluator.takes_model:
        return batch.inputs
    met: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def note(_model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        met.append((args, kwargs))

    hook = before_call(evaluator.model, note, named=True)
    try:
        with torch.random.fork_rng(devices=[]):
            evaluator.loss_of(batch)
    finally:
        hook.remove()
    if not met:
        raise LandscapeError(
            "the loss calls parts of the model only, so what the model takes is not known",
            where="loss",
            mend="call landscape.symmetry.find(model, inputs) with inputs of your own",
        )
    args, kwargs = met[0]
    given: Tree = args[0] if len(args) == 1 and not kwargs else args
    if kwargs:
        given = dict(inspect.signature(evaluator.model.forward).bind(*args, **kwargs).arguments)
    # What was made in inference mode cannot be recorded; a copy can.
    return tree_map(lambda tensor: tensor.detach().clone(), given)

"""Functions shared by the optimizers around plain SGD."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from landscape.errors import LandscapeError

Closure: TypeAlias = Callable[[], Any]

# torch wraps the steps of its optimizers, so that hooks run: those of ours run around the whole update, once.
descend: Callable[[torch.optim.SGD], Any] = inspect.unwrap(torch.optim.SGD.step)


def evaluate(closure: Closure | None, name: str) -> Any:
    """The loss and the gradients at the weights as they are.

    Args:
        closure: Clears the gradients, computes the loss and its gradients, and returns the loss.
        name: Whose, for the message.

    Raises:
        LandscapeError: If there is no closure.
    """
    if closure is None:
        raise LandscapeError(
            "needs a closure that clears the gradients, calls backward and returns the loss",
            where=f"{name}.step",
            mend="call optimizer.step(closure)",
        )
    with torch.enable_grad():
        return closure()


def trained(optimizer: torch.optim.Optimizer) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """Every parameter that has a gradient, with its group."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                yield group, parameter


def complete(optimizer: torch.optim.Optimizer, own: Mapping[str, Any]) -> None:
    """Give all groups, those that come later too, the settings that they do not bring along.

    Args:
        optimizer: The optimizer; settings that are not a group's are kept in its `defaults`, which are copied and
            pickled with it.
        own: Name -> value, of what `torch.optim.SGD` knows nothing of.
    """
    optimizer.defaults.update(own)
    for group in optimizer.param_groups:
        for name, value in own.items():
            group.setdefault(name, value)


def refuse(name: str, faults: list[str]) -> None:
    """Raise all faults of an optimizer's arguments together."""
    if faults:
        raise LandscapeError("; ".join(faults), where=name)

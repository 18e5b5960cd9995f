"""The user's own model, lent for a pass: in evaluation mode meanwhile, and afterwards as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.objective.kernels import PlainPath
from landscape.ties import has_memory
from landscape.wrappers import is_sharded, own_part, reshard


@contextmanager
def lent(model: nn.Module, mode: AbstractContextManager[Any]) -> Iterator[None]:
    """Passes inside are in evaluation mode, off the fast path of attention (see `kernels`)."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with mode, PlainPath():
            yield
    finally:
        for module in training:
            module.training = True
        reshard(model)


def is_spread(model: nn.Module) -> bool:
    """Return whether several processes hold parts of the parameters, and so have to do the same."""
    return any(map(is_sharded, model.parameters()))


def least_of_all(model: nn.Module, number: int) -> int:
    """Smallest of a number over the processes that hold parts of a model; of other models the number."""
    if not is_spread(model):
        return number
    least = torch.tensor(number)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return int(least)


def without_gradients(model: nn.Module, in_place: bool) -> Callable[[], AbstractContextManager[Any]]:
    """The mode of passes that are not differentiated: FSDP2 counts versions, which inference mode has not."""
    return torch.no_grad if in_place and is_spread(model) else torch.inference_mode


def require_same_memory(tensors: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> None:
    """Check that weights are those of the model itself.

    Raises:
        LandscapeError: If some are others.
    """
    for name, own in held.items():
        given = tensors.get(name, own)
        if has_memory(own) and own_part(given).data_ptr() != own_part(own).data_ptr():
            raise LandscapeError(
                "an objective in place measures at the weights of its model, and these are others",
                where=f"tensor '{name}'",
                mend="load them into the model first, or make the objective without in_place",
            )

"""Is this model a deterministic function of its weights? Tried before it is trusted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from landscape.errors import LandscapeError
from landscape.objective.data import Split
from landscape.objective.evaluator import Evaluator


def require_deterministic(evaluator: Evaluator, batch: Split) -> None:
    """Refuse a model or loss whose results are not a function of its weights and a batch.

    The global random state is put back as it was.

    Args:
        evaluator: Holds the model.
        batch: What it is tried on.

    Raises:
        LandscapeError: With the reason, if two passes differ, or a pass changes a buffer.
    """
    before = {name: tensor.clone() for name, tensor in evaluator.storage.items()}
    with torch.random.fork_rng(devices=[]):
        outputs = [_tensors(evaluator.output(batch)) for _ in range(2)]
        losses = [_tensors(evaluator.loss_of(batch)) for _ in range(2)]
    _refuse_changed_buffers(before, evaluator.storage)
    _refuse_random("the model gives different outputs", *outputs)
    _refuse_random("the loss gives different outputs", *losses)


def writes_into(evaluator: Evaluator, batch: Split) -> bool:
    """Return whether the model or the loss writes into the batch that it is given; the batch itself is spared."""
    given = batch.clone()
    with torch.random.fork_rng(devices=[]):
        evaluator.loss_of(given, spared=False)
    pairs = zip(given.tensors(), batch.tensors(), strict=True)
    return not all(torch.equal(_comparable(a), _comparable(b)) for a, b in pairs)


def require_own_tensors(evaluator: Evaluator, batch: Split, model: nn.Module) -> None:
    """Refuse a model or loss that reads the weights of the user's model instead of those of the private copy.

    They would stay while the weights move: a penalty in the loss would be a constant.

    Args:
        evaluator: Holds the private copy.
        batch: What it is tried on.
        model: The user's.

    Raises:
        LandscapeError: Naming the first such tensor.
    """
    state = [*model.named_parameters(), *model.named_buffers()]
    watch = _Watch({tensor.untyped_storage()._cdata: name for name, tensor in state if tensor.numel()})
    with torch.random.fork_rng(devices=[]), watch:
        if not evaluator.takes_model:
            evaluator.output(batch)
        by_model = bool(watch.met)
        evaluator.loss_of(batch)
    if not watch.met:
        return
    what = "the model's forward pass" if by_model else "the loss"
    mend = (
        "let forward use the module's own attributes (self)"
        if by_model
        else (
            "write it as loss(model, batch), which gets the model whose weights move, or pass weight_decay= for a "
            "penalty on the weights"
        )
    )
    raise LandscapeError(
        f"{what} reads '{watch.met[0]}' of the model that it closes over, which stays while the weights move",
        where="model" if by_model else "loss",
        mend=mend,
    )


class _Watch(TorchDispatchMode):
    """Notes which of some tensors operations read.

    Args:
        names: Storage of each tensor -> its name.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self._names = names
        self.met: list[str] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch would import its compiler, which takes 4 s, to keep it out of what is never compiled here.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                name = self._names.get(leaf.untyped_storage()._cdata)
                if name is not None:
                    self.met.append(name)
        return func(*args, **(kwargs or {}))


def _tensors(output: Any) -> list[Tensor]:
    """All tensors of an output, whatever else is in it (caches, None)."""
    if isinstance(output, Tensor):
        return [output.detach()]
    if isinstance(output, Mapping):
        output = tuple(output.values())
    elif dataclasses.is_dataclass(output):
        output = tuple(getattr(output, field.name) for field in dataclasses.fields(output))
    return [tensor for part in output for tensor in _tensors(part)] if isinstance(output, tuple | list) else []


def _comparable(tensor: Tensor) -> Tensor:
    """The same with numbers in the place of NaN, which equals nothing."""
    return tensor.nan_to_num() if tensor.is_floating_point() or tensor.is_complex() else tensor


def _refuse_random(what: str, first: list[Tensor], second: list[Tensor]) -> None:
    for a, b in zip(first, second, strict=True):
        if not torch.equal(_comparable(a), _comparable(b)):
            raise LandscapeError(
                f"{what} for the same weights and inputs",
                got=f"a difference of {float((a - b).abs().max()):.3g} in evaluation mode",
                mend="something random is live, such as F.dropout(x) without training=self.training, or something "
                "is remembered from pass to pass; switch it off",
            )


def _refuse_changed_buffers(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    for name, tensor in before.items():
        if not torch.equal(_comparable(tensor), _comparable(after[name])):
            raise LandscapeError(
                f"a forward pass in evaluation mode changes the buffer '{name}'",
                mend="update it in training mode only",
            )

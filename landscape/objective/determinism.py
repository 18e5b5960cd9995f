"""Is this model a deterministic function of its weights? Tried before it is trusted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from landscape.errors import LandscapeError
from landscape.objective.buffers import tensors_in
from landscape.objective.data import Split
from landscape.objective.dispatch import DispatchMode
from landscape.objective.evaluator import Evaluator
from landscape.objective.loaders import own_random_state
from landscape.objective.trial import Trial
from landscape.params import is_number
from landscape.ties import has_memory


def require_deterministic(evaluator: Evaluator, batch: Split) -> None:
    """Refuse a model or loss whose results are not a function of its weights and a batch.

    The global random state is put back as it was.

    Args:
        evaluator: Holds the model.
        batch: What it is tried on.

    Raises:
        LandscapeError: With the reason, if two passes differ, or a pass changes a buffer.
    """
    # Of a model in place, weights are not held twice.
    weights = {} if evaluator.in_place else evaluator.storage
    state = dict(evaluator.model.named_buffers()) | weights
    before = {name: tensor.clone() for name, tensor in state.items()}
    with torch.random.fork_rng(devices=[]):
        passes = [Trial.of(evaluator, batch) for _ in range(2)]
    outputs, losses = ([_tensors(one.output) for one in passes], [_tensors(one.loss) for one in passes])
    after = dict(evaluator.model.named_buffers()) | weights
    _refuse_changed_buffers(before, after, _gap(*outputs))
    _refuse_random("the model gives different outputs", _gap(*outputs), lambda: Trial.of(evaluator, batch).output)
    _refuse_random("the loss gives different outputs", _gap(*losses), lambda: Trial.of(evaluator, batch).loss)


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
    watch = _Watch({tensor.untyped_storage()._cdata: name for name, tensor in state if has_memory(tensor)})
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


class _Watch(DispatchMode):
    """Notes which of some tensors operations read.

    Args:
        names: Storage of each tensor -> its name.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self._names = names
        self.met: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                name = self._names.get(leaf.untyped_storage()._cdata)
                if name is not None:
                    self.met.append(name)
        return func(*args, **(kwargs or {}))


def _tensors(output: Any) -> list[Tensor]:
    return [tensor.detach() for tensor in tensors_in(output)]


def _comparable(tensor: Tensor) -> Tensor:
    """The same with numbers in the place of NaN, which equals nothing."""
    if tensor.layout != torch.strided:
        tensor = tensor.coalesce().values() if tensor.layout == torch.sparse_coo else tensor.values()
    if not is_number(tensor):
        return tensor
    # Types of 8 bits know no operations.
    return tensor.view(torch.uint8) if tensor.itemsize == 1 else tensor.nan_to_num()


def _gap(first: list[Tensor], second: list[Tensor]) -> float | None:
    """The difference of the first two tensors that differ; None where none do."""
    for a, b in zip(first, second, strict=True):
        if a.shape != b.shape or not torch.equal(_comparable(a), _comparable(b)):
            return float((a - b).abs().max()) if a.shape == b.shape else math.inf
    return None


def _refuse_random(what: str, gap: float | None, again: Callable[[], Any]) -> None:
    if gap is None:
        return
    chance = (
        "something random is live, such as F.dropout(x) without training=self.training: switch it off, or draw it "
        "by a generator that is seeded at each call and pass batch_size"
    )
    memory = "something is kept in an attribute from one pass for the next; reset it at each"
    raise LandscapeError(
        f"{what} for the same weights and inputs",
        got=f"a difference of {gap:.3g} in evaluation mode",
        mend=chance if _draws(again) else memory,
    )


def _draws(again: Callable[[], Any]) -> bool:
    """Return whether outputs follow the random state: equal ones from equal states, others from others."""
    outputs = []
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with own_random_state(), torch.random.fork_rng(devices=devices):
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            outputs.append(_tensors(again()))
    return _gap(outputs[0], outputs[1]) is None and _gap(outputs[0], outputs[2]) is not None


def _refuse_changed_buffers(before: dict[str, Tensor], after: dict[str, Tensor], gap: float | None) -> None:
    for name, tensor in before.items():
        stays = name in after and tensor.shape == after[name].shape
        if not stays or not torch.equal(_comparable(tensor), _comparable(after[name])):
            told = f"a forward pass in evaluation mode changes the buffer '{name}'"
            seen = f"the model gives different outputs for the same weights and inputs: {told}"
            raise LandscapeError(told if gap is None else seen, mend="update it in training mode only")

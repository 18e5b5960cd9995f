"""Is this model a deterministic function of its weights? Tried once, before it is trusted."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.objective.buffers import tensors_in
from landscape.objective.data import own_random_state
from landscape.objective.evaluator import Evaluator

# Rounding differs between batch sizes by a few units in the last place; sharing statistics differs by far more.
_BATCH_COUPLING = 1e-3


def require_deterministic(evaluator: Evaluator) -> None:
    """Refuse a model whose output is not a function of its weights and one example.

    The global random state is put back as it was.

    Args:
        evaluator: Holds the model and the data.

    Raises:
        LandscapeError: With the reason, if two passes differ, a pass changes a buffer, or an example's
            output depends on the others in its micro-batch.
    """
    split = evaluator.splits[0]
    before = {name: tensor.clone() for name, tensor in evaluator.storage.items()}
    with torch.random.fork_rng(devices=[]):
        first = _tensors(evaluator.output(split, evaluator.batch_size))
        second = _tensors(evaluator.output(split, evaluator.batch_size))
        pair = _tensors(evaluator.output(split, 2))
    gap = _gap(first, second)
    _refuse_changed_buffers(before, evaluator.storage, gap)
    _refuse_random(evaluator, gap)
    _refuse_batch_coupling(first, pair)


def has_mean_of_examples(evaluator: Evaluator, batch_size: int | None) -> bool:
    """Whether the loss of a batch is the mean of the losses of its examples, so that batches may be cut anew.

    Args:
        evaluator: Holds the model and the data.
        batch_size: What the user asked for, or None.

    Raises:
        LandscapeError: If it is not, and no size was asked for.
    """
    split = evaluator.splits[0]
    count = min(4, evaluator.data(split).count)
    if evaluator.by_examples or count < 2:
        return True
    whole = evaluator.loss_of(split, 0, count)
    half = count // 2
    parts = half * evaluator.loss_of(split, 0, half) + (count - half) * evaluator.loss_of(split, half, count)
    if not math.isfinite(whole) or abs(parts / count - whole) <= _BATCH_COUPLING * abs(whole):
        return True
    if batch_size is None:
        raise LandscapeError(
            "the loss of a batch is not the mean of the losses of its examples",
            where="loss",
            got=f"{parts / count:.4g} from halves of {count} examples",
            expected=f"{whole:.4g}",
            mend="let it give one number per example, or sums and counts per example, or pass the batch_size that "
            "it is meant for",
        )
    return False


def _tensors(output: Any) -> list[Tensor]:
    return [tensor.double() for tensor in tensors_in(output)]


def _gap(first: list[Tensor], second: list[Tensor]) -> float | None:
    """The largest difference of the first two outputs that differ; None where none do."""
    for a, b in zip(first, second, strict=True):
        if a.shape != b.shape or not torch.equal(a.nan_to_num(), b.nan_to_num()):
            return float((a - b).abs().max()) if a.shape == b.shape else math.inf
    return None


def _refuse_random(evaluator: Evaluator, gap: float | None) -> None:
    if gap is None:
        return
    chance = (
        "something random is live in its forward pass, such as F.dropout(x) without training=self.training; "
        "switch it off"
    )
    memory = "its forward pass keeps something from one call for the next in an attribute; reset it at each call"
    raise LandscapeError(
        "the model gives different outputs for the same weights and inputs",
        got=f"a difference of {gap:.3g} in evaluation mode",
        mend=chance if _draws(evaluator) else memory,
    )


def _draws(evaluator: Evaluator) -> bool:
    """Whether outputs follow the random state: equal ones from equal states, others from others."""
    devices = [evaluator.device] if evaluator.device.type == "cuda" else []
    outputs = []
    with own_random_state(), torch.random.fork_rng(devices=devices):
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            outputs.append(_tensors(evaluator.output(evaluator.splits[0], evaluator.batch_size)))
    return _gap(outputs[0], outputs[1]) is None and _gap(outputs[0], outputs[2]) is not None


def _refuse_changed_buffers(before: dict[str, Tensor], after: dict[str, Tensor], gap: float | None) -> None:
    for name, tensor in before.items():
        if not torch.equal(tensor.nan_to_num(), after[name].nan_to_num()):
            changed = f"a forward pass in evaluation mode changes the buffer '{name}'"
            seen = f"the model gives different outputs for the same weights and inputs: {changed}"
            raise LandscapeError(changed if gap is None else seen, mend="update it in training mode only")


def _refuse_batch_coupling(full: list[Tensor], pair: list[Tensor]) -> None:
    for a, b in zip(full, pair, strict=True):
        if a.ndim == 0 or a.shape[0] < b.shape[0]:
            continue
        part = a[: b.shape[0]]
        scale = float(part.abs().max()) if part.numel() else 0.0
        if float((part - b).abs().max()) > _BATCH_COUPLING * scale:
            raise LandscapeError(
                "an example's output depends on the other examples in its micro-batch",
                mend="give normalisation layers running statistics (track_running_stats=True)",
            )

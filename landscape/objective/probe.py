"""Is this model a deterministic function of its weights? Tried once, before it is trusted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.objective.evaluator import Evaluator
from landscape.params import wide

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
    _refuse_random(first, second)
    _refuse_changed_buffers(before, evaluator.storage)
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
    """All tensors of an output, whatever else is in it (caches, None)."""
    if isinstance(output, Tensor):
        return [wide(output)]
    if isinstance(output, Mapping):
        output = tuple(output.values())
    elif dataclasses.is_dataclass(output):
        output = tuple(getattr(output, field.name) for field in dataclasses.fields(output))
    return [tensor for part in output for tensor in _tensors(part)] if isinstance(output, tuple | list) else []


def _refuse_random(first: list[Tensor], second: list[Tensor]) -> None:
    for a, b in zip(first, second, strict=True):
        if not torch.equal(a.nan_to_num(), b.nan_to_num()):
            raise LandscapeError(
                "the model gives different outputs for the same weights and inputs",
                got=f"a difference of {float((a - b).abs().max()):.3g} in evaluation mode",
                mend="something random is live in its forward pass, such as F.dropout(x) without "
                "training=self.training; switch it off",
            )


def _refuse_changed_buffers(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    for name, tensor in before.items():
        if not torch.equal(tensor.nan_to_num(), after[name].nan_to_num()):
            raise LandscapeError(
                f"a forward pass in evaluation mode changes the buffer '{name}'",
                mend="update it in training mode only",
            )


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

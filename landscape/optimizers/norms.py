"""Norms of optimizers whose steps have a fixed length: signs (l-infinity) and Muon (spectral)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from landscape.optimizers.step import Step
from landscape.vocabulary import ADJUSTMENTS


def steepest(step: Step, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The d of norm 1 that maximises the inner product with some tensors.

    Signs for a sign method; for Muon U V^T of every matrix times the scale that its shape has, and signs of
    what is no matrix. Groups of a lower rate have as much less.

    Args:
        step: Says which norm.
        tensors: Parameter -> tensor; those that the optimizer does not move get zeros.
    """
    found = {}
    for name, tensor in tensors.items():
        number = step.groups.get(name)
        if number is None:
            found[name] = torch.zeros_like(tensor)
            continue
        scale = step.settings[number].get("lr", 0.0) / step.lr
        if step.kind == "muon" and tensor.ndim >= 2:
            matrix = tensor.reshape(len(tensor), -1)
            left, _, right = torch.linalg.svd(matrix.double(), full_matrices=False)
            scale *= _adjusted(step.settings[number], tensor)
            found[name] = (scale * left @ right).reshape(tensor.shape).to(tensor.dtype)
        else:
            found[name] = scale * tensor.sign()
    return found


def _adjusted(settings: Mapping[str, float], tensor: Tensor) -> float:
    """The factor that Muon gives its rate for a shape."""
    rows, columns = tensor.shape[0], tensor[0].numel()
    way = ADJUSTMENTS[round(settings.get("adjustment", 0.0))]
    if way == "original":
        return math.sqrt(max(1.0, rows / columns))
    if way == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(rows / columns) if way == "spectral_unclamped" else 1.0


def dual_norm(step: Step, gradient: Mapping[str, Tensor]) -> float:
    """The largest inner product of a gradient with a d of norm 1."""
    best = steepest(step, gradient)
    return math.fsum(float((best[name].double() * own.double()).sum()) for name, own in gradient.items())

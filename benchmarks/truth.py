"""Losses in float64 by a loop of our own that shares no code with any engine."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.workloads import Workload

# Any size gives the same sums to rounding in float64; this one keeps activations small.
_MICRO_BATCH = 125


def losses(workload: Workload, points: Iterable[Mapping[str, Tensor]]) -> np.ndarray:
    """The mean loss at each of some weights.

    Args:
        workload: Model and data.
        points: Name -> tensor; what is missing stays as in the trained model.

    Returns:
        Shape (points,), float64, nats.
    """
    model = copy.deepcopy(workload.model).double().eval()
    origin = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = workload.inputs.double() if workload.inputs.is_floating_point() else workload.inputs
    found = []
    with torch.no_grad():
        for weights in points:
            held = model.state_dict()
            # First all that is given nowhere: a tensor of two names would otherwise be reset by its other name.
            for name, tensor in (*origin.items(), *weights.items()):
                held[name].copy_(tensor)
            found.append(_mean_loss(model, x, workload.targets))
    return np.array(found)


def on_plane(workload: Workload, points: Iterable[tuple[float, float]]) -> np.ndarray:
    """The mean loss at coordinates of the workload's own plane, the weights computed in float64 too."""
    origin, (first, second) = workload.plane.origin, workload.plane.directions
    names = [name for name in origin if name in first]
    return losses(
        workload,
        (
            {name: origin[name].double() + a * first[name].double() + b * second[name].double() for name in names}
            for a, b in points
        ),
    )


def _mean_loss(model: torch.nn.Module, x: Tensor, y: Tensor) -> float:
    sums = [
        functional.cross_entropy(model(x[i : i + _MICRO_BATCH]), y[i : i + _MICRO_BATCH], reduction="sum")
        for i in range(0, len(x), _MICRO_BATCH)
    ]
    return float(torch.stack(sums).sum()) / y.numel()

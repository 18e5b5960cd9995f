"""Local energy: how much the mean loss or error rises under noise (Pittorino et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError, did_you_mean
from landscape.measures.context import MeasureContext
from landscape.measures.draws import mean_and_error, skew_note
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found


def _noise(field: LocalLoss, index: int, kind: str, one_d: str) -> Tensor:
    """z or z * w, shape (P,), with 0 where biases and gains are to stay."""
    parts = zip(field.infos, field.cut(field.normal(index)), strict=True)
    z = field.join(
        torch.zeros_like(part) if len(info.shape) <= 1 and one_d == "ignore" else part for info, part in parts
    )
    return z * field.origin if kind == "multiplicative" else z


def _grid(settings: Mapping[str, Any]) -> list[float]:
    """The sizes of the noise: those given, or evenly spaced up to sigma, which is always among them."""
    sigma, given = float(settings["sigma"]), settings["sigmas"]
    wanted = np.linspace(0, sigma, int(settings["points"]) + 1)[1:].tolist() if given is None else given
    return sorted({*wanted, sigma})


def local_energy(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Mean rise of the loss or the error under noise."""
    field = LocalLoss(context)
    metric, grid = settings["metric"], _grid(settings)
    if metric not in field.metrics:
        raise LandscapeError(f"unknown value '{metric}'", where="metric", mend=did_you_mean(metric, field.metrics))
    base, draws = field.means(field.zero()), int(settings["draws"])
    signs = (1.0, -1.0) if settings["antithetic"] else (1.0,)
    rises: dict[str, list[list[float]]] = {name: [[] for _ in grid] for name in field.metrics}
    for index in range(draws):
        noise = _noise(field, index, settings["noise"], settings["one_d"])
        for at, sigma in enumerate(grid):
            met = [field.means(sign * sigma * noise) for sign in signs]
            for name in field.metrics:
                rises[name][at].append(sum(means[name] for means in met) / len(met) - base[name])
            context.tell(index * len(grid) + at + 1, draws * len(grid))
    profiles = {name: [mean_and_error(values) for values in rises[name]] for name in field.metrics}
    at = grid.index(float(settings["sigma"]))
    value, error = profiles[metric][at]
    note = skew_note(rises[metric][at])
    return Found(
        value,
        error,
        converged=not note,
        details={
            **({"note": note} if note else {}),
            "sigmas": grid,
            **{f"{name}_rise": [mean for mean, _ in profile] for name, profile in profiles.items()},
            **{f"{name}_standard_error": [error for _, error in profile] for name, profile in profiles.items()},
            **{f"{name}_at_weights": mean for name, mean in base.items()},
            "loss_unit": context.objective.unit,
        },
    )

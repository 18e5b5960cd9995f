"""Local energy: how much the mean loss or error rises under noise (Pittorino et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError, did_you_mean
from landscape.forms import POSITIVE_NUMBERS
from landscape.measures.context import MeasureContext
from landscape.measures.draws import mean_and_error, skew_note
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found, Measure, register
from landscape.options import Options, option
from landscape.vocabulary import ONE_D_POLICIES

NOISES = ("multiplicative", "additive")


@dataclass(frozen=True)
class LocalEnergyOptions(Options):
    """The noise, and what rises under it."""

    sigma: float = option(0.1, "Size of the noise", above=0)
    sigmas: Sequence[float] | None = option(
        None, "Other sizes, for a profile", form=POSITIVE_NUMBERS, unset="evenly spaced up to sigma"
    )
    points: int = option(5, "Sizes up to sigma where sigmas are not given", low=1)
    draws: int = option(100, "Noises", low=1)
    noise: str = option("multiplicative", "In units of each weight, or of 1", choices=NOISES)
    metric: str = option("loss", "The metric that rises: loss or error")
    one_d: str = option("norm", "ignore leaves biases and gains without noise", choices=ONE_D_POLICIES)
    antithetic: bool = option(False, "Every noise with both signs")


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


def _local_energy(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
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


register(
    Measure(
        name="local_energy",
        title="local energy",
        formula=(
            "E L(w + sigma z * w) - L(w), z ~ N(0, I) (multiplicative), or E L(w + sigma z) - L(w) (additive); "
            "L the loss, or the error as a share of 1"
        ),
        unit="{loss}",
        source="Pittorino et al. 2021; number of draws and largest sigma: the authors' code",
        invariant=("layer-rescaling", "unit-rescaling", "permutation", "batchnorm-scale", "sign-flip"),
        compute=_local_energy,
        options=LocalEnergyOptions,
        misleads=(
            "Additive noise is not invariant to any rescaling. The order of two networks can change with "
            "sigma: read the profile, not one value. Errors move in steps of one example, so small rises "
            "of the error need many draws. Noise on the gains and biases of batch normalisation is "
            "included unless one_d='ignore'; its running statistics are frozen, which makes networks with "
            "batch normalisation look sharper."
        ),
        profile=dict,
    )
)

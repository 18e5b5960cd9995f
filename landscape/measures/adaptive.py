"""Adaptive sharpness: neighbourhoods measured in units of the weights (Kwon et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.measures.ascent import Ball, Climb, Slope, auto_climb
from landscape.measures.batchwise import mean_rise
from landscape.measures.context import MeasureContext
from landscape.measures.draws import mean_and_error, skew_note
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found
from landscape.params import filter_rows, spread_over_filters


def units_of(field: LocalLoss, kind: str, eta: float = 0.0) -> Tensor:
    """Return the unit of a step of each parameter, shape (P,).

    Args:
        field: Its origin says the weights.
        kind: ``"element"`` the weight itself (its sign is kept, which changes no law), ``"filter"`` the norm of
            its filter (elements where a tensor has at most one dimension), ``"none"`` 1.
        eta: Added to the size of each.
    """
    if kind == "none":
        return torch.ones_like(field.origin)
    parts = []
    for info, part in zip(field.infos, field.cut(field.origin), strict=True):
        if kind == "filter" and len(info.shape) > 1:
            norms = filter_rows(part, info).norm(dim=1)
            part = spread_over_filters(norms, info).expand(part.shape)
        parts.append(part + eta * torch.where(part < 0, -1.0, 1.0))
    return field.join(parts)


def normalised_logits(output: Any) -> Any:
    """Scores (examples, classes, ...) minus their mean over classes, divided by their root mean square then.

    Andriushchenko et al. 2023, section 2.

    Raises:
        LandscapeError: If the output is no tensor of scores.
    """
    if not isinstance(output, Tensor) or output.ndim < 2:
        raise LandscapeError("only scores of classes can be normalised", where="logits", got=type(output).__name__)
    centred = output - output.mean(1, keepdim=True)
    return centred / centred.square().mean(1, keepdim=True).sqrt().clamp_min(torch.finfo(output.dtype).tiny)


def _field(context: MeasureContext, settings: Mapping[str, Any]) -> LocalLoss:
    return LocalLoss(context, outputs=normalised_logits if settings["normalise_logits"] else None)


def in_units(slope: Slope, units: Tensor) -> Slope:
    """A function of steps as one of steps in units."""

    def inner(u: Tensor) -> tuple[float, Tensor]:
        value, gradient = slope(units * u)
        return value, units * gradient

    return inner


def adaptive_sharpness_worst(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Mean over batches of the highest rise of their loss in a ball of units of the weights."""
    field = _field(context, settings)
    units = units_of(field, settings["units"], float(settings["eta"]))
    ball = Ball(settings["norm"], float(settings["rho"]))

    def ascend(part: LocalLoss) -> list[Climb]:
        slope = in_units(part.slope, units)
        iterations, restarts = int(settings["iterations"]), int(settings["restarts"])
        climbs = [auto_climb(slope, ball, part.zero(), iterations)]
        if restarts > 1:
            # Near a minimum the loss is nearly even, and the first ascent took one of two sides by chance.
            climbs.append(auto_climb(slope, ball, -climbs[0].at, iterations))
        starts = [ball.steepest(part.normal(f"start/{at}")) for at in range(restarts - 2)]
        return climbs + [auto_climb(slope, ball, start, iterations) for start in starts]

    return mean_rise(context, field, ascend, settings["batch"], settings["batches"])


def adaptive_sharpness_average(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Mean rise of the loss under noise in units of the weights."""
    field = _field(context, settings)
    rho, units = float(settings["rho"]), units_of(field, settings["units"], float(settings["eta"]))
    base, draws, rises = field.means(field.zero())["loss"], int(settings["draws"]), []
    for index in range(draws):
        z = field.normal(index) if settings["norm"] == "l2" else field.uniform(index)
        rises.append(field.means(rho * (z * units))["loss"] - base)
        context.tell(index + 1, draws)
    mean, error = mean_and_error(rises)
    note = skew_note(rises)
    details = {"loss": base, "highest": max(rises), "lowest": min(rises), **({"note": note} if note else {})}
    return Found(mean, error, not note, details)

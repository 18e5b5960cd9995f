"""The sharpness that sharpness-aware minimisation descends (Foret et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.measures.ascent import Ball, Climb, climb
from landscape.measures.batchwise import mean_rise
from landscape.measures.context import MeasureContext
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found


def sam_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Mean over batches of the highest rise of their loss in a ball."""
    ball = Ball(settings["norm"], float(settings["rho"]))
    iterations = int(settings["iterations"])

    def ascend(part: LocalLoss) -> list[Climb]:
        _, gradient = part.slope(part.zero())
        first = ball.steepest(gradient)
        if iterations <= 1:
            return [Climb(part.loss(first), first, 1, True)]
        # The first step of one that takes several is that of one that takes one.
        drawn = [part.normal(f"start/{at}") for at in range(int(settings["restarts"]) - 1)]
        starts = [first, *map(ball.steepest, drawn)]
        return [climb(part.slope, ball, start, iterations) for start in starts]

    return mean_rise(context, LocalLoss(context), ascend, settings["batch"])

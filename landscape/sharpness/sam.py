"""The sharpness that sharpness-aware minimisation descends (Foret et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.sharpness.ascent import Ball, Climb, climb
from landscape.sharpness.batchwise import mean_rise
from landscape.sharpness.field import Field
from landscape.sharpness.place import Place
from landscape.sharpness.registry import Found, Measure, register


def _sam_sharpness(place: Place, settings: Mapping[str, Any]) -> Found:
    ball = Ball(settings["norm"], float(settings["rho"]))
    iterations = int(settings["iterations"])

    def ascend(part: Field) -> list[Climb]:
        _, gradient = part.slope(part.zero())
        first = ball.steepest(gradient)
        if iterations <= 1:
            return [Climb(part.loss(first), first, 1, True)]
        # The first step of one that takes several is that of one that takes one.
        starts = [first] + [ball.onto(part.normal(f"start/{at}")) for at in range(int(settings["restarts"]) - 1)]
        return [climb(part.slope, ball, start, iterations) for start in starts]

    return mean_rise(place, Field(place), ascend, settings["batch"])


register(
    Measure(
        name="sam_sharpness",
        title="SAM sharpness",
        formula=(
            "mean over batches B of m examples (m = 0: all at once) of max over |d|_p <= rho of L_B(w + "
            "d) - L_B(w); with one iteration at d = rho g / |g|_2 (p = 2) or rho sign(g) (p = infinity), "
            "g the gradient of L_B"
        ),
        unit="{loss}",
        source="Foret et al. 2021, equations 1 and 2, and section 4.1 for batches of m",
        invariant=("permutation", "sign-flip"),
        compute=_sam_sharpness,
        settings={"rho": 0.05, "norm": "l2", "batch": 128, "iterations": 1, "restarts": 1},
        is_bound=lambda settings: settings["iterations"] > 1,
        misleads=(
            "Rescaling changes it at will, as it changes every measure with a ball of fixed size. One "
            "step is no maximum: near a minimum the gradient says little about the direction of largest "
            "curvature. Batches of m examples rise further than all data, so values of different m cannot "
            "be compared."
        ),
    )
)

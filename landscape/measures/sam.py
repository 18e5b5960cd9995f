"""The sharpness that sharpness-aware minimisation descends (Foret et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landscape.measures.ascent import NORMS, Ball, Climb, climb
from landscape.measures.batchwise import mean_rise
from landscape.measures.context import MeasureContext
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found, Measure, register
from landscape.options import Options, option


@dataclass(frozen=True)
class SamOptions(Options):
    """The ball, the batches, and how the highest point is sought."""

    rho: float = option(0.05, "Radius of the ball", above=0)
    norm: str = option("l2", "Of the ball", choices=NORMS)
    batch: int = option(128, "Examples of a batch; 0 takes all at once", low=0)
    iterations: int = option(1, "Steps of an ascent; one is that of the training", low=1)
    restarts: int = option(1, "Ascents, where they have more than one step", low=1)


def _sam_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    ball = Ball(settings["norm"], float(settings["rho"]))
    iterations = int(settings["iterations"])

    def ascend(part: LocalLoss) -> list[Climb]:
        _, gradient = part.slope(part.zero())
        first = ball.steepest(gradient)
        if iterations <= 1:
            return [Climb(part.loss(first), first, 1, True)]
        # The first step of one that takes several is that of one that takes one.
        starts = [first] + [ball.onto(part.normal(f"start/{at}")) for at in range(int(settings["restarts"]) - 1)]
        return [climb(part.slope, ball, start, iterations) for start in starts]

    return mean_rise(context, LocalLoss(context), ascend, settings["batch"])


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
        options=SamOptions,
        is_bound=lambda settings: settings["iterations"] > 1,
        misleads=(
            "Rescaling changes it at will, as it changes every measure with a ball of fixed size. One "
            "step is no maximum: near a minimum the gradient says little about the direction of largest "
            "curvature. Batches of m examples rise further than all data, so values of different m cannot "
            "be compared."
        ),
    )
)

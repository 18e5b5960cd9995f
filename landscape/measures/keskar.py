"""Sharpness in a box whose sides follow the weights (Keskar et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.forms import WHOLE
from landscape.measures.ascent import Climb, Slope, best_of
from landscape.measures.context import MeasureContext
from landscape.measures.epsilon import subspace, within
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found, Measure, register
from landscape.options import Options, option


@dataclass(frozen=True)
class KeskarOptions(Options):
    """The box, and how its highest point is sought."""

    epsilon: float = option(1e-3, "Half sides of the box, in units of |weight| + 1", above=0)
    subspace: int | None = option(
        None, "Dimensions of a random subspace that the box lies in", form=WHOLE, low=1, unset="the whole"
    )
    iterations: int = option(10, "Of L-BFGS-B", low=1)
    restarts: int = option(3, "Searches from random points of the box", low=1)


def climb_in_box(slope: Slope, sides: Tensor, start: Tensor, iterations: int) -> Climb:
    """The highest value that L-BFGS-B finds with |z_i| <= sides_i.

    Args:
        slope: A point -> value and gradient there.
        sides: Shape (k,).
        start: Where it starts.
        iterations: Of L-BFGS-B, each with one gradient or a few.

    Returns:
        The best point met, lines that were searched included.
    """
    from scipy.optimize import minimize

    best: list[Any] = [-np.inf, start, 0]

    def down(z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        at = torch.from_numpy(z).to(sides)
        value, gradient = slope(at)
        best[2] += 1
        if value > best[0]:
            best[:2] = [value, at]
        # The search divides by differences: an infinite loss would end it with NaN.
        finite = np.nan_to_num(-gradient.cpu().double().numpy())
        return float(np.nan_to_num(-value)), finite

    edges = sides.cpu().double().numpy()
    found = minimize(
        down,
        start.cpu().double().numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([-edges, edges], 1),
        options={"maxiter": iterations},
    )
    return Climb(best[0], best[1], best[2], bool(found.success))


def _keskar_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    field = LocalLoss(context)
    basis = None if settings["subspace"] is None else subspace(field, int(settings["subspace"]))
    here = field.origin if basis is None else basis.T @ field.origin
    sides = float(settings["epsilon"]) * (here.abs() + 1)
    base, slope = field.loss(field.zero()), within(field.slope, basis)
    # At a minimum the gradient is 0, and a search that starts there stays.
    drawn = [field.uniform(f"start/{at}") for at in range(int(settings["restarts"]))]
    starts = [sides * (z if basis is None else z[: len(sides)]) for z in drawn]
    climbs: list[Climb] = []
    for start in starts:
        climbs.append(climb_in_box(slope, sides, start, int(settings["iterations"])))
        context.tell(len(climbs), len(starts))
    scale = 100 / (1 + base)
    best, details = best_of(climbs, base, scale)
    # The published number is what so many iterations reach, arrived or not.
    return Found(
        value=max(0.0, scale * (best.value - base)),
        details={
            **details,
            "loss": base,
            "highest": max(best.value, base),
            "at_edges": float((best.at.abs() >= sides * (1 - 1e-6)).double().mean()),
        },
    )


register(
    Measure(
        name="keskar_sharpness",
        title="Keskar sharpness",
        formula="100 (max over |z_i| <= epsilon (|(A^+ w)_i| + 1) of L(w + A z) - L(w)) / (1 + L(w))",
        unit="%",
        source="Keskar et al. 2017, metric 2.1",
        invariant=("permutation", "sign-flip"),
        compute=_keskar_sharpness,
        options=KeskarOptions,
        is_bound=lambda settings: True,
        misleads=(
            "The sides of the box are epsilon at least, so a rescaling that makes weights small makes it "
            "as large as one likes. Ten iterations are no maximum, and a maximum over a box has many "
            "corners: look at how far restarts disagree. In a random subspace it depends on the subspace, "
            "and its values say nothing about those of the whole."
        ),
    )
)

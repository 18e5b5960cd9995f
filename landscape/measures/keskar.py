"""Sharpness in a box whose sides follow the weights (Keskar et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.measures.ascent import Climb, Slope, best_of
from landscape.measures.context import MeasureContext
from landscape.measures.epsilon import subspace, within
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found


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


def keskar_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Highest relative rise of the loss in a box, in per cent."""
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

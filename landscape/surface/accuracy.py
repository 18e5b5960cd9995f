"""How far the numbers of an engine are from those in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from landscape.objective import Objective
from landscape.projection import Plane
from landscape.surface.engine import Choice, build, plain_choice
from landscape.surface.sequential import Point

# Enough to see the rounding of a type; few enough to cost seconds in float64.
_EXAMPLES = 128
_POINTS = 3


def dtype_error(
    choice: Choice,
    objective: Objective,
    plane: Plane,
    splits: Sequence[str],
    dtype: torch.dtype | None,
    points: Sequence[Point],
    recalibrate: int = 0,
) -> dict[str, Any]:
    """The error of the mean loss against float64, on some of the examples and on points spread over a slice.

    Args:
        choice: The engine whose error is wanted.
        objective: What is evaluated.
        plane: Where.
        splits: Names of splits.
        dtype: The type of real numbers of the engine; None is the model's own.
        points: All points of the slice.
        recalibrate: Examples for the statistics of batch normalisation.

    Returns:
        The largest relative error (0 where float64 is exact or infinite too), and of how many points and examples.
    """
    examples = min(_EXAMPLES, objective.data[splits[0]].count)
    few = objective.subset(examples, splits=splits) if examples >= 2 else objective
    recalibrated = min(recalibrate, examples)
    chosen = [points[len(points) * place // _POINTS] for place in range(_POINTS)]
    loss = f"{splits[0]}_loss"
    alone = replace(choice, streams=1)
    if choice.engine != "batched":
        alone = replace(alone, chunk=1)

    def losses(how: Choice, kind: torch.dtype | None) -> np.ndarray[Any, Any]:
        engine = build(how, few, plane, splits, ["loss"], kind, recalibrated)
        return np.array([estimates[loss].mean for estimates in engine.evaluate(chosen)])

    exact = losses(plain_choice(few), torch.float64)
    found = losses(alone, dtype)
    with np.errstate(all="ignore"):
        relative = np.where(found == exact, 0.0, np.abs(found - exact) / np.abs(exact))
    finite = np.isfinite(exact) & np.isfinite(relative)
    return {
        "largest_relative": float(relative[finite].max()) if finite.any() else 0.0,
        "points": int(finite.sum()),
        "examples": examples,
    }

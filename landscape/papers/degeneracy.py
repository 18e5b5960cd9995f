"""Flat directions of a network that fits its examples (Liao & Poggio 2017)."""

from __future__ import annotations

import numpy as np
import torch

from landscape.curvature import Curvature, dense
from landscape.objective import Objective
from landscape.trajectory import Trajectory
from landscape.values.experiment import Experiment, Series

# Relative to the largest eigenvalue: below this float64 tells nothing.
_ROUNDING = 1e-16


def flat_directions(run: Trajectory, objective: Objective) -> Experiment:
    """Eigenvalues of the Hessian at the end of a run, beside those of its Gauss-Newton part.

    N examples give N C equations, so of P weights at least P - N C directions keep all outputs to first order: the
    Gauss-Newton matrix is of rank N C at most. The rest of the Hessian is of the size of the residuals.

    Source:
        Liao & Poggio 2017, "Theory II", on the degeneracy of minima of zero error.
    """
    weights = {name: tensor.double() for name, tensor in run[-1].weights.items()}
    series = []
    for name, kind in (("Hessian", "hessian"), ("Gauss-Newton", "gauss-newton")):
        matrix = dense(Curvature(objective, weights, kind, dtype=torch.float64)).numpy()
        sizes = np.sort(np.abs(np.linalg.eigvalsh(matrix)))[::-1]
        series.append(
            Series(name, np.arange(1.0, len(sizes) + 1), np.maximum(sizes / sizes[0], _ROUNDING), line=True)
        )
    # The last tensor is of the layer that makes the outputs.
    outputs = next(reversed(run[-1].weights.values())).shape[0]
    equations = float(objective.examples(("train",))["train"]["used"] * outputs)
    bound = np.full(2, equations)
    return Experiment(
        "flat directions",
        "place of the eigenvalue",
        "|eigenvalue| over the largest (log scale)",
        (*series, Series("examples times outputs", bound, np.array([_ROUNDING, 1.0]), line=True)),
        "y",
        f"training error {float(run.metrics['train_error'][-1]):.2g}, {len(series[0].x):,} weights, "
        f"{equations:,.0f} equations",
    )

"""How much of a map of eigenvalues can be believed. NumPy only."""

from __future__ import annotations

import numpy as np

from landscape.surface.values import Surface


def unconverged(surface: Surface, split: str = "train") -> dict[str, int]:
    """How many computed points of a Hessian map have not converged, and how many have no finite Hessian."""
    done = np.ones(surface.values.shape, bool) if surface.done is None else surface.done
    converged = surface[f"{split}_hessian_converged"]
    known = np.isfinite(surface[f"{split}_hessian_max"])
    return {"unconverged": int((done & known & (converged != 1)).sum()), "undefined": int((done & ~known).sum())}

"""Convergence of a map of eigenvalues: which points can be believed. NumPy only."""

from __future__ import annotations

import numpy as np

from landscape.values.surface import Surface


def unconverged(surface: Surface, split: str = "train") -> dict[str, int]:
    """Count the points of a Hessian map that have not converged, whose smallest eigenvalue is a bound only, and
    that have no finite Hessian.
    """
    done = np.ones(surface.values.shape, bool) if surface.done is None else surface.done
    converged = surface[f"{split}_hessian_converged"]
    known = np.isfinite(surface[f"{split}_hessian_max"])
    return {
        "unconverged": int((done & known & (converged == 0)).sum()),
        "bounds": int((done & known & (converged > 0) & (converged < 1)).sum()),
        "undefined": int((done & ~known).sum()),
    }

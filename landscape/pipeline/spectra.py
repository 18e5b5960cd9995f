"""From a snapshot to the spectrum of its curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from landscape.curvature import Curvature, EigenPairs, both_ends, spectral_density
from landscape.curvature.operator import KINDS
from landscape.errors import LandscapeError, did_you_mean
from landscape.objective import Objective
from landscape.sharpness.spectrum import End, Spectrum, smoothed
from landscape.trajectory import Trajectory

# The standard deviation of the smoothing, a tenth of an eigenvalue: hardly narrower than the nodes of 80 steps
# are apart in the bulk, where their places mean nothing.
_WIDTH = 0.1
_DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Spectral:
    """Which spectrum is wanted.

    Attributes:
        at: The step, or ``"last"``.
        matrix: ``"hessian"``, ``"gauss-newton"``, ``"fisher"`` or ``"empirical-fisher"``.
        split: ``"train"`` or ``"test"``.
        parameters: Globs that choose which parameters count; None is all that are trained.
        probes: Random vectors, 2 at least.
        lanczos: Products of each.
        seed: Draws the vectors.
        dtype: ``"float32"``, ``"float64"``; None is the model's own.
        subset: So many examples of the split instead of all.

    Raises:
        LandscapeError: If a choice does not exist.
    """

    at: int | str = "last"
    matrix: str = "hessian"
    split: str = "train"
    parameters: str | None = None
    probes: int = 10
    lanczos: int = 80
    seed: int = 0
    dtype: str | None = None
    subset: int | None = None

    def __post_init__(self) -> None:
        if self.matrix not in KINDS:
            raise LandscapeError(f"unknown matrix '{self.matrix}'", mend=did_you_mean(self.matrix, KINDS))
        if self.dtype not in (None, *_DTYPES):
            raise LandscapeError(f"unknown dtype '{self.dtype}'", mend=did_you_mean(str(self.dtype), _DTYPES))


def spectrum_of(
    run: Trajectory,
    objective: Objective,
    wanted: Spectral,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Spectrum:
    """The density of the spectrum at a snapshot, with both of its ends.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: Which spectrum.
        progress: Called with (products done, products in all, of the density).

    Returns:
        The spectrum, ready to be drawn.

    Raises:
        LandscapeError: If the step does not exist, or there is no such matrix.
    """
    snapshot = run[run.index_of(wanted.at)]
    measured = objective if wanted.subset is None else objective.subset(wanted.subset, splits=[wanted.split])
    operator = Curvature(
        measured,
        snapshot,
        kind=wanted.matrix,
        split=wanted.split,
        parameters=wanted.parameters,
        dtype=getattr(torch, wanted.dtype) if wanted.dtype else None,
    )
    steps = min(wanted.lanczos, operator.size)
    total = wanted.probes * steps
    tell = None if progress is None else (lambda done: progress(done, total))
    found = spectral_density(
        operator, probes=wanted.probes, steps=steps, seed=wanted.seed, width=_WIDTH, progress=tell
    )
    ends = both_ends(operator, seed=wanted.seed)
    meta: dict[str, Any] = {
        "problem": objective.problem,
        "step": int(snapshot.step),
        "epoch": float(snapshot.epoch),
        "seed": run.seed,
        "matrix": wanted.matrix,
        "splits": [wanted.split],
        "examples": measured.examples([wanted.split]),
        "probes": wanted.probes,
        "lanczos": steps,
        "probe_seed": wanted.seed,
        "parameters": wanted.parameters,
        "unit": objective.unit,
        "products": found.products + ends.products,
    }
    if operator.derivatives.note:
        meta["derivatives"] = operator.derivatives.note
    return Spectrum(
        grid=found.grid,
        densities=smoothed(found.nodes, found.weights, found.grid, found.linear, found.width),
        linear=found.linear,
        width=found.width,
        size=operator.size,
        mean=found.mean,
        mean_standard_error=found.mean_standard_error,
        second_moment=found.second_moment,
        second_moment_standard_error=found.second_moment_standard_error,
        largest=_end(ends.largest),
        smallest=_end(ends.smallest),
        meta=meta,
    )


def _end(pairs: EigenPairs) -> End:
    converged = bool(pairs.converged[0])
    value = float(pairs.values[0]) if converged else float("nan")
    return End(value, float(pairs.residuals[0]), converged)

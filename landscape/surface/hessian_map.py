"""The convexity of a landscape over a plane: the ends of the Hessian's spectrum at every point."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch

from landscape.curvature import Curvature
from landscape.curvature.eigenpairs import both_ends
from landscape.curvature.krylov import WHOLE
from landscape.errors import LandscapeError
from landscape.objective import Estimate, Objective
from landscape.projection import Plane
from landscape.storage import require_writable
from landscape.surface.buffers import require_still
from landscape.surface.engine import plain_choice
from landscape.surface.fill_grid import fill
from landscape.surface.provenance import identity_of, meta_of, stored_directions
from landscape.surface.slopes import point_of
from landscape.surface.store import PartialSurface
from landscape.surface.task import Task
from landscape.values.surface import Grid, Surface

METRICS = ("hessian_ratio", "hessian_min", "hessian_max", "hessian_residual", "hessian_converged")
# Colours cannot tell ratios apart that differ by less than this, of the larger eigenvalue.
TOLERANCE = 1e-3
# Where most spectra have shown their ends; of fewer parameters than `WHOLE` the whole space is taken if need be.
MOST_PRODUCTS = 200
# Values of the field ``_converged``: both ends are certain, the smallest is a bound, or neither is settled.
CERTAIN, BOUND, OPEN = 1.0, 0.5, 0.0


def hessian_map(
    objective: Objective,
    plane: Plane,
    grid: Grid,
    *,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    tol: float = TOLERANCE,
    max_products: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    save: str | os.PathLike[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Surface:
    """The ratio |lambda_min / lambda_max| of the Hessian over a plane, which says where the loss is nearly convex.

    The Hessian is that of the mean loss per example over all trained parameters (of all, not of the plane), in
    evaluation mode; its two ends come from one Krylov space of products with vectors, each a pass over all data in
    micro-batches.

    Args:
        objective: What is differentiated.
        plane: Where.
        grid: At which coordinates.
        split: On which data.
        parameters: Globs that choose a block of the Hessian; see `Layout.select`.
        tol: The residual |H v - lambda v| allowed, relative to the larger absolute value of the two eigenvalues.
        max_products: Where to give up at a point; None is 200, or for up to 1024 parameters as many as there are.
        seed: Draws the starting vector, the same at all points.
        dtype: ``torch.float32`` or ``torch.float64``; None is the model's own.
        save: A file to write and to resume from, as in `evaluate`.
        provenance: More to say about the slice, as plain JSON values.
        progress: Called with (points done, points in all).

    Returns:
        A slice with the fields ``<split>_hessian_ratio``, ``_min``, ``_max``; ``_residual``, the larger of the two
        relative residuals; and ``_converged``. That is 1 where both ends are certain: the residuals are within the
        tolerance, and but for one start in 1000 nothing that the search missed lies farther out than a hundredth
        of either value. It is 0.5 where the residuals are, but the smallest eigenvalue is only known to be no
        larger than the value given, so that a negative one is a lower bound of its size; and 0 elsewhere. All
        values are kept and counted (`convergence.unconverged`); NaN is where the loss has no finite second
        derivative.

    Raises:
        LandscapeError: If grid and plane differ in dimension, or the file holds another slice.

    Source:
        Li, Xu, Taylor, Studer & Goldstein 2018, section 6 (their code has eigenvalues times the number of batches;
        the ratio is the same).

    Example:
        >>> ratio = hessian_map(objective, plane, ls.grid(21))["train_hessian_ratio"]  # doctest: +SKIP
    """
    if grid.dims != plane.dims:
        raise LandscapeError("grid and plane differ in dimension", got=grid.dims, expected=plane.dims)
    objective.require((split,), ())
    require_still(objective, plane, "its Hessians")
    if save is not None:
        require_writable(save)
    task = Task(objective, (split,), ("loss",), dtype)
    if max_products is None:
        selected = objective.layout if parameters is None else objective.layout.select(parameters)
        size = sum(info.numel for info in selected.moving())
        max_products = size + 2 if size <= WHOLE else MOST_PRODUCTS
    how = {"tol": tol, "max_products": max_products, "seed": seed, "parameters": _globs(parameters)}
    identity = identity_of(task, plane, plain_choice(objective), {}) | {"hessian": how}
    unit = objective.units["loss"]
    curvatures = dict.fromkeys(("hessian_min", "hessian_max"), f"{unit} per weight\u00b2" if unit else "")
    about = {
        "metrics": list(METRICS),
        "units": {**dict.fromkeys(METRICS, ""), **curvatures},
        "hessian": how,
        "engine": None,
    }
    meta = meta_of(task, plane, {}) | about | dict(provenance or {})
    names = [f"{split}_{metric}" for metric in METRICS]
    partial = PartialSurface.open(save, grid, names, identity, meta, stored_directions(plane))
    if partial.finished is not None:
        return partial.finished
    curvature = Curvature(objective, plane.origin, split=split, parameters=parameters, dtype=dtype)
    ends = _Ends(curvature, plane, names, tol, max_products, seed)
    # Derivatives that are wrong everywhere are refused, and not left out point by point.
    curvature.require()
    fill(partial, lambda _: ends, grid, None, progress)
    return partial.finish(None)


def _globs(parameters: str | Sequence[str] | None) -> str | None:
    return parameters if parameters is None or isinstance(parameters, str) else ",".join(parameters)


class _Ends:
    """The two ends of the spectrum at points of a plane, one after the other."""

    group = 1

    def __init__(
        self, curvature: Curvature, plane: Plane, names: Sequence[str], tol: float, max_products: int, seed: int
    ) -> None:
        self._curvature, self._plane, self._names = curvature, plane, names
        self._how: dict[str, Any] = {"tol": tol, "max_products": max_products, "seed": seed}

    def evaluate(self, points: Sequence[tuple[float, ...]]) -> Generator[dict[str, Estimate]]:
        """The values at each point, in order."""
        for point in points:
            self._curvature.load(point_of(self._plane, point))
            values = self._values()
            yield {name: Estimate(value, float("nan")) for name, value in zip(self._names, values, strict=True)}

    def _values(self) -> tuple[float, ...]:
        try:
            found = both_ends(self._curvature, certify=True, **self._how)
        except LandscapeError:
            # No finite product: the map says "undefined" there.
            return (*[float("nan")] * 4, 0.0)
        low, high = float(found.smallest.values[0]), float(found.largest.values[0])
        residual = max(float(found.smallest.residuals[0]), float(found.largest.residuals[0]))
        size = max(abs(low), abs(high))
        settled = bool(found.smallest.converged[0]) and bool(found.largest.converged[0])
        sure = (CERTAIN if found.certified else BOUND) if settled else OPEN
        return found.ratio, low, high, residual / size if size else 0.0, sure

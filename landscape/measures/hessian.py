"""Measures of the Hessian of the mean loss: its ends, its trace and its Frobenius norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from landscape.curvature import Estimate, Frobenius, SymmetricOperator, eigenpairs, frobenius, trace
from landscape.curvature.frobenius import METHODS as FROBENIUS_METHODS
from landscape.curvature.trace import METHODS
from landscape.measures.context import SCATTERED, MeasureContext
from landscape.measures.minibatch_trace import register_map, scattered
from landscape.measures.registry import Found, Measure, register
from landscape.options import Options, option

# Orthogonal maps of the weights leave eigenvalues as they are; rescalings do not.
ORTHOGONAL = ("permutation", "sign-flip")


@dataclass(frozen=True)
class EigenvalueOptions(Options):
    """Options of the search for eigenvalues at an end of a spectrum."""

    k: int = option(1, "Eigenvalues that are found; the outermost is the value", low=1)
    tol: float = option(1e-6, "Residual at which one counts, relative to the largest absolute one", low=0)
    max_products: int = option(500, "Products with one vector after which it gives up", low=1)


@dataclass(frozen=True)
class EstimateOptions(Options):
    """Options of the estimate of a trace."""

    method: str = option("auto", "How; auto is exact up to 256 parameters, and hutch++ beyond", choices=METHODS)
    samples: int = option(100, "Products with one vector to spend where it is not exact", low=1)


@dataclass(frozen=True)
class TraceOptions(EstimateOptions):
    """Options of a trace that samples of micro-batches estimate too."""

    method: str = option(
        "auto",
        "How; auto is exact where that is cheap, and hutch++ otherwise; scattered takes all of them from one "
        "pass over micro-batches",
        choices=(*METHODS, SCATTERED),
    )


@dataclass(frozen=True)
class FrobeniusOptions(EstimateOptions):
    """Options of a Frobenius norm."""

    method: str = option(
        "auto", "How; auto is exact up to 256 parameters, and hutch++ beyond", choices=FROBENIUS_METHODS
    )


def extreme(
    context: MeasureContext, operator: SymmetricOperator, which: str, settings: Mapping[str, Any]
) -> Found:
    """An end of the spectrum of an operator.

    Args:
        context: Says the seed of the start vector.
        operator: A symmetric matrix.
        which: ``"largest"`` or ``"smallest"``.
        settings: ``k`` eigenvalues are found, the outermost is the value; ``tol`` is the residual |A v - l v| at
            which one counts, relative to the largest absolute eigenvalue; ``max_products`` is the most work.
    """
    most, kind = settings["max_products"], getattr(operator, "kind", "")
    guess = context.guesses.get(kind)
    found = eigenpairs(
        operator,
        k=settings["k"],
        which=which,
        tol=settings["tol"],
        max_products=most,
        seed=context.seed,
        start=None if guess is None else guess.end(which),
        progress=None if context.progress is None else partial(_tell, context.progress, most),
    )
    values, residuals = found.values.tolist(), found.residuals.tolist()
    details = {
        "eigenvalues": values,
        "residuals": residuals,
        "tolerance": found.tolerance,
        "products": found.products,
        "beyond": found.beyond if math.isfinite(found.beyond) else None,
    }
    if bool(found.converged[0]):
        return Found(values[0], details=details)
    note = (
        f"not converged after {found.products} products: the best value is {values[0]:.6g}, the residual "
        f"{residuals[0]:.2g} (allowed {found.tolerance:.2g}); raise max_products or tol"
    )
    return Found(float("nan"), converged=False, details={**details, "note": note})


def _tell(progress: Callable[[int, int], None], most: int, products: int) -> None:
    progress(products, most)


def traced(context: MeasureContext, operator: SymmetricOperator, settings: Mapping[str, Any]) -> Found:
    """The trace of an operator: exact where that is cheap, otherwise estimated with its standard error.

    Args:
        context: Says the seed of the probes.
        operator: A symmetric matrix.
        settings: ``method`` and ``samples``, see `landscape.curvature.trace`.
    """
    found = trace(operator, method=settings["method"], samples=settings["samples"], seed=context.seed)
    return estimated(found)


def estimated(found: Estimate | Frobenius) -> Found:
    """Convert an estimate of curvature to `Found`; an exact one has no standard error."""
    error = None if found.method == "exact" else found.standard_error
    return Found(found.value, error, details={"method": found.method, "products": found.products})


def _top(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    return extreme(context, context.operator("hessian"), "largest", settings)


def _bottom(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    return extreme(context, context.operator("hessian"), "smallest", settings)


def _trace(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    if settings["method"] == SCATTERED:
        return scattered(context, "hessian_trace", settings)
    return traced(context, context.operator("hessian"), settings)


register_map("hessian_trace", lambda _context, _settings: lambda rows: rows)


def _frobenius(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    found = frobenius(
        context.operator("hessian"), method=settings["method"], samples=settings["samples"], seed=context.seed
    )
    return estimated(found)


register(
    Measure(
        name="hessian_top",
        title="largest Hessian eigenvalue",
        formula="max eigenvalue of H = d²L/dθ², L the mean loss per example",
        unit="{loss}",
        source="Dinh et al. 2017 (Hessian-based sharpness: the spectral norm); Lanczos 1950, reorthogonalised",
        invariant=ORTHOGONAL,
        compute=_top,
        options=EigenvalueOptions,
        misleads="A rescaling of layers that leaves the function as it is makes it as large as one likes "
        "(Dinh et al. 2017, theorem 4); compare it along one training, not between models or parametrisations.",
    )
)
register(
    Measure(
        name="hessian_bottom",
        title="smallest Hessian eigenvalue",
        formula="min eigenvalue of H = d²L/dθ², L the mean loss per example",
        unit="{loss}",
        source="Li et al. 2018 (the maps of |smallest / largest| eigenvalue); Lanczos 1950, reorthogonalised",
        invariant=ORTHOGONAL,
        compute=_bottom,
        options=EigenvalueOptions,
        misleads="Away from a minimum it is nearly always negative, and rescalings change it like the largest; a "
        "small negative value beside a large positive one says little about non-convexity.",
    )
)
register(
    Measure(
        name="hessian_trace",
        title="Hessian trace",
        formula="tr H = sum of all eigenvalues of H = d²L/dθ²",
        unit="{loss}",
        source="Dinh et al. 2017 (Hessian-based sharpness: the trace); Meyer et al. 2021, Hutch++ (estimates)",
        invariant=ORTHOGONAL,
        compute=_trace,
        options=TraceOptions,
        misleads="Rescalings make it as large as one likes, though not as small: it has a minimum on the orbit. "
        "Where a cross-entropy is near zero it vanishes with the loss, whatever the shape of the valley.",
    )
)
register(
    Measure(
        name="hessian_frobenius",
        title="Frobenius norm of the Hessian",
        formula="|H|_F = sqrt(sum of the squares of all eigenvalues of H = d²L/dθ²)",
        unit="{loss}",
        source="Dinh et al. 2017, theorem 4 (proof)",
        invariant=ORTHOGONAL,
        compute=_frobenius,
        options=FrobeniusOptions,
        misleads="A few large eigenvalues decide it, negative ones count like positive ones, and rescalings "
        "change it like the largest eigenvalue.",
    )
)

"""Measures of the Hessian of the mean loss: its ends, its trace and its Frobenius norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from landscape.curvature import Estimate, Frobenius, SymmetricOperator, eigenpairs, frobenius, trace
from landscape.measures.context import MeasureContext
from landscape.measures.minibatch_trace import scattered
from landscape.measures.registry import Found
from landscape.vocabulary import SCATTERED


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


def hessian_top(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Largest eigenvalue of the Hessian."""
    return extreme(context, context.operator("hessian"), "largest", settings)


def hessian_bottom(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Smallest eigenvalue of the Hessian."""
    return extreme(context, context.operator("hessian"), "smallest", settings)


def hessian_trace(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Trace of the Hessian."""
    if settings["method"] == SCATTERED:
        return scattered(context, "hessian_trace", settings)
    return traced(context, context.operator("hessian"), settings)


def hessian_frobenius(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Frobenius norm of the Hessian."""
    found = frobenius(
        context.operator("hessian"), method=settings["method"], samples=settings["samples"], seed=context.seed
    )
    return estimated(found)

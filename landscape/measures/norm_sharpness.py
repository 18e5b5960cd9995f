"""Sharpness in the norm of the optimizer: the largest curvature over steps of norm 1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.curvature import Curvature, dense
from landscape.measures.context import MeasureContext
from landscape.measures.registry import Found, measure_named
from landscape.measures.step_line import step_of
from landscape.measures.step_terms import gradient_of, guarded
from landscape.optimizers import NORMED, Step

# Up to so many parameters all signs are tried: half of 2^16 vectors.
_ENUMERATED = 16
# What an ascent gains by in a step, relative, before it has ended.
_STILL = 1e-6
_NAME = "norm_sharpness"


def norm_sharpness_of(context: MeasureContext) -> Found:
    """The measure with its published settings, or those asked for; measures of one call share it."""
    settings = context.wanted.get(_NAME) or measure_named(_NAME).settled()
    return _shared(context, settings)


@guarded
def norm_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Largest curvature over steps of norm 1 in the norm of the optimizer."""
    return _shared(context, settings)


def _shared(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    key = (_NAME, int(settings["restarts"]), int(settings["iterations"]))
    return context.shared(key, lambda: _found(context, settings))


def _found(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    step = step_of(context)
    if step.kind not in NORMED:
        own = measure_named("preconditioned_sharpness")
        found = own.compute(context, context.wanted.get(own.name) or own.settled())
        return Found(found.value, None, found.converged, {**found.details, "norm": "that of P", "exact": True})
    operator = context.operator()
    if step.kind == "sign" and operator.size <= _ENUMERATED:
        matrix = dense(operator)
        if bool((matrix.diagonal() >= 0).all()):
            return _enumerated(matrix, _scales(operator, step))
    best, products = -math.inf, operator.products
    for start in itertools.islice(_starts(context, step, operator), int(settings["restarts"])):
        best = max(best, _climbed(operator, step, start, int(settings["iterations"])))
        context.tell(operator.products - products, int(settings["restarts"] * settings["iterations"]))
    norm = "largest entry" if step.kind == "sign" else "spectral, of each matrix"
    return Found(best, details={"norm": norm, "exact": False, "products": operator.products - products})


def _scales(operator: Curvature, step: Step) -> Tensor:
    from landscape.optimizers.norms import steepest

    return operator.flatten(steepest(step, operator.unflatten(torch.ones(operator.size, dtype=torch.float64))))


def _enumerated(matrix: Tensor, scales: Tensor) -> Found:
    """The largest d^T H d over signs: where the diagonal is not negative it lies at a corner of the cube."""
    scaled = (scales[:, None] * matrix * scales[None, :]).double()
    rest = itertools.product((-1.0, 1.0), repeat=len(scaled) - 1)
    signs = torch.tensor([(1.0, *one) for one in rest], dtype=torch.float64)
    found = float(((signs @ scaled) * signs).sum(dim=1).max())
    return Found(found, details={"norm": "largest entry", "exact": True, "corners": len(signs)})


def _starts(context: MeasureContext, step: Step, operator: Curvature) -> Iterator[Tensor]:
    yield gradient_of(context).cpu()
    if step.update:
        like = context.weights.weights
        yield operator.flatten(
            {name: step.update.get(name, torch.zeros_like(like[name])) for name in operator.names}
        ).double()
    generator = context.generator(_NAME)
    while True:
        yield torch.randn(operator.size, generator=generator, dtype=torch.float64)


def _climbed(operator: Curvature, step: Step, start: Tensor, iterations: int) -> float:
    """The best d^T H d of an ascent: d goes to where its product with H points; no convex form falls by that."""
    from landscape.optimizers.norms import steepest

    def onto(vector: Tensor) -> Tensor:
        return operator.flatten(steepest(step, operator.unflatten(vector))).double()

    best, at = -math.inf, onto(start)
    for _ in range(iterations):
        pushed = (operator @ at).double()
        value = float(at @ pushed)
        gained = value - best
        best = max(best, value)
        if gained <= _STILL * abs(best):
            break
        at = onto(pushed)
    return best

"""The edge of stability of any optimizer: sharpness as it sees it, its threshold, head-room of its rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.curvature import SymmetricOperator
from landscape.errors import LandscapeError
from landscape.measures.context import MeasureContext
from landscape.measures.hessian import extreme
from landscape.measures.norm_sharpness import norm_sharpness_of
from landscape.measures.registry import Found, measure_named
from landscape.measures.step_line import step_of
from landscape.measures.step_terms import gradient_of, guarded
from landscape.optimizers import DIAGONAL, NORMED, Step, threshold

_CRITICAL = "critical_sharpness"


class Preconditioned:
    """P^-1/2 (H + W) P^-1/2, whose eigenvalues are those of P^-1 (H + W).

    Args:
        operator: H.
        scales: P^-1/2, shape (P,).
        decay: The diagonal of W, shape (P,).
    """

    kind = "preconditioned"

    def __init__(self, operator: SymmetricOperator, scales: Tensor, decay: Tensor) -> None:
        self._operator, self._scales, self._decay = operator, scales, decay
        self.size = operator.size

    @property
    def dtype(self) -> torch.dtype:
        """That of the products."""
        found: torch.dtype = getattr(self._operator, "dtype", torch.float64)
        return found

    @property
    def error(self) -> float:
        """The relative error of the last product, where it is known."""
        return float(getattr(self._operator, "error", 0.0))

    @property
    def device(self) -> Any:
        """Where it is computed."""
        return getattr(self._operator, "device", "cpu")

    def __matmul__(self, other: Tensor) -> Tensor:
        scales = self._scales.to(other)
        columns = (scales, self._decay.to(other))
        scales, decay = (one if other.ndim == 1 else one[:, None] for one in columns)
        inner = scales * other
        return scales * (self._operator @ inner + decay * inner)


def preconditioned(context: MeasureContext, step: Step) -> Preconditioned:
    """The Hessian as an optimizer sees it: its own preconditioner, rates of groups, and coupled decay.

    Raises:
        LandscapeError: If the optimizer has a preconditioner that was not recorded.
    """
    if step.kind in DIAGONAL and step.preconditioner is None:
        raise LandscapeError(
            f"the preconditioner of {step.optimizer} was not recorded",
            mend="use landscape train --record update,preconditioner,lr",
        )
    operator = context.operator()
    scales, decays = {}, {}
    for name in operator.names:
        like = context.weights.weights[name]
        like = torch.zeros(like.shape, dtype=like.dtype, device=like.device)
        number = step.groups.get(name)
        if number is None:
            scales[name], decays[name] = like, like
            continue
        own = step.settings[number]
        scale = own.get("lr", 0.0) / step.lr if step.lr > 0 else 1.0
        root = torch.full_like(like, math.sqrt(scale))
        held = None if step.preconditioner is None else step.preconditioner.get(name)
        scales[name] = root if held is None else root / held.to(root).sqrt()
        coupled = 0.0 if own.get("decoupled", 0.0) else own.get("weight_decay", 0.0)
        decays[name] = torch.full_like(like, coupled)
    return Preconditioned(operator, operator.flatten(scales).double(), operator.flatten(decays).double())


@guarded
def preconditioned_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Largest eigenvalue that the optimizer sees."""
    return _sharpness(context, settings)


def _sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """The same, which measures of one call share."""
    step = step_of(context)
    wanted = tuple(sorted((name, settings[name]) for name in ("k", "tol", "max_products")))
    return context.shared(
        ("preconditioned", wanted), lambda: extreme(context, preconditioned(context, step), "largest", settings)
    )


def _matching(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """The sharpness that the threshold of the optimizer is of."""
    step = step_of(context)
    return norm_sharpness_of(context) if step.kind in NORMED else _sharpness(context, settings)


def _edge(context: MeasureContext) -> tuple[float | None, str]:
    """The threshold of the step, and its name or why there is none."""

    def make() -> tuple[float | None, str]:
        from landscape.optimizers.norms import dual_norm

        step = step_of(context)
        own = step.uniform
        if step.kind in ("unknown", "mixed") or own is None:
            return None, step.words
        if not step.lr > 0:
            return None, "the learning rate of the step is 0"
        size = dual = None
        if step.kind == "sam":
            size = float(gradient_of(context).norm())
        if step.kind in NORMED:
            operator = context.operator()
            dual = dual_norm(step, operator.unflatten(gradient_of(context)))
        return threshold(step.kind, own, gradient_norm=size, dual_norm=dual), step.words

    return context.shared("threshold", make)


@guarded
def sharpness_threshold(context: MeasureContext, _settings: Mapping[str, Any]) -> Found:
    """Sharpness from which the steps of the optimizer grow on a parabola."""
    edge, words = _edge(context)
    if edge is None:
        return Found(math.nan, details={"note": words})
    return Found(edge, details={"threshold": words, "lr": step_of(context).lr})


@guarded
def lr_headroom(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Threshold of the optimizer over the sharpness that belongs to it."""
    edge, words = _edge(context)
    if edge is None and step_of(context).lr > 0:
        # Without a theory: how much farther the step itself could go.
        critical = measure_named(_CRITICAL)
        found = critical.compute(context, critical.settled())
        details = {"note": f"{words}: from the loss along the step", **found.details}
        error = None if found.standard_error is None else found.standard_error / found.value
        value = float(found.details.get("headroom", math.nan))
        return Found(value, None if error is None else error * value, found.converged, details)
    if edge is None:
        return Found(math.nan, details={"note": words})
    sharpness = _matching(context, settings)
    details = {"threshold": edge, "threshold_words": words, "sharpness": sharpness.value}
    if not sharpness.value > 0:
        note = "no direction is convex: the threshold says nothing" if sharpness.value <= 0 else "not converged"
        return Found(math.nan, converged=sharpness.converged, details={**details, "note": note})
    return Found(edge / sharpness.value, converged=sharpness.converged, details=details)

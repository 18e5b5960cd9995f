"""The edge of stability of any optimizer: sharpness as it sees it, its threshold, head-room of its rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.curvature import SymmetricOperator
from landscape.errors import LandscapeError
from landscape.measures.context import MeasureContext
from landscape.measures.hessian import ORTHOGONAL, EigenvalueOptions, extreme
from landscape.measures.norm_sharpness import norm_sharpness_of
from landscape.measures.registry import Found, Measure, measure_named, register
from landscape.measures.step_line import step_of
from landscape.measures.step_terms import gradient_of, guarded
from landscape.optimizers import DIAGONAL, NORMED, Step, threshold
from landscape.options import option

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


@dataclass(frozen=True)
class EdgeOptions(EigenvalueOptions):
    """Options of the search for the largest eigenvalue."""

    tol: float = option(1e-4, "Residual at which one counts, relative to the largest absolute one", low=0)


def _sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """The largest eigenvalue that the optimizer sees; measures of one call share it."""
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


def _threshold(context: MeasureContext, _settings: Mapping[str, Any]) -> Found:
    edge, words = _edge(context)
    if edge is None:
        return Found(math.nan, details={"note": words})
    return Found(edge, details={"threshold": words, "lr": step_of(context).lr})


def _headroom(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
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


register(
    Measure(
        name="preconditioned_sharpness",
        title="sharpness that the optimizer sees",
        formula=(
            "largest eigenvalue of P^-1 (H + W), P the preconditioner of the recorded step, W its coupled weight "
            "decay; groups of a lower rate count as much less"
        ),
        unit="{loss}",
        source="Cohen et al. 2022, section 3",
        invariant=ORTHOGONAL,
        compute=guarded(_sharpness),
        options=EdgeOptions,
        misleads=(
            "It is of the full data, and the steps of minibatches keep it below the threshold. Without a "
            "preconditioner it is the largest eigenvalue of the Hessian and nothing more."
        ),
        of_step=True,
    )
)
register(
    Measure(
        name="sharpness_threshold",
        title="stability threshold of the optimizer",
        formula="sharpness from which steps grow on a parabola: (2 + 2 b) / lr of heavy ball, 38 / lr of Adam",
        unit="{loss}",
        source="Cohen et al. 2021 and 2022; Long and Bartlett 2023; Islamov et al. 2026 (norms)",
        invariant=ORTHOGONAL,
        compute=guarded(_threshold),
        misleads="It is theory of full-batch steps on a parabola with a preconditioner that stands still.",
        of_step=True,
    )
)
register(
    Measure(
        name="lr_headroom",
        title="head-room of the learning rate",
        formula="threshold / sharpness, both those that belong to the optimizer; without one, eta_c / eta",
        unit="1",
        source="Cohen et al. 2021 and 2022",
        invariant=ORTHOGONAL,
        compute=guarded(_headroom),
        options=EdgeOptions,
        misleads=(
            "Below 1 training need not diverge: it goes on at the edge, where the sharpness stops growing. In the "
            "norm of a sign method or Muon the sharpness is a lower bound, so that the head-room is an upper one."
        ),
        of_step=True,
    )
)

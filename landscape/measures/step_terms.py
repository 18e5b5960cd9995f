"""One optimizer step taken apart: gain, curvature penalty and remainder, and the curvature along the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from landscape.curvature import EigenPairs, eigenpairs
from landscape.measures.context import MeasureContext
from landscape.measures.registry import Found
from landscape.measures.step_line import NoStepError, error_of, line_of, undefined, update_of

# Where derivatives of the losses of single examples are taken along the step, for standard errors: a tenth of it.
_NEAR = 0.1


@dataclass(frozen=True)
class Terms:
    """The change of the loss in one step: change = penalty - gain + remainder.

    Attributes:
        gain: -g.D.
        penalty: D^T H D / 2.
        change: L(w + D) - L(w).
        errors: Standard errors over examples of gain, penalty and remainder; None where there are none.
        details: More numbers.
    """

    gain: float
    penalty: float
    change: float
    errors: tuple[float | None, float | None, float | None]
    details: Mapping[str, Any]

    @property
    def remainder(self) -> float:
        """change + gain - penalty."""
        return self.change + self.gain - self.penalty


def terms_of(context: MeasureContext) -> Terms:
    """The step recorded after the weights, taken apart; measures of one call share it."""
    return context.shared("step terms", lambda: _terms(context))


def _terms(context: MeasureContext) -> Terms:
    line, operator = line_of(context), context.operator()
    update = _vector(context, update_of(context))
    gain = -float(gradient_of(context).to(update) @ update)
    penalty = operator.quadratic(update) / 2
    change = line.change(1.0)
    first = {_NEAR: 0.5 / _NEAR, -_NEAR: -0.5 / _NEAR}
    second = {_NEAR: 0.5 / _NEAR**2, 0.0: -1 / _NEAR**2, -_NEAR: 0.5 / _NEAR**2}
    rest = {1.0: 1.0, 0.0: -1.0}
    for at, factor in (*first.items(), *second.items()):
        rest[at] = rest.get(at, 0.0) - factor
    errors = tuple(error_of(line.combined(factors)) for factors in (first, second, rest))
    size = float(update.norm())
    details = {"change": change.mean, "length": size, "products_error": operator.error}
    return Terms(gain, penalty, change.mean, errors, details)  # type: ignore[arg-type]


def _vector(context: MeasureContext, tensors: Mapping[str, Tensor]) -> Tensor:
    return context.operator().flatten(tensors).double()


def gradient_of(context: MeasureContext) -> Tensor:
    """The gradient of the mean loss at the weights, shape (P,); measures of one call share it."""
    return context.shared("gradient", lambda: context.operator().gradient())


def guarded(
    compute: Callable[[MeasureContext, Mapping[str, Any]], Found],
) -> Callable[[MeasureContext, Mapping[str, Any]], Found]:
    """A measure of a step, undefined where there is no step."""

    def guard(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
        try:
            return compute(context, settings)
        except NoStepError as error:
            return undefined(error)

    return guard


@guarded
def directional_sharpness(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """Curvature along the update made."""
    terms, update = terms_of(context), _vector(context, update_of(context))
    square = float(update @ update)
    error = terms.errors[1]
    details: dict[str, Any] = {"penalty": terms.penalty, "length": math.sqrt(square)}
    if settings["k"]:
        details |= _alignment(top_of(context, settings), update, gradient_of(context).to(update))
        details["ratio"] = 2 * terms.penalty / square / details["eigenvalues"][0]
    return Found(2 * terms.penalty / square, None if error is None else 2 * error / square, details=details)


def top_of(context: MeasureContext, settings: Mapping[str, Any]) -> EigenPairs:
    """The top eigenpairs of the Hessian; measures of one call share them."""
    wanted = (int(settings["k"]), float(settings["tol"]), int(settings["max_products"]))
    return context.shared(
        ("top pairs", wanted),
        lambda: eigenpairs(
            context.operator(), wanted[0], tol=wanted[1], max_products=wanted[2], seed=context.seed
        ),
    )


def _alignment(pairs: EigenPairs, update: Tensor, gradient: Tensor) -> dict[str, Any]:
    """|v_i . u| / |u| for the update and the gradient, and the eigenvalues."""
    vectors = pairs.vectors.to(update)

    def shares(of: Tensor) -> list[float]:
        size = float(of.norm())
        return [] if not size else ((vectors.T @ of).abs() / size).tolist()

    return {
        "eigenvalues": pairs.values.tolist(),
        "converged": [bool(one) for one in pairs.converged],
        "update_alignment": shares(update),
        "gradient_alignment": shares(gradient),
    }


@guarded
def step_gain(context: MeasureContext, _settings: Mapping[str, Any]) -> Found:
    """Fall of the loss to first order, -g.D."""
    terms = terms_of(context)
    return Found(terms.gain, terms.errors[0], details=dict(terms.details))


@guarded
def step_penalty(context: MeasureContext, _settings: Mapping[str, Any]) -> Found:
    """Rise of the loss to second order, D^T H D / 2."""
    terms = terms_of(context)
    return Found(terms.penalty, terms.errors[1], details=dict(terms.details))


@guarded
def step_remainder(context: MeasureContext, _settings: Mapping[str, Any]) -> Found:
    """Change of the loss beyond the second order."""
    terms = terms_of(context)
    return Found(terms.remainder, terms.errors[2], details=dict(terms.details))

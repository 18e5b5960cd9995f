"""One optimizer step taken apart: gain, curvature penalty and remainder, and the curvature along the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from landscape.curvature import EigenPairs, eigenpairs
from landscape.measures.context import MeasureContext
from landscape.measures.hessian import ORTHOGONAL
from landscape.measures.registry import Found, Measure, register
from landscape.measures.step_line import NoStepError, error_of, line_of, undefined, update_of
from landscape.options import Options, option

# Where derivatives of the losses of single examples are taken along the step, for standard errors: a tenth of it.
_NEAR = 0.1
_SOURCE = "Taylor's formula along the update made; Cohen et al. 2021, section 3"


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


@dataclass(frozen=True)
class DirectionOptions(Options):
    """Eigenvectors that the step is compared with."""

    k: int = option(1, "Top eigenvectors that the step and the gradient are compared with; 0 for none", low=0)
    tol: float = option(1e-3, "Residual at which one counts, relative to the largest absolute eigenvalue", low=0)
    max_products: int = option(200, "Products with one vector after which it gives up", low=1)


def _directional(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
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


def guarded(
    compute: Callable[[MeasureContext, Mapping[str, Any]], Found],
) -> Callable[[MeasureContext, Mapping[str, Any]], Found]:
    """A measure of a step, undefined where there is no step."""

    def guard(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
        try:
            return compute(context, settings)
        except NoStepError as error:
            return undefined(error)

    guard.__module__ = compute.__module__
    return guard


def _term(of: Callable[[Terms], float], number: int) -> Callable[[MeasureContext, Mapping[str, Any]], Found]:
    def compute(context: MeasureContext, _settings: Mapping[str, Any]) -> Found:
        terms = terms_of(context)
        return Found(of(terms), terms.errors[number], details=dict(terms.details))

    return guarded(compute)


for _name, _title, _formula, _of, _misleads in (
    (
        *("step_gain", "gain of a step", "-g.D with g the gradient of the mean loss and D the update made"),
        lambda terms: terms.gain,
        "A negative gain is no fault: momentum and minibatches go uphill at times.",
    ),
    (
        *("step_penalty", "curvature penalty of a step", "D^T H D / 2 with D the update made"),
        lambda terms: terms.penalty,
        "It is of the loss in evaluation mode: with dropout or statistics of batches the training saw another.",
    ),
    (
        *("step_remainder", "remainder of a step", "L(w + D) - L(w) + g.D - D^T H D / 2, D the update made"),
        lambda terms: terms.remainder,
        "Small beside gain and penalty it is a difference of large numbers: its digits are those of the others.",
    ),
):
    register(
        Measure(
            name=_name,
            title=_title,
            formula=f"{_formula}; the change of the loss is penalty - gain + remainder",
            unit="{loss}",
            source=_SOURCE,
            invariant=ORTHOGONAL,
            compute=_term(_of, ("step_gain", "step_penalty", "step_remainder").index(_name)),
            misleads=_misleads,
            of_step=True,
        )
    )

register(
    Measure(
        name="directional_sharpness",
        title="sharpness along the step",
        formula="D^T H D / |D|^2, D the update made; details: its ratio to the top eigenvalue, and |v_i.D| / |D|",
        unit="{loss}",
        source="Pan and Li 2023, section 3; of the update made",
        invariant=ORTHOGONAL,
        compute=guarded(_directional),
        options=DirectionOptions,
        misleads="A step may be flat because it is turned away from sharp directions, not because there are none.",
        of_step=True,
    )
)

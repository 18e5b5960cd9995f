"""Declarations of the measures of a recorded optimizer step, without what computes them."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.measures.declared_curvature import EigenvalueOptions
from landscape.measures.registry import ORTHOGONAL, Measure, computed_in, register
from landscape.options import Options, option


@dataclass(frozen=True)
class DirectionOptions(Options):
    """Eigenvectors that the step is compared with."""

    k: int = option(1, "Top eigenvectors that the step and the gradient are compared with; 0 for none", low=0)
    tol: float = option(1e-3, "Residual at which one counts, relative to the largest absolute eigenvalue", low=0)
    max_products: int = option(200, "Products with one vector after which it gives up", low=1)


@dataclass(frozen=True)
class CriticalOptions(Options):
    """The precision of the search."""

    tolerance: float = option(0.01, "Of the critical rate, relative", above=0)


@dataclass(frozen=True)
class NormOptions(Options):
    """Options of the search for the largest curvature where it cannot be found exactly."""

    restarts: int = option(4, "Ascents: from the gradient, the update, and random directions", low=1)
    iterations: int = option(20, "Steps of an ascent, a product each", low=1)


@dataclass(frozen=True)
class EdgeOptions(EigenvalueOptions):
    """Options of the search for the largest eigenvalue."""

    tol: float = option(1e-4, "Residual at which one counts, relative to the largest absolute one", low=0)


for _name, _title, _formula, _misleads in (
    (
        *("step_gain", "gain of a step", "-g.D with g the gradient of the mean loss and D the update made"),
        "A negative gain is no fault: momentum and minibatches go uphill at times.",
    ),
    (
        *("step_penalty", "curvature penalty of a step", "D^T H D / 2 with D the update made"),
        "It is of the loss in evaluation mode: with dropout or statistics of batches the training saw another.",
    ),
    (
        *("step_remainder", "remainder of a step", "L(w + D) - L(w) + g.D - D^T H D / 2, D the update made"),
        "Small beside gain and penalty it is a difference of large numbers: its digits are those of the others.",
    ),
):
    register(
        Measure(
            name=_name,
            title=_title,
            formula=f"{_formula}; the change of the loss is penalty - gain + remainder",
            unit="{loss}",
            source="Taylor's formula along the update made; Cohen et al. 2021, section 3",
            invariant=ORTHOGONAL,
            compute=computed_in("step_terms", _name),
            misleads=_misleads,
            of_step=True,
        )
    )
for _measure in (
    Measure(
        name="directional_sharpness",
        title="sharpness along the step",
        formula="D^T H D / |D|^2, D the update made; details: its ratio to the top eigenvalue, and |v_i.D| / |D|",
        unit="{loss}",
        source="Pan and Li 2023, section 3; of the update made",
        invariant=ORTHOGONAL,
        compute=computed_in("step_terms", "directional_sharpness"),
        options=DirectionOptions,
        misleads="A step may be flat because it is turned away from sharp directions, not because there are none.",
        of_step=True,
    ),
    Measure(
        name="critical_sharpness",
        title="critical sharpness",
        formula=(
            "2 / eta_c, eta_c the least rate at which L(w - eta_c d) exceeds L(w), d = -D / eta with D the update "
            "made at the rate eta; on a quadratic d^T H d / g.d"
        ),
        unit="1",
        source="Kalra et al. 2026, section 3; with the data of another split or objective: relative",
        invariant=ORTHOGONAL,
        compute=computed_in("critical", "critical_sharpness"),
        options=CriticalOptions,
        misleads=(
            "With momentum the update is no gradient, and the loss along it may rise at once without any "
            "instability. It is a number of one direction: the loss may rise elsewhere."
        ),
        of_step=True,
    ),
    Measure(
        name="norm_sharpness",
        title="sharpness in the optimizer's norm",
        formula=(
            "max of d^T H d over |d| <= 1: largest entry for sign methods, spectral norm of each matrix for Muon "
            "(and largest entry of what is none), that of P for others, where it is the preconditioned sharpness"
        ),
        unit="{loss}",
        source="Islamov et al. 2026, section 3",
        invariant=(),
        compute=computed_in("norm_sharpness", "norm_sharpness"),
        options=NormOptions,
        is_bound=lambda settings: True,
        misleads=(
            "It is the value at a d that was found, so that it is certainly reached; the maximum may be larger. "
            "Details say where it is exact."
        ),
        of_step=True,
    ),
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
        compute=computed_in("edge", "preconditioned_sharpness"),
        options=EdgeOptions,
        misleads=(
            "It is of the full data, and the steps of minibatches keep it below the threshold. Without a "
            "preconditioner it is the largest eigenvalue of the Hessian and nothing more."
        ),
        of_step=True,
    ),
    Measure(
        name="sharpness_threshold",
        title="stability threshold of the optimizer",
        formula="sharpness from which steps grow on a parabola: (2 + 2 b) / lr of heavy ball, 38 / lr of Adam",
        unit="{loss}",
        source="Cohen et al. 2021 and 2022; Long and Bartlett 2023; Islamov et al. 2026 (norms)",
        invariant=ORTHOGONAL,
        compute=computed_in("edge", "sharpness_threshold"),
        misleads="It is theory of full-batch steps on a parabola with a preconditioner that stands still.",
        of_step=True,
    ),
    Measure(
        name="lr_headroom",
        title="head-room of the learning rate",
        formula="threshold / sharpness, both those that belong to the optimizer; without one, eta_c / eta",
        unit="1",
        source="Cohen et al. 2021 and 2022",
        invariant=ORTHOGONAL,
        compute=computed_in("edge", "lr_headroom"),
        options=EdgeOptions,
        misleads=(
            "Below 1 training need not diverge: it goes on at the edge, where the sharpness stops growing. In the "
            "norm of a sign method or Muon the sharpness is a lower bound, so that the head-room is an upper one."
        ),
        of_step=True,
    ),
):
    register(_measure)

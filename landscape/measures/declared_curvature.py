"""Declarations of the measures of curvature: names, formulas and options, without what computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from landscape.forms import WHOLE
from landscape.measures.registry import ORTHOGONAL, SYMMETRIES, Measure, computed_in, register
from landscape.options import Options, option
from landscape.vocabulary import FROBENIUS_METHODS, ONE_D_POLICIES, SCATTERED, TRACE_METHODS

# Where the labels of the Fisher matrix come from -> kind of operator.
LABELS: Mapping[str, str] = {"model": "fisher", "data": "empirical-fisher"}
# Layers of relative flatness that count: all, or one in the order of the model.
_LAYERS = ("sum", "max", "last", "first")


@dataclass(frozen=True)
class EigenvalueOptions(Options):
    """Options of the search for eigenvalues at an end of a spectrum."""

    k: int = option(1, "Eigenvalues that are found; the outermost is the value", low=1)
    tol: float = option(1e-6, "Residual at which one counts, relative to the largest absolute one", low=0)
    max_products: int = option(500, "Products with one vector after which it gives up", low=1)


@dataclass(frozen=True)
class EstimateOptions(Options):
    """Options of the estimate of a trace."""

    method: str = option(
        "auto", "How; auto is exact up to 256 parameters, and hutch++ beyond", choices=TRACE_METHODS
    )
    samples: int = option(100, "Products with one vector to spend where it is not exact", low=1)


@dataclass(frozen=True)
class TraceOptions(EstimateOptions):
    """Options of a trace that samples of micro-batches estimate too."""

    method: str = option(
        "auto",
        "How; auto is exact where that is cheap, and hutch++ otherwise; scattered takes all of them from one "
        "pass over micro-batches",
        choices=(*TRACE_METHODS, SCATTERED),
    )


@dataclass(frozen=True)
class FrobeniusOptions(EstimateOptions):
    """Options of a Frobenius norm."""

    method: str = option(
        "auto", "How; auto is exact up to 256 parameters, and hutch++ beyond", choices=FROBENIUS_METHODS
    )


@dataclass(frozen=True)
class LabelOptions(Options):
    """Which Fisher matrix it is."""

    labels: str = option("model", "Labels drawn from the model, or those of the data", choices=tuple(LABELS))


@dataclass(frozen=True)
class FisherOptions(EstimateOptions, LabelOptions):
    """Which Fisher matrix it is, and how its trace is taken."""


@dataclass(frozen=True)
class OneDOptions(Options):
    """Options of what counts as a filter."""

    one_d: str = option(
        "ignore", "Parameters of at most one dimension: left out, or each one filter", choices=ONE_D_POLICIES
    )


@dataclass(frozen=True)
class FilterCurvatureOptions(TraceOptions, OneDOptions):
    """Options of what counts as a filter, and of the trace."""


@dataclass(frozen=True)
class LayerOptions(Options):
    """Which layers count."""

    layers: str = option("sum", "The sum or the largest over all layers, or one layer", choices=_LAYERS)


@dataclass(frozen=True)
class RelativeFlatnessOptions(TraceOptions, LayerOptions):
    """Which layers count, and how their traces are taken."""


@dataclass(frozen=True)
class FisherRaoOptions(Options):
    """Which Fisher matrix it is."""

    labels: str = option("data", "Labels of the data, or drawn from the model", choices=tuple(LABELS))
    squared: bool = option(True, "The square of the norm, as published")


@dataclass(frozen=True)
class OrbitOptions(Options):
    """Options of the diagonal that the search begins with."""

    samples: int | None = option(
        None, "Sampled diagonals of every micro-batch", form=WHOLE, low=1, unset="none: the exact diagonal"
    )


@dataclass(frozen=True)
class GeodesicOptions(Options):
    """The ball, and how its highest point is sought."""

    rho: float = option(0.05, "Radius of the ball", above=0)
    case: str = option(
        "worst", "The highest point of the ball, or the mean over its sphere", choices=("worst", "average")
    )
    products: int = option(40, "Products with the Hessian: Lanczos steps, or random probes", low=2)


for _measure in (
    Measure(
        name="hessian_top",
        title="largest Hessian eigenvalue",
        formula="max eigenvalue of H = d²L/dθ², L the mean loss per example",
        unit="{loss}",
        source="Dinh et al. 2017 (Hessian-based sharpness: the spectral norm); Lanczos 1950, reorthogonalised",
        invariant=ORTHOGONAL,
        compute=computed_in("hessian", "hessian_top"),
        options=EigenvalueOptions,
        misleads="A rescaling of layers that leaves the function as it is makes it as large as one likes "
        "(Dinh et al. 2017, theorem 4); compare it along one training, not between models or parametrisations.",
    ),
    Measure(
        name="hessian_bottom",
        title="smallest Hessian eigenvalue",
        formula="min eigenvalue of H = d²L/dθ², L the mean loss per example",
        unit="{loss}",
        source="Li et al. 2018 (the maps of |smallest / largest| eigenvalue); Lanczos 1950, reorthogonalised",
        invariant=ORTHOGONAL,
        compute=computed_in("hessian", "hessian_bottom"),
        options=EigenvalueOptions,
        misleads="Away from a minimum it is nearly always negative, and rescalings change it like the largest; a "
        "small negative value beside a large positive one says little about non-convexity.",
    ),
    Measure(
        name="hessian_trace",
        title="Hessian trace",
        formula="tr H = sum of all eigenvalues of H = d²L/dθ²",
        unit="{loss}",
        source="Dinh et al. 2017 (Hessian-based sharpness: the trace); Meyer et al. 2021, Hutch++ (estimates)",
        invariant=ORTHOGONAL,
        compute=computed_in("hessian", "hessian_trace"),
        options=TraceOptions,
        misleads="Rescalings make it as large as one likes, though not as small: it has a minimum on the orbit. "
        "Where a cross-entropy is near zero it vanishes with the loss, whatever the shape of the valley.",
    ),
    Measure(
        name="hessian_frobenius",
        title="Frobenius norm of the Hessian",
        formula="|H|_F = sqrt(sum of the squares of all eigenvalues of H = d²L/dθ²)",
        unit="{loss}",
        source="Dinh et al. 2017, theorem 4 (proof)",
        invariant=ORTHOGONAL,
        compute=computed_in("hessian", "hessian_frobenius"),
        options=FrobeniusOptions,
        misleads="A few large eigenvalues decide it, negative ones count like positive ones, and rescalings "
        "change it like the largest eigenvalue.",
    ),
    Measure(
        name="gauss_newton_trace",
        title="Gauss-Newton trace",
        formula="tr G, G = mean over examples of Jᵀ (d²l/df²) J, J = df/dθ; with method = auto exact up to 10⁸ "
        "numbers, examples times outputs times parameters",
        unit="{loss}",
        source="Schraudolph 2002, section 4; Martens 2020, section 8",
        invariant=ORTHOGONAL,
        compute=computed_in("gauss_newton", "gauss_newton_trace"),
        options=TraceOptions,
        misleads="It leaves out the curvature of the network itself, which matters away from an interpolator, and "
        "rescalings change it like the Hessian trace.",
    ),
    Measure(
        name="gauss_newton_top",
        title="largest Gauss-Newton eigenvalue",
        formula="max eigenvalue of G = mean over examples of Jᵀ (d²l/df²) J, J = df/dθ",
        unit="{loss}",
        source="Schraudolph 2002, section 4; Martens 2020, section 8",
        invariant=ORTHOGONAL,
        compute=computed_in("gauss_newton", "gauss_newton_top"),
        options=EigenvalueOptions,
        misleads="It follows the largest Hessian eigenvalue only where the residuals are small, and rescalings "
        "make it as large as one likes.",
    ),
    Measure(
        name="fisher_trace",
        title="Fisher trace",
        formula="tr F, F = mean over inputs of E_y[g gᵀ], g = d log p(y|x,θ)/dθ, y drawn from the model "
        "(labels = data: g the gradient of the loss at the label of the example)",
        unit="{loss}",
        source="Martens 2020, sections 5 and 11; Jastrzebski et al. 2021 (early in training)",
        invariant=ORTHOGONAL,
        compute=computed_in("gauss_newton", "fisher_trace"),
        options=FisherOptions,
        misleads="With the labels of the data it is the mean squared norm of the gradients, which vanishes at an "
        "interpolator whatever its shape; for cross-entropy with the model's labels it is the Gauss-Newton trace.",
    ),
    Measure(
        name="filter_normalized_curvature",
        title="filter-normalised curvature",
        formula="sum over filters f of |θ_f|² tr(H_ff) / n_f = E[dᵀ H d] over filter-normalised directions d",
        unit="{loss}",
        source="Li et al. 2018, section 4 (the directions); the mean curvature along them",
        invariant=("layer-rescaling", "permutation", "batchnorm-scale", "sign-flip"),
        compute=computed_in("filter_curvature", "filter_normalized_curvature"),
        options=FilterCurvatureOptions,
        misleads="Scales of single hidden units change it: what a unit's filter gains the next layer loses per "
        "input channel, and a filter's norm does not see its channels apart. Curvatures of both signs cancel.",
    ),
    Measure(
        name="relative_flatness",
        title="relative flatness",
        formula="κ = sum over layers of sum_{s,s'} <w_s, w_s'> tr(H_{s,s'}), w_s the rows of a layer",
        unit="{loss}",
        source="Petzka, Kamp, Adilova, Sminchisescu & Boley 2021, Relative flatness and generalization",
        invariant=("layer-rescaling", "permutation", "batchnorm-scale", "sign-flip"),
        compute=computed_in("relative_flatness", "relative_flatness"),
        options=RelativeFlatnessOptions,
        misleads="The theorem behind it is about one layer and a classifier on its features; to add layers up is "
        "a convention. Scales of single hidden units change it through the columns of the next layer.",
    ),
    Measure(
        name="fisher_rao_norm",
        title="Fisher-Rao norm, squared",
        formula="|θ|²_fr = θᵀ F θ, F = mean over examples of g gᵀ, g = dl/dθ at its label (labels = model: labels "
        "drawn from the model)",
        unit="{loss}²",
        source="Liang, Poggio, Rakhlin & Stokes 2019, Fisher-Rao metric, geometry and complexity of networks",
        # Maps of degree 1 in the weights; shifts are none, and rotations were not tried.
        invariant=tuple(name for name in SYMMETRIES if name not in ("shift", "stream-rotation")),
        compute=computed_in("fisher_rao", "fisher_rao_norm"),
        options=FisherRaoOptions,
        misleads="It is no curvature: without biases it is (L + 1)² times the mean of (f · dl/df)² for L hidden "
        "layers, so it sees outputs and residuals only and vanishes at an interpolator.",
    ),
    Measure(
        name="orbit_min_trace",
        title="smallest trace on the orbit",
        formula="min over rescalings mu of sum_e G_e exp(-2 <a_e, mu>), G the Gauss-Newton diagonal, a_e how "
        "often each unit's scale enters parameter e, and over changes of basis B of tr(B^-1 S) + tr(B T), S and T "
        "the Gauss-Newton blocks of both sides; filters before batch normalisation in the gauge "
        "running_var + eps = 1; shifts, means and rotations of streams as of the representative",
        unit="{loss}",
        source="Vardhan, Taheri & Mazumdar 2026 (flatness over all interpolators and their symmetries); for two "
        "layers 2 sum_j sqrt(A_j B_j)",
        invariant=tuple(SYMMETRIES),
        compute=computed_in("orbit", "orbit_min_trace"),
        options=OrbitOptions,
        misleads="It is blind to everything but the trace: a network with one very sharp direction and one with "
        "many mild ones can have the same. Away from interpolation it leaves out the part of the Hessian that "
        "comes from the residuals. Where a stream may be rotated, or a bias shifted, it is the minimum at one "
        "choice of these, which every choice leads to: another could be flatter.",
    ),
    Measure(
        name="geodesic_sharpness",
        title="geodesic sharpness",
        formula="max over horizontal ξ, |ξ| <= rho, of g·ξ + ½ ξᵀHξ at the representative of the orbit; |ξ|² = "
        "tr (WᵀW)⁻¹ ξᵀξ on each side of a free basis, balanced, and Euclidean elsewhere; horizontal is orthogonal "
        "to the orbit (case = average: the mean of ½ ξᵀHξ over |ξ| = rho)",
        unit="{loss}",
        source="da Silva, Dangel & Oore 2025, Hide & Seek: Transformer Symmetries Obscure Sharpness & Riemannian "
        "Geometry Finds It (the metric of attention); geodesics to second order at the representative",
        invariant=tuple(SYMMETRIES),
        compute=computed_in("geodesic", "geodesic_sharpness"),
        options=GeodesicOptions,
        misleads="Where no basis is free the metric is that of one chosen representative, whose incoming weights "
        "have norm 1: another choice gives other numbers, as invariant as these. It is the maximum of a quadratic "
        "form; `rise` in the details is the loss at that point, and `gap` what the form misses.",
    ),
):
    register(_measure)

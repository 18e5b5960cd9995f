"""Declarations of the measures of neighbourhoods: names, formulas and options, without what computes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landscape.forms import NUMBER, POSITIVE_NUMBERS, WHOLE
from landscape.measures.registry import ORTHOGONAL, Measure, computed_in, register
from landscape.options import Options, option
from landscape.vocabulary import FEWEST_DRAWS, NORMS, ONE_D_POLICIES, UNITS

# What neighbourhoods in units of the weights do not change under.
_IN_UNITS = ("layer-rescaling", "unit-rescaling", "permutation", "batchnorm-scale", "sign-flip")
# Gammas of a profile that is asked for without any, in half decades. Below, draws of the Gaussian soon do not
# suffice.
_HALF_DECADES = range(-2, 5)


@dataclass(frozen=True)
class EpsilonOptions(Options):
    """The ball, and how its highest point is sought."""

    epsilon: float = option(1e-3, "Radius of the ball", above=0)
    restarts: int = option(4, "Ascents: along the gradient, and along random directions", low=1)
    iterations: int = option(100, "Steps of an ascent at most", low=1)
    tolerance: float = option(1e-4, "Share of the climb that a last step may still add", low=0)
    subspace: int | None = option(
        None, "Dimensions of a random subspace that the ball is cut with", form=WHOLE, low=1, unset="the whole"
    )


@dataclass(frozen=True)
class KeskarOptions(Options):
    """The box, and how its highest point is sought."""

    epsilon: float = option(1e-3, "Half sides of the box, in units of |weight| + 1", above=0)
    subspace: int | None = option(
        None, "Dimensions of a random subspace that the box lies in", form=WHOLE, low=1, unset="the whole"
    )
    iterations: int = option(10, "Of L-BFGS-B", low=1)
    restarts: int = option(3, "Searches from random points of the box", low=1)


@dataclass(frozen=True)
class SamOptions(Options):
    """The ball, the batches, and how the highest point is sought."""

    rho: float = option(0.05, "Radius of the ball", above=0)
    norm: str = option("l2", "Of the ball", choices=NORMS)
    batch: int = option(128, "Examples of a batch; 0 takes all at once", low=0)
    iterations: int = option(1, "Steps of an ascent; one is that of the training", low=1)
    restarts: int = option(1, "Ascents, where they have more than one step", low=1)


@dataclass(frozen=True)
class AdaptiveOptions(Options):
    """The neighbourhood."""

    rho: float = option(0.1, "Radius of the ball, in units", above=0)
    norm: str = option("l2", "Of the ball", choices=NORMS)
    units: str = option("element", "Each weight itself, the norm of its filter, or 1", choices=UNITS)
    eta: float = option(0.0, "Added to the size of each unit", low=0)


@dataclass(frozen=True)
class WorstOptions(AdaptiveOptions):
    """The neighbourhood, and how its highest point is sought."""

    batch: int = option(128, "Examples of a batch; 0 takes all at once", low=0)
    batches: int = option(8, "Batches at most; 0 takes all", low=0)
    iterations: int = option(20, "Steps of an ascent", low=1)
    restarts: int = option(2, "Ascents on every batch", low=1)
    normalise_logits: bool = option(False, "Scores of classes divided by their root mean square")


@dataclass(frozen=True)
class AverageOptions(AdaptiveOptions):
    """The neighbourhood, and how often it is sampled."""

    draws: int = option(100, "Random points", low=1)
    normalise_logits: bool = option(False, "Scores of classes divided by their root mean square")


@dataclass(frozen=True)
class LocalEnergyOptions(Options):
    """The noise, and what rises under it."""

    sigma: float = option(0.1, "Size of the noise", above=0)
    sigmas: Sequence[float] | None = option(
        None, "Other sizes, for a profile", form=POSITIVE_NUMBERS, unset="evenly spaced up to sigma"
    )
    points: int = option(5, "Sizes up to sigma where sigmas are not given", low=1)
    draws: int = option(100, "Noises", low=1)
    noise: str = option(
        "multiplicative", "In units of each weight, or of 1", choices=("multiplicative", "additive")
    )
    metric: str = option("loss", "The metric that rises: loss or error")
    one_d: str = option("norm", "ignore leaves biases and gains without noise", choices=ONE_D_POLICIES)
    antithetic: bool = option(False, "Every noise with both signs")


@dataclass(frozen=True)
class LocalEntropyOptions(Options):
    """The Gaussian, and how the volume in it is found."""

    gamma: float = option(1000.0, "How narrow the Gaussian is, in units of beta", above=0)
    beta: float = option(1.0, "Inverse temperature", above=0)
    gammas: Sequence[float] | None = option(
        None, "Other gammas, for a profile", form=POSITIVE_NUMBERS, unset="none"
    )
    method: str = option("gaussian", "Draws of the Gaussian, or Markov chains", choices=("gaussian", "chains"))
    draws: int = option(1000, "Of the Gaussian", low=1)
    chains: int = option(4, "Chains at every strength", low=1)
    chain_draws: int = option(200, "Draws of every chain", low=FEWEST_DRAWS)
    burn_in: int = option(100, "Draws of every chain before these", low=0)
    leapfrog: int = option(4, "Steps of every draw", low=1)


@dataclass(frozen=True)
class LearningOptions(Options):
    """The distribution, and the chains that sample it."""

    gamma: float = option(1.0, "How strongly chains are pulled back to the weights", low=0)
    n: float | None = option(None, "Examples that count", form=NUMBER, above=1, unset="all")
    beta: float | None = option(None, "Inverse temperature", form=NUMBER, above=0, unset="1 / log n")
    chains: int = option(4, "Chains", low=1)
    draws: int = option(250, "Draws of every chain", low=FEWEST_DRAWS)
    burn_in: int = option(150, "Draws of every chain before these", low=0)
    rounds: int = option(3, "Tries, each with paths twice as long, until chains have converged", low=1)
    leapfrog: int = option(4, "Steps of every draw", low=1)
    adjusted: bool = option(True, "Accept or refuse every draw, so that step lengths leave no bias")
    acceptance: float | None = option(
        None,
        "Share of draws to accept, by which the step length is found",
        form=NUMBER,
        above=0,
        below=1,
        unset="0.8; of one leapfrog step 0.574",
    )
    step: float | None = option(None, "Length of a step", form=NUMBER, above=0, unset="found during burn_in")
    preconditioner: str = option(
        "none", "Of steps; rmsprop finds during burn_in how far each weight moves", choices=("none", "rmsprop")
    )
    batch: int = option(0, "Examples of the batch of every step; 0 takes all", low=0)
    units: str = option("none", "Of distances: 1, each weight itself, or the norm of its filter", choices=UNITS)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what chains cannot do."""
        if self.batch and self.adjusted:
            why = "batch: losses of batches cannot decide about acceptance"
            yield "batch", f"{why}; set adjusted=False and give a step, or leave batch out"
        elif not self.adjusted and self.step is None:
            yield "step", "step: without acceptance nothing tells how long a step may be; give its length"


@dataclass(frozen=True)
class VolumeOptions(Options):
    """The level, and the rays on which it is sought."""

    epsilon: float = option(0.1, "Rise of the loss that ends the set", above=0)
    directions: int = option(200, "Random rays", low=2)
    units: str = option("none", "Of distances: 1, each weight itself, or the norm of its filter", choices=UNITS)
    tolerance: float = option(1e-3, "Of a radius, as a share of it", above=0)
    largest: float = option(100.0, "Radius at which a search ends, in units of that of the weights", above=0)


def with_profile(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the local entropy with gammas around the one given, where there are none."""
    around = [float(settings["gamma"]) * 10 ** (half / 2) for half in _HALF_DECADES]
    return {**settings, "gammas": settings["gammas"] or around}


_MISLEADS = (
    "With units of elements no rescaling of single weights that keeps the function changes it; with units "
    "of filters only those of whole layers do not, and other symmetries, such as another basis of "
    "attention heads, change both. It has been found to go along with the learning rate rather than with "
    "generalisation (Andriushchenko et al. 2023)."
)

for _measure in (
    Measure(
        name="epsilon_sharpness",
        title="epsilon-sharpness",
        formula="max over |d|_2 <= epsilon of (L(w + d) - L(w)) / (1 + L(w))",
        unit="1",
        source="Dinh et al. 2017, definition 2; after Keskar et al. 2017",
        invariant=ORTHOGONAL,
        compute=computed_in("epsilon", "epsilon_sharpness"),
        options=EpsilonOptions,
        is_bound=lambda settings: True,
        misleads=(
            "Rescaling moves weights of any size into the ball: with a layer of norm epsilon it is at "
            "least that of the function without this layer, however flat the minimum. What ascent finds "
            "is a lower bound."
        ),
    ),
    Measure(
        name="keskar_sharpness",
        title="Keskar sharpness",
        formula="100 (max over |z_i| <= epsilon (|(A^+ w)_i| + 1) of L(w + A z) - L(w)) / (1 + L(w))",
        unit="%",
        source="Keskar et al. 2017, metric 2.1",
        invariant=ORTHOGONAL,
        compute=computed_in("keskar", "keskar_sharpness"),
        options=KeskarOptions,
        is_bound=lambda settings: True,
        misleads=(
            "The sides of the box are epsilon at least, so a rescaling that makes weights small makes it "
            "as large as one likes. Ten iterations are no maximum, and a maximum over a box has many "
            "corners: look at how far restarts disagree. In a random subspace it depends on the subspace, "
            "and its values say nothing about those of the whole."
        ),
    ),
    Measure(
        name="sam_sharpness",
        title="SAM sharpness",
        formula=(
            "mean over batches B of m examples (m = 0: all at once) of max over |d|_p <= rho of L_B(w + "
            "d) - L_B(w); with one iteration at d = rho g / |g|_2 (p = 2) or rho sign(g) (p = infinity), "
            "g the gradient of L_B"
        ),
        unit="{loss}",
        source="Foret et al. 2021, equations 1 and 2, and section 4.1 for batches of m",
        invariant=ORTHOGONAL,
        compute=computed_in("sam", "sam_sharpness"),
        options=SamOptions,
        is_bound=lambda settings: settings["iterations"] > 1,
        misleads=(
            "Rescaling changes it at will, as it changes every measure with a ball of fixed size. One "
            "step is no maximum: near a minimum the gradient says little about the direction of largest "
            "curvature. Batches of m examples rise further than all data, so values of different m cannot "
            "be compared."
        ),
    ),
    Measure(
        name="adaptive_sharpness_worst",
        title="adaptive sharpness, worst case",
        formula="mean over batches B of max over |d / c|_p <= rho of L_B(w + d) - L_B(w), c = |w| or filter norms",
        unit="{loss}",
        source="Kwon et al. 2021, definition 2; Andriushchenko et al. 2023, section 2; ascent: Croce & Hein 2020",
        invariant=_IN_UNITS,
        compute=computed_in("adaptive", "adaptive_sharpness_worst"),
        options=WorstOptions,
        is_bound=lambda settings: True,
        misleads=_MISLEADS,
    ),
    Measure(
        name="adaptive_sharpness_average",
        title="adaptive sharpness, average",
        formula="E L(w + d) - L(w), d_i = rho c_i z_i, z_i ~ N(0, 1) (p = 2) or uniform in [-1, 1] (p = infinity)",
        unit="{loss}",
        source="Andriushchenko et al. 2023, section 2",
        invariant=_IN_UNITS,
        compute=computed_in("adaptive", "adaptive_sharpness_average"),
        options=AverageOptions,
        misleads=_MISLEADS,
    ),
    Measure(
        name="local_energy",
        title="local energy",
        formula=(
            "E L(w + sigma z * w) - L(w), z ~ N(0, I) (multiplicative), or E L(w + sigma z) - L(w) (additive); "
            "L the loss, or the error as a share of 1"
        ),
        unit="{loss}",
        source="Pittorino et al. 2021; number of draws and largest sigma: the authors' code",
        invariant=_IN_UNITS,
        compute=computed_in("local_energy", "local_energy"),
        options=LocalEnergyOptions,
        misleads=(
            "Additive noise is not invariant to any rescaling. The order of two networks can change with "
            "sigma: read the profile, not one value. Errors move in steps of one example, so small rises "
            "of the error need many draws. Noise on the gains and biases of batch normalisation is "
            "included unless one_d='ignore'; its running statistics are frozen, which makes networks with "
            "batch normalisation look sharper."
        ),
        profile=dict,
    ),
    Measure(
        name="local_entropy",
        title="local entropy",
        formula=(
            "log E exp(-beta (L(w + d) - L(w))), d ~ N(0, I / (beta gamma)); plus (P/2) log(2 pi / (beta "
            "gamma)) - beta L(w) it is log of the integral of exp(-beta L(w') - beta gamma/2 |w' - w|^2) "
            "over w'"
        ),
        unit="nats",
        source="Pittorino et al. 2021; Chaudhari et al. 2017, equation 3",
        invariant=ORTHOGONAL,
        compute=computed_in("local_entropy", "local_entropy"),
        options=LocalEntropyOptions,
        misleads=(
            "It depends on gamma and beta: only values with the same of both, and the same number of "
            "parameters, can be compared. Rescaling changes it, since the Gaussian has one width for all "
            "weights. In many dimensions a few draws of the Gaussian decide: where too few of them count "
            "the value is NaN, and chains are needed."
        ),
        profile=with_profile,
    ),
    Measure(
        name="local_learning_coefficient",
        title="local learning coefficient",
        formula=(
            "n beta (E L(w') - L(w)), beta = 1 / log n, w' ~ exp(-n beta L(w') - gamma/2 |w' - w|^2) (units = "
            "element: |(w' - w) / w|^2, filter: norms of filters); d/2 at a regular minimum of d parameters"
        ),
        unit="1",
        source="Lau et al. 2023, definition 1 and algorithm 1; beta: Watanabe 2013",
        # Chains that are pulled back alike in all directions see every rescaling of the directions.
        invariant=ORTHOGONAL,
        compute=computed_in("learning_coefficient", "local_learning_coefficient"),
        options=LearningOptions,
        misleads=(
            "The quantity that is estimated does not change under any reparametrisation, but gamma, which "
            "keeps chains near, does: where n beta times a curvature is not far above gamma the estimate "
            "is too low, and rescaling moves it; with units = element distances are measured in units of "
            "each weight, and it does not. Chains that have not converged give NaN and say why; "
            "chains that all miss a narrow valley look converged. At "
            "weights that are no local minimum it can be negative."
        ),
    ),
    Measure(
        name="epsilon_volume",
        title="log of the epsilon-flat volume",
        formula=(
            "log(V_P E r(u)^P), u uniform on the sphere, r(u) the first radius with L(w + r u) - L(w) >= "
            "epsilon, V_P the volume of the unit ball: the part of the set that can be seen from w"
        ),
        unit="nats",
        source="Dinh et al. 2017, definition 1, the part in sight of the weights",
        invariant=ORTHOGONAL,
        compute=computed_in("volume", "epsilon_volume"),
        options=VolumeOptions,
        misleads=(
            "The mean of r^P is decided by the largest radii, which random directions miss in many "
            "dimensions: the direct value is then too small, and NaN is given instead; the extrapolation "
            "from the spread of log r holds for a log-normal radius only, and its third term says how "
            "doubtful it is. Dinh et al. prove the whole set to have infinite volume for rectifier "
            "networks: only the part in sight is finite."
        ),
    ),
):
    register(_measure)

"""Claims of Dinh et al. 2017."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import Array, Claim, Numbers, Paper, Reading, above, below, more

_BLOCKS = "dinh2017-resnet20"
_ORBIT, _FIGURES = "dinh2017-rescaling", "dinh2017-reparametrisation"
# Closed forms are kept to rounding of float32, in which numbers are stored, and to differences of small steps.
_ROUNDING, _DIFFERENCES = 1e-5, 1e-3
# Four standard errors of a share of a tenth of 100,000 points.
_SAMPLED = 0.04


def _xy(numbers: Numbers, series: str) -> tuple[Array, Array]:
    return numbers[f"{series}/x"], numbers[f"{series}/y"]


def _off(found: str, form: str, bound: float) -> Callable[[Numbers], Reading]:
    """Read the largest relative distance of what was computed from its closed form."""

    def read(numbers: Numbers) -> Reading:
        (x, y), (line_x, line) = _xy(numbers, found), _xy(numbers, form)
        # Power laws: straight lines between logarithms of positive places.
        if (line_x > 0).all():
            x, line_x = np.log(x), np.log(line_x)
        expected = np.exp(np.interp(x, line_x, np.log(line)))
        return below(float(np.abs(y / expected - 1).max()), bound)

    return read


def _grows(series: str, factor: float) -> Callable[[Numbers], Reading]:
    """Read how far a number ranges over what keeps the function."""

    def read(numbers: Numbers) -> Reading:
        values = _xy(numbers, series)[1]
        return above(float(values.max() / values.min()), factor)

    return read


def _stays(numbers: Numbers) -> Reading:
    loss = _xy(numbers, "1/loss")[1]
    return below(float(loss.max() / loss.min()) - 1, 1e-4)


def _many(numbers: Numbers) -> Reading:
    gap = _xy(numbers, "2/at the point named")[1] - _xy(numbers, "2/bound of theorem 5")[1]
    return above(float(gap.min()), 0.0)


def _in_any_ball(numbers: Numbers) -> Reading:
    gap = _xy(numbers, "3/at a point of the ball")[1] / _xy(numbers, "3/(ln C − L) / (1 + L)")[1]
    return above(float(gap.min()), 1 - _ROUNDING)


def _apart(numbers: Numbers) -> Reading:
    low, high = _xy(numbers, "1/lower end")[1], _xy(numbers, "1/upper end")[1]
    return more(float((low[1:] / high[:-1]).min()), than=1.0)


_NETWORK = "Digits, two hidden layers of 8 without biases, trained on 300 examples, α from 1/16 to 16"
_RESNET = "ResNet-20 of width 4 on 200 images of CIFAR-10, gains times α, convolutions after them divided"
_COMPUTED = "Computed in float64"

PAPER = Paper(
    "dinh2017",
    "L. Dinh, R. Pascanu, S. Bengio, Y. Bengio, Sharp Minima Can Generalize For Deep Nets, ICML 2017, arXiv "
    "1703.04933. The "
    "paper has theorems and schematic figures, and no experiments.",
    (
        Claim(
            "The set of points whose loss is less than ε above the minimum has infinite volume",
            "theorem 2, figure 1",
            f"{_COMPUTED}, (θ₁θ₂ − 1)²: area up to R beside 4√ε ln R, which has no bound: largest relative "
            "distance.",
            _FIGURES,
            _off("0/sampled", "0/4√ε ln R", _SAMPLED),
            exact=True,
        ),
        Claim(
            "Images of a box under repeated rescaling do not meet",
            "theorem 2, figure 3",
            "First weight 0.7 ± 0.3, α = 5: lower end of a box over the upper end of the one before, the least "
            "of five.",
            _FIGURES,
            _apart,
            exact=True,
        ),
        Claim(
            "Rescaling multiplies the gradient by 1/α and α",
            "theorem 3",
            f"{_NETWORK}: norm of the recomputed gradient beside the closed form, largest relative distance.",
            _ORBIT,
            _off("1/recomputed", "1/closed form", 1e-3),
            exact=True,
        ),
        Claim(
            "Rescaling turns the Hessian H into D H D: the trace",
            "theorem 3",
            f"{_NETWORK}: recomputed trace beside α⁻² t₁ + α² t₂ + rest, largest relative distance.",
            _ORBIT,
            _off("0/trace", "0/trace, closed form", 1e-3),
            exact=True,
        ),
        Claim(
            "Rescaling turns the Hessian H into D H D: the largest eigenvalue",
            "theorem 3",
            f"{_NETWORK}: recomputed eigenvalue beside that of D H D, largest relative distance.",
            _ORBIT,
            _off("0/largest eigenvalue", "0/largest eigenvalue of DHD", 1e-3),
            exact=True,
        ),
        Claim(
            "The spectral norm of the Hessian can be made as large as one likes",
            "theorem 4",
            f"{_NETWORK}: largest over least of the largest eigenvalue on the orbit; a factor 10 at least.",
            _ORBIT,
            _grows("0/largest eigenvalue", 10.0),
            exact=True,
        ),
        Claim(
            "So can its trace",
            "theorem 4",
            f"{_NETWORK}: largest over least trace on the orbit; a factor 10 at least.",
            _ORBIT,
            _grows("0/trace", 10.0),
            exact=True,
        ),
        Claim(
            "All but a layer's worth of the nonzero eigenvalues can be made larger than any M at once",
            "theorem 5",
            f"{_NETWORK}: eigenvalues above M at the point named less the bound r − min n_k, the least of M = "
            "100 to 10⁶.",
            _ORBIT,
            _many,
            exact=True,
        ),
        Claim(
            "A loss that is not constant is not Lipschitz: gradients on the orbit have no bound",
            "theorem 6",
            f"{_NETWORK}: largest over least norm of the gradient on the orbit; a factor 2 at least.",
            _ORBIT,
            _grows("1/recomputed", 2.0),
            exact=True,
        ),
        Claim(
            "A ball of any radius ε holds a point where the network is constant, at some point of the orbit",
            "section 4.3",
            f"{_NETWORK.split(',')[0]}: rise / (1 + loss) there over (ln C − L) / (1 + L), the least of ε = "
            "10⁻⁶ to 0.1.",
            _ORBIT,
            _in_any_ball,
            exact=True,
        ),
        Claim(
            "Sharpness in a random subspace changes along the orbit too, which the paper could not show",
            "section 4.3",
            f"{_NETWORK}: largest over least sharpness in a subspace of 10 dimensions, ε = 0.5; a factor 10 at "
            "least.",
            _ORBIT,
            _grows("4/random subspace of 10", 10.0),
        ),
        Claim(
            "Sharpness in the whole space changes along the orbit",
            "section 4.3",
            f"{_NETWORK}: largest over least sharpness, ε = 0.5; a factor 10 at least.",
            _ORBIT,
            _grows("4/whole space", 10.0),
            exact=True,
        ),
        Claim(
            "A change of parameters η = (θ² + b)ᵃ θ gives a minimum any curvature",
            "section 5.1, figure 5",
            f"{_COMPUTED}: second derivative by differences beside 1 / b²ᵃ, largest relative distance.",
            _FIGURES,
            _off("3/differences", "3/1 / b²ᵃ", _DIFFERENCES),
            exact=True,
        ),
        Claim(
            "A radial warp gives a minimum any curvature",
            "appendix A, figure 6",
            f"{_COMPUTED}: second derivative at the centre by differences beside (r / ρ)², largest relative "
            "distance.",
            _FIGURES,
            _off("5/differences", "5/(r / ρ)²", _DIFFERENCES),
            exact=True,
        ),
        Claim(
            "Gradients in the input are as arbitrary: another unit of the input multiplies them",
            "section 5.2",
            f"{_COMPUTED}: norm by differences beside c times the norm, largest relative distance.",
            _FIGURES,
            _off("6/differences", "6/c times the norm in x", _DIFFERENCES),
            exact=True,
        ),
        Claim(
            "With batch normalisation weights of the same function are as sharp as one likes too",
            "section 5.1, which leaves it open",
            f"{_RESNET}: largest over least of the largest eigenvalue, α from 1/16 to 16; a factor 10 at least.",
            _BLOCKS,
            _grows("0/recomputed", 10.0),
        ),
        Claim(
            "There too rescaling turns the Hessian H into D H D",
            "theorem 3",
            f"{_RESNET}: recomputed eigenvalue beside that of D H D, largest relative distance; at most 1 %.",
            _BLOCKS,
            _off("0/recomputed", "0/of DHD", 1e-2),
            exact=True,
        ),
        Claim(
            "There too the loss stays as it is",
            "theorem 1",
            f"{_RESNET}: largest over least loss less 1, α from 1/16 to 16.",
            _BLOCKS,
            _stays,
            exact=True,
        ),
        Claim(
            "The volume of a box under rescaling grows without bound where layers differ in size",
            "theorem 2",
            "Needs the volume of the set of low loss along the orbit of a network, by an estimator.",
        ),
        Claim(
            "With weight normalisation w = s v / |v| every minimum is as sharp or flat in v as one likes",
            "section 5.1",
            "Least squares in four dimensions: largest eigenvalue in c v by differences beside c⁻² times that in "
            "v, c from 1/16 to 16, largest relative distance.",
            _FIGURES,
            _off("7/differences", "7/c⁻² times that of v", _DIFFERENCES),
            exact=True,
        ),
    ),
)

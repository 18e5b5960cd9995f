"""Claims of Baldassi et al. 2020."""

from __future__ import annotations

import numpy as np

from landscape.claims.claim import Array, Claim, Numbers, Paper, Reading, below, more

_MACHINES = "pittorino2021-committee"
_RECIPE, _PATHS = "baldassi2020-mixture", "pittorino2021-mixture"
# Half-widths of 95 % intervals in standard errors: of eight draws (Student), and of many.
_OF_EIGHT, _OF_MANY = 2.36, 1.96


def _series(numbers: Numbers, name: str) -> tuple[Array, Array, Array]:
    return tuple(numbers[f"{name}/{entry}"] for entry in ("x", "y", "error"))  # type: ignore[return-value]


def _off(numbers: Numbers, found: str, form: str, width: float) -> Reading:
    """The largest distance from a closed form, in half-widths of its interval."""
    x, y, error = _series(numbers, found)
    line = np.interp(x, numbers[f"{form}/x"], numbers[f"{form}/y"])
    # Five points share the level.
    return below(float((np.abs(y - line) / (width * error)).max()), 1.5)


def _bayes(numbers: Numbers) -> Reading:
    return _off(numbers, "0/Hebb rule", "0/Bayes-optimal", _OF_EIGHT)


def _fresh(numbers: Numbers) -> Reading:
    return _off(numbers, "1/fresh examples", "1/closed form", _OF_MANY)


def _threshold(numbers: Numbers) -> Reading:
    """The gain of the best threshold over none, in %."""
    best = float(numbers["1/best threshold/y"][0])
    line = float(np.interp(0.0, numbers["1/closed form/x"], numbers["1/closed form/y"]))
    return more(100 * (line - best), than=0.0)


def _energy(numbers: Numbers) -> Reading:
    return _off(numbers, "2/sampled", "2/closed form", _OF_MANY)


def _flatter(numbers: Numbers) -> Reading:
    _, y, error = _series(numbers, "3/training error after noise σ = 1")
    return more(100 * float(y[0] - y[-1]), 100 * _OF_EIGHT * float(np.hypot(error[0], error[-1])))


def _entropy_rises(numbers: Numbers) -> Reading:
    _, y, error = _series(numbers, "4/local entropy of the errors")
    return more(float(y[-1] - y[0]), _OF_EIGHT * float(np.hypot(error[0], error[-1])))


def _up_to_it(numbers: Numbers) -> Reading:
    _, y, error = _series(numbers, "3/training error after noise σ = 1")
    least = int(np.argmin(y[:-1]))
    return more(100 * float(y[least] - y[-1]), 100 * _OF_EIGHT * float(np.hypot(error[least], error[-1])))


def _better(numbers: Numbers) -> Reading:
    _, y, error = _series(numbers, "3/population error")
    return more(100 * float(y[0] - y[-1]), 100 * _OF_EIGHT * float(np.hypot(error[0], error[-1])))


def _norm(numbers: Numbers) -> Reading:
    """Change of the error with the norm along one direction, in %."""
    m, q, error = (numbers[f"0/{entry}"] for entry in ("m", "q", "error"))
    places = [
        (row, int(np.argmin(np.abs(m - 0.3 * np.sqrt(value))))) for row, value in enumerate(q) if value > 0.2
    ]
    exact = [(error[row, column], m[column] / np.sqrt(q[row])) for row, column in places]
    errors, ratios = np.array(exact).T
    # What is left once the grid's own change of direction is taken out.
    slope, intercept = np.polyfit(ratios, errors, 1)
    return below(100 * float(np.abs(errors - slope * ratios - intercept).max()), 0.1)


_WAY = "From a hyperplane that fits 160 examples in 200 dimensions with margin 1 to the posterior mean, 8 draws"

PAPER = Paper(
    "baldassi2020",
    "C. Baldassi, E. M. Malatesta, M. Negri, R. Zecchina, Wide flat minima and optimal generalization in "
    "classifying "
    "high-dimensional Gaussian mixtures, JSTAT 2020, arXiv 2010.14761. Closed forms of Mignacco et al. 2020, "
    "arXiv 2002.11544.",
    (
        Claim(
            "The Bayes-optimal error of balanced clusters is reached by the direction of the posterior mean",
            "abstract",
            "Hebb rule in 1,000 dimensions, 8 draws, beside the closed form: largest distance in half-widths of "
            "a 95 % "
            "interval; at most 1.5, since there are five.",
            _RECIPE,
            _bayes,
            exact=True,
        ),
        Claim(
            "The error of a hyperplane depends on overlap, norm and threshold alone",
            "abstract",
            "Clusters of 1 to 4, 20,000 fresh examples at nine thresholds beside the closed form: largest "
            "distance in "
            "half-widths; at most 1.5.",
            _RECIPE,
            _fresh,
            exact=True,
        ),
        Claim(
            "With unequal clusters a threshold is needed to reach the Bayes-optimal error",
            "abstract",
            "Clusters of 1 to 4, two examples per dimension: error without threshold less that with the best, "
            "in %.",
            _RECIPE,
            _threshold,
            exact=True,
        ),
        Claim(
            "With equal clusters the norm of a hyperplane does not change its error",
            "abstract",
            "Closed form on a grid of overlaps and norms along one direction: largest change of the error, in "
            "%; at most 0.1.",
            _PATHS,
            _norm,
            exact=True,
        ),
        Claim(
            "The landscape gets flatter towards the Bayes-optimal classifier",
            "abstract",
            f"{_WAY}: training error under multiplicative noise σ = 1, in place of the local entropy, at the "
            "start less at "
            "the end, in %.",
            _RECIPE,
            _flatter,
        ),
        Claim(
            "It gets flatter all the way",
            "abstract",
            f"{_WAY}: the same at its least on the way less at the end, in %.",
            _RECIPE,
            _up_to_it,
        ),
        Claim(
            "Flatter hyperplanes on this way have the smaller error on fresh examples",
            "abstract",
            f"{_WAY}: population error at the start less at the end, in %.",
            _RECIPE,
            _better,
        ),
        Claim(
            "Local energies of hyperplanes follow from overlap and norm",
            "derived here",
            "Posterior mean in 4,000 dimensions, 50 draws at five sizes of the noise beside the closed form: "
            "largest distance "
            "in half-widths; at most 1.5.",
            _RECIPE,
            _energy,
            exact=True,
        ),
        Claim(
            "Local entropy of the error-counting loss rises towards the Bayes-optimal classifier",
            "abstract",
            "Binary weights in 200 dimensions, 160 examples, 8 draws, from weights that fit all to the signs "
            "of the Hebb rule: local entropy at the end less at the start, per weight, an error costs 2.",
            _MACHINES,
            _entropy_rises,
        ),
        Claim(
            "Seeking flat minima of the square loss helps with unequal clusters",
            "abstract",
            "Needs the optimizers of pittorino2021-mixture with clusters of unequal size.",
        ),
    ),
)

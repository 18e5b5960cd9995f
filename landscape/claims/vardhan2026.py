"""Claims of Vardhan, Taheri & Mazumdar 2026."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import Array, Claim, Numbers, Paper, Reading, above, below, more, ranked

_FAMILIES, _TRACES_OF_N = "vardhan2026-interpolators", "vardhan2026-traces"
_SEARCH = "vardhan2026-flattest"
# Student's half-width of a 95 % interval of four draws, in standard errors.
_OF_FOUR = 3.18
# Columns of a network: losses, the least trace of its orbit, traces at three points of the orbit.
_LOSS, _TRAIN, _LEAST, _TRACES = 0, 1, 2, slice(3, None)
# "Orderwise minimum": within so many times of the teacher's.
_ORDER = 10.0


def _networks(numbers: Numbers, panel: int, *families: str) -> Array:
    return np.concatenate([numbers[f"{panel}/{name}"] for name in families])


def _teacher(numbers: Numbers, panel: int) -> float:
    return float(numbers[f"{panel}/teacher"][0, _LEAST])


def _far_above(panel: int, *families: str) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        return more(_networks(numbers, panel, *families)[:, _LEAST].min() / _teacher(numbers, panel), than=_ORDER)

    return read


def _moves(panel: int, *families: str) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        networks = _networks(numbers, panel, *families)
        return above(float((networks[:, _TRACES] / networks[:, [_LEAST]]).min()), 1.0)

    return read


def _memorisers_fail(panel: int, *families: str) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        networks = _networks(numbers, panel, *families)
        return more(float(networks[:, _LOSS].min()), than=0.1)

    return read


def _flattest_generalise(panel: int, *trained: str) -> Callable[[Numbers], Reading]:
    """Read the largest population loss of a network of nearly least trace."""

    def read(numbers: Numbers) -> Reading:
        networks = _networks(numbers, panel, "teacher", "blend", *trained)
        flat = networks[networks[:, _LEAST] <= _ORDER * _teacher(numbers, panel)]
        # The theorem asks for label noise and many examples: a larger loss here does not speak against it.
        return below(float(flat[:, _LOSS].max()), 0.05, otherwise=0)

    return read


def _blends(panel: int) -> Callable[[Numbers], Reading]:
    """Read the rank correlation of least trace and population loss over blends of teacher and memoriser."""

    def read(numbers: Numbers) -> Reading:
        networks = numbers[f"{panel}/blend"]
        return ranked(networks[:, _LOSS], networks[:, _LEAST])

    return read


def _trained_trace(numbers: Numbers) -> Reading:
    networks = _networks(numbers, 0, "trained by Adam", "trained by gradient descent")
    return below(float(networks[:, _LEAST].max()) / _teacher(numbers, 0), _ORDER)


def _closed_form(numbers: Numbers) -> Reading:
    scan, form = numbers["0/scan/y"], numbers["0/closed form/y"]
    return below(float(np.abs(scan / form - 1).max()), 1e-5)


def _slope(name: str) -> Callable[[Numbers], float]:
    """The exponent of a power law in the number of examples."""

    def read(numbers: Numbers) -> float:
        x, y = (np.log(numbers[f"1/{name}/{entry}"]) for entry in "xy")
        return float(np.cov(x, y)[0, 1] / x.var(ddof=1))

    return read


def _memoriser_grows(numbers: Numbers) -> Reading:
    return more(_slope("memoriser")(numbers), than=1.0)


def _teacher_stays(numbers: Numbers) -> Reading:
    return below(abs(_slope("teacher")(numbers)), 0.1)


def _at_the_end(series: str, bound: float) -> Callable[[Numbers], Reading]:
    """Read the loss at the last place; a larger one does not speak against a theorem of many examples."""

    def read(numbers: Numbers) -> Reading:
        return below(float(numbers[f"{series}/y"][-1]), bound, otherwise=0)

    return read


def _noise_stays(numbers: Numbers) -> Reading:
    noise, loss = (numbers[f"3/worst of all found/{entry}"][1:] for entry in "xy")
    return below(float((loss / noise**2).max()), 1.0, otherwise=0)


def _gap(numbers: Numbers, one: str, other: str, places: tuple[int, int], scale: float = 1.0) -> Reading:
    """Read by how much one mean of four draws is above another."""
    (y, error), (less, doubt) = ([numbers[f"{name}/{entry}"] for entry in ("y", "error")] for name in (one, other))
    width = _OF_FOUR * float(np.hypot(error[places[0]], doubt[places[1]]))
    return more(scale * float(y[places[0]] - less[places[1]]), scale * width)


def _falls(numbers: Numbers) -> Reading:
    series = "0/constrained minimum"
    return _gap(numbers, series, series, (0, -1), 100.0)


def _noise_flattens(numbers: Numbers) -> Reading:
    # Of 160 examples; with 320 some trainings with noise diverge, and every fit is the teacher already.
    return _gap(numbers, "1/training alone", "1/label noise", (-2, -2))


_SOUGHT = "ReLU of one direction in 10 dimensions"
_OURS = "Sum of ReLUs of three directions in 20 dimensions, 100 examples"
_SQUARES = "The same with squares (degree 2)"

PAPER = Paper(
    "vardhan2026",
    "H. Vardhan, H. Taheri, A. Mazumdar, Flatness and Generalization: Learning Multi-Index Models with "
    "Homogeneous Neural "
    "Networks, 2026, arXiv 2606.04429. Known to us by its abstract; formulas are derived here.",
    (
        Claim(
            "Memorising networks stay orderwise above the least trace wherever rescaling takes them (degree 1)",
            "abstract, first result",
            f"{_OURS}: least trace of a memoriser on its orbit over the teacher's, the smallest of ten.",
            _FAMILIES,
            _far_above(0, "line memoriser", "bump memoriser"),
        ),
        Claim(
            "Memorising networks stay orderwise above the least trace wherever rescaling takes them (degree 2)",
            "abstract, first result",
            f"{_SQUARES}: least trace of a memoriser on its orbit over the teacher's, the smallest of five.",
            _FAMILIES,
            _far_above(1, "bump memoriser"),
        ),
        Claim(
            "These memorisers do not generalise (degree 1)",
            "abstract, first result",
            f"{_OURS}: population loss, the least of ten memorisers.",
            _FAMILIES,
            _memorisers_fail(0, "line memoriser", "bump memoriser"),
        ),
        Claim(
            "These memorisers do not generalise (degree 2)",
            "abstract, first result",
            f"{_SQUARES}: population loss, the least of five memorisers.",
            _FAMILIES,
            _memorisers_fail(1, "bump memoriser"),
        ),
        Claim(
            "The trace changes along the orbit, and never falls below the closed form of its least value "
            "(degree 1)",
            "symmetries",
            f"{_OURS}: trace anywhere on the orbit over the closed form, the least of all networks.",
            _FAMILIES,
            _moves(0, "teacher", "blend", "line memoriser", "bump memoriser", "trained by Adam"),
            exact=True,
        ),
        Claim(
            "The trace changes along the orbit, and never falls below the closed form of its least value "
            "(degree 2)",
            "symmetries",
            f"{_SQUARES}: trace anywhere on the orbit over the closed form, the least of all networks.",
            _FAMILIES,
            _moves(1, "teacher", "blend", "bump memoriser", "trained by Adam"),
            exact=True,
        ),
        Claim(
            "Every interpolator of orderwise least trace has a small population loss (degree 1)",
            "abstract, second result",
            f"{_OURS}, no label noise: population loss of networks within ten times of the teacher's trace, the "
            "largest; at "
            "most 0.05.",
            _FAMILIES,
            _flattest_generalise(0, "trained by Adam", "trained by gradient descent"),
        ),
        Claim(
            "Every interpolator of orderwise least trace has a small population loss (degree 2)",
            "abstract, second result",
            f"{_SQUARES}, no label noise: population loss of networks within ten times of the teacher's trace, "
            "the largest; "
            "at most 0.05.",
            _FAMILIES,
            _flattest_generalise(1, "trained by Adam"),
        ),
        Claim(
            "Between teacher and memoriser a smaller trace goes with a smaller population loss (degree 1)",
            "abstract, second result",
            f"{_OURS}: rank correlation over 60 blends; the error is 1.96 / sqrt(n - 1).",
            _FAMILIES,
            _blends(0),
        ),
        Claim(
            "Between teacher and memoriser a smaller trace goes with a smaller population loss (degree 2)",
            "abstract, second result",
            f"{_SQUARES}: rank correlation over 30 blends; the error is 1.96 / sqrt(n - 1).",
            _FAMILIES,
            _blends(1),
        ),
        Claim(
            "Training reaches the order of the least trace",
            "setting",
            f"{_OURS}: least trace of a trained network over the teacher's, the largest of ten.",
            _FAMILIES,
            _trained_trace,
        ),
        Claim(
            "The least trace of a unit on its orbit has a closed form",
            "symmetries; derived here",
            "A = 2.3, B = 0.7, degrees 1 to 3: scan of 200,001 factors beside the closed form, largest relative "
            "distance.",
            _TRACES_OF_N,
            _closed_form,
            exact=True,
        ),
        Claim(
            "The least trace of memorisers grows with the number of examples",
            "abstract, first result",
            "Lines of one random direction, 25 to 400 examples in 20 dimensions, 8 draws: exponent of n; above 1.",
            _TRACES_OF_N,
            _memoriser_grows,
        ),
        Claim(
            "That of the teacher does not",
            "abstract, first result",
            "The same examples: exponent of n in size; at most 0.1.",
            _TRACES_OF_N,
            _teacher_stays,
        ),
        Claim(
            "Every flattest interpolator that a search finds has a small population loss (degree 1)",
            "abstract, second result",
            f"{_SOUGHT}, no noise, 320 examples: population loss over the variance of the target, the largest of "
            "12 constrained minima; at most 0.05.",
            _SEARCH,
            _at_the_end("0/constrained minimum, worst of all found", 0.05),
        ),
        Claim(
            "Every flattest interpolator that a search finds has a small population loss (degree 2)",
            "abstract, second result",
            "Square of one direction in 10 dimensions, no noise, 320 examples: the same, the mean of four draws; "
            "at most 0.05.",
            _SEARCH,
            _at_the_end("0/constrained minimum, degree 2", 0.05),
        ),
        Claim(
            "So has it in more dimensions",
            "abstract, second result",
            "ReLU of one direction in 20 dimensions, 160 examples: the same, the largest of 12; at most 0.05.",
            _SEARCH,
            _at_the_end("2/worst of all found", 0.05),
        ),
        Claim(
            "So has it for the sum of several directions",
            "abstract, second result",
            "Sum of ReLUs of three directions in 10 dimensions, 160 examples: the same, the largest of 12; at "
            "most 0.05.",
            _SEARCH,
            _at_the_end("4/worst of all found", 0.05),
        ),
        Claim(
            "With noise on the targets, all of which are fitted, it does not pass the noise on",
            "abstract, second result",
            f"{_SOUGHT}, 160 examples, noise of 0.1, 0.2 and 0.4 of the spread of the target: population loss "
            "over the variance of the noise, the largest of 36; at most 1.",
            _SEARCH,
            _noise_stays,
        ),
        Claim(
            "The population loss of the flattest interpolators falls as examples are added",
            "abstract, second result",
            f"{_SOUGHT}, no noise: loss over the variance of the target with 40 examples less with 320, in %.",
            _SEARCH,
            _falls,
        ),
        Claim(
            "Label noise in training leads to flatter interpolators",
            "setting",
            f"{_SOUGHT}, 160 examples: least trace over the teacher's, training alone less training with label "
            "noise, which diverges for some draws of 320.",
            _SEARCH,
            _noise_flattens,
        ),
        Claim(
            "The teacher's trace is of the order of the least",
            "abstract, first result",
            f"{_SOUGHT}, 320 examples: least trace of what is found over the teacher's; at least 0.1.",
            _SEARCH,
            lambda numbers: above(float(numbers["1/constrained minimum/y"][-1]), 1 / _ORDER),
        ),
        Claim(
            "The result covers a large class of activations and data distributions",
            "abstract",
            "Needs links and inputs beyond ReLU powers of Gaussian inputs.",
        ),
    ),
)

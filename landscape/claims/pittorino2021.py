"""Claims of Pittorino et al. 2021."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.claims.claim import RECALLED, Array, Claim, Numbers, Paper, Reading, mean_of, more, ranked

_CIFAR, _DIGITS, _MIXTURE = "pittorino2021-cifar10", "pittorino2021-digits", "pittorino2021-mixture"
_FLAT = ("Entropy-SGD", "Replicated-SGD")
_COMMITTEE = "pittorino2021-committee"
# Snapshots at the end of a path.
_LAST = 5
_OPTIMIZERS = ("SGD", *_FLAT)


def _test(numbers: Numbers, optimizer: str) -> Array:
    return numbers[f"0/{optimizer}/test_error"]


def _energy(numbers: Numbers, optimizer: str) -> Array:
    """Local energies at the sigma of the recipe, 0.3, of all seeds."""
    sigmas = numbers[f"0/{optimizer}/sigmas"]
    return numbers[f"0/{optimizer}/rise"][:, int(np.argmin(np.abs(sigmas - 0.3)))]


def _less(optimizer: str, quantity: Callable[[Numbers, str], Array]) -> Callable[[Numbers], Reading]:
    """Read how much less of something an optimizer has than SGD, seed by seed."""

    def read(numbers: Numbers) -> Reading:
        return more(*mean_of(quantity(numbers, "SGD") - quantity(numbers, optimizer)))

    return read


def _correlated(numbers: Numbers) -> Reading:
    """Rank correlation over all networks; the error is that of no correlation, 1.96 / sqrt(n - 1)."""
    pairs = [np.concatenate([own(numbers, one) for one in _OPTIMIZERS]) for own in (_test, _energy)]
    return ranked(*pairs)


def _mixture(panel: int, optimizer: str) -> Callable[[Numbers], Reading]:
    """Read the gap to SGD over the last snapshots; the error is twice their spread."""

    def read(numbers: Numbers) -> Reading:
        ends = [100 * numbers[f"{panel}/{one}/error"][-_LAST:] for one in ("SGD", optimizer)]
        gap = ends[0] - ends[1]
        return more(float(gap.mean()), 2 * float(gap.std()))

    return read


def _mixture_flatness(numbers: Numbers) -> Reading:
    """Rank correlation of local energy and error of the population over all snapshots of one loss."""
    pairs = [
        np.concatenate([numbers[f"1/{one}/{entry}"] for one in _OPTIMIZERS]) for entry in ("error", "local_energy")
    ]
    return ranked(*pairs)


# Student's half-width of a 95 % interval of five, in standard errors: where one of two means does not vary.
_OF_FIVE = 2.78
_SOLVERS = ("fast SGD", "slow SGD", "fast replicated SGD", "slow replicated SGD", "focusing belief propagation")
# The size of the noise at which solutions are compared, 0.5.
_PLACE = 1


def _dots(numbers: Numbers, panel: int) -> tuple[Array, Array]:
    """Local energies of all solutions, and what stands over them; focusing ends at one, whatever its start."""
    x, y = (
        np.concatenate(
            [numbers[f"{panel}/{one}/{axis}"][: 1 if one == _SOLVERS[-1] else None] for one in _SOLVERS]
        )
        for axis in "xy"
    )
    return x, y


def _flatter_machines(one: str, other: str) -> Callable[[Numbers], Reading]:
    def read(numbers: Numbers) -> Reading:
        pairs = [(numbers[f"1/{name}/y"][_PLACE], numbers[f"1/{name}/error"][_PLACE]) for name in (one, other)]
        gap = pairs[0][0] - pairs[1][0]
        return more(100 * float(gap), 100 * _OF_FIVE * float(np.hypot(pairs[0][1], pairs[1][1])))

    return read


def _focusing(numbers: Numbers) -> Reading:
    best = min(_SOLVERS[:-1], key=lambda name: float(numbers[f"1/{name}/y"][_PLACE]))
    return _flatter_machines(best, _SOLVERS[-1])(numbers)


_MACHINES = "9 units of 25 binary weights, 150 examples of even and odd digits, 5 solutions of four solvers"
_MACHINES += " and one of focusing"


def _claims() -> tuple[Claim, ...]:
    settings = (
        (_CIFAR, "six-layer network, 2,000 images of CIFAR-10", "5 seeds"),
        (_DIGITS, "fully connected network, 500 digits", "10 seeds"),
    )
    found = []
    for recipe, what, seeds in settings:
        for optimizer in _FLAT:
            equals = f"{what}, equal gradient evaluations, {seeds}: SGD less {optimizer}"
            found += [
                Claim(
                    f"{optimizer} has a lower test error than SGD ({what})",
                    "abstract",
                    f"{equals.capitalize()}, in % of the test examples.",
                    recipe,
                    _less(optimizer, _test),
                ),
                Claim(
                    f"{optimizer} ends at flatter minima than SGD ({what})",
                    "abstract",
                    f"{equals.capitalize()}, local energy at sigma = 0.3 in % of the training examples.",
                    recipe,
                    _less(optimizer, _energy),
                ),
            ]
        found.append(
            Claim(
                f"Local energy goes with test error ({what})",
                "abstract",
                "All networks of that recipe: rank correlation; the error is 1.96 / sqrt(n - 1).",
                recipe,
                _correlated,
            )
        )
    return tuple(found)


_CLUSTERS = (
    "Two Gaussian clusters in 500 dimensions, 1,000 examples, one seed: error of SGD less that of {}, in %, "
)
_CLUSTERS += "over the last five snapshots; the error is twice its spread over them."

PAPER = Paper(
    "pittorino2021",
    "F. Pittorino, C. Lucibello, C. Feinauer, G. Perugini, C. Baldassi, E. Demyanenko, R. Zecchina, Entropic "
    "gradient "
    "descent algorithms and wide flat minima, ICLR 2021, arXiv 2006.07897.",
    (
        *_claims(),
        *(
            Claim(
                f"On Gaussian mixtures {optimizer} ends nearer to the Bayes-optimal error than SGD ({loss} loss)",
                "abstract",
                _CLUSTERS.format(optimizer),
                _MIXTURE,
                _mixture(panel, optimizer),
            )
            for panel, loss in enumerate(("square", "logistic"))
            for optimizer in _FLAT
        ),
        Claim(
            "On Gaussian mixtures better classifiers are flatter by the local energy of the population error",
            "abstract",
            "Logistic loss, all snapshots of three optimizers: rank correlation of error and local energy in "
            "closed form; "
            "the error is 1.96 / sqrt(n - 1).",
            _MIXTURE,
            _mixture_flatness,
        ),
        Claim(
            "Entropy-SGD and Replicated-SGD improve ResNet, DenseNet, EfficientNet and PyramidNet",
            "abstract",
            "Needs the problems resnet18, densenet121, efficientnet-b0 and pyramidnet trained on CIFAR-10, "
            "CIFAR-100 and Tiny-ImageNet: hours of a GPU.",
        ),
        Claim(
            "Committee machines: local entropy by belief propagation ranks solutions as local energy does",
            RECALLED,
            f"{_MACHINES}: rank correlation of the entropy at distance 0.1 with the local energy at σ = 0.5, its "
            "sign turned; the error is 1.96 / sqrt(n - 1).",
            _COMMITTEE,
            lambda numbers: ranked(_dots(numbers, 2)[1], -_dots(numbers, 2)[0]),
        ),
        Claim(
            "Committee machines of larger local entropy have the smaller test error",
            RECALLED,
            f"{_MACHINES}: rank correlation of the entropy at distance 0.1 with the share of right test examples.",
            _COMMITTEE,
            lambda numbers: ranked(_dots(numbers, 2)[1], -_dots(numbers, 3)[1]),
        ),
        Claim(
            "Committee machines of smaller local energy have the smaller test error",
            RECALLED,
            f"{_MACHINES}: rank correlation of the local energy at σ = 0.5 with the test error.",
            _COMMITTEE,
            lambda numbers: ranked(*_dots(numbers, 3)),
        ),
        Claim(
            "Focusing belief propagation finds the flattest committee machines",
            RECALLED,
            f"{_MACHINES}: least mean local energy at σ = 0.5 of the other solvers less that of focusing, in %.",
            _COMMITTEE,
            _focusing,
        ),
        *(
            Claim(
                f"Replicated SGD finds flatter committee machines than SGD ({pace})",
                RECALLED,
                f"{_MACHINES}: mean local energy at σ = 0.5 of SGD less that of replicated SGD, in %.",
                _COMMITTEE,
                _flatter_machines(f"{pace} SGD", f"{pace} replicated SGD"),
            )
            for pace in ("fast", "slow")
        ),
    ),
)

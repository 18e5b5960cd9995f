"""Parity of two bits among d: flat networks that know it, and networks as flat that know only the examples.

The inputs are the corners of the cube {-1, 1}^d, the target is x_1 x_2, the loss the mean of (f - y)^2. For
f(x) = sum_j a_j max(w_j . x, 0) a unit adds phi^2 + a_j^2 |x|^2 >= 2 |a_j| phi |x| to the squared gradient where
it is active, so that the trace of the Hessian is at least 4 sqrt(d) where |f| = 1, and 4 sqrt(d + 1) with biases,
entries 1 of the input. It is that small where all units that are active at an example have the sign of its target
and outputs phi = |a_j| |x|. Divided by their norm, outputs h of hidden units give f = a . h / |h| a trace of at
least 2, which networks have that are active with one unit at every example.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.papers.flattest_search import begin, constrain, fit
from landscape.papers.students import Student, flattest, flattest_trace
from landscape.values.experiment import Experiment, Series

Array = NDArray[np.float64]

# Of the search: bits, training examples, units, draws of examples and searches for each.
_BITS, _COUNTS, _UNITS, _DRAWS, _RESTARTS = 8, (16, 32, 64, 128), 20, 4, 2
# Squared errors of what counts as fitted.
_FITTED = 1e-12
_DIMENSIONS = (4, 8, 16, 32, 64, 128)
_LINE: Array = np.geomspace(_DIMENSIONS[0], _DIMENSIONS[-1], 51)


def corners(count: int, bits: int, seed: int, bias: bool) -> tuple[Array, Array]:
    """Different corners of the cube in random order, and their parity.

    Args:
        count: How many.
        bits: d.
        seed: Draws them.
        bias: Whether inputs have a further entry 1.

    Returns:
        Inputs, shape (count, d) or (count, d + 1), and targets, shape (count,).
    """
    random = np.random.default_rng([seed, bits])
    x = np.empty((0, bits))
    while len(x) < count:
        drawn = np.concatenate([x, random.choice([-1.0, 1.0], size=(2 * count, bits))])
        x = drawn[np.sort(np.unique(drawn, axis=0, return_index=True)[1])][:count]
    return np.column_stack([x, np.ones(count)]) if bias else x, x[:, 0] * x[:, 1]


def parity_network(bits: int, bias: bool) -> Student:
    """Four units, each active for one sign of each of the two bits: f(x) = x_1 x_2 on the whole cube.

    Args:
        bits: d.
        bias: Whether inputs have a further entry 1.
    """
    signs = np.array([(1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0)])
    w = np.zeros((4, bits + bias))
    w[:, :2] = signs / 2
    if bias:
        # Then no corner lies where a unit switches off: w . x is 1 or at most 0 without it, 1 or -1 with it.
        w[:, :2], w[:, -1] = signs, -1.0
    return Student(signs.prod(axis=1), w)


def corner_memoriser(x: Array, y: Array, bias: bool) -> Student:
    """A unit for each example that is active there and at no other: f is 0 on all corners not seen.

    With biases max(x_i . x - (d - 1), 0) is 1 at x_i and 0 at all other corners. Without them it takes as many
    dimensions as examples, and corners not seen may have any value: w_i . x_k = 1 for k = i, 0 otherwise.

    Args:
        x: Shape (n, d), or (n, d + 1) with the entry 1 last.
        y: Shape (n,).
        bias: Whether inputs have the entry 1.
    """
    if not bias:
        # A little below 0 at the others, so that rounding switches no unit on.
        wanted = np.eye(len(x)) - 1e-3 * (1 - np.eye(len(x)))
        return Student(y.copy(), wanted @ np.linalg.pinv(x).T)
    bits = x.shape[1] - 1
    return Student(y.copy(), np.column_stack([x[:, :-1], np.full(len(x), 1.0 - bits)]))


def least_parity_trace(bits: int, bias: bool) -> float:
    """4 sqrt(d), or 4 sqrt(d + 1) with biases: no network with the right sign and |f| = 1 has a smaller trace.

    Example:
        >>> least_parity_trace(9, bias=False)
        12.0
    """
    return 4 * float(np.sqrt(bits + bias))


def normalised_trace(student: Student, x: Array) -> float:
    """The trace where f(x) = a . h / |h| fits all examples, h = max(w x, 0).

    2 (1 + mean_i (|x_i|^2 / |h_i|^2) sum_{j active} (a_j - f_i h_ij / |h_i|)^2): the gradient by a has length 1.

    Args:
        student: Its units; at least one is active at every example.
        x: Shape (n, d).
    """
    h = np.maximum(x @ student.w.T, 0)
    norms = np.linalg.norm(h, axis=1)[:, None]
    f = (h @ student.a)[:, None] / norms
    rest = ((h > 0) * (student.a - f * h / norms) ** 2).sum(axis=1)
    return float(2 * (1 + ((x**2).sum(axis=1) / norms[:, 0] ** 2 * rest).mean()))


def hessian_trace(student: Student, x: Array, y: Array, *, normalised: bool = False) -> float:
    """The trace of the Hessian of the mean of (f - y)^2 by automatic differentiation.

    Args:
        student: The network.
        x: Shape (n, d).
        y: Shape (n,).
        normalised: Whether hidden outputs are divided by their norm.
    """
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    sizes = [student.a.size, student.w.size]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        a, w = flat.split(sizes)
        h = torch.relu(inputs @ w.view(student.w.shape).T)
        h = h / h.norm(dim=1, keepdim=True) if normalised else h
        return (h @ a - targets).square().mean()

    flat = torch.from_numpy(np.concatenate([student.a, student.w.ravel()]))
    return float(torch.autograd.functional.hessian(loss, flat).trace())


def _traces(title: str, bias: bool, normalised: bool, least: Array) -> Experiment:
    """Traces of the parity network and of memorisers, in turns along the axis since they lie on one line."""
    found: dict[str, list[float]] = {"parity network": [], "memoriser": []}
    for place, bits in enumerate(_DIMENSIONS):
        x, y = corners(bits // 2, bits, 0, bias)
        name = list(found)[place % 2]
        student = corner_memoriser(x, y, bias) if place % 2 else parity_network(bits, bias)
        found[name].append(hessian_trace(flattest(student, x), x, y, normalised=normalised))
    dots = [
        Series(name, np.array(_DIMENSIONS[place::2], dtype=np.float64), np.array(values))
        for place, (name, values) in enumerate(found.items())
    ]
    return Experiment(
        title,
        "bits d",
        "trace (log scale)",
        (Series("least possible", _LINE, least, line=True), *dots),
        "xy",
        "d / 2 examples, automatic differentiation at the flattest point of each orbit",
    )


def traces_without_biases(*_: Any) -> Experiment:
    """Traces of networks without biases beside the least possible, 4 sqrt(d)."""
    return _traces("without biases", False, False, 4 * np.sqrt(_LINE))


def traces_with_biases(*_: Any) -> Experiment:
    """Traces of networks with biases beside the least possible, 4 sqrt(d + 1)."""
    return _traces("with biases", True, False, 4 * np.sqrt(_LINE + 1))


def traces_normalised(*_: Any) -> Experiment:
    """Traces of networks whose hidden outputs are divided by their norm beside the least possible, 2."""
    return _traces("with biases, outputs of hidden units normalised", True, True, np.full_like(_LINE, 2.0))


@dataclass(frozen=True)
class _Found:
    """Shape (draws * restarts,): least traces over the bound, and mean squared errors on all other corners.

    NaN where a search ended at no interpolator: a corner at which no unit is active is not fitted.
    """

    trace: Array
    loss: Array


@cache
def _searched(count: int, bias: bool) -> _Found:
    every = [corners(2**_BITS, _BITS, draw, bias) for draw in range(_DRAWS)]
    x, y = (np.repeat([own[part][:count] for own in every], _RESTARTS, axis=0) for part in (0, 1))
    batch = begin(x, y, _UNITS, 1, seed=0)
    fit(batch)
    constrain(batch)
    least = least_parity_trace(_BITS, bias)
    rows = []
    for place, student in enumerate(batch.students()):
        inputs, targets = every[place // _RESTARTS]
        errors = (student.outputs(inputs) - targets) ** 2
        found = (flattest_trace(student, inputs[:count]) / least, errors[count:].mean())
        rows.append(found if errors[:count].max() < _FITTED else (np.nan, np.nan))
    return _Found(*np.array(rows).T)


def _over_counts(title: str, label: str, part: str, log: str, more: list[Series]) -> Experiment:
    places = np.array(_COUNTS, dtype=np.float64)
    series = []
    for words, bias in (("no biases", False), ("biases", True)):
        found = np.array([getattr(_searched(count, bias), part) for count in _COUNTS])
        error = np.nanstd(found, axis=1, ddof=1) / np.sqrt(np.isfinite(found).sum(axis=1))
        series.append(Series(words, places, np.nanmean(found, axis=1), error))
        most = np.nanmax(found, axis=1) if part == "loss" else np.nanmin(found, axis=1)
        series.append(Series(f"{words}, {'largest' if part == 'loss' else 'least'}", places, most))
    return Experiment(
        title,
        "training examples n",
        label,
        (*series, *more),
        log,
        f"{_BITS} bits, {_UNITS} units, {_DRAWS} draws of examples, {_RESTARTS} searches each",
    )


def parity_loss(*_: Any) -> Experiment:
    """Error on all other corners of the flattest interpolators found, over the number of examples."""
    places = np.array(_COUNTS[:-1], dtype=np.float64)
    values = []
    for count in _COUNTS[:-1]:
        x, y = corners(2**_BITS, _BITS, 0, True)
        memoriser = corner_memoriser(x[:count], y[:count], True)
        values.append(float(((memoriser.outputs(x[count:]) - y[count:]) ** 2).mean()))
    return _over_counts(
        "corners not seen",
        "mean squared error",
        "loss",
        "x",
        [Series("memoriser with biases", places, np.array(values))],
    )


def parity_found_traces(*_: Any) -> Experiment:
    """Least traces of the interpolators found over the bound, over the number of examples."""
    return _over_counts("trace of what is found", "trace / bound", "trace", "x", [])

"""Schematic figures of Dinh et al. 2017, computed: flat sets, boxes, and minima seen through other parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.values.experiment import Experiment, Series

Array = NDArray[np.float64]

# Of the example of theorem 2: |first layer| and half the side of the box.
_FIRST, _HALF = 0.7, 0.3
# Of the radial warp: where it ends, the radius inside and what becomes of it.
_DELTA, _INNER = 1.0, 0.3
# Of the map of figure 5: eta = (theta^2 + b)^a theta.
_B = 0.1
_STEP = 1e-3
# Of the flat set: how low it is, and points that sample it.
_EPSILON, _DRAWS = 0.01, 100_000


def flat_set_area(*_: Any) -> Experiment:
    """Area of {(t1 t2 - 1)^2 < epsilon} with t1 from 1/R to R by sampling, beside 4 sqrt(epsilon) ln R.

    Points have ln t1 uniform and t2 uniform up to 2 / t1, so that each stands for an area of 4 ln R / draws.
    """
    generator = np.random.default_rng(0)
    reaches: Array = np.float64(2.0) ** np.arange(1, 13)
    areas, errors = [], []
    for reach in reaches:
        first = np.exp(generator.uniform(-np.log(reach), np.log(reach), _DRAWS))
        second = generator.uniform(0, 2 / first)
        share = float(((first * second - 1) ** 2 < _EPSILON).mean())
        areas.append(4 * np.log(reach) * share)
        errors.append(4 * np.log(reach) * np.sqrt(share * (1 - share) / _DRAWS))
    return Experiment(
        "area of an ε-flat set",
        "R (first weight from 1/R to R)",
        "area",
        (
            Series("4√ε ln R", reaches, 4 * np.sqrt(_EPSILON) * np.log(reaches), line=True),
            Series("sampled", reaches, np.array(areas), np.array(errors)),
        ),
        "x",
        f"ε = {_EPSILON:g}, {_DRAWS:,} points",
    )


def disjoint_boxes(*_: Any) -> Experiment:
    """Images of a box under T_alpha, T_alpha^2, ...: where the first layer is, and how large they are."""
    low, high = _FIRST - _HALF, _FIRST + _HALF
    alpha = 2 * high / low
    powers = np.arange(6.0)
    return Experiment(
        "boxes that do not meet (theorem 2)",
        "k",
        "largest first weight in the box",
        (
            Series("lower end", powers, low * alpha**powers),
            Series("upper end", powers, high * alpha**powers),
        ),
        "y",
        f"α = {alpha:g}, first weight {_FIRST:g} ± {_HALF:g}",
    )


def seen_through_eta(*_: Any) -> Experiment:
    """Loss theta^2 / 2 over eta = (theta^2 + b)^a theta: curvature at the centre is 1 / b^2a (figure 5)."""
    theta = np.linspace(-1, 1, 401)
    series = []
    for a in (-0.25, 0.0, 0.5):
        eta = (theta**2 + _B) ** a * theta
        series.append(Series(f"a = {a:g}".replace("-", "−"), eta, theta**2 / 2, line=True))
    return Experiment(
        "one minimum, three parametrisations", "η", "loss", tuple(series), about=f"η = (θ² + {_B:g})^a θ"
    )


def curvature_through_eta(*_: Any) -> Experiment:
    """Second derivative of the loss in eta at the centre by differences, beside 1 / b^2a."""
    exponents = np.linspace(-0.4, 1.0, 8)
    found = []
    for a in exponents:
        # theta = eta / b^a near the centre, found by Newton's method.
        eta = _STEP * _B**a
        theta = eta / _B**a
        for _iteration in range(20):
            base = theta**2 + _B
            slope = base**a + 2 * a * theta**2 * base ** (a - 1)
            theta -= (base**a * theta - eta) / slope
        found.append(theta**2 / eta**2)
    line = np.linspace(-0.4, 1.0, 101)
    return Experiment(
        "curvature at the minimum",
        "a",
        "second derivative (log scale)",
        (Series("1 / b²ᵃ", line, _B ** (-2 * line), line=True), Series("differences", exponents, np.array(found))),
        "y",
        f"b = {_B:g}",
    )


def _inverse_warp(theta: Array, rho: float) -> Array:
    """g^-1 of appendix A about 0: the radius `_INNER` becomes rho, and nothing moves beyond `_DELTA`."""
    r = np.linalg.norm(theta, axis=-1, keepdims=True)
    between = (rho - _DELTA) * (r - _DELTA) / (_INNER - _DELTA) + _DELTA
    psi = np.where(r > _DELTA, r, np.where(r <= _INNER, rho * r / _INNER, between))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(r > 0, psi / r, rho / _INNER) * theta)


def radial_warp(*_: Any) -> Experiment:
    """Curvature at the centre of a radial warp by differences, beside (r / rho)^2 (appendix A)."""
    radii = np.geomspace(0.02, 0.9, 9)
    found = []
    for rho in radii:
        # eta = g^-1(theta): the loss |theta|^2 / 2 as a function of eta.
        theta = np.array([[_STEP, 0.0]])
        eta = float(np.linalg.norm(_inverse_warp(theta, float(rho))))
        found.append(_STEP**2 / eta**2)
    line = np.geomspace(0.02, 0.9, 101)
    return Experiment(
        "radial warp",
        "ρ (radius 0.3 becomes ρ)",
        "second derivative at the centre (log scale)",
        (Series("(r / ρ)²", line, (_INNER / line) ** 2, line=True), Series("differences", radii, np.array(found))),
        "xy",
        "nothing moves beyond radius 1",
    )


def radial_profile(*_: Any) -> Experiment:
    """The loss |theta|^2 / 2 along a ray through the warp, for a sharper and a flatter centre (figure 6)."""
    theta = np.linspace(0, 1.5, 301)
    series = []
    for rho in (0.05, _INNER, 0.8):
        eta = np.linalg.norm(_inverse_warp(np.column_stack([theta, 0 * theta]), rho), axis=1)
        series.append(Series(f"ρ = {rho:g}", eta, theta**2 / 2, line=True))
    return Experiment("along a ray of the warp", "distance from the minimum, warped", "loss", tuple(series))


def weight_normalisation(*_: Any) -> Experiment:
    """Curvature in v of a square loss of w = s v / |v| at c v, beside c^-2 times that at v (section 5.1)."""
    generator = np.random.default_rng(0)
    x, v, step = generator.normal(size=(50, 4)), generator.normal(size=4), 1e-4
    targets = x @ (v / np.linalg.norm(v))
    factors: Array = np.float64(2.0) ** np.arange(-4, 5)

    def loss(direction: Array) -> float:
        return float(((x @ (direction / np.linalg.norm(direction)) - targets) ** 2).mean())

    def top(factor: float) -> float:
        eye = np.eye(4) * step * factor
        at = factor * v
        hessian = [
            [(loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b)) for a in eye] for b in eye
        ]
        return float(np.linalg.eigvalsh(np.array(hessian) / (4 * (step * factor) ** 2))[-1])

    # The Gauss-Newton matrix, exact where the loss is 0: rows of x without their part along v, over |v|.
    unit = v / np.linalg.norm(v)
    rows = (x - np.outer(x @ unit, unit)) / np.linalg.norm(v)
    exact = float(np.linalg.eigvalsh(2 * rows.T @ rows / len(x))[-1])
    line = np.geomspace(factors[0], factors[-1], 51)
    return Experiment(
        "weight normalisation",
        "c (v becomes c v)",
        "largest eigenvalue (log scale)",
        (
            Series("c⁻² times that of v", line, exact / line**2, line=True),
            Series("differences", factors, np.array([top(float(c)) for c in factors])),
        ),
        "xy",
    )


def input_gradient(*_: Any) -> Experiment:
    """Norm of the gradient in the input when the input is divided by c, beside c times the norm (section 5.2)."""
    generator = np.random.default_rng(0)
    first, last = generator.normal(size=(16, 8)), generator.normal(size=16)
    x = generator.normal(size=8)
    factors: Array = np.float64(2.0) ** np.arange(-3, 4)

    def value(inputs: Array) -> float:
        return float(last @ np.maximum(first @ inputs, 0))

    def norm(factor: float) -> float:
        # f as a function of u, with x = factor u.
        u, step = x / factor, 1e-6 / factor
        eye = np.eye(len(u)) * step
        return float(
            np.linalg.norm([(value(factor * (u + e)) - value(factor * (u - e))) / (2 * step) for e in eye])
        )

    slope = (first * (first @ x > 0)[:, None]).T @ last
    line = np.geomspace(factors[0], factors[-1], 51)
    return Experiment(
        "input in another unit",
        "c (input x = c u)",
        "norm of the gradient in u (log scale)",
        (
            Series("c times the norm in x", line, line * np.linalg.norm(slope), line=True),
            Series("differences", factors, np.array([norm(float(c)) for c in factors])),
        ),
        "xy",
    )

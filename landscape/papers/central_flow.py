"""The central flow (Cohen et al. 2024): the mean path of descent that oscillates at the edge of stability.

With learning rate eta, time in steps, and S the covariance of the oscillation,

    dw/dt = -eta grad( L + <H, S> / 2 ),    S >= 0,    2 / eta - H >= 0,    <S, 2 / eta - H> = 0,

where S lives on eigenvectors of the Hessian H whose eigenvalues have reached 2 / eta. It predicts the mean loss
over time, L + <H, S> / 2. While no eigenvalue has, it is gradient flow.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, lobpcg

from landscape.curvature import Curvature
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.trajectory import Trajectory
from landscape.values.experiment import Experiment, Series

Array = NDArray[np.float64]

# Eigenpairs that are followed, and how near 2 / eta an eigenvalue counts as one that may reach it within a step.
_PAIRS, _NEAR = 8, 0.05
_EVERY = 10
# Steps on either side over which the path is averaged.
_WINDOW = 10
# Displacement of the weights in differences of Hessian products, relative to their norm.
_SHIFT = 1e-5
_SUBSTEPS = 4


def covariance(slack: Array, rates: Array, rounds: int = 5000) -> Array:
    """The S >= 0 with slack + rates[S] >= 0 and <S, slack + rates[S]> = 0.

    It minimises <S, rates[S]> / 2 + <slack, S> over positive semidefinite matrices, by accelerated projected
    gradients.

    Args:
        slack: Shape (m, m), symmetric: what 2 / eta - H would be after a step without oscillation.
        rates: Shape (m, m, m, m), symmetric and positive semidefinite: what S adds to it.
        rounds: At most so many iterations.
    """
    size = len(slack)
    length = float(np.linalg.eigvalsh(rates.reshape(size**2, size**2))[-1])
    found = ahead = np.zeros_like(slack)
    pace = 1.0
    for _ in range(rounds if length > 0 else 0):
        values, vectors = np.linalg.eigh(ahead - (slack + np.einsum("ijkl,kl->ij", rates, ahead)) / length)
        moved = (vectors * np.maximum(values, 0)) @ vectors.T
        faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = moved + (pace - 1) / faster * (moved - found)
        done = np.abs(moved - found).max() <= 1e-12 * np.abs(moved).max()
        found, pace = moved, faster
        if done:
            break
    return found


@dataclass(frozen=True)
class State:
    """Where a flow is.

    Attributes:
        step: Time from the start, in steps of gradient descent.
        weights: Shape (P,), float64.
        loss: At the weights.
        mean_loss: Predicted mean over the oscillation.
        sharpness: Largest eigenvalue of the Hessian.
        unstable: Directions that oscillate.
    """

    step: int
    weights: Array
    loss: float
    mean_loss: float
    sharpness: float
    unstable: int


class Flow:
    """The central flow of gradient descent on a mean loss.

    Args:
        curvature: The Hessian, in float64; it is moved.
        rate: Learning rate of gradient descent.
    """

    def __init__(self, curvature: Curvature, rate: float) -> None:
        self._curvature, self._rate = curvature, rate
        self._guess: Array | None = None

    def states(self, weights: Array, steps: int) -> Iterator[State]:
        """The state at every `_EVERY`-th step, by Euler's method with a time step of 1."""
        for step in range(steps + 1):
            slope = self.slope(weights)
            values, vectors = self._eigenpairs()
            near = values > (1 - _NEAR) * 2 / self._rate
            if near.all() and len(values) < self._curvature.size:
                raise LandscapeError(
                    f"more than {_PAIRS - 1} eigenvalues at 2 / rate",
                    where=f"step {step} of the central flow",
                    mend="use a smaller rate",
                )
            sway, push, most = 0.0, np.zeros_like(weights), 0
            if near.any():
                third = self.third(weights, vectors[:, near])
                slack = np.diag(2 / self._rate - values[near])
                swung = covariance(
                    slack + self._rate * np.einsum("ijp,p->ij", third, slope),
                    self._rate / 2 * np.einsum("ijp,klp->ijkl", third, third),
                )
                sway = float(np.diag(swung) @ values[near]) / 2
                push = np.einsum("ij,ijp->p", swung, third) / 2
                most = int(np.linalg.matrix_rank(swung, tol=1e-6 * max(np.trace(swung), 1e-300), hermitian=True))
            if step % _EVERY == 0:
                loss = self.loss(weights)
                yield State(step, weights, loss, loss + sway, float(values[0]), most)
            weights = weights - self._rate * (slope + push)

    def gradient_flow(self, weights: Array, steps: int) -> Iterator[Array]:
        """Weights at every `_EVERY`-th step of gradient flow, the control: it knows no threshold."""
        for step in range(steps + 1):
            if step % _EVERY == 0:
                yield weights
            for _ in range(_SUBSTEPS):
                weights = weights - self._rate / _SUBSTEPS * self.slope(weights)

    def loss(self, weights: Array) -> float:
        """The loss at some weights."""
        self._load(weights)
        return self._curvature.value()

    def slope(self, weights: Array) -> Array:
        """The gradient at some weights."""
        self._load(weights)
        return np.asarray(self._curvature.gradient().numpy())

    def sharpness(self, weights: Array) -> float:
        """The largest eigenvalue at weights near those of the last call."""
        self._load(weights)
        return float(self._eigenpairs()[0][0])

    def _load(self, weights: Array) -> None:
        self._curvature.load(self._curvature.unflatten(torch.from_numpy(weights)))

    def _products(self, block: Array) -> Array:
        found = self._curvature @ torch.from_numpy(np.ascontiguousarray(block))
        return np.asarray(found.numpy())

    def _eigenpairs(self) -> tuple[Array, Array]:
        """The largest eigenvalues, falling, and their vectors; those of the step before are the guess."""
        size = self._curvature.size
        count = min(_PAIRS, size // 5)
        first = self._guess is None
        guess = np.random.default_rng(0).normal(size=(size, count)) if self._guess is None else self._guess
        matrix = LinearOperator((size, size), matvec=self._products, matmat=self._products, dtype=np.float64)
        with warnings.catch_warnings():
            # A few iterations follow vectors that have hardly turned.
            warnings.simplefilter("ignore", UserWarning)
            values, vectors = lobpcg(matrix, guess, tol=1e-4, maxiter=60 if first else 6)
        order = np.argsort(-values)
        self._guess = np.asarray(vectors[:, order])
        return values[order], self._guess

    def third(self, weights: Array, vectors: Array) -> Array:
        """Gradients of u_i^T H u_j, shape (m, m, P), by central differences of Hessian products."""
        shift = _SHIFT * float(np.linalg.norm(weights))
        found = np.empty((vectors.shape[1], vectors.shape[1], len(weights)))
        for place, direction in enumerate(vectors.T):
            self._load(weights + shift * direction)
            ahead = self._products(vectors)
            self._load(weights - shift * direction)
            found[place] = (ahead - self._products(vectors)).T / (2 * shift)
        return (found + found.swapaxes(0, 1)) / 2


@dataclass(frozen=True)
class _Paths:
    """A recorded descent beside its flows."""

    steps: Array
    states: list[State]
    gradient_flow: list[Array]
    flowed: list[float]
    means: list[Array]
    mean_losses: list[float]
    sharpness: list[float]
    rate: float


def _paths(run: Trajectory, objective: Objective) -> _Paths:
    found = run.training
    plain = found.get("optimizer") == "gd" and not found.get("momentum") and found.get("schedule") == "constant"
    if not plain or not np.array_equal(run.steps, np.arange(len(run))):
        raise LandscapeError(
            "the central flow is known of full-batch gradient descent at a constant rate, recorded at every step",
            where=run.path,
            mend='train with optimizer = "gd", momentum = 0, every = 1',
        )
    rate = float(found["lr"])
    curvature = Curvature(objective, run[0].weights, dtype=torch.float64, penalty=True)
    flow = Flow(curvature, rate)
    rows = np.stack([curvature.flatten({n: t.double() for n, t in one.weights.items()}).numpy() for one in run])
    losses = np.array([flow.loss(row) for row in rows])

    def mean_at(step: int) -> Array:
        return np.asarray(rows[step - _WINDOW : step + _WINDOW + 1].mean(axis=0))

    centres = range(_WINDOW, len(rows) - _WINDOW, _EVERY)
    sharpness = {step: flow.sharpness(rows[step]) for step in centres}

    def stable(step: int) -> bool:
        return sharpness[step] < 2 / rate and bool((np.diff(losses[step - _WINDOW : step + _WINDOW]) < 0).all())

    # A flow begins where descent is one itself, after the bounces of a sharp start.
    begin = next(filter(stable, centres), None)
    if begin is None:
        raise LandscapeError(
            "the sharpness is above 2 / rate, or the loss does not fall, at every step",
            where=run.path,
            mend="use a smaller rate",
        )
    kept = [step for step in centres if step >= begin]
    start, lasting = rows[begin], kept[-1] - begin
    gradient = list(flow.gradient_flow(start, lasting))
    return _Paths(
        np.array(kept, float),
        list(flow.states(start, lasting)),
        gradient,
        [flow.loss(weights) for weights in gradient],
        [mean_at(step) for step in kept],
        [float(losses[step - _WINDOW : step + _WINDOW + 1].mean()) for step in kept],
        [sharpness[step] for step in kept],
        rate,
    )


_ABOUT = f"means over {2 * _WINDOW + 1} steps; flows in float64 by Euler's method"


def central_flow_loss(run: Trajectory, objective: Objective) -> Experiment:
    """Mean loss of gradient descent beside the one predicted, and losses along both flows."""
    found = _paths(run, objective)
    return Experiment(
        "mean loss over time",
        "step",
        "training loss (log scale)",
        (
            Series(
                "central flow, predicted mean",
                found.steps,
                np.array([s.mean_loss for s in found.states]),
                line=True,
            ),
            Series("central flow", found.steps, np.array([state.loss for state in found.states]), line=True),
            Series("gradient flow", found.steps, np.array(found.flowed), line=True),
            Series("gradient descent, mean", found.steps, np.array(found.mean_losses)),
        ),
        "y",
        _ABOUT,
    )


def central_flow_sharpness(run: Trajectory, objective: Objective) -> Experiment:
    """Largest eigenvalue of the Hessian along gradient descent and along the central flow."""
    found = _paths(run, objective)
    return Experiment(
        "sharpness",
        "step",
        "largest eigenvalue of the Hessian",
        (
            Series("central flow", found.steps, np.array([state.sharpness for state in found.states]), line=True),
            Series("2 / rate", found.steps, np.full(len(found.steps), 2 / found.rate), line=True),
            Series("gradient descent", found.steps, np.array(found.sharpness)),
        ),
        about=f"rate {found.rate:g}",
    )


def central_flow_distance(run: Trajectory, objective: Objective) -> Experiment:
    """Distance of the mean path of gradient descent from the central flow and from gradient flow."""
    found = _paths(run, objective)

    def distance(places: list[Array]) -> Array:
        return np.array([float(np.linalg.norm(a - b)) for a, b in zip(found.means, places, strict=True)])[1:]

    steps = found.steps[1:]
    return Experiment(
        "distance from the mean path",
        "step",
        "distance (log scale)",
        (
            Series("central flow", steps, distance([state.weights for state in found.states])),
            Series("gradient flow", steps, distance(found.gradient_flow)),
            Series("the path itself, from there", steps, distance([found.means[0]] * len(found.means)), line=True),
        ),
        "y",
        _ABOUT,
    )

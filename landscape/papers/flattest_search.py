"""Search for the flattest networks that fit all examples: training with label noise, and a constrained minimum.

All searches of one data set run side by side: weights have shape (b, k) and (b, k, d), examples (b, n, d).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.papers.interpolators import teacher
from landscape.papers.students import Student, flattest_trace
from landscape.problems.catalogue import MultiIndexOptions
from landscape.problems.multi_index import draw_multi_index
from landscape.values.experiment import Experiment, Series

Array = NDArray[np.float64]

# Draws of data, and searches from other initial weights for each.
_DRAWS, _RESTARTS = 4, 3
_UNITS = 30
# Steps of Adam until the examples are fitted, and of each problem of the augmented Lagrangian.
_FIT, _INNER, _OUTER = 1500, 200, 14
_RATE = 0.01
# The weight of squared residuals beside the trace doubles from the first to the last.
_WEIGHTS = (10.0, 1e4)
# Label noise: gradient steps, their rate and batch size, and the standard deviation as a share of that of targets.
_STEPS, _STEP, _BATCH, _SPREAD = 15_000, 0.02, 8, 1.0
# Gauss-Newton steps to an exact fit.
_POLISH = 30
# The setting that the others vary.
_BASE = MultiIndexOptions(dim=10, train_size=160, test_size=4000)


@dataclass
class Batch:
    """Networks side by side, with the examples that each is to fit."""

    a: Tensor
    w: Tensor
    x: Tensor
    y: Tensor
    degree: int

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of the units, shape (b, n, k), and their slopes."""
        t = torch.relu(x @ self.w.transpose(1, 2))
        slope = (t > 0).to(t) if self.degree == 1 else self.degree * t ** (self.degree - 1)
        return t**self.degree, slope

    def residuals(self) -> Tensor:
        """f(x) - y, shape (b, n)."""
        return (self.parts(self.x)[0] @ self.a[..., None])[..., 0] - self.y

    def trace(self) -> Tensor:
        """`interpolation_trace` of each, shape (b,); where units switch off has no derivative and is left out."""
        power, slope = self.parts(self.x)
        lengths = self.x.square().sum(-1)[..., None]
        outer, inner = power.square().sum(1), self.a**2 * (slope.square() * lengths).sum(1)
        return 2 / self.x.shape[1] * (outer + inner).sum(-1)

    def students(self) -> list[Student]:
        """The networks one by one."""
        return [
            Student(a.numpy().copy(), w.numpy().copy(), self.degree)
            for a, w in zip(self.a.detach(), self.w.detach(), strict=True)
        ]


def begin(x: Array, y: Array, units: int, degree: int, seed: int) -> Batch:
    """Networks at random weights.

    Args:
        x: Shape (b, n, d), training inputs.
        y: Shape (b, n), targets.
        units: k.
        degree: Of the activation.
        seed: Draws the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    count, width = len(x), x.shape[-1]
    w = torch.randn(count, units, width, generator=generator, dtype=torch.float64) * (2 / width) ** 0.5
    a = torch.randn(count, units, generator=generator, dtype=torch.float64) * (2 / units) ** 0.5
    return Batch(a, w, torch.from_numpy(x), torch.from_numpy(y), degree)


def _descend(batch: Batch, loss: Callable[[], Tensor], steps: int, rates: tuple[float, float]) -> None:
    """Adam with a rate that falls geometrically; networks do not see one another."""
    parameters = [batch.a.requires_grad_(), batch.w.requires_grad_()]
    optimizer = torch.optim.Adam(parameters, lr=rates[0], betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, (rates[1] / rates[0]) ** (1 / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss(), inputs=parameters)
        optimizer.step()
        schedule.step()
    batch.a, batch.w = batch.a.detach(), batch.w.detach()


def fit(batch: Batch) -> None:
    """Fit the examples from the initial weights by Adam, in place."""
    _descend(batch, lambda: batch.residuals().square().mean(1).sum(), _FIT, (_RATE, _RATE / 10))
    polish(batch)


def polish(batch: Batch) -> None:
    """Take Gauss-Newton steps of least length until all examples are fitted to rounding, in place."""
    for _ in range(_POLISH):
        power, slope = batch.parts(batch.x)
        inner = (batch.a[:, None] * slope)[..., None] * batch.x[:, :, None]
        jacobian = torch.cat([power, inner.flatten(2)], dim=2)
        gram = jacobian @ jacobian.transpose(1, 2)
        scale = gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        # Steps stay finite where examples share all their units.
        gram = gram + 1e-9 * scale * torch.eye(gram.shape[1], dtype=gram.dtype)
        step = (jacobian.transpose(1, 2) @ torch.linalg.solve(gram, batch.residuals()[..., None]))[..., 0]
        batch.a = batch.a - step[:, : batch.a.shape[1]]
        batch.w = batch.w - step[:, batch.a.shape[1] :].reshape(batch.w.shape)


def constrain(batch: Batch) -> None:
    """Minimise the trace under f(x_i) = y_i by an augmented Lagrangian, from where the networks are, in place."""
    count = batch.x.shape[1]
    weights = np.geomspace(*_WEIGHTS, _OUTER)
    rates = np.geomspace(_RATE, _RATE / 100, _OUTER + 1)
    multipliers = torch.zeros_like(batch.y)
    for weight, *rate in zip(weights, rates[:-1], rates[1:], strict=True):

        def loss(weight: float = float(weight), held: Tensor = multipliers) -> Tensor:
            residuals = batch.residuals()
            pull = (held * residuals + weight / 2 * residuals.square()).sum(1) / count
            return (batch.trace() + pull).sum()

        _descend(batch, loss, _INNER, (float(rate[0]), float(rate[1])))
        multipliers = multipliers + float(weight) * batch.residuals()
    polish(batch)


def disturb(batch: Batch, seed: int) -> None:
    """Train by SGD with targets that get fresh noise at every step, then fit again, in place."""
    generator = torch.Generator().manual_seed(seed)
    spread = _SPREAD * batch.y.std(1, keepdim=True)
    whole = batch.x, batch.y
    rows = torch.arange(len(batch.y))[:, None]
    for _ in range(_STEPS):
        chosen = torch.randint(whole[0].shape[1], (len(batch.y), _BATCH), generator=generator)
        noise = torch.randn(chosen.shape, generator=generator, dtype=torch.float64)
        batch.x, batch.y = whole[0][rows, chosen], whole[1][rows, chosen] + spread * noise
        power, slope = batch.parts(batch.x)
        error = 2 / _BATCH * ((power @ batch.a[..., None])[..., 0] - batch.y)
        outer = (error[..., None] * power).sum(1)
        inner = (error[..., None] * slope * batch.a[:, None]).transpose(1, 2) @ batch.x
        batch.a, batch.w = batch.a - _STEP * outer, batch.w - _STEP * inner
    batch.x, batch.y = whole
    _descend(batch, lambda: batch.residuals().square().mean(1).sum(), _FIT // 4, (_RATE / 10, _RATE / 100))
    polish(batch)


@dataclass(frozen=True)
class Found:
    """The outcome of all searches of a setting.

    Attributes:
        trace: Shape (draws, restarts), least trace on the orbit over the teacher's.
        loss: Shape (draws, restarts), mean squared error on fresh examples over the variance of their targets.
        misfit: Shape (draws, restarts), the same on the training examples.
    """

    trace: Array
    loss: Array
    misfit: Array

    def flattest(self) -> tuple[Array, Array]:
        """Of each draw the restart of least trace: its trace and its loss; NaN where a search diverged."""
        least = self.trace.argmin(axis=1)[:, None]
        return tuple(np.take_along_axis(v, least, 1)[:, 0] for v in (self.trace, self.loss))  # type: ignore[return-value]


@cache
def search(how: str, degree: int, dim: int, train_size: int, noise: float, indices: int) -> Found:
    """Search in one setting, from several starts in each of several draws of data.

    Args:
        how: ``"fit"`` (no search), ``"label noise"`` or ``"constraint"``.
        degree: Of the activation; the link of degree 2 is the square.
        dim: d.
        train_size: n.
        noise: Standard deviation of the noise on targets as a share of that of the targets.
        indices: Directions that matter.
    """
    link = "relu" if degree == 1 else "square"
    # Variance of the target over standard normal inputs, for each direction.
    variance = indices * (0.5 - 0.5 / np.pi if degree == 1 else 2.0)
    options = [
        MultiIndexOptions(
            dim=dim,
            indices=indices,
            link=link,
            degree=degree,
            noise=noise * float(np.sqrt(variance)),
            train_size=train_size,
            test_size=_BASE.test_size,
            data_seed=draw,
        )
        for draw in range(_DRAWS)
    ]
    drawn = [draw_multi_index(own) for own in options]
    x, y = (np.repeat([own.train[part] for own in drawn], _RESTARTS, axis=0) for part in (0, 1))
    batch = begin(x, y, _UNITS, degree, seed=0)
    fit(batch)
    if how == "label noise":
        disturb(batch, seed=1)
    elif how == "constraint":
        constrain(batch)
    rows = []
    for place, student in enumerate(batch.students()):
        own = drawn[place // _RESTARTS]
        floor = flattest_trace(teacher(options[place // _RESTARTS]), own.train[0])
        fresh, known = ((student.outputs(a) - b) for a, b in (own.test, own.train))
        rows.append(
            (flattest_trace(student, own.train[0]) / floor, *((e**2).mean() / variance for e in (fresh, known)))
        )
    return Found(*np.array(rows).reshape(_DRAWS, _RESTARTS, 3).transpose(2, 0, 1))


_SEARCHES = (
    ("training alone", "fit", 1),
    ("label noise", "label noise", 1),
    ("constrained minimum", "constraint", 1),
    ("constrained minimum, degree 2", "constraint", 2),
)
_COUNTS = (40, 80, 160, 320)


def _experiment(title: str, x_label: str, y_label: str, series: list[Series], log: str, about: str) -> Experiment:
    searched = f"{_DRAWS} draws, the flattest of {_RESTARTS} searches each; {_UNITS} units"
    return Experiment(title, x_label, y_label, tuple(series), log, f"{about}; {searched}")


def _of_setting(how: str, degree: int, **changed: Any) -> Found:
    setting = {"dim": _BASE.dim, "train_size": _BASE.train_size, "noise": _BASE.noise, "indices": _BASE.indices}
    return search(how, degree, **{**setting, **changed})


def _series(name: str, places: tuple[float, ...], found: list[Found], part: int) -> Series:
    values = np.array([own.flattest()[part] for own in found])
    error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    return Series(name, np.array(places, dtype=np.float64), values.mean(axis=1), error)


def _over_examples(part: int) -> list[Series]:
    return [
        _series(name, _COUNTS, [_of_setting(how, degree, train_size=count) for count in _COUNTS], part)
        for name, how, degree in _SEARCHES
    ]


def flattest_over_examples(*_: Any) -> Experiment:
    """Loss on fresh examples of the flattest interpolators found, over the number of examples."""
    found = [_of_setting("constraint", 1, train_size=count) for count in _COUNTS]
    worst = Series(
        "constrained minimum, worst of all found",
        np.array(_COUNTS, dtype=np.float64),
        np.array([own.loss.max() for own in found]),
    )
    return _experiment(
        "loss of the flattest interpolators",
        "training examples n",
        "loss / variance of the target (log scale)",
        [*_over_examples(1), worst],
        "xy",
        f"one direction in {_BASE.dim} dimensions",
    )


def flattest_traces(*_: Any) -> Experiment:
    """Least trace on the orbit of the flattest interpolators found, over that of the teacher."""
    return _experiment(
        "trace of the flattest interpolators",
        "training examples n",
        "least trace / teacher's",
        _over_examples(0),
        "x",
        f"one direction in {_BASE.dim} dimensions",
    )


def _varied(name: str, label: str, places: tuple[Any, ...], about: str) -> Experiment:
    found = [_of_setting("constraint", 1, **{name: place}) for place in places]
    worst = np.array([own.loss.max() for own in found])
    series = [
        _series("constrained minimum", places, found, 1),
        Series("worst of all found", np.array(places, dtype=np.float64), worst),
    ]
    return _experiment(f"loss over {label}", label, "loss / variance of the target", series, "", about)


def flattest_over_dimensions(*_: Any) -> Experiment:
    """Loss of the flattest interpolators found over the dimension of the input."""
    return _varied("dim", "dimensions d", (5, 10, 20), f"one direction, {_BASE.train_size} examples")


def flattest_over_noise(*_: Any) -> Experiment:
    """Loss of the flattest interpolators found over the noise of the training targets."""
    return _varied(
        "noise",
        "noise / spread of the target",
        (0.0, 0.1, 0.2, 0.4),
        f"one direction in {_BASE.dim} dimensions, {_BASE.train_size} examples",
    )


def flattest_over_indices(*_: Any) -> Experiment:
    """Loss of the flattest interpolators found over the number of directions that matter."""
    return _varied(
        "indices", "directions that matter", (1, 2, 3), f"{_BASE.dim} dimensions, {_BASE.train_size} examples"
    )

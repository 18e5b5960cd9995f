"""Are the values of other packages those of the coordinates that they claim? Judged by float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import peers, truth
from benchmarks.workloads import Workload

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Agreement:
    """Distance of values from float64 at the coordinates claimed for them.

    Attributes:
        package: The distribution judged.
        side: Points along each axis.
        error: The largest error of a finite value, nats.
        typical: The median of the relative errors.
        spread: Largest minus smallest loss of the truth, nats.
        findings: What is wrong, a sentence with a number each.
    """

    package: str
    side: int
    error: float
    typical: float
    spread: float
    findings: list[str] = field(default_factory=list)


@dataclass
class Recorder:
    """A loss that remembers the weights that it met and the values that it gave.

    Attributes:
        scalar: The loss.
        met: Weights, in order of the calls.
        values: Losses, likewise.
        replace: Call -> a value to give instead.
    """

    scalar: peers.ScalarFn
    met: list[Weights] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    replace: Mapping[int, float] = field(default_factory=dict)

    def __call__(self, model: nn.Module) -> float:
        """The loss of a model."""
        self.met.append({name: tensor.detach().double() for name, tensor in model.named_parameters()})
        value = self.replace.get(len(self.values), None)
        self.values.append(self.scalar(model) if value is None else value)
        return self.values[-1]


def loss_landscapes(workload: Workload) -> Agreement:
    """Its source states row i, column j to be start + i * d1 + j * d2, the model in the middle."""
    side = workload.spec.check_side
    recorder = Recorder(peers.of_loader(workload))
    returned = peers.loss_landscapes(workload, side, recorder)
    # Steps as they were taken: along a row for d2; between the starts of two rows of the same sense for d1.
    d2 = _combine([(1 / (side - 1), recorder.met[side - 1]), (-1 / (side - 1), recorder.met[0])])
    d1 = _combine([(0.5, recorder.met[2 * side]), (-0.5, recorder.met[0])])
    origin = _origin(workload)
    half = side / 2

    def at(rows: Iterable[int], shift: int = 0) -> np.ndarray:
        claimed = (
            _combine([(1.0, origin), (i - half, d1), (j + shift - half, d2)]) for i in rows for j in range(side)
        )
        return truth.losses(workload, claimed).reshape(-1, side)

    right = at(range(side))
    even, odd = _relative(returned[0::2], right[0::2]), _relative(returned[1::2], right[1::2])
    shifted = _relative(returned[0::2], at(range(0, side, 2), shift=1))
    uniform = torch.cat([tensor.flatten() for tensor in d1.values()])
    findings = [
        "every other row is one step off along it: rows 0, 2, ... have a relative error of up to "
        f"{even.max():.2g} at the coordinates that its source states, and of {shifted.max():.1e} one step on; "
        f"rows 1, 3, ... have {odd.max():.1e}",
        "directions are drawn from [0, 1], not about 0: the share of positive entries in the first is "
        f"{float((uniform > 0).double().mean()):.3f}",
    ]
    moved = [name for name, tensor in origin.items() if tensor.ndim == 1 and _parallel(d1[name], tensor.abs())]
    ones = sum(tensor.ndim == 1 for tensor in origin.values())
    findings.append(
        f"in {len(moved)} of {ones} tensors of one dimension (biases, gains) the direction is |weights|, with "
        "nothing random in it"
    )
    narrow, wide = _width(workload, 2.0), _width(workload, 1.0)
    findings.append(
        f"a greater 'distance' gives a smaller plane: at 1 it is {wide:.3f} norms of the weights wide, at 2 it is "
        f"{narrow:.3f}"
    )
    return _agreement("loss-landscapes", returned, right, findings)


def _width(workload: Workload, distance: float) -> float:
    """The length of all steps of loss-landscapes along a row, in norms of the weights."""
    side = 3
    recorder = Recorder(lambda model: 0.0)
    peers.loss_landscapes(workload, side, recorder, distance)
    step = _combine([(1.0, recorder.met[1]), (-1.0, recorder.met[0])])
    return side * _norm(step) / _norm(_origin(workload))


def landscaper(workload: Workload) -> Agreement:
    """It claims coordinates of +-distance along each direction, in units of the norm of the weights."""
    side, distance = workload.spec.check_side, peers.LANDSCAPER_DISTANCE
    recorder = Recorder(peers.of_loader(workload))
    made = peers.landscaper_object(workload, side, recorder)
    loss, raw = made.loss, np.array(recorder.values).reshape(side, side)
    origin, norm = _origin(workload), _norm(_origin(workload))
    spans = [
        _combine([(1.0, recorder.met[last]), (-1.0, recorder.met[0])]) for last in ((side - 1) * side, side - 1)
    ]
    # A unit of the axis is the direction at the norm of the weights: what the scale in the call says.
    units = [_combine([(norm / _norm(span), span)]) for span in spans]

    def at(pairs: Iterable[tuple[float, float]]) -> np.ndarray:
        points = (_combine([(1.0, origin), (a, units[0]), (b, units[1])]) for a, b in pairs)
        return truth.losses(workload, points).reshape(side, side)

    first, second = (np.asarray(axis, dtype=float).tolist() for axis in made.ranges)
    right = at((a, b) for a in first for b in second)
    # Its list puts a pair of coordinates beside every value; the value of that pair lies elsewhere in the array.
    beside = [loss[first.index(a), second.index(b)] for a, b in made.coords.tolist()]
    swapped = float(np.abs(loss.ravel() - beside).max())
    reach = _norm(spans[0]) / 2 / norm
    given = dict(zip(origin, peers.landscaper_directions(workload)[0], strict=True))
    cosine = _dot(given, units[0]) / (_norm(given) * norm)
    altered = loss != raw
    findings = [
        f"the axis ends at {distance:g}, the points at {reach:.4f} norms of the weights "
        f"({reach / distance - 1:+.1%}; always short of it, by less on finer grids)",
        f"noise is added to the highest values: {int(altered.sum())} of {loss.size} are altered, by up to "
        f"{_nats(float(np.abs(loss - raw).max()))}",
        f"its own list of coordinates, used for its trees and contours, swaps the axes: up to {_nats(swapped)} "
        "between a value and the one of the coordinates beside it",
        "directions are rescaled tensor by tensor: the cosine of the direction given and the one used is "
        f"{cosine:.3f}",
        _replaced(workload, side),
    ]
    return _agreement("landscaper", loss, right, findings)


def _replaced(workload: Workload, side: int) -> str:
    """Values that come back for NaN and infinity."""
    recorder = Recorder(peers.of_loader(workload), replace={0: math.nan, 1: math.inf})
    loss = peers.landscaper_object(workload, side, recorder).loss
    return f"for a loss of NaN it returns {loss[0, 0]:.4g}, for infinity {loss[0, 1]:.4g}"


def loss_landscape_3d(workload: Workload) -> Agreement:
    """Along directions that are given, its coordinates are exact claims; its own directions are judged apart."""
    from loss_landscape_3d import generate_random_directions

    side = workload.spec.check_side
    axis = np.linspace(-1, 1, side)
    pairs = [(float(a), float(b)) for a in axis for b in axis]
    returned = peers.loss_landscape_3d_along(workload, axis, *workload.plane.directions)
    right = truth.on_plane(workload, pairs).reshape(side, side)
    findings = []
    with peers.quiet():
        first, second = generate_random_directions(workload.model)
    buffers = {name for name, tensor in workload.model.named_buffers() if tensor.is_floating_point()}
    moved = sorted(buffers & {name for name in first if first[name].any()})
    if moved:
        findings.append(_of_statistics(workload, axis, first, second, moved))
    own = {name for name, _ in (*workload.model.named_parameters(), *workload.model.named_buffers())}
    findings += [
        f"'{name}' is a second name of a tensor: a direction of its own is drawn for it and overrides the first"
        for name in sorted(set(first) - own)
    ]
    return _agreement("loss-landscape-3d", returned, right, findings)


def _of_statistics(
    workload: Workload,
    axis: np.ndarray,
    first: Weights,
    second: Weights,
    moved: list[str],
) -> str:
    """Result of random steps in the statistics of BatchNorm."""
    still = [{name: t for name, t in direction.items() if name not in moved} for direction in (first, second)]
    with_steps = peers.loss_landscape_3d_along(workload, axis, first, second)
    without = peers.loss_landscape_3d_along(workload, axis, still[0], still[1])
    state = workload.model.state_dict()
    variances = [name for name in moved if name.endswith("running_var")]
    corner = torch.cat([(state[name] + first[name] + second[name]).flatten() for name in variances])
    negative = float((corner < 0).double().mean())
    missing = int(np.isnan(with_steps).sum())
    return (
        f"its own directions move {len(moved)} buffers of BatchNorm: at (1, 1) {negative:.1%} of the running "
        f"variances are negative, {missing} of {with_steps.size} losses are NaN, and finite ones differ by up to "
        f"{_nats(_error(with_steps, without))} from those with the statistics left alone"
    )


def per_batch(workload: Workload) -> Agreement:
    """The loop of our own in the way of the reference scripts."""
    side = workload.spec.check_side
    pairs = [(float(a), float(b)) for a in np.linspace(-1, 1, side) for b in np.linspace(-1, 1, side)]
    right = truth.on_plane(workload, pairs).reshape(side, side)
    returned = peers.per_batch(workload, side)
    return _agreement("tomgoldstein (re-implemented)", returned, right, [])


# Distribution, or "" for what is our own -> its judge.
JUDGES: dict[str, Callable[[Workload], Agreement]] = {
    "loss-landscapes": loss_landscapes,
    "landscaper": landscaper,
    "loss-landscape-3d": loss_landscape_3d,
    "": per_batch,
}


def _origin(workload: Workload) -> Weights:
    return {name: tensor.detach().double() for name, tensor in workload.model.named_parameters()}


def _combine(terms: list[tuple[float, Weights]]) -> Weights:
    return {
        name: sum((scale * weights[name].double() for scale, weights in terms[1:]), terms[0][0] * tensor.double())
        for name, tensor in terms[0][1].items()
    }


def _dot(a: Weights, b: Weights) -> float:
    return sum(float((a[name].double() * b[name].double()).sum()) for name in a)


def _norm(a: Weights) -> float:
    return math.sqrt(_dot(a, a))


def _parallel(a: Tensor, b: Tensor) -> bool:
    """Tell if two vectors have the same direction, to the rounding of float32 steps."""
    return float(a @ b) > 0.999 * float(a.norm() * b.norm())


def _error(values: np.ndarray, right: np.ndarray) -> float:
    both = np.isfinite(values) & np.isfinite(right)
    return float(np.abs(values - right)[both].max()) if both.any() else math.nan


def _relative(values: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The relative errors of finite values."""
    both = np.isfinite(values) & np.isfinite(right)
    return np.abs(values[both] / right[both] - 1)


def _agreement(package: str, values: np.ndarray, right: np.ndarray, findings: list[str]) -> Agreement:
    finite = right[np.isfinite(right)]
    return Agreement(
        package,
        len(values),
        _error(values, right),
        float(np.median(_relative(values, right))),
        float(finite.max() - finite.min()),
        findings,
    )


def _nats(value: float) -> str:
    return f"{value:.2g} nats"

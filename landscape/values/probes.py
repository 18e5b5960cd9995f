"""Results of probes: NumPy values that `landscape.render` draws. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.values.html import small_lines
from landscape.values.result import Tabular

Array = NDArray[np.float64]

# Rounding of an axis of interpolation, of which 0 and 1 are exact.
_INSIDE = 1e-12
# The entries of `AlignmentGains` that hold an array for each name.
_NAMED = ("fields", "layers", "lines")


@dataclass(frozen=True)
class Profile(Tabular):
    """Means under noise on the weights, against the scale of the noise.

    Attributes:
        mode: The mode of the noise, such as ``"mean-abs"``.
        unit: What its scale counts.
        scales: Shape (S,), rising from 0.
        fields: ``"<split>_<metric>"`` -> shape (draws, S), means per example.
        sizes: Shape (draws,), the Euclidean length of the noise at scale 1.
        meta: Problem, step, seed, units. Plain JSON values.
    """

    mode: str
    unit: str
    scales: Array
    fields: Mapping[str, Array]
    sizes: Array
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return _named(self.fields, name)

    def rise(self, name: str) -> Array:
        """A field minus its value without noise: shape (draws, S)."""
        values = self[name]
        return values - values[:, :1]

    def mean(self, name: str) -> Array:
        """The mean over draws: shape (S,)."""
        return np.asarray(self[name].mean(axis=0))

    def standard_error(self, name: str) -> Array:
        """The standard error of that mean: shape (S,); NaN for one draw."""
        values = self[name]
        if len(values) < 2:
            return np.full(values.shape[1], math.nan)
        return np.asarray(values.std(axis=0, ddof=1) / math.sqrt(len(values)))

    def _table(self) -> Mapping[str, Any]:
        draws, scales = np.indices((len(self.sizes), len(self.scales)))
        own = {name: values.ravel() for name, values in self.fields.items()}
        return {"draw": draws.ravel(), "scale": self.scales[scales.ravel()], **own}

    def _picture(self) -> str:
        name = next(iter(self.fields))
        return small_lines(self.scales, self.fields[name], f"{name} over the scale of the noise")


@dataclass(frozen=True)
class Radius(Tabular):
    """Distance within which the loss stays low, along directions of one kind.

    Attributes:
        direction: ``"random"``, ``"filter"``, ``"gradient"`` or ``"top"``.
        radii: Shape (directions,), the Euclidean distance at which the loss first has risen so much, the smaller
            of both ways; infinite where it never does, NaN where there is no such direction (a gradient of zero).
        forward: Shape (directions,), the distance along each direction; uphill for the gradient.
        backward: Shape (directions,), the distance the other way.
    """

    direction: str
    radii: Array
    forward: Array = field(default_factory=lambda: np.empty(0))
    backward: Array = field(default_factory=lambda: np.empty(0))

    @property
    def median(self) -> float:
        """The median over directions."""
        return float(np.median(self.radii)) if len(self.radii) else math.nan

    def _table(self) -> Mapping[str, Any]:
        both = {"forward": self.forward, "backward": self.backward}
        return {"radius": self.radii, **{name: own for name, own in both.items() if len(own) == len(self.radii)}}


@dataclass(frozen=True)
class Perturbation(Tabular):
    """A basin, seen from its middle.

    Attributes:
        profile: Means under noise.
        radii: Direction -> radius.
        rise: By how much the training loss has risen at a radius.
        norm: The Euclidean norm of the parameters that move.
        meta: Problem, step, epoch. Plain JSON values.
    """

    profile: Profile
    radii: Mapping[str, Radius]
    rise: float
    norm: float
    meta: Mapping[str, Any] = field(default_factory=dict)

    def _table(self) -> Mapping[str, Any]:
        return self.profile._table()

    def _picture(self) -> str:
        return self.profile._picture()


@dataclass(frozen=True)
class Interpolation(Tabular):
    """Means along a path from a to b.

    Attributes:
        t: Shape (n,): 0 is a and 1 is b, both exactly.
        fields: ``"<split>_<metric>"`` -> shape (n,), means per example.
        bn: The policy for normalisation statistics: ``"frozen"``, ``"interpolate"`` or ``"recalibrate"``.
        path: ``"line"``, ``"aligned line"``, ``"bezier"`` or ``"chain"``.
        distance: The Euclidean distance between the parameters of a and b.
        labels: What a and b are called.
        meta: Problem, units. Plain JSON values.
    """

    t: Array
    fields: Mapping[str, Array]
    bn: str = "interpolate"
    path: str = "line"
    distance: float = math.nan
    labels: tuple[str, str] = ("a", "b")
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return _named(self.fields, name)

    def barrier_of(self, name: str) -> float:
        """max over t in [0, 1] of L(t), minus (L(0) + L(1)) / 2, of one field.

        Source:
            Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", definition 2.1.
        """
        return barrier(self.t, self[name])

    @property
    def barriers(self) -> dict[str, float]:
        """Field -> its barrier."""
        return {name: self.barrier_of(name) for name in self.fields}

    @property
    def barrier(self) -> float:
        """The barrier of the first field: the training loss, unless another was asked for."""
        return self.barrier_of(next(iter(self.fields)))

    def _table(self) -> Mapping[str, Any]:
        return {"t": self.t, **self.fields}

    def _picture(self) -> str:
        name = next(iter(self.fields))
        return small_lines(self.t, self.fields[name], f"{name} from {self.labels[0]} to {self.labels[1]}")


def barrier(t: Array, values: Array) -> float:
    """The height of a path over the mean of its ends: max over t in [0, 1] of L(t), minus (L(0) + L(1)) / 2.

    Args:
        t: Shape (n,), rising, with 0 and 1 among them.
        values: Shape (n,).

    Returns:
        Not less than |L(1) - L(0)| / 2; infinite where the path is, NaN where an end is not finite or a value is
        undefined.

    Source:
        Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", definition 2.1.

    Example:
        >>> barrier(np.array([0.0, 0.5, 1.0]), np.array([1.0, 4.0, 2.0]))
        2.5
    """
    inside = values[(t >= -_INSIDE) & (t <= 1 + _INSIDE)]
    ends = (inside[0] + inside[-1]) / 2
    return float(inside.max() - ends) if np.isfinite(ends) else math.nan


@dataclass(frozen=True)
class AlignmentGains(Tabular):
    """The barrier between a and b as more and more families of symmetries bring b near to a.

    Attributes:
        families: Shape (n,): ``"none"``, then the family that each row adds to those of the rows before.
        fields: ``"<split>_<metric>"`` -> shape (n,), barriers of the straight line.
        distance: Shape (n,), Euclidean, between the parameters of a and b.
        layers: Layer -> shape (n,), the same of the parameters of one layer.
        t: Shape (p,), along each line: 0 is a and 1 is b.
        lines: ``"<split>_<metric>"`` -> shape (n, p), means per example along the lines.
        bn: The policy for normalisation statistics.
        meta: Problem, units. Plain JSON values.
    """

    families: Sequence[str]
    fields: Mapping[str, Array]
    distance: Array
    layers: Mapping[str, Array]
    t: Array
    lines: Mapping[str, Array]
    bn: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return _named(self.fields, name)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` makes the same of, bit for bit."""
        named = {key: {n: own.tolist() for n, own in getattr(self, key).items()} for key in _NAMED}
        plain = {"distance": self.distance.tolist(), "t": self.t.tolist(), "bn": self.bn, "meta": dict(self.meta)}
        return {"families": list(self.families), **named, **plain}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> AlignmentGains:
        """Make gains of what `to_json` returned."""
        arrays: dict[str, Any] = {key: np.array(values[key]) for key in ("distance", "t")}
        arrays |= {key: {n: np.array(own) for n, own in values[key].items()} for key in _NAMED}
        return cls(tuple(values["families"]), bn=values["bn"], meta=values["meta"], **arrays)

    def _table(self) -> Mapping[str, Any]:
        return {"family": list(self.families), **self.fields, "distance": self.distance}


@dataclass(frozen=True)
class Apart(Tabular):
    """Two runs at equal moments.

    Attributes:
        distance: Shape (T,), Euclidean, between the parameters of the two.
        midpoints: ``"<split>_<metric>"`` -> shape (T,), means per example at the mean of the two.
        bn: The policy for normalisation statistics there.
    """

    distance: Array
    midpoints: Mapping[str, Array]
    bn: str

    def _table(self) -> Mapping[str, Any]:
        return {"distance": self.distance, **self.midpoints}


@dataclass(frozen=True)
class Barriers(Tabular):
    """The barriers between each two of several sets of weights.

    Attributes:
        names: Of the weights, in the order of rows and columns.
        fields: ``"<split>_<metric>"`` -> shape (n, n), symmetric, zero along the diagonal.
        distance: Shape (n, n), Euclidean.
        bn: The policy for normalisation statistics.
        points: How many on each line.
        meta: Problem, units. Plain JSON values.
    """

    names: Sequence[str]
    fields: Mapping[str, Array]
    distance: Array
    bn: str
    points: int
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return _named(self.fields, name)

    def _table(self) -> Mapping[str, Any]:
        first, second = (place.tolist() for place in np.triu_indices(len(self.names), 1))
        pairs = {"a": [self.names[i] for i in first], "b": [self.names[j] for j in second]}
        own = {name: values[first, second] for name, values in self.fields.items()}
        return {**pairs, **own, "distance": self.distance[first, second]}


@dataclass(frozen=True)
class Retraining(Tabular):
    """Records of branches: perturbed copies of a snapshot, each trained further.

    Attributes:
        names: Of the branches.
        starts: Shape (B,), the step of the parent that each starts from.
        noises: Of each the noise, such as ``"mean-abs:0.01"``; empty for a control without noise.
        kicks: Shape (B,), the Euclidean length of the noise.
        epochs: Shape (T,), since the branching.
        fields: ``"<split>_<metric>"`` -> shape (B, T), measured over whole splits.
        moved: Shape (B, T), distance from the snapshot without noise.
        pairs: Shape (P, 2), branches of the same start and noise, or of the same start if one is its control.
        between: Shape (P, T), distance between the two.
        midpoints: ``"<split>_<metric>"`` -> shape (P, T), at the mean of the two at equal epochs.
        meta: Problem, units, policy for normalisation statistics. Plain JSON values.
    """

    names: Sequence[str]
    starts: NDArray[np.int64]
    noises: Sequence[str]
    kicks: Array
    epochs: Array
    fields: Mapping[str, Array]
    moved: Array
    pairs: NDArray[np.int64]
    between: Array
    midpoints: Mapping[str, Array]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def with_control(self) -> NDArray[np.bool_]:
        """Shape (P,): whether one of the two is a control."""
        controls = np.array([not noise for noise in self.noises], dtype=bool)
        return np.asarray(controls[self.pairs].any(axis=1)) if len(self.pairs) else np.zeros(0, dtype=bool)

    def _table(self) -> Mapping[str, Any]:
        branch, time = (place.ravel() for place in np.indices((len(self.names), len(self.epochs))))
        return {
            "branch": [self.names[i] for i in branch.tolist()],
            "start": self.starts[branch],
            "noise": [self.noises[i] for i in branch.tolist()],
            "kick": self.kicks[branch],
            "epoch": self.epochs[time],
            **{name: values.ravel() for name, values in self.fields.items()},
            "moved": self.moved.ravel(),
        }


def _named(fields: Mapping[str, Array], name: str) -> Array:
    if name not in fields:
        raise LandscapeError(f"there is no field '{name}'", mend="there are " + ", ".join(fields))
    return fields[name]

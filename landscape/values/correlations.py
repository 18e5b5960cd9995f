"""Correlations of measures with the targets that they predict, over many networks, as values: NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.values.result import Result, Tabular

Array = NDArray[np.float64]

# What every network of rectifiers bears without a change of its function.
_RESCALINGS = ("layer-rescaling", "unit-rescaling")


def is_invariant(claims: object) -> bool:
    """Return whether the symmetries of a claim of invariance include the rescaling of units and of layers.

    Example:
        >>> is_invariant(["layer-rescaling", "permutation"])
        False
    """
    return isinstance(claims, list | tuple) and all(name in claims for name in _RESCALINGS)


@dataclass(frozen=True, eq=False)
class Nets(Tabular):
    """Trained networks, and all that is known of them.

    Attributes:
        names: Of the networks, M of them.
        levels: Hyperparameter -> for each network, which of the values that the family gives it; networks agree in
            a hyperparameter if these are equal. ``"family"`` is one of them where there are several families.
        settings: Name -> for each network the value: family, optimizer, lr and what else tells them apart.
        results: Name -> shape (M,), what training left: train_loss, test_error, steps, ...; NaN where unknown.
        measures: Name -> shape (M,), NaN where there is no value.
        standard_errors: Name of a measure -> shape (M,), NaN where the value is no estimate.
        about: Name of a measure -> what it is: title, unit, formula, source, invariant_claimed, settings.
        faults: Name of a network -> why it does not count.
        missing: Measure -> name of a network -> why it has no value there.
        rough: Measure -> networks where the value stands although the computation did not reach its tolerance.
    """

    names: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, tuple[Any, ...]]
    results: Mapping[str, Array]
    measures: Mapping[str, Array]
    standard_errors: Mapping[str, Array] = field(default_factory=dict)
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rough: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Shape (M,), which networks count."""
        return np.array([name not in self.faults for name in self.names], dtype=bool)

    def values(self, name: str) -> Array:
        """A measure or a result, shape (M,).

        Raises:
            LandscapeError: If there is none of this name.
        """
        found = {**self.results, **self.measures}
        if name not in found:
            raise LandscapeError(f"there is no measure or result '{name}'", mend=did_you_mean(name, found))
        return found[name]

    def _table(self) -> Mapping[str, Any]:
        faults = [self.faults.get(name) for name in self.names]
        return {"name": self.names, **self.settings, **self.results, **self.measures, "fault": faults}


@dataclass(frozen=True)
class Correlation(Result):
    """Rank correlations of two numbers over networks, with bootstrap intervals.

    Attributes:
        kendall: Kendall's tau-b; NaN if one of the two never changes, or there are fewer than three networks.
        kendall_interval: Its low and high end.
        spearman: Spearman's rho, with average ranks for ties.
        spearman_interval: Its low and high end.
        count: How many networks it is over.
        tied: The share of pairs of networks that are equal in the second number.
    """

    kendall: float
    kendall_interval: tuple[float, float]
    spearman: float
    spearman_interval: tuple[float, float]
    count: int
    tied: float

    def excludes_zero(self) -> bool:
        """Return whether the interval of tau lies on one side of zero."""
        low, high = self.kendall_interval
        return low > 0 or high < 0


@dataclass(frozen=True)
class Agreement(Result):
    """Agreement of two numbers over pairs of networks that differ in one hyperparameter only.

    Attributes:
        value: (concordant - discordant pairs) / pairs that differ in the second number; NaN if there is none.
        pairs: How many pairs differ in the second number.
    """

    value: float
    pairs: int


@dataclass(frozen=True)
class Row(Result):
    """A measure, or a control, and what it goes with.

    Attributes:
        name: Of the measure, or of what training left.
        title: A few words.
        unit: Of its values.
        invariant: Whether rescalings of layers and units cannot change it, as it claims.
        control: Whether it is no measure of sharpness, but set beside for comparison.
        correlations: Name of a target -> over all networks that count.
        agreements: Hyperparameter -> agreement with the first target over pairs that differ in it alone.
        missing: Name of a network that counts -> why it has no value there.
    """

    name: str
    title: str
    unit: str
    invariant: bool
    control: bool
    correlations: Mapping[str, Correlation]
    agreements: Mapping[str, Agreement]
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Correlated(Tabular):
    """Correlations that a study found.

    Attributes:
        nets: The networks.
        rows: Measure by measure, then controls.
        targets: What the measures are to predict; scatter pictures and agreements are with the first.
        resamples: Number of bootstrap resamples of the networks for the intervals.
        level: Of the intervals, such as 0.95.
        seed: Of the draws.
        over: What was drawn: ``"nets"``, or ``"settings"``: all networks that differ in the seed alone together.
        meta: What this is: name, problem, options, split, target_loss. Plain JSON values.
    """

    nets: Nets
    rows: tuple[Row, ...]
    targets: tuple[str, ...]
    resamples: int
    level: float
    seed: int
    over: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Row:
        found = {row.name: row for row in self.rows}
        if name not in found:
            raise LandscapeError(f"the study has no measure '{name}'", mend=did_you_mean(name, found))
        return found[name]

    def ordered(self, target: str | None = None) -> list[Row]:
        """Measures by falling Kendall correlation with a target, then controls in the same way."""
        chosen = target or self.targets[0]

        def rank(row: Row) -> tuple[bool, float, str]:
            tau = row.correlations[chosen].kendall
            return row.control, -tau if tau == tau else 2.0, row.name

        return sorted(self.rows, key=rank)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        nets = self.nets
        listed = [
            {
                "name": name,
                **{key: values[place] for key, values in nets.settings.items()},
                **{key: float(values[place]) for key, values in nets.results.items()},
                "fault": nets.faults.get(name),
                "measures": {key: float(values[place]) for key, values in nets.measures.items()},
            }
            for place, name in enumerate(nets.names)
        ]
        intervals = {"resamples": self.resamples, "level": self.level, "seed": self.seed, "over": self.over}
        return {
            **self.meta,
            "nets": listed,
            "counted": int(nets.counted.sum()),
            "targets": list(self.targets),
            "intervals": intervals,
            "measures": [{**asdict(row), "rough": list(nets.rough.get(row.name, ()))} for row in self.rows],
        }

    def _table(self) -> Mapping[str, Any]:
        found = [(row, target) for row in self.rows for target in self.targets if target in row.correlations]
        own = [row.correlations[target] for row, target in found]
        return {
            **{
                name: [getattr(row, name) for row, _ in found] for name in ("name", "unit", "invariant", "control")
            },
            "target": [target for _, target in found],
            "kendall": [one.kendall for one in own],
            "kendall_low": [one.kendall_interval[0] for one in own],
            "kendall_high": [one.kendall_interval[1] for one in own],
            "spearman": [one.spearman for one in own],
            "spearman_low": [one.spearman_interval[0] for one in own],
            "spearman_high": [one.spearman_interval[1] for one in own],
            "count": [one.count for one in own],
            "tied": [one.tied for one in own],
        }

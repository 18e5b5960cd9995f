"""A family of symmetries of one minimum: what slices and measures do along it, as values: NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.values.result import Tabular

Array = NDArray[np.float64]
# Changes below a half are said in per cent.
_SMALL = 1.5


@dataclass(frozen=True)
class Along(Tabular):
    """A measure along an orbit.

    Attributes:
        name: Of the measure.
        title: What it is.
        unit: Of its values.
        values: Shape (K,), NaN where it cannot be taken.
        errors: Shape (K,), standard errors; NaN where there is none.
        claimed: Whether the registry claims that such symmetries do not change it.
        reason: Why it could not be taken, otherwise an empty text.
    """

    name: str
    title: str
    unit: str
    values: Array
    errors: Array
    claimed: bool = False
    reason: str = ""

    def _table(self) -> Mapping[str, Any]:
        return {"value": self.values, "standard_error": self.errors}

    @property
    def factor(self) -> float:
        """The largest value to the smallest, by their sizes; NaN where one is 0 or not finite."""
        sizes = np.abs(self.values)
        return float(sizes.max() / sizes.min()) if np.isfinite(sizes).all() and sizes.min() > 0 else float("nan")

    def stays(self, tolerance: float) -> bool:
        """Return whether all values are the same within a relative tolerance, or within three standard errors."""
        spread = float(np.ptp(self.values))
        noise = 3 * float(np.nanmax(self.errors)) if np.isfinite(self.errors).any() else 0.0
        return bool(np.isfinite(spread)) and spread <= max(tolerance * float(np.abs(self.values).max()), noise)


@dataclass(frozen=True)
class Orbit(Tabular):
    """One function at several of its parametrisations.

    Attributes:
        name: ``"rescaling"`` or ``"basis"``.
        parameter: What the positions are: a word with its sign.
        positions: Shape (K,), increasing; `home` is where nothing is changed.
        home: Index of the position of the weights as they are.
        x: Normalisation -> shape (n,), coordinates along one random direction, ``"none"`` and ``"filter"``.
        slices: Normalisation -> shape (K, n), the loss there.
        losses: Shape (K,), the loss at the centre.
        output_change: Shape (K,), the largest change of an output, relative to the largest output.
        measures: In the order shown.
        tolerance: Up to which relative difference two numbers are the same in this element type.
        meta: problem, step, split, examples, dtype, seed, units. Plain JSON values.
    """

    name: str
    parameter: str
    positions: Array
    home: int
    x: Mapping[str, Array]
    slices: Mapping[str, Array]
    losses: Array
    output_change: Array
    measures: tuple[Along, ...]
    tolerance: float
    meta: Mapping[str, Any] = field(default_factory=dict)

    def _table(self) -> Mapping[str, Any]:
        own = {one.name: one.values for one in self.measures}
        return {self.name: self.positions, "loss": self.losses, "output_change": self.output_change, **own}

    def curvatures(self, normalize: str) -> Array:
        """Shape (K,), the second derivative of each slice at its centre, by central differences."""
        x, rows = self.x[normalize], self.slices[normalize]
        middle = len(x) // 2
        step = (x[middle + 1] - x[middle - 1]) / 2
        return np.asarray((rows[:, middle + 1] - 2 * rows[:, middle] + rows[:, middle - 1]) / step**2)

    def verdicts(self) -> list[str]:
        """Say of the loss, the slices and each measure whether it stays, in a sentence each."""
        filtered, plain = (self.curvatures(normalize) for normalize in ("filter", "none"))
        found = [
            Along("loss", "loss at the centre", "", self.losses, np.full(len(self.losses), np.nan)),
            Along(
                "slice", "curvature of the slice that is not normalised", "", plain, np.full(len(plain), np.nan)
            ),
            Along("filter", "curvature of the filter-normalised slice", "", filtered, np.full(len(plain), np.nan)),
            *self.measures,
        ]
        return [f"{one.title}: {self.verdict(one)}" for one in found]

    def verdict(self, one: Along) -> str:
        """``"stays"``, ``"changes x-fold"`` or why there is none."""
        if one.reason:
            return f"not computed ({one.reason})"
        if one.stays(self.tolerance):
            return "stays"
        if not np.isfinite(one.factor):
            return "changes"
        # "1.02-fold" would read like nothing.
        small = one.factor < _SMALL
        return f"changes by {100 * (one.factor - 1):.2g} %" if small else f"changes {one.factor:.3g}-fold"
